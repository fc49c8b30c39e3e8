import { ensure, isRefused, renew, usable, type Session } from './session'
import { addressed } from './site'

type Socket = WechatMiniprogram.SocketTask
type EventName = 'onOpen' | 'onMessage' | 'onError' | 'onClose'
type Event = [EventName, any]

/** What the caller holds while there is no socket of WeChat's yet, or no longer the same. */
interface Handle {
  real?: Socket
  closed: boolean
  waiting: Array<() => void>
  listeners: Record<EventName, Array<(res: any) => void>>
}

/** Connects with the session, as soon as there is one, and once more if it is refused. */
export function connect(s: Session, options: WechatMiniprogram.ConnectSocketOption): Socket {
  const handle: Handle = {
    closed: false,
    waiting: [],
    listeners: { onOpen: [], onMessage: [], onError: [], onClose: [] },
  }
  const origin = s.site.origin.replace(/^http/, 'ws')
  let again = true
  const attempt = () => {
    if (handle.closed) return emit(handle, ['onClose', { code: 1000, reason: '' }])
    const { own, token, call } = addressed(origin, s.token, options)
    const mayReplace = () =>
      isRefused(s, token).then((refused) => refused && !handle.closed && renew(s, token))
    attach(handle, s.site.wx.connectSocket(call), own && again ? () => mayReplace().then((yes) => yes && (attempt(), true)) : undefined)
    again = false
  }
  if (usable(s) || !addressed(origin, '', options).own) attempt()
  else ensure(s).then(attempt, (error) => {
    if (options.fail) options.fail(error)
    if (options.complete) options.complete(error)
    emit(handle, ['onError', error])
  })
  return methodsOf(handle)
}

/**
 * Tells the caller's listeners what happens to a socket of WeChat's. One that
 * fails before it is open may be replaced; until that is known its events wait.
 */
function attach(handle: Handle, real: Socket, replace?: () => Promise<boolean>): void {
  let held: Event[] | undefined
  const tell = (name: EventName) => (res: any) => {
    if (held) held.push([name, res])
    else if (name === 'onError' && replace) hold([name, res], replace)
    else {
      replace = undefined
      emit(handle, [name, res])
    }
  }
  const hold = (event: Event, replace: () => Promise<boolean>) => {
    const missed = (held = [event])
    const give = () => {
      held = undefined
      for (const event of missed) emit(handle, event)
    }
    replace().then((replaced) => replaced || give(), give)
  }
  handle.real = real
  real.onOpen(tell('onOpen'))
  real.onMessage(tell('onMessage'))
  real.onError(tell('onError'))
  real.onClose(tell('onClose'))
  for (const go of handle.waiting.splice(0)) go()
}

function emit(handle: Handle, event: Event): void {
  for (const listener of handle.listeners[event[0]].slice()) listener(event[1])
}

function methodsOf(handle: Handle): Socket {
  const on = (name: EventName) => (listener: (res: any) => void) => {
    handle.listeners[name].push(listener)
  }
  const use = (name: 'send' | 'close', option: any) => {
    const go = () => (handle.real as Socket)[name](option)
    if (handle.real) go()
    else handle.waiting.push(go)
  }
  return {
    onOpen: on('onOpen'),
    onMessage: on('onMessage'),
    onError: on('onError'),
    onClose: on('onClose'),
    send: (option) => use('send', option),
    close: (option) => {
      handle.closed = true
      use('close', option)
    },
  }
}
