import { failure, problemOf } from './error'
import { headerOf, withSession, type Site } from './site'
import type { Change, GatewayError, User } from './types'

/** What the gateway's endpoints answer. */
interface Answer {
  session?: string
  user?: User
  url?: string
}

/** What is kept on the phone. WeChat keeps it apart for each of its users. */
interface Kept {
  token: string
  user?: User | null
}

/** Pauses before a call is tried again after the network has failed, in ms. */
const PAUSES = [500, 2000]

/** A session that is refused this soon after the login, in ms, is not asked for again at once. */
const LOGIN_GAP = 10000

/** Time for a call of the gateway's, in ms. */
const TIMEOUT = 10000

/** The person's session: one for all requests, and one login for all who wait. */
export class Session {
  token = ''
  /** Undefined: not known yet. Null: logged out. */
  user: User | null | undefined
  private pending: Promise<void> | null = null
  private loggedInAt = 0
  private listeners: Array<(change: Change) => void> = []
  private key: string

  constructor(private site: Site) {
    this.key = 'wxgate ' + site.appid + ' ' + site.origin
    const kept = this.storage(() => site.wx.getStorageSync(this.key)) as Kept | undefined
    if (kept && typeof kept.token === 'string') {
      this.token = kept.token
      this.user = kept.user
    }
  }

  /** Waits until requests can be sent: with a session, or without one after a logout. */
  ensure(): Promise<void> {
    if (this.pending) return this.pending
    return this.token || this.user === null ? Promise.resolve() : this.login()
  }

  /** Says whether requests can be sent without waiting. */
  usable(): boolean {
    return !this.pending && (!!this.token || this.user === null)
  }

  /** Waits until no login is under way, whatever has become of it. */
  settled(): Promise<void> {
    return (this.pending || Promise.resolve()).catch(() => undefined)
  }

  /** Logs in again by itself. */
  replace(): void {
    this.login().catch(() => undefined)
  }

  /** Logs in, once for all who wait. */
  login(want?: 'login'): Promise<void> {
    if (this.pending) return want ? this.pending.then(() => this.login(want)) : this.pending
    const done = () => {
      this.pending = null
    }
    this.pending = this.exchange(want, true)
    this.pending.then(done, done)
    return this.pending
  }

  /**
   * Gets another session for one that the gateway refuses. False: it was only just
   * given out, and asking again would not end.
   */
  renew(refused: string): Promise<boolean> {
    if (!this.pending && this.token === refused) {
      if (Date.now() - this.loggedInAt < LOGIN_GAP) return Promise.resolve(false)
      this.token = ''
    }
    return this.ensure().then(() => true)
  }

  /** Asks the gateway who the person is. */
  refresh(): Promise<void> {
    return this.signedIn('GET', '/me').then(() => undefined)
  }

  /** Says whether the gateway refuses a session, for answers that do not show it. */
  isRefused(token: string): Promise<boolean> {
    return this.call('GET', '/me', undefined, token).then(
      () => false,
      (error: GatewayError) => error.code === 'session_expired',
    )
  }

  /** Calls an endpoint with a session, and with another one if it is refused. */
  signedIn(method: 'GET' | 'POST', path: string, data?: object): Promise<Answer> {
    return this.ensure().then(() => {
      const token = this.token
      return this.call(method, path, data, token).catch((error: GatewayError) => {
        if (error.code !== 'session_expired') throw error
        return this.renew(token).then((renewed) => {
          if (!renewed) throw error
          return this.call(method, path, data, this.token)
        })
      })
    })
  }

