// @wxgate/miniprogram, built from its TypeScript by make sdk-build. Apache License 2.0.
// miniprogram/src/error.ts
function failure(code2, errMsg, more) {
  const error = new Error(errMsg);
  return Object.assign(error, more, { code: code2, errMsg });
}
function problemOf(data) {
  if (data instanceof ArrayBuffer) data = textOf(data);
  if (typeof data === "string") {
    try {
      data = JSON.parse(data);
    } catch (e) {
      return void 0;
    }
  }
  if (data === void 0) return null;
  const problem = data;
  return problem && String(problem.type).indexOf("urn:wxgate:problem:") === 0 ? problem : void 0;
}
function textOf(bytes) {
  return String.fromCharCode.apply(null, [].slice.call(new Uint8Array(bytes, 0, Math.min(bytes.byteLength, 1e4))));
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
function addressed(origin, token, options) {
  const call2 = Object.assign({}, options);
  if (/^\/(?!\/)/.test(call2.url)) call2.url = origin + call2.url;
  const own = (call2.url + "/").replace("?", "/").indexOf(origin + "/") === 0;
  if (own) call2.header = withSession(call2.header, token);
  return { own, token: own ? token : "", call: call2 };
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

// miniprogram/src/session.ts
var PAUSES = [500, 2e3];
var LOGIN_GAP = 3e3;
var TIMEOUT = 1e4;
function open(site) {
  const s = { site, token: "", user: null, pending: null, since: 0, logouts: 0, listeners: [] };
  try {
    const kept = site.wx.getStorageSync(keyOf(site));
    if (typeof kept.token === "string") {
      s.token = kept.token;
      s.user = kept.user || null;
    }
  } catch (e) {
  }
  return s;
}
function keep(s) {
  try {
    s.site.wx.setStorageSync(keyOf(s.site), { token: s.token, user: s.user });
  } catch (e) {
  }
}
function keyOf(site) {
  return "wxgate " + site.appid + " " + site.origin;
}
function usable(s) {
  return !s.pending && !!s.token;
}
function ensure(s) {
  return usable(s) ? Promise.resolve() : login(s);
}
function settled(s) {
  return s.pending ? s.pending.catch(() => void 0) : Promise.resolve();
}
function login(s, want) {
  if (s.pending) return want ? settled(s).then(() => login(s, want)) : s.pending;
  const done = () => {
    s.pending = null;
  };
  s.pending = exchange(s, want, true);
  s.pending.then(done, done);
  return s.pending;
}
function exchange(s, want, again) {
  return code(s).then((code2) => persist(s, "/mini/login", { appid: s.site.appid, code: code2, want })).then(
    (answer) => {
      s.since = Date.now();
      return answer;
    },
    (error) => {
      if (!again || error.code !== "code_used" && error.code !== "code_invalid") throw error;
      return exchange(s, want, false);
    }
  );
}
function code(s) {
  return new Promise((resolve, reject) => {
    const fail = (res) => reject(failure("wx_login_failed", res.errMsg));
    s.site.wx.login({
      timeout: TIMEOUT,
      success: (res) => res.code ? resolve(res.code) : fail(res),
      fail
    });
  });
}
function renew(s, refused) {
  if (!s.pending && s.token === refused) {
    if (Date.now() - s.since < LOGIN_GAP) return Promise.resolve(false);
    s.token = "";
  }
  return ensure(s).then(() => true);
}
function isRefused(s, token) {
  return call(s, "GET", "/me", void 0, token).then(
    () => false,
    (error) => error.code === "session_expired"
  );
}
function refresh(s) {
  return signedIn(s, "GET", "/me");
}
function signedIn(s, method, path, data) {
  return ensure(s).then(() => {
    const token = s.token;
    return call(s, method, path, data, token).catch((error) => {
      if (error.code !== "session_expired") throw error;
      return renew(s, token).then((renewed) => {
        if (!renewed) throw error;
        return call(s, method, path, data, s.token);
      });
    });
  });
}
function persist(s, path, data, failed = 0) {
  return call(s, "POST", path, data, s.token).catch((error) => {
    const pause = PAUSES[failed];
    if (error.code !== "network" || !pause) throw error;
    return new Promise((resolve) => setTimeout(resolve, pause)).then(() => persist(s, path, data, failed + 1));
  });
}
function call(s, method, path, data, token) {
  const { logouts } = s;
  return new Promise((resolve, reject) => {
    s.site.wx.request({
      url: s.site.origin + s.site.prefix + path,
      method,
      data,
      timeout: TIMEOUT,
      header: withSession({ "content-type": "application/json" }, token),
      success: (res) => {
        if (res.statusCode < 200 || res.statusCode > 299) {
          take(s, res.header, token);
          return reject(refusal(res));
        }
        const answer = res.data || {};
        const given = answer.session || headerOf(res.header, "x-wxgate-session");
        const user = path === "/me" ? answer : answer.user;
        const left = path === "/logout";
        if (token === s.token || (left || answer.session) && logouts === s.logouts) {
          if (left) s.logouts++;
          s.token = given || s.token;
          if (user) become(s, user);
          else if (given) keep(s);
        }
        resolve(answer);
      },
      fail: (res) => reject(failure("network", res.errMsg))
    });
  });
}
function refusal(res) {
  const problem = problemOf(res.data);
  const code2 = problem ? problem.code : "unavailable";
  const error = failure(code2, "wxgate:fail " + code2);
  error.status = res.statusCode;
  error.retryAfter = Number(headerOf(res.header, "retry-after")) || void 0;
  if (problem) {
    error.title = problem.title;
    error.detail = problem.detail;
  }
  return error;
}
function take(s, header, token) {
  const given = headerOf(header, "x-wxgate-session");
  if (!given || token !== s.token) return;
  s.token = given;
  keep(s);
  refresh(s).catch(() => void 0);
}
function become(s, user) {
  const from = s.user;
  s.user = user;
  keep(s);
  const kind = from && changeOf(from, user);
  if (!from || !kind) return;
  for (const listener of s.listeners.slice()) {
    try {
      listener({ from, to: user, kind });
    } catch (e) {
      console.error(e);
    }
  }
}
function changeOf(from, to) {
  if (isMember(to) !== isMember(from)) return isMember(to) ? "login" : "logout";
  if (from.id && to.id && from.id !== to.id) return "merge";
  return to.phone_verified && !from.phone_verified ? "phone" : void 0;
}
function isMember(user) {
  return !!user && user.kind === "member";
}

// miniprogram/src/person.ts
function ready(s, ask) {
  if (!ask.first) {
    ask.first = s.token ? refresh(s) : ensure(s);
    ask.first.catch(() => {
      ask.first = void 0;
    });
  }
  return ask.first.then(
    () => ensure(s).then(() => s.user),
    (error) => {
      if (!s.token || !s.user) throw error;
      return s.user;
    }
  );
}
function rise(s, ask) {
  const known = enough(s.user, true) ? refresh(s) : Promise.resolve();
  return known.then(() => !enough(s.user, true) && demand(s, ask, isMember(s.user)).then(() => true));
}
function demand(s, ask, phone) {
  if (enough(s.user, phone)) return Promise.resolve(s.user);
  if (ask.pending) return ask.pending.then(() => demand(s, ask, phone));
  const done = () => {
    ask.pending = void 0;
  };
  ask.pending = ascend(s, ask, phone);
  ask.pending.then(done, done);
  return ask.pending;
}
function ascend(s, ask, phone) {
  const fail = (code2) => failure(code2, "wxgate:fail " + code2);
  const first = isMember(s.user) ? Promise.resolve({}) : login(s, "login");
  return first.then((answer) => {
    if (enough(s.user, phone)) return s.user;
    if (!ask.phone) throw fail(answer.code || "phone_required");
    return ask.phone().then(() => {
      if (enough(s.user, phone)) return s.user;
      throw fail("login_cancelled");
    });
  });
}
function enough(user, phone) {
  return isMember(user) && (!phone || !!user.phone_verified);
}
function bindPhone(s, event) {
  const { code: code2, encryptedData, iv } = event.detail;
  if (!code2 && !(encryptedData && iv)) return Promise.reject(phoneRefusal(event.detail));
  return settled(s).then(() => persist(s, "/mini/phone", code2 ? { code: code2 } : { encrypted_data: encryptedData, iv })).then(
    () => s.user,
    (error) => {
      if (error.code === "session_expired" || error.code === "session_key_lost") login(s).catch(() => void 0);
      throw error;
    }
  );
}
function logout(s) {
  return signedIn(s, "POST", "/logout", {}).then(
    () => refresh(s).then(
      () => void 0,
      () => become(s, { kind: "nobody" })
    )
  );
}

// miniprogram/src/socket.ts
function connect(s, options) {
  const handle = {
    closed: false,
    waiting: [],
    listeners: { onOpen: [], onMessage: [], onError: [], onClose: [] }
  };
  const origin = s.site.origin.replace(/^http/, "ws");
  let again = true;
  const attempt = () => {
    if (handle.closed) return emit(handle, ["onClose", { code: 1e3, reason: "" }]);
    const { own, token, call: call2 } = addressed(origin, s.token, options);
    const mayReplace = () => isRefused(s, token).then((refused) => refused && !handle.closed && renew(s, token));
    attach(handle, s.site.wx.connectSocket(call2), own && again ? () => mayReplace().then((yes) => yes && (attempt(), true)) : void 0);
    again = false;
  };
  if (usable(s) || !addressed(origin, "", options).own) attempt();
  else ensure(s).then(attempt, (error) => {
    if (options.fail) options.fail(error);
    if (options.complete) options.complete(error);
    emit(handle, ["onError", error]);
  });
  return methodsOf(handle);
}
function attach(handle, real, replace) {
  let held;
  const tell = (name) => (res) => {
    if (held) held.push([name, res]);
    else if (name === "onError" && replace) hold([name, res], replace);
    else {
      replace = void 0;
      emit(handle, [name, res]);
    }
  };
  const hold = (event, replace2) => {
    const missed = held = [event];
    const give = () => {
      held = void 0;
      for (const event2 of missed) emit(handle, event2);
    };
    replace2().then((replaced) => replaced || give(), give);
  };
  handle.real = real;
  real.onOpen(tell("onOpen"));
  real.onMessage(tell("onMessage"));
  real.onError(tell("onError"));
  real.onClose(tell("onClose"));
  for (const go of handle.waiting.splice(0)) go();
}
function emit(handle, event) {
  for (const listener of handle.listeners[event[0]].slice()) listener(event[1]);
}
function methodsOf(handle) {
  const on = (name) => (listener) => {
    handle.listeners[name].push(listener);
  };
  const use2 = (name, option) => {
    const go = () => handle.real[name](option);
    if (handle.real) go();
    else handle.waiting.push(go);
  };
  return {
    onOpen: on("onOpen"),
    onMessage: on("onMessage"),
    onError: on("onError"),
    onClose: on("onClose"),
    send: (option) => use2("send", option),
    close: (option) => {
      handle.closed = true;
      use2("close", option);
    }
  };
}

// miniprogram/src/task.ts
function send(s, ask, name, options) {
  const handle = { over: false, asked: [], done: () => void 0 };
  const promise = new Promise((resolve, reject) => {
    handle.done = (callback, res) => {
      if (handle.over) return;
      handle.over = true;
      (callback === "success" ? resolve : reject)(res);
      const told = options[callback];
      if (told) told(res);
      if (options.complete) options.complete(res);
    };
  });
  if (options.success || options.fail || options.complete) promise.catch(() => void 0);
  start(s, ask, name, options, handle);
  return Object.assign(promise, methodsOf2(handle, name));
}
function start(s, ask, name, options, handle) {
  const fail = (error) => handle.done("fail", error);
  let renewed = false;
  const attempt = () => {
    if (handle.over) return;
    const { own, token, call: call2 } = addressed(s.site.origin, s.token, options);
    delete call2.login;
    delete call2.complete;
    call2.fail = fail;
    call2.success = (res) => {
      if (own) take(s, res.header, token);
      if (!own || res.statusCode !== 401) return handle.done("success", res);
      reasonOf(s, res, token).then((code2) => {
        if (code2 === "login_required") return !!options.login && rise(s, ask);
        if (code2 !== "session_expired" || renewed || !token) return false;
        renewed = true;
        return renew(s, token);
      }).then((again) => again ? attempt() : handle.done("success", res), fail);
    };
    handle.task = s.site.wx[name](call2);
    for (const [method, args] of handle.asked) use(handle, method, args);
  };
  if (usable(s) || !addressed(s.site.origin, "", options).own) attempt();
  else ensure(s).then(attempt).catch(fail);
}
function reasonOf(s, res, token) {
  const problem = problemOf(res.data);
  if (problem !== null) return Promise.resolve(problem ? problem.code : "");
  return isRefused(s, token).then((refused) => refused ? "session_expired" : "login_required");
}
function methodsOf2(handle, name) {
  const methods = {
    abort() {
      handle.done("fail", failure("aborted", name + ":fail abort"));
      use(handle, "abort", []);
    }
  };
  const event = name === "request" ? "ChunkReceived" : "ProgressUpdate";
  for (const method of ["onHeadersReceived", "offHeadersReceived", "on" + event, "off" + event]) {
    methods[method] = (...args) => {
      handle.asked.push([method, args]);
      use(handle, method, args);
    };
  }
  return methods;
}
function use(handle, name, args) {
  const method = handle.task && handle.task[name];
  if (method) method.apply(handle.task, args);
}

// miniprogram/src/index.ts
function createGateway(options) {
  const site = siteOf(options);
  const s = open(site);
  const ask = { phone: options.askPhone };
  return {
    request: (o) => send(s, ask, "request", o),
    uploadFile: (o) => send(s, ask, "uploadFile", o),
    downloadFile: (o) => send(s, ask, "downloadFile", o),
    connectSocket: (o) => connect(s, o),
    ready: () => ready(s, ask),
    user: () => s.user,
    onChange: (listener) => {
      s.listeners.push(listener);
      return () => {
        s.listeners = s.listeners.filter((l) => l !== listener);
      };
    },
    requireLogin: (need) => demand(s, ask, !!need && !!need.phone),
    bindPhone: (event) => bindPhone(s, event),
    webviewUrl: (path) => signedIn(s, "POST", "/mini/ticket", { return_to: path }).then(
      (answer) => String(answer.url).replace(/^\//, site.origin + "/")
    ),
    logout: () => logout(s)
  };
}
export {
  createGateway
};
