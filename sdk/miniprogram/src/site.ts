import type { Options, Platform } from './types'

/** Where the gateway is, and through what it is reached. */
export interface Site {
  wx: Platform
  origin: string
  prefix: string
  appid: string
}

export function siteOf(options: Options): Site {
  const platform = options.wx || wx
  const origin = options.baseUrl.replace(/\/$/, '')
  if (!/^https?:\/\/[^/?#@]+$/.test(origin)) {
    throw new TypeError('baseUrl is not https://host: ' + options.baseUrl)
  }
  const appid =
    options.appid || (platform.getAccountInfoSync ? platform.getAccountInfoSync().miniProgram.appId : '')
  if (!appid) throw new TypeError('appid is missing')
  return { wx: platform, origin, prefix: options.prefix || '/wxgate', appid }
}

/** The URL and the headers with which a call is sent. Nobody but the site is ever shown the session. */
export function addressed<T extends { url: string; header?: WechatMiniprogram.IAnyObject }>(
  origin: string,
  token: string,
  options: T,
): { own: boolean; token: string; call: T } {
  const call = Object.assign({}, options)
  if (/^\/(?!\/)/.test(call.url)) call.url = origin + call.url
  const own = (call.url + '/').replace('?', '/').indexOf(origin + '/') === 0
  if (own) call.header = withSession(call.header, token)
  return { own, token: own ? token : '', call }
}

/** Reads a header of an answer, whose names come in any case. */
export function headerOf(header: WechatMiniprogram.IAnyObject | undefined, name: string): string {
  for (const key in header) {
    if (key.toLowerCase() === name) return String(header[key])
  }
  return ''
}

/**
 * Adds the session to the headers of a request. Where the shop uses
 * Authorization itself the session has a header of its own.
 */
export function withSession(
  header: WechatMiniprogram.IAnyObject | undefined,
  token: string,
): WechatMiniprogram.IAnyObject {
  const all = Object.assign({}, header)
  if (!token) return all
  if (headerOf(header, 'authorization')) all['X-Wxgate-Session'] = token
  else all['Authorization'] = 'Wxgate ' + token
  return all
}
