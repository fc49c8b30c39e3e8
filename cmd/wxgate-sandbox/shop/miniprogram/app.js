const gateway = require('./gateway')

App({
  onLaunch() {
    // Requests wait for the login by themselves. It may as well begin now.
    gateway.ready().catch(() => {})
  },
})
