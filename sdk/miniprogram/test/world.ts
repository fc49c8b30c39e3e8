// The gateway's own program in front of a shop, with the pretend WeChat behind
// it. What the gateway asks WeChat goes through here, to be counted.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Phone } from './phone'
import { acceptSocket } from './socket'

/** How long anything may take on a busy machine, in ms. */
const PATIENCE = 60000

/** What the shop saw of a request. */
export interface Seen {
  method: string
  path: string
  user: string
  kind: string
  previous: string
  authorization: string
  body: string
}

export interface World {
  /** The site, of gateway and shop. */
  base: string
  /** The pretend WeChat. */
  wechat: string
  /** What the shop saw, in order. */
  seen: Seen[]
  /** What the gateway asked WeChat: paths, in order. */
  asked: string[]
  /** What WeChat answers in place of an answer of its own, by path. */
  answers: Map<string, unknown>
  phone(person: string): Phone
  /** How often a code of wx.login was exchanged. */
  exchanged(): number
  /** Ends all sessions of a user. */
  revoke(user: string): Promise<void>
  stop(): Promise<void>
}

const CADDYFILE = `{
	admin ADMIN
	persist_config off
	wxgate {
		database sqlite:DIR/wxgate.db
		mini_program wx2222222222222222 sandbox-mini-secret
		first_login FIRST_LOGIN
		sandbox on
		endpoints {
			api http://API
			open http://API
		}
	}
}

http://SITE {
	bind 127.0.0.1
	wxgate {
		external_url http://SITE
		login /me/*
		phone /pay
	}
	reverse_proxy SHOP
}
`

/** A test in a world of its own. */
export function inWorld(name: string, story: (world: World) => Promise<void>, firstLogin?: 'wechat' | 'wechat_phone'): void {
  test(name, { timeout: 2 * PATIENCE }, async (t) => {
    const world = await startWorld(firstLogin)
    t.after(() => world.stop())
    await story(world)
  })
}

async function startWorld(firstLogin: 'wechat' | 'wechat_phone' = 'wechat_phone'): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'wxgate-sdk-'))
  const [site, admin, wechat, browser, mini, webView, shop] = await freeAddresses(7)
  const world: World = {
    base: 'http://' + site,
    wechat: 'http://' + wechat,
    seen: [],
    asked: [],
    answers: new Map(),
    phone: (person) => new Phone(world, person),
    exchanged: () => world.asked.filter((path) => path === '/sns/jscode2session').length,
    revoke: async (user) => {
      const body = JSON.stringify({ user_id: user, reason: 'test' })
      const headers = { Origin: 'http://' + admin, 'Content-Type': 'application/json' }
      const answer = await fetch(`http://${admin}/wxgate/users/revoke`, { method: 'POST', body, headers })
      if (!answer.ok) throw new Error(`revoking: ${answer.status} ${await answer.text()}`)
      // Sessions know their birth in seconds, and those of this one have ended too.
      await pause(1000 - (Date.now() % 1000))
    },
    stop: async () => {
      for (const child of children) {
        child.kill()
        if (child.exitCode === null) await new Promise((resolve) => child.once('exit', resolve))
      }
      for (const server of servers) {
        server.closeAllConnections()
        server.close()
      }
      await rm(dir, { recursive: true, force: true })
    },
  }
  const servers = [await listen(shopOf(world)), await listen(watch(world, wechat!))]
  const [shopAddress, api] = servers.map((server) => '127.0.0.1:' + (server.address() as AddressInfo).port)
  const text = CADDYFILE.replace('ADMIN', admin!)
    .replace('DIR', dir)
    .replace('FIRST_LOGIN', firstLogin)
    .replaceAll('API', api!)
    .replaceAll('SITE', site!)
    .replace('SHOP', shopAddress!)
  await writeFile(join(dir, 'Caddyfile'), text)
  const env = { ...process.env, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir }
  const children = [
    start(process.env.WXGATE_SANDBOX!, [
      'serve', '--gateway-url', world.base, '--wechat', wechat!, '--browser', browser!,
      '--mini', mini!, '--web-view', webView!, '--shop', shop!,
    ], env),
    start(process.env.WXGATE_GATEWAY!, ['run', '--config', join(dir, 'Caddyfile'), '--adapter', 'caddyfile'], env),
  ]
  try {
    await until(`${world.wechat}/`, children)
    await until(`${world.base}/wxgate/healthz`, children)
  } catch (e) {
    await world.stop()
    throw e
  }
  return world
}

function start(program: string, args: string[], env: NodeJS.ProcessEnv): ChildProcess & { said?: string } {
  const child: ChildProcess & { said?: string } = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  child.stderr!.on('data', (piece) => (child.said = (child.said || '') + piece))
  return child
}

/** Waits until somebody answers. */
async function until(url: string, children: Array<ChildProcess & { said?: string }>): Promise<void> {
  for (const end = Date.now() + PATIENCE; ; await pause(20)) {
    const answer = await fetch(url).catch(() => undefined)
    if (answer) return void (await answer.arrayBuffer())
    const dead = children.find((child) => child.exitCode !== null)
    if (dead) throw new Error('ended: ' + dead.said)
    if (Date.now() > end) throw new Error(`nobody answers at ${url}`)
  }
}

let next = process.pid * 97

/** Addresses that nobody uses, none twice, below the ports that the system gives to anybody in the meantime. */
async function freeAddresses(n: number): Promise<string[]> {
  const addresses: string[] = []
  while (addresses.length < n) {
    const port = 10000 + (next++ % 20000)
    const server = net.createServer()
    const free = await new Promise((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (free) addresses.push('127.0.0.1:' + port)
  }
  return addresses
}

function listen(server: http.Server): Promise<http.Server> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}

/** A shop that says who it takes the visitor for. */
function shopOf(world: World): http.Server {
  const server = http.createServer(async (request, answer) => {
    const seen: Seen = {
      method: request.method!,
      path: request.url!,
      user: one(request, 'x-user-id'),
      kind: one(request, 'x-user-kind'),
      previous: one(request, 'x-user-previous-id'),
      authorization: one(request, 'authorization'),
      body: '',
    }
    world.seen.push(seen)
    for await (const piece of request) seen.body += piece
    // The shop refuses its own tokens itself.
    const status = seen.authorization === 'Bearer stale' ? 401 : 200
    answer.writeHead(status, { 'Content-Type': 'application/json' })
    answer.end(JSON.stringify({ user: seen.user, kind: seen.kind, received: seen.body.length }))
  })
  server.on('upgrade', (request, socket) => {
    const user = one(request, 'x-user-id')
    acceptSocket(request, socket, (text) => `${text} for ${user}`)
  })
  return server
}

function one(request: http.IncomingMessage, name: string): string {
  return String(request.headers[name] || '')
}

/** Stands before the pretend WeChat's API, and sometimes answers in its place. */
function watch(world: World, wechat: string): http.Server {
  return http.createServer(async (request, answer) => {
    const path = new URL(request.url!, 'http://api').pathname
    world.asked.push(path)
    const body: Buffer[] = []
    for await (const piece of request) body.push(piece as Buffer)
    const other = world.answers.get(path)
    if (other) return void answer.end(JSON.stringify(other))
    const sent = http.request(`http://${wechat}${request.url}`, { method: request.method, headers: request.headers }, (got) => {
      answer.writeHead(got.statusCode!, got.headers)
      got.pipe(answer)
    })
    sent.on('error', () => answer.destroy())
    sent.end(Buffer.concat(body))
  })
}
