// A phone with WeChat on it: the part of wx that the client uses, with its
// callbacks, its limits and its storage, and the pretend WeChat behind it.
import http from 'node:http'
import { createRequire } from 'node:module'
import { connectSocket } from './socket'
import type { Gateway, Options, PhoneEvent, Platform } from '@wxgate/miniprogram'
import type { World } from './world'

// What ships is tested: the files that phones run.
const require = createRequire(process.env.WXGATE_SDK + '/')
export const { createGateway } = require('./miniprogram/miniprogram_dist/index.js') as typeof import('@wxgate/miniprogram')

export const APPID = 'wx2222222222222222'

/** The requests that WeChat sends at a time; others wait for their turn. */
const MAX_REQUESTS = 10

type Call = {
  url: string
  header?: Record<string, string>
  success?: (res: any) => void
  fail?: (res: any) => void
  complete?: (res: any) => void
}

interface Sent {
  method: string
  header: Record<string, string>
  body?: Buffer | AsyncIterable<Buffer>
}

interface Received {
  statusCode: number
  header: Record<string, string>
  body: Buffer
}

export class Phone {
  /** How often wx.login was called. */
  logins = 0
  /** What was sent, in order, without WeChat's own: "GET /goods". */
  sent: string[] = []
  offline = false
  /** How many answers to this path get lost on their way to the phone. */
  lost = { path: '', times: 0 }
  /** Answers in the gateway's place. */
  answer: (path: string) => { statusCode: number; data: unknown } | undefined = () => undefined
  /** Codes that wx.login gives before those of the pretend WeChat. */
  codes: string[] = []
  /** Files by their path, and the pieces in which an upload sends them. */
  files = new Map<string, Buffer>()
  pieces: (file: Buffer) => AsyncIterable<Buffer> = async function* (file) {
    yield file
  }
  storage = new Map<string, unknown>()
  private running = 0
  private queue: Array<() => void> = []

  constructor(
    readonly world: World,
    readonly person: string,
  ) {}

  /** Starts the mini program: what is in memory is new, the storage stays. */
  launch(options: Partial<Options> = {}): Gateway {
    return createGateway({ baseUrl: this.world.base, wx: this.wx, ...options })
  }

  /** A tap on the phone button. */
  async tapPhone(): Promise<PhoneEvent> {
    return { detail: (await this.ask('/mini/wx/phone')) as PhoneEvent['detail'] }
  }

