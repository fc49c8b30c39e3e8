// Tells the person what went wrong, in the gateway's words if they are its. Who
// did not want to himself needs no words.
module.exports = (error) => {
  if (error.code === 'login_cancelled' || error.code === 'phone_denied') return
  wx.showToast({ title: error.title || error.errMsg || String(error), icon: 'none' })
}