  /** Calls an endpoint as it is, takes over what the answer says, and fails with the gateway's code. */
  call(method: 'GET' | 'POST', path: string, data: object | undefined, token: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.site.wx.request({
        url: this.site.origin + this.site.prefix + path,
        method,
        data,
        timeout: TIMEOUT,
        header: withSession({ 'content-type': 'application/json', accept: 'application/json' }, token),
        success: (res) => {
          const answer = res.data as Answer
          if (res.statusCode < 200 || res.statusCode > 299) return reject(refusal(res))
          const given = (answer && answer.session) || headerOf(res.header, 'x-wxgate-session')
          const user = path === '/me' ? (res.data as User) : answer && answer.user
          // Of answers to older sessions none counts, nor one about nobody in particular.
          if (token === this.token && (token || given)) {
            this.token = given || token
            if (user) this.become(user)
          }
          resolve(answer)
        },
        fail: (res) => reject(failure('network', res.errMsg)),
      })
    })
  }

  /** Calls an endpoint that bears to be called twice, again while the network fails. */
  persist(path: string, data: object): Promise<Answer> {
    const attempt = (failed: number): Promise<Answer> =>
      this.call('POST', path, data, this.token).catch((error: GatewayError) => {
        if (error.code !== 'network' || failed >= PAUSES.length) throw error
        return new Promise<void>((resolve) => setTimeout(resolve, PAUSES[failed])).then(() => attempt(failed + 1))
      })
    return attempt(0)
  }

  /** Takes over the session that an answer of the shop brings along: the person's level has risen, or it was renewed. */
  take(header: WechatMiniprogram.IAnyObject | undefined, token: string): void {
    const given = headerOf(header, 'x-wxgate-session')
    if (!given || token !== this.token || given === token) return
    this.token = given
    this.keep()
    this.refresh().catch(() => undefined)
  }

  /** Forgets the session, until a login is wanted. */
  forget(): void {
    this.token = ''
    this.become(null)
  }

  onChange(listener: (change: Change) => void): () => void {
    this.listeners.push(listener)
    return () => {
      this.listeners = this.listeners.filter((l) => l !== listener)
    }
  }

  /** Changes a code of WeChat's for a session. A code that is spent is replaced once. */
  private exchange(want: 'login' | undefined, again: boolean): Promise<void> {
    return this.code()
      .then((code) => this.persist('/mini/login', { appid: this.site.appid, code, want }))
      .then(
        () => {
          this.loggedInAt = Date.now()
        },
        (error: GatewayError) => {
          if (again && (error.code === 'code_used' || error.code === 'code_invalid')) return this.exchange(want, false)
          throw error
        },
      )
  }

  private code(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.site.wx.login({
        timeout: TIMEOUT,
        success: (res) => (res.code ? resolve(res.code) : reject(failure('wx_login_failed', res.errMsg))),
        fail: (res) => reject(failure('wx_login_failed', res.errMsg)),
      })
    })
  }

  private become(user: User | null): void {
    const before = this.user
    this.user = user
    this.keep()
    if (before === undefined) return
    const kind = changeOf(before, user)
    if (!kind) return
    for (const listener of this.listeners.slice()) {
      try {
        listener({ from: before, to: user, kind })
      } catch (e) {
        console.error(e)
      }
    }
  }

  private keep(): void {
    const kept: Kept = { token: this.token, user: this.user }
    this.storage(() => this.site.wx.setStorageSync(this.key, kept))
  }

  /** A phone whose storage is full or broken costs a login at the next start. */
  private storage<T>(use: () => T): T | undefined {
    try {
      return use()
    } catch (e) {
      return undefined
    }
  }
}

function refusal(res: WechatMiniprogram.RequestSuccessCallbackResult): GatewayError {
  const problem = problemOf(res.data)
  const retryAfter = Number(headerOf(res.header, 'retry-after')) || undefined
  const said = 'wxgate:fail ' + (problem ? problem.code : res.statusCode)
  return failure(problem ? problem.code : 'unavailable', said, {
    status: res.statusCode,
    title: problem ? problem.title : undefined,
    detail: problem ? problem.detail : undefined,
    retryAfter,
  })
}

function changeOf(from: User | null, to: User | null): Change['kind'] | undefined {
  const was = from ? from.kind : 'nobody'
  const is = to ? to.kind : 'nobody'
  if (is === 'member' && was !== 'member') return 'login'
  if (was === 'member' && is !== 'member') return 'logout'
  if (from && to && from.id && to.id && from.id !== to.id) return 'merge'
  return to && to.phone_verified && from && !from.phone_verified ? 'phone' : undefined
}
