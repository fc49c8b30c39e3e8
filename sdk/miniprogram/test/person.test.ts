import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import type { Change, Gateway, PhoneEvent } from '@wxgate/miniprogram'
import { APPID, createGateway, type Phone } from './phone'
import { inWorld } from './world'

type Answer = { user: string; kind: string; code?: string }

/** A mini program whose phone button is tapped as soon as it is shown, and what it is told of changes. */
function shopping(phone: Phone): { gateway: Gateway; changes: Change[]; asked: () => number } {
  let asked = 0
  const changes: Change[] = []
  const gateway = phone.launch({
    askPhone: async () => {
      asked++
      await gateway.bindPhone(await phone.tapPhone()).catch(() => undefined)
    },
  })
  gateway.onChange((change) => changes.push(change))
  return { gateway, changes, asked: () => asked }
}

const kinds = (changes: Change[]) => changes.map((change) => [change.kind, change.from.kind, change.to.kind])

inWorld('a guest becomes a member by his phone, and the request that needed it goes through', async (world) => {
  const phone = world.phone('li')
  const { gateway, changes, asked } = shopping(phone)
  const guest = await gateway.ready()
  const plain = await gateway.request<Answer>({ url: '/me/orders' })
  assert.equal(plain.statusCode, 401)
  assert.equal(plain.data.code, 'login_required')
  assert.equal(asked(), 0)
  const answer = await gateway.request<Answer>({ url: '/me/orders', login: true })
  assert.equal(answer.data.kind, 'member')
  assert.equal(gateway.user()!.id, answer.data.user)
  assert.equal(gateway.user()!.phone_verified, true)
  assert.deepEqual(kinds(changes), [['login', 'guest', 'member']])
  assert.equal(changes[0]!.from.id, guest.id)
  assert.equal(world.seen[0]!.previous, guest.id)
})

inWorld('ten requests that need a login ask once', async (world) => {
  const phone = world.phone('li')
  const { gateway, asked } = shopping(phone)
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, i) => gateway.request<Answer>({ url: '/me/' + i, login: true })),
  )
  assert.deepEqual(new Set(answers.map((answer) => answer.data.user)), new Set([gateway.user()!.id]))
  assert.equal(asked(), 1)
  assert.equal(phone.logins, 2) // the launch's, and the one that wants a login
})

inWorld('a refused phone leaves a guest who shops on', async (world) => {
  const phone = world.phone('zhao')
  const { gateway, changes } = shopping(phone)
  const guest = await gateway.ready()
  await assert.rejects(gateway.bindPhone(await phone.tapPhone()), { code: 'phone_denied', errMsg: 'getPhoneNumber:fail user deny' })
  await assert.rejects(gateway.requireLogin(), { code: 'login_cancelled' })
  await assert.rejects(gateway.request({ url: '/me/orders', login: true }), { code: 'login_cancelled' })
  assert.equal((await gateway.request<Answer>({ url: '/' })).data.user, guest.id)
  assert.deepEqual(changes, [])
})

inWorld('without a way to ask, what needs a phone says so', async (world) => {
  const gateway = world.phone('li').launch()
  await assert.rejects(gateway.requireLogin(), { code: 'phone_required' })
})

inWorld('where WeChat is enough, nobody is asked for anything', async (world) => {
  const li = world.phone('li').launch()
  assert.equal((await li.requireLogin()).kind, 'member')
  const changes: Change[] = []
  const han = world.phone('han').launch()
  han.onChange((change) => changes.push(change))
  await han.ready()
  // The gateway itself makes him a member on the way, in the shop's answer.
  const answer = await han.request<Answer>({ url: '/me/orders' })
  assert.equal(answer.data.kind, 'member')
  await new Promise<void>((resolve) => (changes.length ? resolve() : han.onChange(() => resolve())))
  assert.deepEqual(kinds(changes), [['login', 'guest', 'member']])
  assert.equal(han.user()!.id, answer.data.user)
}, 'wechat')

