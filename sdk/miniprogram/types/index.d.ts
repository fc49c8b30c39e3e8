import type { Gateway, Options } from './types';
export * from './types';
/** Connects a mini program to its site. Make one gateway for the whole mini program. */
export declare function createGateway(options: Options): Gateway;
