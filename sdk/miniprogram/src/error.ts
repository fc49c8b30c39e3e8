import type { GatewayError, PhoneEvent } from './types'

/** A problem document of the gateway. */
export interface Problem {
  type: string
  code: string
  title?: string
  detail?: string
}

/** Makes the one kind of error there is. */
export function failure(code: string, errMsg: string, more?: Partial<GatewayError>): GatewayError {
  const error = new Error(errMsg) as GatewayError
  return Object.assign(error, more, { code, errMsg })
}

/** The gateway's own words in an answer: `undefined` if they are somebody else's, `null` if that cannot be seen. */
export function problemOf(data: unknown): Problem | null | undefined {
  if (data instanceof ArrayBuffer) data = textOf(data)
  if (typeof data === 'string') {
    try {
      data = JSON.parse(data)
    } catch (e) {
      return undefined
    }
  }
  // The content of a file.
  if (data === undefined) return null
  const problem = data as Problem | null
  return problem && String(problem.type).indexOf('urn:wxgate:problem:') === 0 ? problem : undefined
}

/** Reads bytes as far as a problem document may be long. What is beyond ASCII in it is not looked at. */
function textOf(bytes: ArrayBuffer): string {
  return String.fromCharCode.apply(null, [].slice.call(new Uint8Array(bytes, 0, Math.min(bytes.byteLength, 1e4))))
}

/** What a refused phone button says, in codes. */
export function phoneRefusal(detail: PhoneEvent['detail']): GatewayError {
  const said = detail.errMsg || 'getPhoneNumber:fail'
  return failure(phoneCode(detail.errno, said), said)
}

function phoneCode(errno: number | undefined, said: string): string {
  if (errno === 1400001) return 'phone_no_quota'
  if (errno === 112 || /not declared in the privacy/.test(said)) return 'privacy_not_declared'
  if (errno === 103 || errno === 104 || /privacy/.test(said)) return 'privacy_denied'
  if (/no permission/.test(said)) return 'phone_no_permission'
  return /deny|denied|cancel/.test(said) ? 'phone_denied' : 'phone_failed'
}
