import { problemOf, failure } from './error'
import { headerOf, withSession, type Site } from './site'
import type { Change, GatewayError, User } from './types'

/** A person's session: one for all requests of the mini program. */
export interface Session {
  site: Site
  token: string
  /** Null: not known yet. */
  user: User | null
  /** The one login under way, for all who wait. */
  pending: Promise<Answer> | null
  /** When the last login succeeded, in ms. */
  since: number
  /** How often the person has logged out. */
  logouts: number
  listeners: Array<(change: Change) => void>
}

/** What the gateway's endpoints answer. */
export interface Answer {
  session?: string
  user?: User
  /** Of a login: why the person is no more than that. */
  code?: string
  url?: string
}

type Method = 'GET' | 'POST'

/** Pauses before a call is tried again after the network has failed, in ms. */
const PAUSES = [500, 2000]

/** A session that is refused this soon after the login, in ms, is not replaced at once. */
const LOGIN_GAP = 3000

/** Time for wx.login and for a call of the gateway, in ms. */
const TIMEOUT = 10000

/** Opens the session that was kept on the phone, if any. WeChat keeps it apart for each of its users. */
export function open(site: Site): Session {
  const s: Session = { site, token: '', user: null, pending: null, since: 0, logouts: 0, listeners: [] }
  try {
    const kept = site.wx.getStorageSync(keyOf(site)) as Partial<Session>
    if (typeof kept.token === 'string') {
      s.token = kept.token
      s.user = kept.user || null
    }
  } catch (e) {
    // A broken storage costs a login.
  }
  return s
}

function keep(s: Session): void {
  try {
    s.site.wx.setStorageSync(keyOf(s.site), { token: s.token, user: s.user })
  } catch (e) {
    // So does a full one.
  }
}

function keyOf(site: Site): string {
  return 'wxgate ' + site.appid + ' ' + site.origin
}

/** Says whether there is a session, and no other on its way. */
export function usable(s: Session): boolean {
  return !s.pending && !!s.token
}

/** Waits until there is a session. */
export function ensure(s: Session): Promise<unknown> {
  return usable(s) ? Promise.resolve() : login(s)
}

/** Waits until no login is under way, whatever has become of it. */
export function settled(s: Session): Promise<unknown> {
  return s.pending ? s.pending.catch(() => undefined) : Promise.resolve()
}

/** Logs in, once for all who wait. */
export function login(s: Session, want?: 'login'): Promise<Answer> {
  if (s.pending) return want ? settled(s).then(() => login(s, want)) : s.pending
  const done = () => {
    s.pending = null
  }
  s.pending = exchange(s, want, true)
  s.pending.then(done, done)
  return s.pending
}

/** Changes a code of WeChat's for a session. A code that is spent is replaced once. */
function exchange(s: Session, want: 'login' | undefined, again: boolean): Promise<Answer> {
  return code(s)
    .then((code) => persist(s, '/mini/login', { appid: s.site.appid, code, want }))
    .then(
      (answer) => {
        s.since = Date.now()
        return answer
      },
      (error: GatewayError) => {
        if (!again || (error.code !== 'code_used' && error.code !== 'code_invalid')) throw error
        return exchange(s, want, false)
      },
    )
}

function code(s: Session): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (res: { errMsg: string }) => reject(failure('wx_login_failed', res.errMsg))
    s.site.wx.login({
      timeout: TIMEOUT,
      success: (res) => (res.code ? resolve(res.code) : fail(res)),
      fail,
    })
  })
}

/**
 * Gets another session for one that the gateway refuses. False: it was only just
 * given out, and asking again would not end.
 */
export function renew(s: Session, refused: string): Promise<boolean> {
  if (!s.pending && s.token === refused) {
    if (Date.now() - s.since < LOGIN_GAP) return Promise.resolve(false)
    s.token = ''
  }
  return ensure(s).then(() => true)
}

/** Says whether the gateway refuses a session, for answers that do not show it. */
export function isRefused(s: Session, token: string): Promise<boolean> {
  return call(s, 'GET', '/me', undefined, token).then(
    () => false,
    (error: GatewayError) => error.code === 'session_expired',
  )
}

