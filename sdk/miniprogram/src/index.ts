import { bindPhone, demand, logout, ready, type Asking } from './person'
import { open, signedIn } from './session'
import { siteOf } from './site'
import { connect } from './socket'
import { send } from './task'
import type { Gateway, Options } from './types'

export * from './types'

/** Connects a mini program to its site. Make one gateway for the whole mini program. */
export function createGateway(options: Options): Gateway {
  const site = siteOf(options)
  const s = open(site)
  const ask: Asking = { phone: options.askPhone }
  return {
    request: (o) => send(s, ask, 'request', o),
    uploadFile: (o) => send(s, ask, 'uploadFile', o),
    downloadFile: (o) => send(s, ask, 'downloadFile', o),
    connectSocket: (o) => connect(s, o),
    ready: () => ready(s, ask),
    user: () => s.user,
    onChange: (listener) => {
      s.listeners.push(listener)
      return () => {
        s.listeners = s.listeners.filter((l) => l !== listener)
      }
    },
    requireLogin: (need) => demand(s, ask, !!need && !!need.phone),
    bindPhone: (event) => bindPhone(s, event),
    webviewUrl: (path) =>
      signedIn(s, 'POST', '/mini/ticket', { return_to: path }).then((answer) =>
        String(answer.url).replace(/^\//, site.origin + '/'),
      ),
    logout: () => logout(s),
  }
}
