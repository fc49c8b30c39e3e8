// POST /hooks/wxgate: hears of each event, some more than once, and gives a user what his old ids did.
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

/** Gives a user what his old ids did, in every table that has a user_id. */
function claimRows (to, aliases, done) {
  const tables = ['orders', 'addresses', 'coupons']
  db.getConnection((error, connection) => {
    if (error) return done(error)
    const end = (error) => connection[error ? 'rollback' : 'commit']((failed) => {
      connection.release()
      done(error ?? failed)
    })
    const next = (error) => {
      if (error || tables.length === 0) return end(error)
      connection.query('UPDATE ?? SET user_id = ? WHERE user_id IN (?)', [tables.shift(), to, aliases], next)
    }
    connection.beginTransaction(next)
  })
}

createServer((request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks)
    if (!isSigned(request.headers, body)) return response.writeHead(401).end()
    const event = JSON.parse(body)
    const answer = (error) => {
      if (error) console.error(error)
      response.writeHead(error ? 500 : 204).end() // after a 500 the gateway sends the event again
    }
    if (event.type !== 'wxgate.user.merged' && event.type !== 'wxgate.user.merge_settled') return answer()
    claimRows(event.data.to, event.data.aliases, answer)
  })
}).listen(process.env.PORT)
