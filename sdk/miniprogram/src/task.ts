import { failure, problemOf } from './error'
import { rise, type Asking } from './person'
import { ensure, isRefused, renew, take, usable, type Session } from './session'
import { addressed } from './site'
import type { LoginOption } from './types'

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

/** A task of WeChat's, with whatever methods this one has. */
type Task = Record<string, ((...args: unknown[]) => void) | undefined>

/** What the caller holds while there is no task of WeChat's yet, or no longer the same. */
interface Handle {
  over: boolean
  task?: Task
  /** What was asked of the task, for those that come. */
  asked: Array<[string, unknown[]]>
  done(callback: 'success' | 'fail', res: any): void
}

/** Sends what one of WeChat's calls sends, with the session, as soon as there is one. */
export function send(s: Session, ask: Asking, name: Name, options: Call): any {
  const handle: Handle = { over: false, asked: [], done: () => undefined }
  const promise = new Promise((resolve, reject) => {
    handle.done = (callback, res) => {
      if (handle.over) return
      handle.over = true
      ;(callback === 'success' ? resolve : reject)(res)
      const told = options[callback]
      if (told) told(res)
      if (options.complete) options.complete(res)
    }
  })
  // Whoever takes callbacks need not look at the promise too.
  if (options.success || options.fail || options.complete) promise.catch(() => undefined)
  start(s, ask, name, options, handle)
  return Object.assign(promise, methodsOf(handle, name))
}

function start(s: Session, ask: Asking, name: Name, options: Call, handle: Handle): void {
  const fail = (error: any) => handle.done('fail', error)
  let renewed = false
  const attempt = () => {
    if (handle.over) return
    const { own, token, call } = addressed(s.site.origin, s.token, options)
    delete call.login
    delete call.complete
    call.fail = fail
    call.success = (res: Result) => {
      if (own) take(s, res.header, token)
      if (!own || res.statusCode !== 401) return handle.done('success', res)
      reasonOf(s, res, token)
        .then((code): boolean | Promise<boolean> => {
          if (code === 'login_required') return !!options.login && rise(s, ask)
          if (code !== 'session_expired' || renewed || !token) return false
          renewed = true
          return renew(s, token)
        })
        .then((again) => (again ? attempt() : handle.done('success', res)), fail)
    }
    handle.task = (s.site.wx[name] as (o: Call) => any)(call) as Task
    for (const [method, args] of handle.asked) use(handle, method, args)
  }
  if (usable(s) || !addressed(s.site.origin, '', options).own) attempt()
  else ensure(s).then(attempt).catch(fail)
}

/** Says why a request was answered 401: a code of the gateway's, or nothing if it is the shop's answer. */
function reasonOf(s: Session, res: Result, token: string): Promise<string> {
  const problem = problemOf(res.data)
  if (problem !== null) return Promise.resolve(problem ? problem.code : '')
  return isRefused(s, token).then((refused) => (refused ? 'session_expired' : 'login_required'))
}

function methodsOf(handle: Handle, name: Name): Record<string, (...args: unknown[]) => void> {
  const methods: Record<string, (...args: unknown[]) => void> = {
    abort() {
      // First, lest WeChat's own failure, which has no code, is what is told.
      handle.done('fail', failure('aborted', name + ':fail abort'))
      use(handle, 'abort', [])
    },
  }
  const event = name === 'request' ? 'ChunkReceived' : 'ProgressUpdate'
  for (const method of ['onHeadersReceived', 'offHeadersReceived', 'on' + event, 'off' + event]) {
    methods[method] = (...args) => {
      handle.asked.push([method, args])
      use(handle, method, args)
    }
  }
  return methods
}

function use(handle: Handle, name: string, args: unknown[]): void {
  const method = handle.task && handle.task[name]
  if (method) method.apply(handle.task, args)
}
