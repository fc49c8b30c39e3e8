// Builds what shops use from the sources; with --check it says instead whether
// the files in the repository are that build.
import { build, transform } from 'esbuild'
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
async function built() {
  const module = await bundle('miniprogram/src/index.ts')
  const files = {
    'miniprogram/dist/index.mjs': notice('@wxgate/miniprogram') + module,
    'miniprogram/miniprogram_dist/index.js': notice('@wxgate/miniprogram') + commonJS(module),
    'web/wxgate.js': '// wxgate.js, Apache License 2.0\n' + (await bundle('web/src/wxgate.ts', { format: 'iife', minify: true })),
  }
  for (const [name, text] of Object.entries(declarations())) files['miniprogram/types/' + name] = text
  return files
}

/** What is too large, as WeChat's tools and shops would ship it. */
async function tooLarge(files) {
  const phone = await transform(files['miniprogram/miniprogram_dist/index.js'], { minify: true, format: 'cjs', target: 'es5' })
  const sizes = [
    ['miniprogram_dist/index.js, minified', phone.code, 10 * 1024],
    ['web/wxgate.js', files['web/wxgate.js'], 1100],
  ]
  return sizes
    .map(([name, text, most]) => [name, Buffer.byteLength(text), most])
    .filter(([, size, most]) => size > most)
    .map(([name, size, most]) => `${name} has ${size} bytes, more than ${most}`)
}

const check = process.argv.includes('--check')
const files = await built()
const wrong = await tooLarge(files)
for (const [name, text] of Object.entries(files)) {
  const path = join(here, name)
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue
  if (check) {
    wrong.push(`${name} is not the build of the source: run make sdk-build`)
    continue
  }
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  console.log('built ' + relative(process.cwd(), path))
}
for (const what of wrong) console.error(what)
process.exitCode = wrong.length > 0 ? 1 : 0
