const gateway = require('../../gateway')
const say = require('../../say')

Page({
  bindPhone(event) {
    gateway.bindPhone(event).then(() => wx.navigateBack(), say)
  },

  onUnload() {
    this.getOpenerEventChannel().emit('closed')
  },
})
