const gateway = require('../../gateway')
const say = require('../../say')

Page({
  data: { src: '' },

  onLoad(options) {
    gateway.webviewUrl(decodeURIComponent(options.path)).then((src) => this.setData({ src }), say)
  },
})
