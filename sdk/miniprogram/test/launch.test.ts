import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { APPID, Phone, createGateway } from './phone'
import { inWorld, type World } from './world'

type Answer = { user: string; kind: string; received: number }

const pages = (n: number) => Array.from({ length: n }, (_, i) => '/page/' + i)

inWorld('ten pages at launch: one login, all served as one guest, in order', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  const answers = await Promise.all(pages(10).map((url) => gateway.request<Answer>({ url })))
  assert.equal(phone.logins, 1)
  assert.equal(world.exchanged(), 1)
  assert.deepEqual(phone.sent, pages(10).map((url) => 'GET ' + url))
  assert.deepEqual(new Set(answers.map((answer) => answer.data.user)), new Set([gateway.user()!.id]))
  assert.equal(gateway.user()!.kind, 'guest')
})

inWorld('the next launch needs no login, and ready asks once who the person is', async (world) => {
  const phone = world.phone('li')
  const before = await phone.launch().ready()
  const gateway = phone.launch()
  assert.deepEqual(gateway.user(), before)
  const [answer, user] = await Promise.all([gateway.request<Answer>({ url: '/' }), gateway.ready()])
  assert.equal(answer.data.user, before.id)
  assert.equal(user.id, before.id)
  assert.equal(phone.logins, 1)
})

inWorld('ready without a network: whoever was here before is known, and nobody else', async (world) => {
  const phone = world.phone('li')
  const before = await phone.launch().ready()
  phone.offline = true
  assert.equal((await phone.launch().ready()).id, before.id)
  const other = world.phone('han')
  other.offline = true
  const gateway = other.launch()
  await assert.rejects(gateway.ready(), { code: 'wx_login_failed', errMsg: 'login:fail the network is down' })
  other.offline = false
  assert.equal((await gateway.ready()).kind, 'guest')
})

inWorld('callbacks and promise are told the same, once', async (world) => {
  const gateway = world.phone('li').launch()
  const told: string[] = []
  const task = gateway.request<Answer>({
    url: '/goods',
    success: (res) => told.push('success ' + res.statusCode),
    fail: () => told.push('fail'),
    complete: () => told.push('complete'),
  })
  task.onHeadersReceived((res) => told.push('headers ' + res.header['Content-Type']))
  const answer = await task
  assert.deepEqual(told, ['headers application/json', 'success 200', 'complete'])
  assert.equal(answer.data.user, gateway.user()!.id)
})

inWorld('abort, before there is a session and after', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  const told: string[] = []
  const early = gateway.request({ url: '/early', fail: (res) => told.push(res.errMsg), complete: () => told.push('complete') })
  early.abort()
  await assert.rejects(early, { code: 'aborted', errMsg: 'request:fail abort' })
  await gateway.ready()
  assert.deepEqual(phone.sent, [])
  const late = gateway.request({ url: '/late' })
  late.abort()
  late.abort()
  await assert.rejects(late, { errMsg: 'request:fail abort' })
  assert.deepEqual(told, ['request:fail abort', 'complete'])
})

inWorld("the shop's own token goes beside the session, and its own 401 is its own", async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  const header = { authorization: 'Bearer fresh' }
  const answer = await gateway.request<Answer>({ url: '/orders', method: 'POST', data: { a: 1 }, header })
  assert.equal(answer.data.user, gateway.user()!.id)
  assert.equal(world.seen[0]!.authorization, 'Bearer fresh')
  assert.equal(world.seen[0]!.body, '{"a":1}')
  assert.deepEqual(header, { authorization: 'Bearer fresh' })
  const refused = await gateway.request({ url: '/orders', header: { Authorization: 'Bearer stale' }, login: true })
  assert.equal(refused.statusCode, 401)
  assert.equal(phone.logins, 1)
  assert.deepEqual(phone.sent, ['POST /orders', 'GET /orders'])
})

/** A phone whose requests go nowhere, with their headers. */
function recorder(answers: Record<string, unknown>) {
  const calls: Array<{ url: string; header?: Record<string, string> }> = []
  const phone = new Phone({} as World, '')
  phone.codes = ['code']
  const wx = {
    ...phone.wx,
    request: (option: any) => {
      calls.push({ url: option.url, header: option.header })
      const data = answers[new URL(option.url).pathname]
      setImmediate(() => option.success({ statusCode: 200, header: {}, data, errMsg: 'request:ok' }))
      return {} as WechatMiniprogram.RequestTask
    },
  } as typeof phone.wx
  return { calls, wx }
}

test('nobody but the site is shown the session', async () => {
  const login = { session: 'secret', user: { id: '1', kind: 'guest' } }
  for (const [url, shown] of Object.entries({
    '/goods': true,
    'https://shop.test/goods': true,
    'https://shop.test?q': true,
    'https://shop.test': true,
    'https://shop.test.evil.test/goods': false,
    'https://shop.test@evil.test/': false,
    'https://shop.test:8443/': false,
    'http://shop.test/': false,
    '//evil.test/goods': false,
    'https://pay.test/?next=https://shop.test/': false,
  })) {
    const { calls, wx } = recorder({ '/wxgate/mini/login': login })
    const gateway = createGateway({ baseUrl: 'https://shop.test/', wx })
    await gateway.ready()
    const before = calls.length
    await gateway.request({ url: url.replace(/^\/\//, 'https://evil.test//'), header: { a: 'b' } })
    const header = shown ? { a: 'b', Authorization: 'Wxgate secret' } : { a: 'b' }
    assert.deepEqual(calls[before]!.header, header, url)
  }
})

test('a request to another host waits for no login', async () => {
  const { calls, wx } = recorder({})
  const gateway = createGateway({ baseUrl: 'https://shop.test', wx })
  await gateway.request({ url: 'https://other.test/' })
  assert.deepEqual(calls.map((call) => call.url), ['https://other.test/'])
})

test('options that cannot work are refused at once', () => {
  const { wx } = recorder({})
  for (const baseUrl of ['shop.test', 'https://shop.test/api', 'https://a@shop.test', '']) {
    assert.throws(() => createGateway({ baseUrl, wx }), /baseUrl/, baseUrl)
  }
  const old = { ...wx, getAccountInfoSync: undefined }
  assert.throws(() => createGateway({ baseUrl: 'https://shop.test', wx: old }), /appid/)
  createGateway({ baseUrl: 'https://shop.test', wx: old, appid: APPID })
})

test('a phone whose storage fails costs a login at each launch', async () => {
  const { calls, wx } = recorder({ '/wxgate/mini/login': { session: 's', user: { id: '1', kind: 'guest' } } })
  const broken = () => {
    throw new Error('storage')
  }
  const gateway = createGateway({ baseUrl: 'https://shop.test', wx: { ...wx, getStorageSync: broken, setStorageSync: broken } })
  assert.equal((await gateway.ready()).id, '1')
  assert.equal(calls.length, 1)
})

const sdk = process.env.WXGATE_SDK!

test('the ES module and the files for npm are the same client', async () => {
  const own = JSON.parse(readFileSync(join(sdk, 'miniprogram/package.json'), 'utf8'))
  const load = (path: string) => import(join(sdk, 'miniprogram', path))
  const module = (await load(own.module)) as typeof import('@wxgate/miniprogram')
  assert.equal(own.main, own.miniprogram + '/index.js')
  assert.deepEqual(Object.keys(module), ['createGateway'])
  const { wx } = recorder({ '/wxgate/mini/login': { session: 's', user: { id: '1', kind: 'guest' } } })
  assert.equal((await module.createGateway({ baseUrl: 'https://shop.test', wx }).ready()).id, '1')
})