inWorld('a member without a phone is asked for it where one is needed', async (world) => {
  const { gateway, changes, asked } = shopping(world.phone('li'))
  await gateway.ready()
  const member = await gateway.requireLogin()
  assert.equal(asked(), 0)
  const answer = await gateway.request<Answer>({ url: '/pay', method: 'POST', login: true })
  assert.equal(answer.data.user, member.id)
  assert.equal(asked(), 1)
  assert.deepEqual(kinds(changes), [['login', 'guest', 'member'], ['phone', 'member', 'member']])
  assert.equal((await gateway.requireLogin({ phone: true })).id, member.id)
}, 'wechat')

inWorld('a guest who needs a phone is brought there in one go', async (world) => {
  const { gateway, asked } = shopping(world.phone('li'))
  const answer = await gateway.request<Answer>({ url: '/pay', method: 'POST', login: true })
  assert.equal(answer.data.kind, 'member')
  assert.equal(asked(), 1)
}, 'wechat')

/** The button of a WeChat before base library 2.21.2. */
async function olderTap(phone: Phone): Promise<PhoneEvent> {
  const { encryptedData, iv, errMsg } = (await phone.tapPhone()).detail
  return { detail: { encryptedData: encryptedData!, iv: iv!, errMsg: errMsg! } }
}

inWorld('an older WeChat brings encrypted data', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  await gateway.ready()
  assert.equal((await gateway.bindPhone(await olderTap(phone))).kind, 'member')
  assert.equal(phone.logins, 1)
  assert.ok(!world.asked.includes('/wxa/business/getuserphonenumber'))
})

inWorld('a phone button never logs in: a lost key is replaced only after its tap', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  await gateway.ready()
  const tap = await olderTap(phone)
  for (let i = 0; i < 2; i++) await world.phone('li').launch().ready() // newer keys, and no more than two are kept
  let during = -1
  phone.answer = (path) => {
    if (path === '/wxgate/mini/phone') during = phone.logins
    return undefined
  }
  await assert.rejects(gateway.bindPhone(tap), { code: 'session_key_lost' })
  assert.equal(during, 1)
  await gateway.request({ url: '/' }) // waits for the login
  assert.equal(phone.logins, 2)
  assert.equal((await gateway.bindPhone(await olderTap(phone))).kind, 'member')
  assert.equal(phone.logins, 2)
})

inWorld('a phone button never logs in: an expired session is replaced only after its tap', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  const user = await gateway.ready()
  await world.revoke(user.id!)
  const tap = await phone.tapPhone()
  let during = -1
  phone.answer = (path) => {
    if (path === '/wxgate/mini/phone') during = phone.logins
    return undefined
  }
  await assert.rejects(gateway.bindPhone(tap), { code: 'session_expired' })
  assert.equal(during, 1)
  await gateway.request({ url: '/' })
  assert.equal(phone.logins, 2)
  assert.equal((await gateway.bindPhone(await phone.tapPhone())).kind, 'member')
})

inWorld('a phone whose answer is lost is bound all the same', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  await gateway.ready()
  phone.lost = { path: '/wxgate/mini/phone', times: 1 }
  assert.equal((await gateway.bindPhone(await phone.tapPhone())).kind, 'member')
  assert.equal(world.asked.filter((path) => path === '/wxa/business/getuserphonenumber').length, 1)
})

test('what a phone button refuses has stable codes', async () => {
  const wx = { getStorageSync: () => '' } as unknown as Phone['wx']
  const gateway = createGateway({ baseUrl: 'https://shop.test', appid: 'wx1', wx })
  const cases: Array<[PhoneEvent['detail'], string]> = [
    [{ errMsg: 'getPhoneNumber:fail user deny' }, 'phone_denied'],
    [{ errMsg: 'getPhoneNumber:fail:user denied' }, 'phone_denied'],
    [{ errMsg: 'getPhoneNumber:fail user cancel' }, 'phone_denied'],
    [{ errMsg: 'getPhoneNumber:fail jsapi has no permission', errno: 1400001 }, 'phone_no_quota'],
    [{ errMsg: 'getPhoneNumber:fail no permission' }, 'phone_no_permission'],
    [{ errMsg: 'getPhoneNumber:fail api scope is not declared in the privacy agreement', errno: 112 }, 'privacy_not_declared'],
    [{ errMsg: 'getPhoneNumber:fail api scope is not declared in the privacy agreement' }, 'privacy_not_declared'],
    [{ errMsg: 'getPhoneNumber:fail privacy permission is not authorized', errno: 104 }, 'privacy_denied'],
    [{ errMsg: 'getPhoneNumber:fail privacy permission is not authorized' }, 'privacy_denied'],
    [{ errMsg: 'getPhoneNumber:fail system error' }, 'phone_failed'],
    [{ errMsg: 'getPhoneNumber:ok', encryptedData: 'without iv' }, 'phone_failed'],
    [{}, 'phone_failed'],
  ]
  for (const [detail, code] of cases) {
    await assert.rejects(gateway.bindPhone({ detail }), { code, errMsg: detail.errMsg || 'getPhoneNumber:fail' })
  }
})

