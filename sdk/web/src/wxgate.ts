// Leads a visitor to the gateway's login when a script's request is answered that
// one is needed: once, and back to the same route and place of the page. Included
// before all other scripts; for a gateway on another host its origin is in
// data-gateway. The script that asked gets its 401 all the same.

const script = document.currentScript
const gateway = (script && script.dataset.gateway) || location.origin
const memory = sessionStorage
/** Whether a request may lead away. After it has, the visitor has to do something first. */
let may = true

/** Where the visitor is. Logins that came by WeChat leave an empty fragment. */
const at = () => location.href.replace(/#$/, '')

function leave(answer: any, url: string): void {
  if (!may || answer.type !== 'urn:wxgate:problem:login_required') return
  const here = at()
  const to = new URL(answer.login_url, url)
  // Nobody else whom the page asks for something may lead it away.
  if (to.origin !== gateway) return
  may = false
  to.searchParams.set('return_to', here.replace(gateway, ''))
  location.assign(to.href)
  memory.wxgate = JSON.stringify([here, scrollY])
}

const ignore = () => {}
const fetched = fetch
window.fetch = (input, init) =>
  fetched(input, init).then((answer) => {
    if (answer.status === 401) answer.clone().json().then((said) => leave(said, answer.url)).catch(ignore)
    return answer
  })

// axios and most other clients.
const open = XMLHttpRequest.prototype.open
XMLHttpRequest.prototype.open = function (this: XMLHttpRequest) {
  this.addEventListener('load', () => {
    if (this.status !== 401) return
    try {
      leave(this.responseType == 'json' ? this.response : JSON.parse(this.responseText), this.responseURL)
    } catch (e) {
      // Not text, or not the gateway's.
    }
  })
  return open.apply(this, arguments as any)
}

for (const event of ['mousedown', 'touchstart', 'keydown']) addEventListener(event, () => (may = true), true)

if (memory.wxgate) {
  const [href, top] = JSON.parse(memory.wxgate)
  delete memory.wxgate
  if (href === at()) {
    may = false
    // The page may become long enough only by and by. Whoever does something
    // himself is not moved any more.
    let tries = 50
    const scroll = () => {
      scrollTo(0, top)
      if (!may && tries-- && Math.abs(scrollY - top) > 1) setTimeout(scroll, 100)
    }
    addEventListener('load', scroll)
  }
}

export {}
