// Checks the types, then runs the tests of the built clients against the
// gateway's own program. WXGATE_GATEWAY and WXGATE_SANDBOX name the programs.
import { build } from 'esbuild'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))

function run(args, options) {
  const { status } = spawnSync(process.execPath, args, { cwd: here, stdio: 'inherit', ...options })
  if (status !== 0) process.exitCode = 1
}

for (const project of ['miniprogram', 'web', '.']) run(['node_modules/typescript/bin/tsc', '-p', project])

const dir = mkdtempSync(join(tmpdir(), 'wxgate-sdk-test-'))
process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
const tests = readdirSync(join(here, 'miniprogram/test')).filter((name) => name.endsWith('.test.ts'))
await build({
  entryPoints: tests.map((name) => join(here, 'miniprogram/test', name)),
  outdir: dir,
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node18',
  logLevel: 'warning',
})
const only = process.argv[2]
const files = tests.map((name) => join(dir, name.replace(/\.ts$/, '.cjs'))).filter((file) => !only || file.includes(only))
// One at a time: each starts programs of its own.
for (const file of files) run(['--test', '--test-reporter=spec', file], { env: { ...process.env, WXGATE_SDK: here } })