/** Lets the gateway's answer about the person be another. */
async function otherwise(phone: Phone, gateway: Gateway, me: object): Promise<void> {
  phone.answer = (path) => (path === '/wxgate/me' ? { statusCode: 200, data: me } : undefined)
  await gateway.ready()
  phone.answer = () => undefined
}

inWorld('whoever was merged elsewhere meanwhile is told of at the launch', async (world) => {
  const phone = world.phone('li')
  const before = await phone.launch().ready()
  const { gateway, changes } = shopping(phone)
  const stop = gateway.onChange(() => assert.fail('told in vain'))
  stop()
  gateway.onChange(() => {
    throw new Error("a listener's own mistake")
  })
  const complaint = console.error
  console.error = () => undefined
  try {
    await otherwise(phone, gateway, { id: 'other', kind: 'guest' })
  } finally {
    console.error = complaint
  }
  assert.deepEqual(changes, [{ from: before, to: { id: 'other', kind: 'guest' }, kind: 'merge' }])
})

inWorld('a logout lasts over launches, until a login is wanted', async (world) => {
  const phone = world.phone('li')
  const { gateway, changes } = shopping(phone)
  const member = await gateway.requireLogin()
  await gateway.logout()
  const guest = gateway.user()!
  assert.equal(guest.kind, 'guest')
  assert.deepEqual(kinds(changes), [['login', 'guest', 'member'], ['logout', 'member', 'guest']])
  assert.equal((await gateway.request<Answer>({ url: '/' })).data.user, guest.id)
  const next = shopping(phone).gateway
  assert.equal((await next.ready()).id, guest.id)
  assert.equal((await next.requireLogin()).id, member.id)
})

inWorld('a logout without a network fails, and nothing has changed', async (world) => {
  const phone = world.phone('li')
  const { gateway } = shopping(phone)
  const member = await gateway.requireLogin()
  phone.offline = true
  await assert.rejects(gateway.logout(), { code: 'network' })
  assert.equal(gateway.user()!.id, member.id)
})

/** What a browser gets when a page is opened, which fetch cannot ask for: it names its own Sec-Fetch-Mode. */
function navigate(url: string, headers: http.OutgoingHttpHeaders): Promise<http.IncomingHttpHeaders> {
  return new Promise((resolve, reject) => {
    http.get(url, { headers }, (answer) => {
      answer.resume()
      answer.on('end', () => resolve(answer.headers))
    }).on('error', reject)
  })
}

inWorld('a page in a web-view is opened as the same person', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  const url = await gateway.webviewUrl('/cart?from=mini')
  assert.ok(url.startsWith(world.base + '/wxgate/handoff?'), url)
  assert.ok(!url.includes(gateway.user()!.id!))
  const headers = { 'User-Agent': `Mozilla/5.0 (iPhone) MicroMessenger/8.0.31 miniProgram/${APPID}`, 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document', Accept: 'text/html' }
  const opened = await navigate(url, headers)
  assert.equal(opened.location, '/cart?from=mini')
  const cookie = opened['set-cookie']!.map((set) => set.split(';')[0]).join('; ')
  await navigate(world.base + '/cart', { ...headers, cookie })
  assert.equal(world.seen.at(-1)!.user, gateway.user()!.id)
  assert.notEqual((await gateway.webviewUrl('/cart')), url)
})

inWorld('a session that has expired does not keep a web-view from opening', async (world) => {
  const phone = world.phone('li')
  const before = await phone.launch().ready()
  await world.revoke(before.id!)
  assert.ok((await phone.launch().webviewUrl('/')).includes('/wxgate/handoff?'))
  assert.equal(phone.logins, 2)
})
