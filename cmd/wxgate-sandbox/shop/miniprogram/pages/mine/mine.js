const gateway = require('../../gateway')
const say = require('../../say')

Page({
  data: { user: null, member: false, orders: [] },

  onLoad() {
    // After a login, a merge or a logout, whatever is his is loaded again.
    this.stop = gateway.onChange(() => this.load())
  },

  onUnload() {
    this.stop()
  },

  onShow() {
    this.load()
  },

  load() {
    return gateway
      .ready()
      .then((user) => {
        const member = !!user && user.kind === 'member'
        this.setData({ user, member, orders: [] })
        if (!member) return
        return gateway.request({ url: '/api/me/orders' }).then((res) => this.setData({ orders: res.data }))
      })
      .catch(say)
  },

  bindPhone(event) {
    gateway.bindPhone(event).catch(say)
  },

  logIn() {
    gateway.requireLogin().catch(say)
  },

  logOut() {
    gateway.logout().catch(say)
  },

  openPage() {
    wx.navigateTo({ url: '/pages/web/web?path=' + encodeURIComponent('/') })
  },
})
