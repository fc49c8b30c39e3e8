import { connect } from './socket'
import { failure, phoneRefusal } from './error'
import { siteOf } from './site'
import { Session } from './session'
import { Sender } from './task'
import type { Gateway, GatewayError, Options, PhoneEvent, User } from './types'

export * from './types'

/** Connects a mini program to its site. Make one gateway for the whole mini program. */
export function createGateway(options: Options): Gateway {
  const site = siteOf(options)
  const session = new Session(site)
  const person = new Person(session, options.askPhone)
  const sender = new Sender(site, session, () => person.rise())
  return {
    request: (o) => sender.request(o),
    uploadFile: (o) => sender.uploadFile(o),
    downloadFile: (o) => sender.downloadFile(o),
    connectSocket: (o) => connect(site, session, o),
    ready: () => person.ready(),
    user: () => session.user || null,
    onChange: (listener) => session.onChange(listener),
    requireLogin: (need) => person.require(!!need && !!need.phone),
    bindPhone: (event) => person.bindPhone(event),
    webviewUrl: (path) =>
      session
        .signedIn('POST', '/mini/ticket', { return_to: path })
        .then((answer) => String(answer.url).replace(/^\//, site.origin + '/')),
    logout: () => person.logout(),
  }
}

/** What a person does: comes, logs in, binds a phone, leaves. */
class Person {
  private first: Promise<void> | undefined
  private asking: Promise<User> | undefined

  constructor(
    private session: Session,
    private askPhone: (() => Promise<unknown>) | undefined,
  ) {}

  ready(): Promise<User | null> {
    if (!this.first) {
      // A kept session may be out of date. Without a network it has to do.
      const offline = (error: GatewayError) => {
        this.first = undefined
        if (!this.session.user) throw error
      }
      this.first = this.session.token ? this.session.refresh().catch(offline) : this.session.ensure()
      this.first.catch(() => (this.first = undefined))
    }
    return this.first.then(() => this.session.ensure()).then(() => this.session.user || null)
  }

  /** Brings the person one level further, for a request that was refused. */
  rise(): Promise<boolean> {
    const user = this.session.user
    if (isMember(user) && user.phone_verified) return Promise.resolve(false)
    return this.require(isMember(user)).then(() => true)
  }

  /** Asks once for all who want it. */
  require(phone: boolean): Promise<User> {
    const user = this.session.user
    if (isMember(user) && (!phone || user.phone_verified)) return Promise.resolve(user)
    if (this.asking) return this.asking.then(() => this.require(phone))
    const done = () => {
      this.asking = undefined
    }
    this.asking = this.ask(phone)
    this.asking.then(done, done)
    return this.asking
  }

  private ask(phone: boolean): Promise<User> {
    const enough = (user: User | null | undefined): user is User => isMember(user) && (!phone || !!user.phone_verified)
    const loggedIn = isMember(this.session.user) ? Promise.resolve() : this.session.login('login')
    const missing = failure('phone_required', 'wxgate:fail phone_required')
    return loggedIn
      .catch((error: GatewayError) => {
        if (error.code !== 'phone_required') throw error
        Object.assign(missing, error)
      })
      .then(() => {
        if (enough(this.session.user)) return this.session.user
        if (!this.askPhone) throw missing
        return this.askPhone().then(() => {
          if (enough(this.session.user)) return this.session.user
          throw failure('login_cancelled', 'wxgate:fail login_cancelled')
        })
      })
  }

  bindPhone(event: PhoneEvent): Promise<User> {
    const detail = event.detail
    if (!detail.code && !(detail.encryptedData && detail.iv)) return Promise.reject(phoneRefusal(detail))
    const data = detail.code ? { code: detail.code } : { encrypted_data: detail.encryptedData, iv: detail.iv }
    return this.session
      .settled()
      .then(() => this.session.persist('/mini/phone', data))
      .then(
        () => this.session.user as User,
        (error: GatewayError) => {
          // A new login replaces the key that the phone is encrypted with. So it
          // comes only when this tap has failed, and serves the next one.
          if (error.code === 'session_expired' || error.code === 'session_key_lost') this.session.replace()
          throw error
        },
      )
  }

  logout(): Promise<void> {
    const token = this.session.token
    const over = () => {
      this.first = undefined
      this.session.forget()
    }
    if (!token) return Promise.resolve(over())
    return this.session.call('POST', '/logout', {}, token).then(over, (error: GatewayError) => {
      if (error.code !== 'session_expired') throw error
      over()
    })
  }
}

function isMember(user: User | null | undefined): user is User {
  return !!user && user.kind === 'member'
}
