// Answers that overtake each other, and what becomes of the session then.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Gateway, PhoneEvent, Platform } from '@wxgate/miniprogram'
import { APPID, createGateway } from './phone'

interface Call {
  path: string
  session: string
  answer(statusCode: number, data?: unknown, header?: object): Promise<void>
}

const guest = { id: '1', kind: 'guest' } as const
const member = { id: '2', kind: 'member', phone_verified: true } as const
const tap: PhoneEvent = { detail: { code: 'phone code', errMsg: 'getPhoneNumber:ok' } }

/** A mini program whose calls are answered when a test says so. */
class Patient {
  readonly calls: Call[] = []
  readonly storage = new Map<string, any>()
  readonly gateway: Gateway
  private readonly wx = {
    login: (option: any) => option.success({ code: 'code', errMsg: 'login:ok' }),
    request: (option: any) => {
      this.calls.push({
        path: new URL(option.url).pathname,
        session: String(option.header?.Authorization || '').replace('Wxgate ', ''),
        answer: async (statusCode, data = '', header = {}) => {
          option.success({ statusCode, data, header, errMsg: 'request:ok' })
          await turn()
        },
      })
      return { abort: () => option.fail({ errMsg: 'request:fail abort' }) }
    },
    connectSocket: () => assert.fail('connected'),
    getStorageSync: (key: string) => this.storage.get(key) ?? '',
    setStorageSync: (key: string, value: unknown) => this.storage.set(key, structuredClone(value)),
  }

  constructor() {
    this.gateway = createGateway({ baseUrl: 'https://shop.test', appid: APPID, wx: this.wx as unknown as Platform })
  }

  /** The latest call of a path, once it is sent. */
  async sent(path: string): Promise<Call> {
    await turn()
    const call = this.calls.filter((call) => call.path === path).at(-1)
    assert.ok(call, `${path} was not called`)
    return call
  }

  /** The session that the next request brings, and the one that the next launch will. */
  async sessions(): Promise<[string, string]> {
    void this.gateway.request({ url: '/next' })
    return [(await this.sent('/next')).session, [...this.storage.values()][0].token]
  }
}

/** A guest whose session is T0, and a request of his under way. */
async function shopping(): Promise<{ phone: Patient; request: Call }> {
  const phone = new Patient()
  void phone.gateway.request({ url: '/goods' })
  await (await phone.sent('/wxgate/mini/login')).answer(200, { session: 'T0', user: guest })
  return { phone, request: await phone.sent('/goods') }
}

const renewed = { 'X-Wxgate-Session': 'T1' }

test('a phone is bound though the session is renewed meanwhile', async () => {
  const { phone, request } = await shopping()
  const bound = phone.gateway.bindPhone(tap)
  const binding = await phone.sent('/wxgate/mini/phone')
  await request.answer(200, {}, renewed)
  const me = await phone.sent('/wxgate/me')
  await binding.answer(200, { session: 'T2', user: member })
  assert.deepEqual(await bound, member)
  await me.answer(200, guest)
  assert.deepEqual(phone.gateway.user(), member)
  assert.deepEqual(await phone.sessions(), ['T2', 'T2'])
})

test('a login counts though the session is renewed meanwhile', async () => {
  const { phone, request } = await shopping()
  const wanted = phone.gateway.requireLogin()
  const login = await phone.sent('/wxgate/mini/login')
  await request.answer(200, {}, renewed)
  await login.answer(200, { session: 'T2', user: member })
  assert.deepEqual(await wanted, member)
  assert.deepEqual(await phone.sessions(), ['T2', 'T2'])
})

test('a logout counts though the session is renewed meanwhile, and is kept at once', async () => {
  const { phone, request } = await shopping()
  void phone.gateway.logout()
  const logout = await phone.sent('/wxgate/logout')
  await request.answer(200, {}, renewed)
  const me = await phone.sent('/wxgate/me')
  await logout.answer(204, '', { 'X-Wxgate-Session': 'T2' })
  await me.answer(200, member)
  assert.deepEqual(phone.gateway.user(), guest)
  assert.deepEqual(await phone.sessions(), ['T2', 'T2'])
})

test('a phone that is bound late does not undo a logout', async () => {
  const { phone } = await shopping()
  void phone.gateway.bindPhone(tap)
  const binding = await phone.sent('/wxgate/mini/phone')
  void phone.gateway.logout()
  await (await phone.sent('/wxgate/logout')).answer(204, '', { 'X-Wxgate-Session': 'T2' })
  await binding.answer(200, { session: 'T3', user: member })
  assert.deepEqual(phone.gateway.user(), guest)
  assert.deepEqual(await phone.sessions(), ['T2', 'T2'])
})

test('a refusal may bring another session, and who its person is is asked', async () => {
  const { phone } = await shopping()
  const bound = phone.gateway.bindPhone(tap)
  const problem = { type: 'urn:wxgate:problem:phone_owned_by_other_user', code: 'phone_owned_by_other_user' }
  const refused = assert.rejects(bound, { code: 'phone_owned_by_other_user', status: 409 })
  await (await phone.sent('/wxgate/mini/phone')).answer(409, problem, renewed)
  await refused
  await (await phone.sent('/wxgate/me')).answer(200, member)
  assert.deepEqual(phone.gateway.user(), member)
  assert.deepEqual(await phone.sessions(), ['T1', 'T1'])
})

test('a socket that waits for a login that fails tells its callbacks', async () => {
  const phone = new Patient()
  const told: string[] = []
  const task = phone.gateway.connectSocket({
    url: '/chat',
    fail: (res) => told.push('fail ' + res.errMsg),
    complete: () => told.push('complete'),
  })
  task.onError((res) => told.push('error ' + res.errMsg))
  await (await phone.sent('/wxgate/mini/login')).answer(503)
  await turn()
  assert.deepEqual(told, ['fail wxgate:fail unavailable', 'complete', 'error wxgate:fail unavailable'])
})

test('an aborted request has a code, also where WeChat tells of the end at once', async () => {
  const phone = new Patient()
  const told: Array<[string, unknown]> = []
  const fail = (res: { errMsg: string; code?: unknown }) => told.push([res.errMsg, res.code])
  phone.gateway.request({ url: 'https://other.test/', fail }).abort()
  assert.deepEqual(told, [['request:fail abort', 'aborted']])
})

test('a person of whom the phone knows more than the gateway is asked again', async () => {
  const phone = new Patient()
  void phone.gateway.requireLogin()
  await (await phone.sent('/wxgate/mini/login')).answer(200, { session: 'T0', user: member })
  const answer = phone.gateway.request({ url: '/pay', method: 'POST', login: true })
  const refused = assert.rejects(answer, { code: 'phone_required' })
  const problem = { type: 'urn:wxgate:problem:login_required', code: 'login_required' }
  await (await phone.sent('/pay')).answer(401, problem)
  await (await phone.sent('/wxgate/me')).answer(200, { id: '2', kind: 'member', phone_verified: false })
  await refused
})
