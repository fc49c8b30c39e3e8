const gateway = require('../../gateway')
const say = require('../../say')

Page({
  data: { goods: [] },

  onLoad() {
    gateway.request({ url: '/api/goods' }).then((res) => this.setData({ goods: res.data }), say)
  },

  add(event) {
    gateway
      .request({ url: '/api/cart', method: 'POST', data: { goods: event.currentTarget.dataset.id, n: 1 } })
      .then((res) => wx.showToast({ title: res.statusCode === 200 ? '已加入购物车' : '没有加入' }), say)
  },
})
