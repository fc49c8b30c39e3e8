import { failure, phoneRefusal } from './error'
import { become, ensure, isMember, login, persist, refresh, settled, signedIn, type Answer, type Session } from './session'
import type { GatewayError, PhoneEvent, User } from './types'

/** How a person is asked for what is missing. */
export interface Asking {
  phone?: () => Promise<unknown>
  /** The one question under way. */
  pending?: Promise<User>
  /** The first look at who he is. */
  first?: Promise<unknown>
}

/** Waits until the person is known, by a login if need be. */
export function ready(s: Session, ask: Asking): Promise<User> {
  if (!ask.first) {
    // A kept session may be out of date. Without a network it has to do.
    ask.first = s.token ? refresh(s) : ensure(s)
    ask.first.catch(() => {
      ask.first = undefined
    })
  }
  return ask.first.then(
    () => ensure(s).then(() => s.user as User),
    (error) => {
      if (!s.token || !s.user) throw error
      return s.user
    },
  )
}

/**
 * Brings the person one level further, for a request that was refused. False: he
 * has got all there is, so that there is an end to it.
 */
export function rise(s: Session, ask: Asking): Promise<boolean> {
  // What is known of him may be old: somebody may have taken his phone since.
  const known = enough(s.user, true) ? refresh(s) : Promise.resolve()
  return known.then(() => !enough(s.user, true) && demand(s, ask, isMember(s.user)).then(() => true))
}

/** Makes the person a member, asked once for all who want it. */
export function demand(s: Session, ask: Asking, phone: boolean): Promise<User> {
  if (enough(s.user, phone)) return Promise.resolve(s.user)
  if (ask.pending) return ask.pending.then(() => demand(s, ask, phone))
  const done = () => {
    ask.pending = undefined
  }
  ask.pending = ascend(s, ask, phone)
  ask.pending.then(done, done)
  return ask.pending
}

function ascend(s: Session, ask: Asking, phone: boolean): Promise<User> {
  const fail = (code: string) => failure(code, 'wxgate:fail ' + code)
  const first: Promise<Answer> = isMember(s.user) ? Promise.resolve({}) : login(s, 'login')
  return first.then((answer) => {
    if (enough(s.user, phone)) return s.user
    if (!ask.phone) throw fail(answer.code || 'phone_required')
    return ask.phone().then(() => {
      if (enough(s.user, phone)) return s.user
      throw fail('login_cancelled')
    })
  })
}

function enough(user: User | null, phone: boolean): user is User {
  return isMember(user) && (!phone || !!user.phone_verified)
}

/** Hands what a phone button gave to the gateway. */
export function bindPhone(s: Session, event: PhoneEvent): Promise<User> {
  const { code, encryptedData, iv } = event.detail
  if (!code && !(encryptedData && iv)) return Promise.reject(phoneRefusal(event.detail))
  return settled(s)
    .then(() => persist(s, '/mini/phone', code ? { code } : { encrypted_data: encryptedData, iv }))
    .then(
      () => s.user as User,
      (error: GatewayError) => {
        // A new login replaces the key that the phone is encrypted with. So it
        // comes only when this tap has failed, and serves the next one.
        if (error.code === 'session_expired' || error.code === 'session_key_lost') login(s).catch(() => undefined)
        throw error
      },
    )
}

/** Ends the session. The gateway gives another, of a guest whom nothing recognises. */
export function logout(s: Session): Promise<void> {
  return signedIn(s, 'POST', '/logout', {}).then(() =>
    refresh(s).then(
      () => undefined,
      () => become(s, { kind: 'nobody' }),
    ),
  )
}
