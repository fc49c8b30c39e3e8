// The examples of docs/miniprogram.md, run with the frameworks they are for.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import axios, { AxiosError, type AxiosInstance } from 'axios'
import LuchRequest from 'luch-request'
import { inWorld } from './world'

type Answer = { user: string; kind: string; received: number; code?: string }

/** The code that the page shows for a framework, as a function of what it uses. */
function example(framework: string, ...names: string[]): (...values: unknown[]) => unknown {
  const page = readFileSync(join(process.env.WXGATE_SDK!, '../docs/miniprogram.md'), 'utf8')
  const [, code] = new RegExp(`\\*\\*${framework}\\*\\*[^]*?\`\`\`js\\n([^]*?)\`\`\``).exec(page) || []
  assert.ok(code, `docs/miniprogram.md has no example for ${framework}`)
  return new Function(...names, code.replace(/^import .*/gm, '').replace('const client =', 'return')) as () => unknown
}

/** As uni-app makes it: what is assigned comes before what the platform has. */
function uniOf(): Record<string, unknown> {
  return new Proxy<Record<string, unknown>>({}, {
    get: (target, name: string) => (name in target ? target[name] : () => assert.fail('uni.' + name + ' is not replaced')),
  })
}

inWorld('uni-app, with luch-request', async (world) => {
  const phone = world.phone('li')
  const gateway = phone.launch()
  const uni = uniOf()
  example('uni-app', 'uni', 'gateway')(uni, gateway)
  Object.assign(globalThis, { uni })
  const client = new LuchRequest({ baseURL: world.base, header: { 'X-Shop': '1' } })
  const [got, posted] = await Promise.all([
    client.get<Answer>('/goods', { params: { q: '茶' } }),
    client.post<Answer>('/orders', { n: 1 }),
  ])
  assert.deepEqual([got.data.user, posted.data.user], [gateway.user()!.id, gateway.user()!.id])
  assert.equal(posted.data.received, 7)
  await assert.rejects(client.get('/me/orders'), (refused: { statusCode: number; data: Answer }) => {
    assert.equal(refused.statusCode, 401)
    assert.equal(refused.data.code, 'login_required')
    return true
  })
  phone.files.set('photo.jpg', Buffer.from('photo'))
  const photo = await client.upload<Answer>('/photos', { filePath: 'photo.jpg', name: 'photo' })
  assert.equal(photo.data.user, gateway.user()!.id)
  assert.equal(phone.logins, 1)
})

inWorld('Taro', async (world) => {
  const gateway = world.phone('li').launch()
  const interceptors: Array<(chain: object) => Promise<{ data: Answer }>> = []
  const Taro = { addInterceptor: (interceptor: (chain: object) => Promise<{ data: Answer }>) => interceptors.push(interceptor) }
  example('Taro', 'Taro', 'gateway')(Taro, gateway)
  const answer = await interceptors[0]!({ requestParams: { url: world.base + '/goods' } })
  assert.equal(answer.data.user, (await gateway.ready()).id)
})

inWorld('axios', async (world) => {
  const gateway = world.phone('li').launch()
  const client = example('axios', 'axios', 'AxiosError', 'gateway')(axios, AxiosError, gateway) as AxiosInstance
  const posted = await client.post<Answer>('/orders', { n: 1 }, { baseURL: world.base, params: { q: '茶' } })
  assert.equal(posted.data.user, gateway.user()!.id)
  assert.equal(posted.data.received, 7)
  assert.equal(world.seen[0]!.path, '/orders?q=%E8%8C%B6')
  await assert.rejects(client.get('/me/orders'), (error: AxiosError<Answer>) => {
    assert.equal(error.response!.status, 401)
    assert.equal(error.response!.data.code, 'login_required')
    return true
  })
})
