// Tells the person what went wrong, in the words of the gateway if it was it.
module.exports = (error) => wx.showToast({ title: error.title || error.errMsg || String(error), icon: 'none' })
