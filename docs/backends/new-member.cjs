// POST /wxgate/new: makes the user id of a new member, for the same key always the same.
const { createHmac, timingSafeEqual } = require('node:crypto')
const { createServer } = require('node:http')
const mysql = require('mysql') // or mysql2, which is called in the same way

const key = Buffer.from((process.env.HOOK_SECRET ?? '').replace('whsec_', ''), 'base64')
if (key.length < 24) throw new Error('HOOK_SECRET is not set')
const db = mysql.createPool(process.env.SHOP_DB) // mysql://user:password@127.0.0.1/shop

/** Says whether the gateway has signed the body a moment ago (standardwebhooks.com). */
function isSigned (headers, body) {
  const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signatures = '' } = headers
  const hmac = createHmac('sha256', key).update(`${id}.${time}.`).update(body)
  const expected = Buffer.from(`v1,${hmac.digest('base64')}`)
  return Math.abs(Date.now() / 1000 - time) <= 300 && signatures.split(' ').some((text) => {
    const signature = Buffer.from(text)
    return signature.length === expected.length && timingSafeEqual(signature, expected)
  })
}

createServer((request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks)
    if (!isSigned(request.headers, body)) return response.writeHead(401).end()
    const newcomer = JSON.parse(body)
    db.query('INSERT INTO users (wxgate_key, phone) VALUES (?, ?) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)',
      [newcomer.idempotency_key, newcomer.phone], (error, result) => {
        if (error) {
          console.error(error)
          return response.writeHead(500).end() // the gateway asks again
        }
        response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ user_id: String(result.insertId) }))
      })
  })
}).listen(process.env.PORT)
