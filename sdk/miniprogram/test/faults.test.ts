import assert from 'node:assert/strict'
import { mock } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { GatewayError } from '@wxgate/miniprogram'
import type { Phone } from './phone'
import { inWorld, type World } from './world'

type Answer = { user: string; received: number }

const refused = { statusCode: 401, data: { type: 'urn:wxgate:problem:session_expired', code: 'session_expired', status: 401 } }

/** A phone with a session that the gateway refuses by now. */
async function expired(world: World): Promise<Phone> {
  const phone = world.phone('li')
  const user = await phone.launch().ready()
  await world.revoke(user.id!)
  assert.equal(phone.logins, 1)
  return phone
}

inWorld('the network is gone: everybody who waits is told, and the next one is served', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  phone.offline = true
  const waiting = Array.from({ length: 10 }, (_, i) => gateway.request({ url: '/page/' + i }))
  for (const result of await Promise.allSettled(waiting)) {
    assert.equal((result as PromiseRejectedResult).reason.code, 'wx_login_failed')
  }
  assert.equal(phone.logins, 1)
  assert.deepEqual(phone.sent, [])
  phone.offline = false
  assert.equal((await gateway.request({ url: '/' })).statusCode, 200)
})

inWorld('the network fails after wx.login: the same code is tried again', async (world) => {
  const phone = world.phone('li')
  phone.lost = { path: '/wxgate/mini/login', times: 2 }
  assert.equal((await phone.launch().ready()).kind, 'guest')
  assert.equal(phone.logins, 1)
  assert.equal(world.exchanged(), 1)
})

inWorld('the network stays away after wx.login: network', async (world) => {
  const phone = world.phone('li')
  phone.lost = { path: '/wxgate/mini/login', times: 3 }
  await assert.rejects(phone.launch().ready(), { code: 'network', errMsg: 'request:fail timeout' })
  assert.equal(phone.logins, 1)
})

inWorld('a request whose answer is lost fails as ever, and is never sent twice', async (world) => {
  const phone = world.phone('li')
  phone.lost = { path: '/orders', times: 1 }
  await assert.rejects(phone.launch().request({ url: '/orders', method: 'POST' }), { errMsg: 'request:fail timeout' })
  assert.deepEqual(phone.sent, ['POST /orders'])
})

inWorld('a spent or unknown code is replaced once', async (world) => {
  const phone = world.phone('li')
  phone.codes = ['0unknown']
  assert.equal((await phone.launch().ready()).kind, 'guest')
  assert.equal(phone.logins, 2)
  const other = world.phone('han')
  other.codes = ['1unknown', '2unknown']
  await assert.rejects(other.launch().ready(), { code: 'code_invalid', status: 422 })
  assert.equal(other.logins, 2)
})

inWorld('somebody whom WeChat blocks is told so, and not tried again', async (world) => {
  const phone = world.phone('li')
  world.answers.set('/sns/jscode2session', { errcode: 40226, errmsg: 'code blocked' })
  const gateway = phone.launch()
  await assert.rejects(gateway.request({ url: '/' }), (error: GatewayError) => {
    assert.equal(error.code, 'wechat_blocked')
    assert.equal(error.status, 403)
    assert.ok(error instanceof Error)
    assert.ok(error.title && error.detail)
    return true
  })
  assert.equal(phone.logins, 1)
})

inWorld('a busy WeChat says when to come back', async (world) => {
  world.answers.set('/sns/jscode2session', { errcode: 45011, errmsg: 'api minute-quota reach limit' })
  await assert.rejects(world.phone('li').launch().ready(), (error: GatewayError) => {
    assert.equal(error.code, 'rate_limited')
    assert.ok(error.retryAfter! > 0)
    return true
  })
})

inWorld('a storm of refusals: one login, every request is sent once more and served', async (world) => {
  const phone = await expired(world)
  const gateway = phone.launch()
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, i) => gateway.request<Answer>({ url: '/page/' + i, method: 'POST', data: { i } })),
  )
  assert.deepEqual(new Set(answers.map((answer) => answer.data.user)), new Set([gateway.user()!.id]))
  assert.equal(phone.logins, 2)
  assert.equal(world.seen.length, 10)
  assert.equal(phone.sent.length, 20)
})

inWorld('a gateway that refuses every session is asked for another only now and then', async (world) => {
  const phone = world.phone('li')
  await phone.launch().ready()
  phone.answer = (path) => (path === '/page' ? refused : undefined)
  let now = Date.now()
  const clock = mock.method(Date, 'now', () => now)
  try {
    const gateway = phone.launch()
    for (const [later, logins, sent] of [[0, 2, 10], [0, 2, 15], [2999, 2, 20], [1, 3, 30], [0, 3, 35]]) {
      now += later!
      const answers = await Promise.all(Array.from({ length: 5 }, () => gateway.request({ url: '/page' })))
      assert.deepEqual(answers.map((answer) => answer.statusCode), [401, 401, 401, 401, 401])
      assert.deepEqual([phone.logins, phone.sent.length], [logins, sent])
    }
  } finally {
    clock.mock.restore()
  }
})

