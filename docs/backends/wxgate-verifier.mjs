// Node 18 or later, no packages.
import { createPublicKey, verify as verifySignature } from 'node:crypto'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const CACHE_SECONDS = 300 // how long fetched keys are used
const RETRY_SECONDS = 5 // fetch at most once in this time
const LEEWAY_SECONDS = 5 // between the gateway's clock and ours

export class WxgateVerifier {
  #keys = new Map()
  #fetched = -Infinity
  #tried = -Infinity
  #fetching = null

  constructor(jwksUrl, issuer, audience) {
    Object.assign(this, { jwksUrl, issuer, audience })
  }

  // Returns the claims of req.headers['x-user-assertion'], or throws.
  async verify(assertion) {
    const parts = /^([\w-]+\.[\w-]+)\.([\w-]+)$/.exec(assertion ?? '')
    if (!parts || assertion.length > 8192) throw new Error('malformed')
    const [, signed, signature] = parts
    const [header, claims] = signed.split('.').map((part) => JSON.parse(Buffer.from(part, 'base64url')))
    if (header?.typ !== 'wxgate-assertion+jwt' || header.alg !== 'ES256') throw new Error('wrong type or algorithm')
    if (!(await this.#isSigned(signed, Buffer.from(signature, 'base64url'), header))) {
      throw new Error('not signed by the gateway')
    }
    if (claims.iss !== this.issuer || claims.aud !== this.audience) throw new Error('wrong issuer or audience')
    const now = Date.now() / 1000
    const live = Number.isInteger(claims.exp) && claims.exp > now - LEEWAY_SECONDS
    if (!live || !Number.isInteger(claims.iat) || claims.iat > now + LEEWAY_SECONDS) {
      throw new Error('expired or not yet valid')
    }
    if (typeof claims.sub !== 'string' || claims.sub === '') throw new Error('no subject')
    return claims
  }

  async #isSigned(signed, signature, header) {
    const key = await this.#key(header.kid)
    return key && verifySignature('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }, signature)
  }

  async #key(kid) {
    const now = performance.now() / 1000
    const due = !this.#keys.has(kid) || now - this.#fetched >= CACHE_SECONDS
    if (due && now - this.#tried >= RETRY_SECONDS) {
      this.#tried = now
      this.#fetching = this.#fetch()
    }
    await this.#fetching
    return this.#keys.get(kid)
  }

  // If the gateway cannot be reached, the keys at hand go on being used.
  async #fetch() {
    try {
      const response = await fetch(this.jwksUrl, { signal: AbortSignal.timeout(3000) })
      const keys = new Map()
      for (const jwk of (await response.json()).keys) {
        if (jwk.kty === 'EC' && jwk.crv === 'P-256' && jwk.alg === 'ES256') {
          keys.set(jwk.kid, createPublicKey({ key: jwk, format: 'jwk' }))
        }
      }
      this.#keys = keys
      this.#fetched = performance.now() / 1000
    } catch (error) {
      console.warn(`wxgate: cannot fetch ${this.jwksUrl}: ${error.message}`)
    }
  }
}

// To try it: node wxgate-verifier.mjs <jwks url> <issuer> <audience>, one assertion per line.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const verifier = new WxgateVerifier(...process.argv.slice(2))
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const claims = await verifier.verify(line)
      console.log(`ok ${claims.sub} ${claims.kind}`)
    } catch (error) {
      console.log(`refused ${error.message.replace(/\s/g, ' ')}`)
    }
  }
}
