// @wxgate/miniprogram, built from its TypeScript by make sdk-build. Apache License 2.0.
// miniprogram/src/site.ts
function siteOf(options) {
  const platform = options.wx || wx;
  const origin = options.baseUrl.replace(/\/$/, "");
  if (!/^https?:\/\/[^/?#@]+$/.test(origin)) {
    throw new TypeError("baseUrl is not https://host: " + options.baseUrl);
  }
  const appid = options.appid || (platform.getAccountInfoSync ? platform.getAccountInfoSync().miniProgram.appId : "");
  if (!appid) throw new TypeError("appid is missing");
  return { wx: platform, origin, prefix: options.prefix || "/wxgate", appid };
}
function urlOf(origin, url) {
  return url.charAt(0) === "/" && url.charAt(1) !== "/" ? origin + url : url;
}
function isOf(origin, url) {
  return url === origin || url.indexOf(origin + "/") === 0 || url.indexOf(origin + "?") === 0;
}
function headerOf(header, name) {
  for (const key in header) {
    if (key.toLowerCase() === name) return String(header[key]);
  }
  return "";
}
function withSession(header, token) {
  const all = Object.assign({}, header);
  if (!token) return all;
  if (headerOf(header, "authorization")) all["X-Wxgate-Session"] = token;
  else all["Authorization"] = "Wxgate " + token;
  return all;
}

// miniprogram/src/socket.ts
function connect(site, session, options) {
  const origin = site.origin.replace(/^http/, "ws");
  const url = urlOf(origin, options.url);
  const own = isOf(origin, url);
  const socket = new Connection(own);
  socket.open = () => {
    const token = own ? session.token : "";
    const call = Object.assign({}, options, { url, header: own ? withSession(options.header, token) : options.header });
    socket.attach(site.wx.connectSocket(call));
    socket.mayReplace = () => session.isRefused(token).then((refused) => refused && session.renew(token));
  };
  if (!own || session.usable()) socket.open();
  else session.ensure().then(socket.open, (error) => socket.fail(error));
  return socket.task;
}
var Connection = class {
  /** @param again says whether a connection that never opened may be tried again. */
  constructor(again) {
    this.again = again;
    this.open = () => void 0;
    this.mayReplace = () => Promise.resolve(false);
    this.waiting = [];
    this.listeners = { onOpen: [], onMessage: [], onError: [], onClose: [] };
    this.closed = false;
    const on = (name) => (listener) => {
      this.listeners[name].push(listener);
    };
    const use = (name) => (option) => {
      if (name === "close") this.closed = true;
      const go = () => this.real[name](option);
      if (this.real) go();
      else this.waiting.push(go);
    };
    this.task = {
      onOpen: on("onOpen"),
      onMessage: on("onMessage"),
      onError: on("onError"),
      onClose: on("onClose"),
      send: use("send"),
      close: use("close")
    };
  }
  attach(real) {
    this.real = real;
    let held;
    const tell = (name) => (res) => {
      if (held) held.push([name, res]);
      else if (name === "onError" && this.again && !this.closed) {
        this.again = false;
        const missed = held = [[name, res]];
        const give = () => {
          held = void 0;
          for (const [event, what] of missed) this.emit(event, what);
        };
        this.mayReplace().then((yes) => yes && !this.closed ? this.open() : give(), give);
      } else this.emit(name, res);
    };
    real.onOpen((res) => {
      this.again = false;
      tell("onOpen")(res);
    });
    real.onMessage(tell("onMessage"));
    real.onError(tell("onError"));
    real.onClose(tell("onClose"));
    for (const go of this.waiting.splice(0)) go();
  }
  /** There will be no connection. */
  fail(error) {
    this.emit("onError", error);
  }
  emit(name, res) {
    for (const listener of this.listeners[name].slice()) listener(res);
  }
};

// miniprogram/src/error.ts
function failure(code, errMsg, more) {
  const error = new Error(errMsg);
  return Object.assign(error, more, { code, errMsg });
}
function problemOf(data) {
  if (typeof data === "string") {
    try {
      data = JSON.parse(data);
    } catch (e) {
      return void 0;
    }
  }
  if (data === void 0 || data instanceof ArrayBuffer) return null;
  const problem = data;
  return problem && String(problem.type).indexOf("urn:wxgate:problem:") === 0 ? problem : void 0;
}
function phoneRefusal(detail) {
  const said = detail.errMsg || "getPhoneNumber:fail";
  return failure(phoneCode(detail.errno, said), said);
}
function phoneCode(errno, said) {
  if (errno === 1400001) return "phone_no_quota";
  if (errno === 112 || /not declared in the privacy/.test(said)) return "privacy_not_declared";
  if (errno === 103 || errno === 104 || /privacy/.test(said)) return "privacy_denied";
  if (/no permission/.test(said)) return "phone_no_permission";
  return /deny|denied|cancel/.test(said) ? "phone_denied" : "phone_failed";
}

// miniprogram/src/session.ts
var PAUSES = [500, 2e3];
var LOGIN_GAP = 1e4;
var TIMEOUT = 1e4;
var Session = class {
  constructor(site) {
    this.site = site;
    this.token = "";
    this.pending = null;
    this.loggedInAt = 0;
    this.listeners = [];
    this.key = "wxgate " + site.appid + " " + site.origin;
    const kept = this.storage(() => site.wx.getStorageSync(this.key));
    if (kept && typeof kept.token === "string") {
      this.token = kept.token;
      this.user = kept.user;
    }
  }
  /** Waits until requests can be sent: with a session, or without one after a logout. */
  ensure() {
    if (this.pending) return this.pending;
    return this.token || this.user === null ? Promise.resolve() : this.login();
  }
  /** Says whether requests can be sent without waiting. */
  usable() {
    return !this.pending && (!!this.token || this.user === null);
  }
  /** Waits until no login is under way, whatever has become of it. */
  settled() {
    return (this.pending || Promise.resolve()).catch(() => void 0);
  }
  /** Logs in again by itself. */
  replace() {
    this.login().catch(() => void 0);
  }
  /** Logs in, once for all who wait. */
  login(want) {
    if (this.pending) return want ? this.pending.then(() => this.login(want)) : this.pending;
    const done = () => {
      this.pending = null;
    };
    this.pending = this.exchange(want, true);
    this.pending.then(done, done);
    return this.pending;
  }
  /**
   * Gets another session for one that the gateway refuses. False: it was only just
   * given out, and asking again would not end.
   */
  renew(refused) {
    if (!this.pending && this.token === refused) {
      if (Date.now() - this.loggedInAt < LOGIN_GAP) return Promise.resolve(false);
      this.token = "";
    }
    return this.ensure().then(() => true);
  }
  /** Asks the gateway who the person is. */
  refresh() {
    return this.signedIn("GET", "/me").then(() => void 0);
  }
  /** Says whether the gateway refuses a session, for answers that do not show it. */
  isRefused(token) {
    return this.call("GET", "/me", void 0, token).then(
      () => false,
      (error) => error.code === "session_expired"
    );
  }
  /** Calls an endpoint with a session, and with another one if it is refused. */
  signedIn(method, path, data) {
    return this.ensure().then(() => {
      const token = this.token;
      return this.call(method, path, data, token).catch((error) => {
        if (error.code !== "session_expired") throw error;
        return this.renew(token).then((renewed) => {
          if (!renewed) throw error;
          return this.call(method, path, data, this.token);
        });
      });
    });
  }
  /** Calls an endpoint as it is, takes over what the answer says, and fails with the gateway's code. */
  call(method, path, data, token) {
    return new Promise((resolve, reject) => {
      this.site.wx.request({
        url: this.site.origin + this.site.prefix + path,
        method,
        data,
        timeout: TIMEOUT,
        header: withSession({ "content-type": "application/json", accept: "application/json" }, token),
        success: (res) => {
          const answer = res.data;
          if (res.statusCode < 200 || res.statusCode > 299) return reject(refusal(res));
          const given = answer && answer.session || headerOf(res.header, "x-wxgate-session");
          const user = path === "/me" ? res.data : answer && answer.user;
          if (token === this.token && (token || given)) {
            this.token = given || token;
            if (user) this.become(user);
          }
          resolve(answer);
        },
        fail: (res) => reject(failure("network", res.errMsg))
      });
    });
  }
  /** Calls an endpoint that bears to be called twice, again while the network fails. */
  persist(path, data) {
    const attempt = (failed) => this.call("POST", path, data, this.token).catch((error) => {
      if (error.code !== "network" || failed >= PAUSES.length) throw error;
      return new Promise((resolve) => setTimeout(resolve, PAUSES[failed])).then(() => attempt(failed + 1));
    });
    return attempt(0);
  }
  /** Takes over the session that an answer of the shop brings along: the person's level has risen, or it was renewed. */
  take(header, token) {
    const given = headerOf(header, "x-wxgate-session");
    if (!given || token !== this.token || given === token) return;
    this.token = given;
    this.keep();
    this.refresh().catch(() => void 0);
  }
  /** Forgets the session, until a login is wanted. */
  forget() {
    this.token = "";
    this.become(null);
  }
  onChange(listener) {
    this.listeners.push(listener);
    return () => {
      this.listeners = this.listeners.filter((l) => l !== listener);
    };
  }
  /** Changes a code of WeChat's for a session. A code that is spent is replaced once. */
  exchange(want, again) {
    return this.code().then((code) => this.persist("/mini/login", { appid: this.site.appid, code, want })).then(
      () => {
        this.loggedInAt = Date.now();
      },
      (error) => {
        if (again && (error.code === "code_used" || error.code === "code_invalid")) return this.exchange(want, false);
        throw error;
      }
    );
  }
  code() {
    return new Promise((resolve, reject) => {
      this.site.wx.login({
        timeout: TIMEOUT,
        success: (res) => res.code ? resolve(res.code) : reject(failure("wx_login_failed", res.errMsg)),
        fail: (res) => reject(failure("wx_login_failed", res.errMsg))
      });
    });
  }
  become(user) {
    const before = this.user;
    this.user = user;
    this.keep();
    if (before === void 0) return;
    const kind = changeOf(before, user);
    if (!kind) return;
    for (const listener of this.listeners.slice()) {
      try {
        listener({ from: before, to: user, kind });
      } catch (e) {
        console.error(e);
      }
    }
  }
  keep() {
    const kept = { token: this.token, user: this.user };
    this.storage(() => this.site.wx.setStorageSync(this.key, kept));
  }
  /** A phone whose storage is full or broken costs a login at the next start. */
  storage(use) {
    try {
      return use();
    } catch (e) {
      return void 0;
    }
  }
};
function refusal(res) {
  const problem = problemOf(res.data);
  const retryAfter = Number(headerOf(res.header, "retry-after")) || void 0;
  const said = "wxgate:fail " + (problem ? problem.code : res.statusCode);
  return failure(problem ? problem.code : "unavailable", said, {
    status: res.statusCode,
    title: problem ? problem.title : void 0,
    detail: problem ? problem.detail : void 0,
    retryAfter
  });
}
function changeOf(from, to) {
  const was = from ? from.kind : "nobody";
  const is = to ? to.kind : "nobody";
  if (is === "member" && was !== "member") return "login";
  if (was === "member" && is !== "member") return "logout";
  if (from && to && from.id && to.id && from.id !== to.id) return "merge";
  return to && to.phone_verified && from && !from.phone_verified ? "phone" : void 0;
}

// miniprogram/src/task.ts
var EVENTS = {
  request: ["HeadersReceived", "ChunkReceived"],
  uploadFile: ["HeadersReceived", "ProgressUpdate"],
  downloadFile: ["HeadersReceived", "ProgressUpdate"]
};
var Sender = class {
  constructor(site, session, ask) {
    this.site = site;
    this.session = session;
    this.ask = ask;
  }
  request(options) {
    return this.send("request", options);
  }
  uploadFile(options) {
    return this.send("uploadFile", options);
  }
  downloadFile(options) {
    return this.send("downloadFile", options);
  }
  send(name, options) {
    const handle = new Handle(EVENTS[name]);
    const promise = new Promise((resolve, reject) => {
      const done = (callback, res) => {
        handle.over = true;
        if (callback === "success") resolve(res);
        else reject(res);
        if (options[callback]) options[callback](res);
        if (options.complete) options.complete(res);
      };
      handle.onAbort = () => done("fail", failure("aborted", name + ":fail abort"));
      this.start(name, options, handle, done);
    });
    if (options.success || options.fail || options.complete) promise.catch(() => void 0);
    return Object.assign(promise, handle.methods);
  }
  start(name, options, handle, done) {
    const url = urlOf(this.site.origin, options.url);
    const own = isOf(this.site.origin, url);
    let renewed = false;
    const fail = (error) => {
      if (!handle.over) done("fail", error);
    };
    const attempt = () => {
      if (handle.over) return;
      const token = own ? this.session.token : "";
      const call = Object.assign({}, options, { url, header: own ? withSession(options.header, token) : options.header });
      delete call.login;
      delete call.complete;
      call.fail = fail;
      call.success = (res) => {
        if (handle.over) return;
        if (own) this.session.take(res.header, token);
        if (!own || res.statusCode !== 401) return done("success", res);
        this.again(res, token, options, renewed).then((again) => {
          if (again === "renewed") renewed = true;
          if (again) attempt();
          else if (!handle.over) done("success", res);
        }, fail);
      };
      handle.attach(this.site.wx[name](call));
    };
    if (!own || this.session.usable()) attempt();
    else this.session.ensure().then(attempt, fail);
  }
  /**
   * Says whether a request that was answered 401 is to be sent again. A refused
   * session is replaced once; each further time the person has to have come one
   * step further, so that there is an end.
   */
  again(res, token, options, renewed) {
    const problem = problemOf(res.data);
    const code = problem === null ? this.session.isRefused(token).then((refused) => refused ? "session_expired" : "login_required") : Promise.resolve(problem ? problem.code : "");
    return code.then((code2) => {
      if (code2 === "session_expired" && !renewed && token) {
        return this.session.renew(token).then((yes) => yes ? "renewed" : "");
      }
      if (code2 === "login_required" && options.login) return this.ask().then((yes) => yes ? "asked" : "");
      return "";
    });
  }
};
var Handle = class {
  constructor(events) {
    this.over = false;
    this.onAbort = () => void 0;
    this.methods = {};
    this.calls = [];
    this.methods.abort = () => {
      if (this.over) return;
      if (this.task) this.use("abort", []);
      this.onAbort();
    };
    for (const event of events) {
      for (const name of ["on" + event, "off" + event]) {
        this.methods[name] = (...args) => {
          this.calls.push([name, args]);
          this.use(name, args);
        };
      }
    }
  }
  attach(task) {
    this.task = task;
    for (const [name, args] of this.calls) this.use(name, args);
  }
  use(name, args) {
    const method = this.task && this.task[name];
    if (method) method.apply(this.task, args);
  }
};

// miniprogram/src/index.ts
function createGateway(options) {
  const site = siteOf(options);
  const session = new Session(site);
  const person = new Person(session, options.askPhone);
  const sender = new Sender(site, session, () => person.rise());
  return {
    request: (o) => sender.request(o),
    uploadFile: (o) => sender.uploadFile(o),
    downloadFile: (o) => sender.downloadFile(o),
    connectSocket: (o) => connect(site, session, o),
    ready: () => person.ready(),
    user: () => session.user || null,
    onChange: (listener) => session.onChange(listener),
    requireLogin: (need) => person.require(!!need && !!need.phone),
    bindPhone: (event) => person.bindPhone(event),
    webviewUrl: (path) => session.signedIn("POST", "/mini/ticket", { return_to: path }).then((answer) => String(answer.url).replace(/^\//, site.origin + "/")),
    logout: () => person.logout()
  };
}
var Person = class {
  constructor(session, askPhone) {
    this.session = session;
    this.askPhone = askPhone;
  }
  ready() {
    if (!this.first) {
      const offline = (error) => {
        this.first = void 0;
        if (!this.session.user) throw error;
      };
      this.first = this.session.token ? this.session.refresh().catch(offline) : this.session.ensure();
      this.first.catch(() => this.first = void 0);
    }
    return this.first.then(() => this.session.ensure()).then(() => this.session.user || null);
  }
  /** Brings the person one level further, for a request that was refused. */
  rise() {
    const user = this.session.user;
    if (isMember(user) && user.phone_verified) return Promise.resolve(false);
    return this.require(isMember(user)).then(() => true);
  }
  /** Asks once for all who want it. */
  require(phone) {
    const user = this.session.user;
    if (isMember(user) && (!phone || user.phone_verified)) return Promise.resolve(user);
    if (this.asking) return this.asking.then(() => this.require(phone));
    const done = () => {
      this.asking = void 0;
    };
    this.asking = this.ask(phone);
    this.asking.then(done, done);
    return this.asking;
  }
  ask(phone) {
    const enough = (user) => isMember(user) && (!phone || !!user.phone_verified);
    const loggedIn = isMember(this.session.user) ? Promise.resolve() : this.session.login("login");
    const missing = failure("phone_required", "wxgate:fail phone_required");
    return loggedIn.catch((error) => {
      if (error.code !== "phone_required") throw error;
      Object.assign(missing, error);
    }).then(() => {
      if (enough(this.session.user)) return this.session.user;
      if (!this.askPhone) throw missing;
      return this.askPhone().then(() => {
        if (enough(this.session.user)) return this.session.user;
        throw failure("login_cancelled", "wxgate:fail login_cancelled");
      });
    });
  }
  bindPhone(event) {
    const detail = event.detail;
    if (!detail.code && !(detail.encryptedData && detail.iv)) return Promise.reject(phoneRefusal(detail));
    const data = detail.code ? { code: detail.code } : { encrypted_data: detail.encryptedData, iv: detail.iv };
    return this.session.settled().then(() => this.session.persist("/mini/phone", data)).then(
      () => this.session.user,
      (error) => {
        if (error.code === "session_expired" || error.code === "session_key_lost") this.session.replace();
        throw error;
      }
    );
  }
  logout() {
    const token = this.session.token;
    const over = () => {
      this.first = void 0;
      this.session.forget();
    };
    if (!token) return Promise.resolve(over());
    return this.session.call("POST", "/logout", {}, token).then(over, (error) => {
      if (error.code !== "session_expired") throw error;
      over();
    });
  }
};
function isMember(user) {
  return !!user && user.kind === "member";
}
export {
  createGateway
};