inWorld('a gateway that refuses every session, slowly: no request is sent a third time', async (world) => {
  const phone = world.phone('li')
  await phone.launch().ready()
  let now = Date.now()
  phone.answer = (path) => {
    if (path !== '/page' || phone.sent.length > 4) return undefined
    now += 60_000 // so that another login would be due
    return refused
  }
  const clock = mock.method(Date, 'now', () => now)
  try {
    assert.equal((await phone.launch().request({ url: '/page' })).statusCode, 401)
    assert.deepEqual(phone.sent, ['GET /page', 'GET /page'])
  } finally {
    clock.mock.restore()
  }
})

inWorld('an upload with an expired session is sent again from its start', async (world) => {
  const phone = await expired(world)
  const photo = Buffer.alloc(300_000, 'x')
  phone.files.set('photo.jpg', photo)
  const gateway = phone.launch()
  const answer = await gateway.uploadFile({ url: '/photos', filePath: 'photo.jpg', name: 'photo' })
  assert.equal(answer.statusCode, 200)
  assert.equal(JSON.parse(answer.data).user, gateway.user()!.id)
  assert.equal(phone.logins, 2)
  assert.equal(world.seen.length, 1)
  assert.ok(world.seen[0]!.body.length > photo.length)
})

inWorld('a session that expires in the middle of an upload: it is served as whose it was, once', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  const user = await gateway.ready()
  const photo = Buffer.alloc(200_000, 'x')
  phone.files.set('photo.jpg', photo)
  phone.pieces = async function* (file) {
    yield file.subarray(0, file.length / 2)
    while (world.seen.length === 0) await pause(5)
    await world.revoke(user.id!)
    yield file.subarray(file.length / 2)
  }
  const answer = await gateway.uploadFile({ url: '/photos', filePath: 'photo.jpg', name: 'photo' })
  assert.equal(JSON.parse(answer.data).user, user.id)
  assert.deepEqual(phone.sent, ['POST /photos'])
  assert.equal(phone.logins, 1)
})

inWorld('answers that do not show whose 401 they are: files and bytes', async (world) => {
  const phone = await expired(world)
  const gateway = phone.launch()
  const file = await gateway.downloadFile({ url: '/bill.pdf' })
  assert.equal(JSON.parse(phone.files.get(file.tempFilePath)!.toString()).user, gateway.user()!.id)
  await world.revoke(gateway.user()!.id!)
  const bytes = await phone.launch().request<ArrayBuffer>({ url: '/bill.pdf', responseType: 'arraybuffer' })
  assert.equal(bytes.statusCode, 200)
  const own = await phone.launch().downloadFile({ url: '/bill.pdf', header: { Authorization: 'Bearer stale' } })
  assert.equal(own.statusCode, 401)
  assert.equal(phone.logins, 3)
})

inWorld("the shop's own 401 in bytes is its own: nobody is asked, and nothing is sent again", async (world) => {
  const phone = world.phone('li')
  const answer = await phone.launch().request({
    url: '/orders', method: 'POST', login: true, responseType: 'arraybuffer', header: { Authorization: 'Bearer stale' },
  })
  assert.equal(answer.statusCode, 401)
  assert.deepEqual(phone.sent, ['POST /orders'])
})

/** Sends a word and returns what comes back, or the error. */
function talk(task: WechatMiniprogram.SocketTask): Promise<string> {
  return new Promise((resolve) => {
    task.onOpen(() => task.send({ data: 'hello' }))
    task.onMessage((res) => {
      resolve(String(res.data))
      task.close({})
    })
    task.onError((res) => resolve(res.errMsg))
  })
}

inWorld('a socket waits for the session, and connects once more if it is refused', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  assert.equal(await talk(gateway.connectSocket({ url: '/chat' })), 'hello for ' + gateway.user()!.id)
  await world.revoke(gateway.user()!.id!)
  const next = phone.launch()
  assert.equal(await talk(next.connectSocket({ url: world.base.replace('http', 'ws') + '/chat' })), 'hello for ' + next.user()!.id)
  assert.equal(phone.logins, 2)
  assert.deepEqual(phone.sent, ['WS /chat', 'WS /chat', 'WS /chat'])
})

inWorld('a socket that cannot be opened says so, and one that is closed early never opens', async (world) => {
  const phone = world.phone('li')
  phone.offline = true
  assert.equal(await talk(phone.launch().connectSocket({ url: '/chat' })), 'login:fail the network is down')
  phone.offline = false
  const gateway = phone.launch()
  const task = gateway.connectSocket({ url: '/chat' })
  const closed = new Promise((resolve) => task.onClose(resolve))
  task.close({})
  await closed
  assert.equal(await talk(gateway.connectSocket({ url: '/me/chat' })), 'Unexpected server response: 401')
  assert.deepEqual(phone.sent, ['WS /me/chat'])
})
