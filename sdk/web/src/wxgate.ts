// Sends a visitor to the gateway's login when a script's request is answered
// that one is needed: once, and back to the same route and the same place of the
// page. Include it before all other scripts.
;(() => {
  const key = 'wxgate'
  const problem = 'urn:wxgate:problem:login_required'
  /** Whether a request may lead away: not again before the person has done something here. */
  let may = true

  const leave = (said: string, url: string) => {
    if (!may) return
    let to: URL
    try {
      const answer = JSON.parse(said)
      if (answer.type !== problem) return
      to = new URL(answer.login_url, url)
    } catch (e) {
      return
    }
    may = false
    const here = to.host === location.host ? location.pathname + location.search + location.hash : location.href
    to.searchParams.set('return_to', here)
    sessionStorage.setItem(key, JSON.stringify([location.href, scrollY]))
    location.assign(to.href)
  }

  const fetched = window.fetch
  window.fetch = (...args) =>
    fetched(...args).then((answer) => {
      if (answer.status === 401) answer.clone().text().then((said) => leave(said, answer.url))
      return answer
    })

  const open = XMLHttpRequest.prototype.open
  XMLHttpRequest.prototype.open = function (this: XMLHttpRequest, ...args: any) {
    this.addEventListener('load', () => {
      if (this.status === 401 && (this.responseType === '' || this.responseType === 'text')) leave(this.responseText, this.responseURL)
    })
    return open.apply(this, args)
  }
})()
