import { isOf, urlOf, withSession, type Site } from './site'
import type { Session } from './session'

type Socket = WechatMiniprogram.SocketTask
type Listener = (res: any) => void
type EventName = 'onOpen' | 'onMessage' | 'onError' | 'onClose'

/** Connects with the session, once there is one, and once more if it is refused. */
export function connect(site: Site, session: Session, options: WechatMiniprogram.ConnectSocketOption): Socket {
  const origin = site.origin.replace(/^http/, 'ws')
  const url = urlOf(origin, options.url)
  const own = isOf(origin, url)
  const socket = new Connection(own)
  socket.open = () => {
    const token = own ? session.token : ''
    const call = Object.assign({}, options, { url, header: own ? withSession(options.header, token) : options.header })
    socket.attach(site.wx.connectSocket(call))
    socket.mayReplace = () =>
      session.isRefused(token).then((refused) => refused && session.renew(token))
  }
  if (!own || session.usable()) socket.open()
  else session.ensure().then(socket.open, (error) => socket.fail(error))
  return socket.task
}

/** A SocketTask that the caller holds while there is none of WeChat's yet. */
class Connection {
  open: () => void = () => undefined
  mayReplace: () => Promise<boolean> = () => Promise.resolve(false)
  task: Socket
  private real: Socket | undefined
  private waiting: Array<() => void> = []
  private listeners: Record<EventName, Listener[]> = { onOpen: [], onMessage: [], onError: [], onClose: [] }
  private closed = false

  /** @param again says whether a connection that never opened may be tried again. */
  constructor(private again: boolean) {
    const on = (name: EventName) => (listener: Listener) => {
      this.listeners[name].push(listener)
    }
    const use = (name: 'send' | 'close') => (option: any) => {
      if (name === 'close') this.closed = true
      const go = () => (this.real as Socket)[name](option)
      if (this.real) go()
      else this.waiting.push(go)
    }
    this.task = {
      onOpen: on('onOpen'),
      onMessage: on('onMessage'),
      onError: on('onError'),
      onClose: on('onClose'),
      send: use('send'),
      close: use('close'),
    }
  }

  attach(real: Socket): void {
    this.real = real
    let held: Array<[EventName, unknown]> | undefined
    const tell = (name: EventName) => (res: unknown) => {
      if (held) held.push([name, res])
      else if (name === 'onError' && this.again && !this.closed) {
        this.again = false
        const missed: Array<[EventName, unknown]> = (held = [[name, res]])
        const give = () => {
          held = undefined
          for (const [event, what] of missed) this.emit(event, what)
        }
        this.mayReplace().then((yes) => (yes && !this.closed ? this.open() : give()), give)
      } else this.emit(name, res)
    }
    real.onOpen((res) => {
      this.again = false
      tell('onOpen')(res)
    })
    real.onMessage(tell('onMessage'))
    real.onError(tell('onError'))
    real.onClose(tell('onClose'))
    for (const go of this.waiting.splice(0)) go()
  }

  /** There will be no connection. */
  fail(error: unknown): void {
    this.emit('onError', error)
  }

  private emit(name: EventName, res: unknown): void {
    for (const listener of this.listeners[name].slice()) listener(res)
  }
}
