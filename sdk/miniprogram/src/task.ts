import { failure, problemOf } from './error'
import { isOf, urlOf, withSession, type Site } from './site'
import type { Session } from './session'
import type { DownloadOption, DownloadTask, LoginOption, RequestOption, RequestTask, UploadOption, UploadTask } from './types'

type Name = 'request' | 'uploadFile' | 'downloadFile'

/** What the three calls have in common, as far as it matters here. */
type Call = LoginOption & {
  url: string
  header?: WechatMiniprogram.IAnyObject
  success?: (res: any) => void
  fail?: (res: any) => void
  complete?: (res: any) => void
}

interface Result {
  statusCode: number
  header?: WechatMiniprogram.IAnyObject
  data?: unknown
}

/** A task of WeChat's: whatever methods this one has. */
type Task = Record<string, ((...args: unknown[]) => void) | undefined>

const EVENTS: Record<Name, string[]> = {
  request: ['HeadersReceived', 'ChunkReceived'],
  uploadFile: ['HeadersReceived', 'ProgressUpdate'],
  downloadFile: ['HeadersReceived', 'ProgressUpdate'],
}

/** Asks the person for what a refused request needs. False: there is nothing to ask for. */
export type Ask = () => Promise<boolean>

/** Sends what WeChat's calls send, with the session, once there is one. */
export class Sender {
  constructor(
    private site: Site,
    private session: Session,
    private ask: Ask,
  ) {}

  request(options: RequestOption<any>): RequestTask<any> {
    return this.send('request', options) as RequestTask<any>
  }

  uploadFile(options: UploadOption): UploadTask {
    return this.send('uploadFile', options) as UploadTask
  }

  downloadFile(options: DownloadOption): DownloadTask {
    return this.send('downloadFile', options) as DownloadTask
  }

  private send(name: Name, options: Call): unknown {
    const handle = new Handle(EVENTS[name])
    const promise = new Promise((resolve, reject) => {
      const done = (callback: 'success' | 'fail', res: any) => {
        handle.over = true
        if (callback === 'success') resolve(res)
        else reject(res)
        if (options[callback]) options[callback](res)
        if (options.complete) options.complete(res)
      }
      handle.onAbort = () => done('fail', failure('aborted', name + ':fail abort'))
      this.start(name, options, handle, done)
    })
    // Whoever takes callbacks need not look at the promise too.
    if (options.success || options.fail || options.complete) promise.catch(() => undefined)
    return Object.assign(promise, handle.methods)
  }

  private start(name: Name, options: Call, handle: Handle, done: (callback: 'success' | 'fail', res: any) => void): void {
    const url = urlOf(this.site.origin, options.url)
    const own = isOf(this.site.origin, url)
    let renewed = false
    const fail = (error: any) => {
      if (!handle.over) done('fail', error)
    }
    const attempt = () => {
      if (handle.over) return
      const token = own ? this.session.token : ''
      const call = Object.assign({}, options, { url, header: own ? withSession(options.header, token) : options.header })
      delete call.login
      delete call.complete
      call.fail = fail
      call.success = (res: Result) => {
        if (handle.over) return
        if (own) this.session.take(res.header, token)
        if (!own || res.statusCode !== 401) return done('success', res)
        this.again(res, token, options, renewed).then((again) => {
          if (again === 'renewed') renewed = true
          if (again) attempt()
          else if (!handle.over) done('success', res)
        }, fail)
      }
      handle.attach((this.site.wx[name] as (o: Call) => unknown)(call) as Task)
    }
    if (!own || this.session.usable()) attempt()
    else this.session.ensure().then(attempt, fail)
  }

  /**
   * Says whether a request that was answered 401 is to be sent again. A refused
   * session is replaced once; each further time the person has to have come one
   * step further, so that there is an end.
   */
  private again(res: Result, token: string, options: Call, renewed: boolean): Promise<'renewed' | 'asked' | ''> {
    const problem = problemOf(res.data)
    const code = problem === null
      ? this.session.isRefused(token).then((refused) => (refused ? 'session_expired' : 'login_required'))
      : Promise.resolve(problem ? problem.code : '')
    return code.then((code) => {
      if (code === 'session_expired' && !renewed && token) {
        return this.session.renew(token).then((yes) => (yes ? 'renewed' : ''))
      }
      if (code === 'login_required' && options.login) return this.ask().then((yes) => (yes ? 'asked' : ''))
      return ''
    })
  }
}

/** A task that the caller holds before, and after, there is one of WeChat's. */
class Handle {
  over = false
  onAbort: () => void = () => undefined
  methods: Record<string, (...args: unknown[]) => void> = {}
  private task: Task | undefined
  private calls: Array<[string, unknown[]]> = []

  constructor(events: string[]) {
    this.methods.abort = () => {
      if (this.over) return
      if (this.task) this.use('abort', [])
      this.onAbort()
    }
    for (const event of events) {
      for (const name of ['on' + event, 'off' + event]) {
        this.methods[name] = (...args) => {
          this.calls.push([name, args])
          this.use(name, args)
        }
      }
    }
  }

  attach(task: Task): void {
    this.task = task
    for (const [name, args] of this.calls) this.use(name, args)
  }

  private use(name: string, args: unknown[]): void {
    const method = this.task && this.task[name]
    if (method) method.apply(this.task, args)
  }
}
