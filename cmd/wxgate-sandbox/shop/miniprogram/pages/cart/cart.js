const gateway = require('../../gateway')
const say = require('../../say')

Page({
  data: { cart: { lines: [] }, note: '', ordered: '' },

  onLoad() {
    // A guest who logs in may have a cart from before: load it again.
    this.stop = gateway.onChange(() => this.load())
  },

  onUnload() {
    this.stop()
  },

  onShow() {
    this.load()
  },

  load() {
    return gateway.request({ url: '/api/cart' }).then((res) => this.setData({ cart: res.data }), say)
  },

  change(event) {
    const { id, n } = event.currentTarget.dataset
    gateway
      .request({ url: '/api/cart', method: 'POST', data: { goods: id, n: Number(n) } })
      .then((res) => this.setData({ cart: res.data }), say)
  },

  write(event) {
    this.data.note = event.detail.value // is on the screen already
  },

  // A guest may order too. When he logs in later, the order is his.
  order() {
    gateway
      .request({ url: '/api/orders', method: 'POST', data: { note: this.data.note } })
      .then((res) => {
        this.setData({ ordered: res.data.number, note: '' })
        return this.load()
      })
      .catch(say)
  },
})
