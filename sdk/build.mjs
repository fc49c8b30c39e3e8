// Builds what shops use from the sources; with --check it says instead whether
// the files in the repository are that build.
import { build } from 'esbuild'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const here = dirname(fileURLToPath(import.meta.url))
const notice = (name) => `// ${name}, built from its TypeScript by make sdk-build. Apache License 2.0.\n`

/** Bundles a source into one module for runtimes of 2017 and later. */
async function bundle(entry, options = {}) {
  const result = await build({
    entryPoints: [join(here, entry)],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2017',
    charset: 'utf8',
    ...options,
  })
  return result.outputFiles[0].text
}

/** Phones of the oldest base library with npm understand no more than ES5; WeChat brings Promise and Object.assign. */
function commonJS(module) {
  return ts.transpileModule(module, {
    compilerOptions: { target: ts.ScriptTarget.ES5, module: ts.ModuleKind.CommonJS, newLine: ts.NewLineKind.LineFeed },
  }).outputText
}

/** The public types: what the index exports, and nothing of what is behind it. */
function declarations() {
  const config = join(here, 'miniprogram/tsconfig.json')
  const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(config, ts.sys.readFile).config, ts.sys, dirname(config))
  const emitted = {}
  const program = ts.createProgram([join(here, 'miniprogram/src/index.ts')], {
    ...options, noEmit: false, declaration: true, emitDeclarationOnly: true, newLine: ts.NewLineKind.LineFeed,
  })
  program.emit(undefined, (path, text) => {
    emitted[path.replace(/.*\//, '')] = text
  })
  return { 'index.d.ts': emitted['index.d.ts'], 'types.d.ts': emitted['types.d.ts'] }
}

/** Every built file with its content. */
export async function built() {
  const module = await bundle('miniprogram/src/index.ts')
  const files = {
    'miniprogram/dist/index.mjs': notice('@wxgate/miniprogram') + module,
    'miniprogram/miniprogram_dist/index.js': notice('@wxgate/miniprogram') + commonJS(module),
    'web/wxgate.js': '// wxgate.js, Apache License 2.0\n' + (await bundle('web/src/wxgate.ts', { format: 'iife', minify: true })),
  }
  for (const [name, text] of Object.entries(declarations())) files['miniprogram/types/' + name] = text
  return files
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const stale = []
  for (const [name, text] of Object.entries(await built())) {
    const path = join(here, name)
    if (existsSync(path) && readFileSync(path, 'utf8') === text) continue
    stale.push(name)
    if (process.argv.includes('--check')) continue
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    console.log('built ' + relative(process.cwd(), path))
  }
  if (process.argv.includes('--check') && stale.length > 0) {
    console.error(`Not the build of the source, run make sdk-build: ${stale.join(', ')}`)
    process.exit(1)
  }
}