/** Asks the gateway who the person is. */
export function refresh(s: Session): Promise<unknown> {
  return signedIn(s, 'GET', '/me')
}

/** Calls an endpoint with a session, and with another one if it is refused. */
export function signedIn(s: Session, method: Method, path: string, data?: object): Promise<Answer> {
  return ensure(s).then(() => {
    const token = s.token
    return call(s, method, path, data, token).catch((error: GatewayError) => {
      if (error.code !== 'session_expired') throw error
      return renew(s, token).then((renewed) => {
        if (!renewed) throw error
        return call(s, method, path, data, s.token)
      })
    })
  })
}

/** Calls an endpoint that bears to be called twice, again while the network fails. */
export function persist(s: Session, path: string, data: object, failed = 0): Promise<Answer> {
  return call(s, 'POST', path, data, s.token).catch((error: GatewayError) => {
    const pause = PAUSES[failed]
    if (error.code !== 'network' || !pause) throw error
    return new Promise<void>((resolve) => setTimeout(resolve, pause)).then(() => persist(s, path, data, failed + 1))
  })
}

/** Calls an endpoint, takes over what it says of the person, and fails with the gateway's code. */
export function call(s: Session, method: Method, path: string, data: object | undefined, token: string): Promise<Answer> {
  const { logouts } = s
  return new Promise((resolve, reject) => {
    s.site.wx.request({
      url: s.site.origin + s.site.prefix + path,
      method,
      data,
      timeout: TIMEOUT,
      header: withSession({ 'content-type': 'application/json' }, token),
      success: (res) => {
        if (res.statusCode < 200 || res.statusCode > 299) {
          take(s, res.header, token)
          return reject(refusal(res))
        }
        const answer = (res.data || {}) as Answer
        const given = answer.session || headerOf(res.header, 'x-wxgate-session')
        const user = path === '/me' ? (answer as User) : answer.user
        const left = path === '/logout'
        // Of answers to older sessions none counts, but what a login, a phone or a
        // logout has brought does: the session may only have been renewed meanwhile.
        // A logout is the last word on all that began before it.
        if (token === s.token || ((left || answer.session) && logouts === s.logouts)) {
          if (left) s.logouts++
          s.token = given || s.token
          if (user) become(s, user)
          else if (given) keep(s)
        }
        resolve(answer)
      },
      fail: (res) => reject(failure('network', res.errMsg)),
    })
  })
}

function refusal(res: WechatMiniprogram.RequestSuccessCallbackResult): GatewayError {
  const problem = problemOf(res.data)
  const code = problem ? problem.code : 'unavailable'
  const error = failure(code, 'wxgate:fail ' + code)
  error.status = res.statusCode
  error.retryAfter = Number(headerOf(res.header, 'retry-after')) || undefined
  if (problem) {
    error.title = problem.title
    error.detail = problem.detail
  }
  return error
}

/** Takes over the session that an answer of the shop, or a refusal, brings: the person's level has risen, or it was renewed. */
export function take(s: Session, header: WechatMiniprogram.IAnyObject | undefined, token: string): void {
  const given = headerOf(header, 'x-wxgate-session')
  if (!given || token !== s.token) return
  s.token = given
  keep(s)
  refresh(s).catch(() => undefined)
}

export function become(s: Session, user: User): void {
  const from = s.user
  s.user = user
  keep(s)
  const kind = from && changeOf(from, user)
  if (!from || !kind) return
  for (const listener of s.listeners.slice()) {
    try {
      listener({ from, to: user, kind })
    } catch (e) {
      console.error(e)
    }
  }
}

function changeOf(from: User, to: User): Change['kind'] | undefined {
  if (isMember(to) !== isMember(from)) return isMember(to) ? 'login' : 'logout'
  if (from.id && to.id && from.id !== to.id) return 'merge'
  return to.phone_verified && !from.phone_verified ? 'phone' : undefined
}

export function isMember(user: User | null): user is User {
  return !!user && user.kind === 'member'
}