  /** Asks the pretend WeChat, which no network of the phone's is between. */
  private async ask(path: string): Promise<{ errMsg: string; code?: string }> {
    const answer = await fetch(this.world.wechat + path, {
      method: 'POST',
      body: JSON.stringify({ appid: APPID, person: this.person }),
    })
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`)
    return (await answer.json()) as { errMsg: string }
  }

  readonly wx: Platform = {
    login: ((option: Call) => {
      this.logins++
      const code = this.codes.shift()
      if (code) return this.settle(option, Promise.resolve({ code, errMsg: 'login:ok' }))
      const failed = { errMsg: 'login:fail the network is down' }
      this.settle(option, this.offline ? Promise.reject(failed) : this.ask('/mini/wx/login'))
    }) as Platform['login'],

    request: ((option: Call & { method?: string; data?: unknown; dataType?: string; responseType?: string }) => {
      const method = option.method || 'GET'
      const header: Record<string, string> = { 'content-type': 'application/json', ...option.header }
      let body: Buffer | undefined
      if (option.data !== undefined && method !== 'GET') {
        body = Buffer.from(typeof option.data === 'string' ? option.data : JSON.stringify(option.data))
      }
      return this.task('request', option, { method, header, body }, (res) => ({
        data: dataOf(res.body, option),
        statusCode: res.statusCode,
        header: res.header,
        cookies: [],
        errMsg: 'request:ok',
      }))
    }) as Platform['request'],

    uploadFile: ((option: Call & { filePath: string; name: string }) => {
      const boundary = 'wx' + Math.random().toString(36).slice(2)
      const header = { ...option.header, 'content-type': 'multipart/form-data; boundary=' + boundary }
      const disposition = `content-disposition: form-data; name="${option.name}"; filename="${option.filePath}"`
      const pieces = this.pieces(this.files.get(option.filePath)!)
      const body = (async function* () {
        yield Buffer.from(`--${boundary}\r\n${disposition}\r\n\r\n`)
        yield* pieces
        yield Buffer.from(`\r\n--${boundary}--\r\n`)
      })()
      return this.task('uploadFile', option, { method: 'POST', header, body }, (res) => ({
        data: res.body.toString(),
        statusCode: res.statusCode,
        errMsg: 'uploadFile:ok',
      }))
    }) as Platform['uploadFile'],

    downloadFile: ((option: Call) =>
      this.task('downloadFile', option, { method: 'GET', header: { ...option.header } }, (res) => {
        const path = 'http://tmp/' + this.files.size
        this.files.set(path, res.body)
        return { statusCode: res.statusCode, tempFilePath: path, filePath: '', errMsg: 'downloadFile:ok' }
      })) as Platform['downloadFile'],

    connectSocket: ((option: Call) => {
      this.sent.push('WS ' + new URL(option.url).pathname)
      return connectSocket(option.url, option.header || {})
    }) as Platform['connectSocket'],

    getStorageSync: ((key: string) => structuredClone(this.storage.get(key) ?? '')) as Platform['getStorageSync'],
    setStorageSync: ((key: string, value: unknown) => {
      this.storage.set(key, structuredClone(value))
    }) as Platform['setStorageSync'],
    getAccountInfoSync: (() => ({ miniProgram: { appId: APPID } })) as unknown as Platform['getAccountInfoSync'],
  }

  /** Ends a call as WeChat does: success or fail, and complete after both. */
  private settle(option: Call, result: Promise<unknown>): void {
    const end = (callback: 'success' | 'fail') => (res: unknown) => {
      if (option[callback]) option[callback](res)
      if (option.complete) option.complete(res)
    }
    result.then(end('success'), end('fail'))
  }

  /** Starts one of the three calls that have a task. */
  private task(name: string, option: Call, sent: Sent, resultOf: (res: Received) => object): unknown {
    let request: http.ClientRequest | undefined
    let over = false
    const listeners: Array<(res: unknown) => void> = []
    const url = new URL(option.url)
    const task: Record<string, (...args: any[]) => void> = {
      onHeadersReceived: (listener) => listeners.push(listener),
      onProgressUpdate: () => undefined,
    }
    const result = new Promise((resolve, reject) => {
      const fail = (why: string) => {
        over = true
        reject({ errMsg: `${name}:fail ${why}` })
      }
      this.queue.push(() => {
        if (over) return this.next()
        if (!url.pathname.startsWith('/wxgate/')) this.sent.push(`${sent.method} ${url.pathname}`)
        if (this.offline) {
          setImmediate(() => this.next())
          return fail('the network is down')
        }
        const other = this.answer(url.pathname)
        if (other) {
          setImmediate(() => this.next())
          return resolve(resultOf({ statusCode: other.statusCode, header: {}, body: Buffer.from(JSON.stringify(other.data)) }))
        }
        request = http.request(url, { method: sent.method, headers: sent.header, agent: false }, async (answer) => {
          const header = headerOf(answer.rawHeaders)
          for (const listener of listeners) listener({ header, statusCode: answer.statusCode })
          const body: Buffer[] = []
          try {
            for await (const piece of answer) body.push(piece as Buffer)
            if (url.pathname === this.lost.path && this.lost.times-- > 0) return fail('timeout')
            resolve(resultOf({ statusCode: answer.statusCode!, header, body: Buffer.concat(body) }))
          } catch (e) {
            fail(String(e))
          }
        })
        request.on('error', (e) => fail(e.message))
        request.on('close', () => this.next())
        void write(request, sent.body)
      })
      task.abort = () => {
        fail('abort')
        if (request) request.destroy()
      }
    })
    this.settle(option, result)
    this.start()
    return task
  }

  private start(): void {
    while (this.running < MAX_REQUESTS && this.queue.length > 0) {
      this.running++
      this.queue.shift()!()
    }
  }

  private next(): void {
    this.running--
    this.start()
  }
}

async function write(request: http.ClientRequest, body: Sent['body']): Promise<void> {
  if (body && Symbol.asyncIterator in body) {
    for await (const piece of body) {
      if (request.destroyed) return
      request.write(piece)
    }
    request.end()
  } else {
    request.end(body)
  }
}

function headerOf(raw: string[]): Record<string, string> {
  const header: Record<string, string> = {}
  for (let i = 0; i < raw.length; i += 2) header[raw[i]!] = raw[i + 1]!
  return header
}

function dataOf(body: Buffer, option: { dataType?: string; responseType?: string }): unknown {
  if (option.responseType === 'arraybuffer') {
    return body.buffer.slice(body.byteOffset, body.byteOffset + body.length)
  }
  const text = body.toString()
  if ((option.dataType || 'json') !== 'json') return text
  try {
    return JSON.parse(text)
  } catch (e) {
    return text
  }
}
