/** What the gateway says of a person. */
export interface User {
  /** The id that the shop sees as X-User-ID; absent for nobody. */
  id?: string
  /** `nobody` has no id: only where the gateway gives guests none. */
  kind: 'nobody' | 'guest' | 'member'
  phone_verified?: boolean
  /** Masked. */
  phone?: string
  /** What he gave in this mini program himself. */
  profile?: { nickname?: string; avatar?: string }
}

/**
 * Who the person was and who he is now. Whatever belongs to a person on the
 * screen (cart, addresses, orders) is loaded again.
 *
 * - `login`: a guest is a member now.
 * - `merge`: the id was replaced by another of the same kind.
 * - `phone`: the same person has a verified phone now.
 * - `logout`: a member no longer, by `logout()` or because his account said so.
 */
export interface Change {
  from: User
  to: User
  kind: 'login' | 'merge' | 'phone' | 'logout'
}

/**
 * What went wrong, for `fail` callbacks and promises alike. `code` is stable:
 *
 * - from this side: `network`, `wx_login_failed`, `aborted`, `login_cancelled`,
 *   `phone_required`, `phone_denied`, `phone_no_quota`, `phone_no_permission`, `phone_failed`,
 *   `privacy_denied`, `privacy_not_declared`;
 * - everything else is a code of the gateway, with its `title` and `detail` in
 *   the person's language.
 */
export interface GatewayError extends Error {
  code: string
  /** As of WeChat's own failures. */
  errMsg: string
  /** HTTP status; absent when no answer came. */
  status?: number
  title?: string
  detail?: string
  /** Seconds after which another try makes sense. */
  retryAfter?: number
}

type Wx = WechatMiniprogram.Wx

/** What is used of the global `wx`. */
export type Platform = Pick<
  Wx,
  | 'login'
  | 'request'
  | 'uploadFile'
  | 'downloadFile'
  | 'connectSocket'
  | 'getStorageSync'
  | 'setStorageSync'
> &
  Partial<Pick<Wx, 'getAccountInfoSync'>>

export interface Options {
  /** The site that has the gateway: `https://shop.example.com`. */
  baseUrl: string
  /** This mini program's appid. WeChat says it itself from base library 2.2.2 on. */
  appid?: string
  /** Where the gateway's endpoints are. Default `/wxgate`. */
  prefix?: string
  /**
   * Shows the person why a phone number is needed and a button with open-type
   * getPhoneNumber, whose event goes to `bindPhone`. Settles when that dialog is
   * gone. Without it, what needs a phone fails with `phone_required`.
   */
  askPhone?: () => Promise<unknown>
  /** In place of the global `wx`, for tests. */
  wx?: Platform
}

/** What `request`, `uploadFile` and `downloadFile` understand beyond WeChat's options. */
export interface LoginOption {
  /**
   * Where the gateway says that a login or a phone is needed, ask for it
   * (`requireLogin`) and send the request again. Default false: the 401 is the
   * answer. For what a person has tapped, not for what a page loads by itself.
   */
  login?: boolean
}

type Body = string | WechatMiniprogram.IAnyObject | ArrayBuffer

export type RequestOption<T extends Body = Body> = WechatMiniprogram.RequestOption<T> & LoginOption
export type UploadOption = WechatMiniprogram.UploadFileOption & LoginOption
export type DownloadOption = WechatMiniprogram.DownloadFileOption & LoginOption

export type RequestTask<T extends Body = Body> = WechatMiniprogram.RequestTask &
  Promise<WechatMiniprogram.RequestSuccessCallbackResult<T>>
export type UploadTask = WechatMiniprogram.UploadTask &
  Promise<WechatMiniprogram.UploadFileSuccessCallbackResult>
export type DownloadTask = WechatMiniprogram.DownloadTask &
  Promise<WechatMiniprogram.DownloadFileSuccessCallbackResult>

/** The event of a button with open-type getPhoneNumber or getRealtimePhoneNumber. */
export interface PhoneEvent {
  detail: { code?: string; encryptedData?: string; iv?: string; errMsg?: string; errno?: number }
}

/** A connection to the site behind the gateway. Make one for the whole mini program. */
export interface Gateway {
  /** As wx.request, for a path of the site or any URL; only the site gets the session. */
  request<T extends Body = Body>(options: RequestOption<T>): RequestTask<T>
  /** As wx.uploadFile. */
  uploadFile(options: UploadOption): UploadTask
  /** As wx.downloadFile. */
  downloadFile(options: DownloadOption): DownloadTask
  /** As wx.connectSocket; a path of the site becomes a wss URL. */
  connectSocket(options: WechatMiniprogram.ConnectSocketOption): WechatMiniprogram.SocketTask
  /** Logs in if need be, and asks once who the person is now. */
  ready(): Promise<User>
  /** Who the person is as far as is known, without asking. Null before the first login. */
  user(): User | null
  /** Tells of changes of the person until the returned function is called. */
  onChange(listener: (change: Change) => void): () => void
  /** Makes the person a member, with a verified phone if asked for; `askPhone` does the asking. */
  requireLogin(need?: { phone?: boolean }): Promise<User>
  /** Hands the event of a phone button to the gateway. Never calls wx.login. */
  bindPhone(event: PhoneEvent): Promise<User>
  /** The URL with which a web-view opens a page of the site as the same person. Good once, for a minute. */
  webviewUrl(path: string): Promise<string>
  /** Logs out: the person is a guest whom nothing recognises, until `requireLogin()`. */
  logout(): Promise<void>
}
