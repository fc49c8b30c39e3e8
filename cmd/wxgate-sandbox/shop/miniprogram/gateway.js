// The connection to the shop: one for the whole mini program.
const { createGateway } = require('@wxgate/miniprogram')

module.exports = createGateway({
  baseUrl: 'https://shop.example.com',
  // Where a login takes a phone number: the page that asks for it, until it is closed.
  askPhone: () => new Promise((closed) => wx.navigateTo({ url: '/pages/login/login', events: { closed } })),
})
