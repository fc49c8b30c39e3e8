// Just enough of RFC 6455 for short texts: Node 18 has no WebSocket.
import { createHash, randomBytes } from 'node:crypto'
import http from 'node:http'
import type { Duplex } from 'node:stream'

const KEY = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** The shop's side: answers every text with what reply says. */
export function acceptSocket(request: http.IncomingMessage, socket: Duplex, reply: (text: string) => string): void {
  const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + KEY).digest('base64')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  )
  onText(socket, (text) => socket.write(frame(reply(text), false)))
  socket.on('error', () => undefined)
}

/** WeChat's side. */
export function connectSocket(url: string, header: Record<string, string>): WechatMiniprogram.SocketTask {
  const listeners: Record<string, Array<(res: any) => void>> = { open: [], message: [], error: [], close: [] }
  const emit = (name: string, res: unknown) => listeners[name]!.forEach((listener) => listener(res))
  let open: Duplex | undefined
  const request = http.request(url.replace(/^ws/, 'http'), {
    headers: {
      ...header,
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    },
  })
  const fail = (errMsg: string) => {
    emit('error', { errMsg })
    emit('close', { code: 1006, reason: errMsg })
  }
  request.on('upgrade', (_answer, socket) => {
    open = socket
    onText(socket, (data) => emit('message', { data }))
    socket.on('close', () => emit('close', { code: 1000, reason: '' }))
    emit('open', { header: {} })
  })
  request.on('response', (answer) => {
    answer.resume()
    fail('Unexpected server response: ' + answer.statusCode)
  })
  request.on('error', (e) => fail(e.message))
  request.end()
  return {
    onOpen: (listener) => listeners.open!.push(listener),
    onMessage: (listener) => listeners.message!.push(listener),
    onError: (listener) => listeners.error!.push(listener),
    onClose: (listener) => listeners.close!.push(listener),
    send: (option) => {
      if (open) open.write(frame(String(option.data), true))
      else if (option.fail) option.fail({ errMsg: 'sendSocketMessage:fail not open' })
    },
    close: () => void (open ? open.end() : request.destroy()),
  }
}

function frame(text: string, masked: boolean): Buffer {
  const data = Buffer.from(text)
  const head = Buffer.from([0x81, data.length | (masked ? 0x80 : 0)])
  if (!masked) return Buffer.concat([head, data])
  const mask = randomBytes(4)
  return Buffer.concat([head, mask, data.map((byte, i) => byte ^ mask[i % 4]!)])
}

function onText(socket: Duplex, told: (text: string) => void): void {
  let rest = Buffer.alloc(0)
  socket.on('data', (piece: Buffer) => {
    rest = Buffer.concat([rest, piece])
    for (;;) {
      if (rest.length < 2) return
      const masked = (rest[1]! & 0x80) !== 0
      const length = rest[1]! & 0x7f
      const start = masked ? 6 : 2
      if (rest.length < start + length) return
      const mask = rest.subarray(2, start)
      const data = rest.subarray(start, start + length).map((byte, i) => (masked ? byte ^ mask[i % 4]! : byte))
      const text = (rest[0]! & 0x0f) === 1
      rest = rest.subarray(start + length)
      if (text) told(Buffer.from(data).toString())
    }
  })
}
