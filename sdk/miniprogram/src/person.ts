import { failure, phoneRefusal } from './error'
import { call, ensure, forget, isMember, login, persist, refresh, settled, type Session } from './session'
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
export function ready(s: Session, ask: Asking): Promise<User | null> {
  if (!ask.first) {
    // A kept session may be out of date. Without a network it has to do.
    ask.first = s.token ? refresh(s) : ensure(s)
    ask.first.catch(() => {
      ask.first = undefined
    })
  }
  return ask.first.then(
    () => ensure(s).then(() => s.user || null),
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
  if (enough(s.user, true)) return Promise.resolve(false)
  return demand(s, ask, isMember(s.user)).then(() => true)
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
  let missing = failure('phone_required', 'wxgate:fail phone_required')
  return (isMember(s.user) ? Promise.resolve() : login(s, 'login'))
    .catch((error: GatewayError) => {
      if (error.code !== 'phone_required') throw error
      missing = error
    })
    .then(() => {
      if (enough(s.user, phone)) return s.user
      if (!ask.phone) throw missing
      return ask.phone().then(() => {
        if (enough(s.user, phone)) return s.user
        throw failure('login_cancelled', 'wxgate:fail login_cancelled')
      })
    })
}

function enough(user: User | null | undefined, phone: boolean): user is User {
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

/** Ends the session, also one that has ended already. */
export function logout(s: Session, ask: Asking): Promise<void> {
  const ended = !s.token ? Promise.resolve() : call(s, 'POST', '/logout', {}, s.token)
  return (ended as Promise<unknown>)
    .catch((error: GatewayError) => {
      if (error.code !== 'session_expired') throw error
    })
    .then(() => {
      ask.first = undefined
      forget(s)
    })
}
