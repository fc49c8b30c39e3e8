// @wxgate/miniprogram, built from its TypeScript by make sdk-build. Apache License 2.0.
"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.createGateway = createGateway;
// miniprogram/src/error.ts
function failure(code2, errMsg, more) {
    var error = new Error(errMsg);
    return Object.assign(error, more, { code: code2, errMsg: errMsg });
}
function problemOf(data) {
    if (data instanceof ArrayBuffer)
        data = textOf(data);
    if (typeof data === "string") {
        try {
            data = JSON.parse(data);
        }
        catch (e) {
            return void 0;
        }
    }
    if (data === void 0)
        return null;
    var problem = data;
    return problem && String(problem.type).indexOf("urn:wxgate:problem:") === 0 ? problem : void 0;
}
function textOf(bytes) {
    return String.fromCharCode.apply(null, [].slice.call(new Uint8Array(bytes, 0, Math.min(bytes.byteLength, 1e4))));
}
function phoneRefusal(detail) {
    var said = detail.errMsg || "getPhoneNumber:fail";
    return failure(phoneCode(detail.errno, said), said);
}
function phoneCode(errno, said) {
    if (errno === 1400001)
        return "phone_no_quota";
    if (errno === 112 || /not declared in the privacy/.test(said))
        return "privacy_not_declared";
    if (errno === 103 || errno === 104 || /privacy/.test(said))
        return "privacy_denied";
    if (/no permission/.test(said))
        return "phone_no_permission";
    return /deny|denied|cancel/.test(said) ? "phone_denied" : "phone_failed";
}
// miniprogram/src/site.ts
function siteOf(options) {
    var platform = options.wx || wx;
    var origin = options.baseUrl.replace(/\/$/, "");
    if (!/^https?:\/\/[^/?#@]+$/.test(origin)) {
        throw new TypeError("baseUrl is not https://host: " + options.baseUrl);
    }
    var appid = options.appid || (platform.getAccountInfoSync ? platform.getAccountInfoSync().miniProgram.appId : "");
    if (!appid)
        throw new TypeError("appid is missing");
    return { wx: platform, origin: origin, prefix: options.prefix || "/wxgate", appid: appid };
}
function addressed(origin, token, options) {
    var call2 = Object.assign({}, options);
    if (/^\/(?!\/)/.test(call2.url))
        call2.url = origin + call2.url;
    var own = (call2.url + "/").replace("?", "/").indexOf(origin + "/") === 0;
    if (own)
        call2.header = withSession(call2.header, token);
    return { own: own, token: own ? token : "", call: call2 };
}
function headerOf(header, name) {
    for (var key in header) {
        if (key.toLowerCase() === name)
            return String(header[key]);
    }
    return "";
}
function withSession(header, token) {
    var all = Object.assign({}, header);
    if (!token)
        return all;
    if (headerOf(header, "authorization"))
        all["X-Wxgate-Session"] = token;
    else
        all["Authorization"] = "Wxgate " + token;
    return all;
}
// miniprogram/src/session.ts
var PAUSES = [500, 2e3];
var LOGIN_GAP = 3e3;
var TIMEOUT = 1e4;
function open(site) {
    var s = { site: site, token: "", user: null, pending: null, since: 0, logouts: 0, listeners: [] };
    try {
        var kept = site.wx.getStorageSync(keyOf(site));
        if (typeof kept.token === "string") {
            s.token = kept.token;
            s.user = kept.user || null;
        }
    }
    catch (e) {
    }
    return s;
}
function keep(s) {
    try {
        s.site.wx.setStorageSync(keyOf(s.site), { token: s.token, user: s.user });
    }
    catch (e) {
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
    return s.pending ? s.pending.catch(function () { return void 0; }) : Promise.resolve();
}
function login(s, want) {
    if (s.pending)
        return want ? settled(s).then(function () { return login(s, want); }) : s.pending;
    var done = function () {
        s.pending = null;
    };
    s.pending = exchange(s, want, true);
    s.pending.then(done, done);
    return s.pending;
}
function exchange(s, want, again) {
    return code(s).then(function (code2) { return persist(s, "/mini/login", { appid: s.site.appid, code: code2, want: want }); }).then(function (answer) {
        s.since = Date.now();
        return answer;
    }, function (error) {
        if (!again || error.code !== "code_used" && error.code !== "code_invalid")
            throw error;
        return exchange(s, want, false);
    });
}
function code(s) {
    return new Promise(function (resolve, reject) {
        var fail = function (res) { return reject(failure("wx_login_failed", res.errMsg)); };
        s.site.wx.login({
            timeout: TIMEOUT,
            success: function (res) { return res.code ? resolve(res.code) : fail(res); },
            fail: fail
        });
    });
}
function renew(s, refused) {
    if (!s.pending && s.token === refused) {
        if (Date.now() - s.since < LOGIN_GAP)
            return Promise.resolve(false);
        s.token = "";
    }
    return ensure(s).then(function () { return true; });
}
function isRefused(s, token) {
    return call(s, "GET", "/me", void 0, token).then(function () { return false; }, function (error) { return error.code === "session_expired"; });
}
function refresh(s) {
    return signedIn(s, "GET", "/me");
}
function signedIn(s, method, path, data) {
    return ensure(s).then(function () {
        var token = s.token;
        return call(s, method, path, data, token).catch(function (error) {
            if (error.code !== "session_expired")
                throw error;
            return renew(s, token).then(function (renewed) {
                if (!renewed)
                    throw error;
                return call(s, method, path, data, s.token);
            });
        });
    });
}
function persist(s, path, data, failed) {
    if (failed === void 0) { failed = 0; }
    return call(s, "POST", path, data, s.token).catch(function (error) {
        var pause = PAUSES[failed];
        if (error.code !== "network" || !pause)
            throw error;
        return new Promise(function (resolve) { return setTimeout(resolve, pause); }).then(function () { return persist(s, path, data, failed + 1); });
    });
}
function call(s, method, path, data, token) {
    var logouts = s.logouts;
    return new Promise(function (resolve, reject) {
        s.site.wx.request({
            url: s.site.origin + s.site.prefix + path,
            method: method,
            data: data,
            timeout: TIMEOUT,
            header: withSession({ "content-type": "application/json" }, token),
            success: function (res) {
                if (res.statusCode < 200 || res.statusCode > 299) {
                    take(s, res.header, token);
                    return reject(refusal(res));
                }
                var answer = res.data || {};
                var given = answer.session || headerOf(res.header, "x-wxgate-session");
                var user = path === "/me" ? answer : answer.user;
                var left = path === "/logout";
                if (token === s.token || (left || answer.session) && logouts === s.logouts) {
                    if (left)
                        s.logouts++;
                    s.token = given || s.token;
                    if (user)
                        become(s, user);
                    else if (given)
                        keep(s);
                }
                resolve(answer);
            },
            fail: function (res) { return reject(failure("network", res.errMsg)); }
        });
    });
}
function refusal(res) {
    var problem = problemOf(res.data);
    var code2 = problem ? problem.code : "unavailable";
    var error = failure(code2, "wxgate:fail " + code2);
    error.status = res.statusCode;
    error.retryAfter = Number(headerOf(res.header, "retry-after")) || void 0;
    if (problem) {
        error.title = problem.title;
        error.detail = problem.detail;
    }
    return error;
}
function take(s, header, token) {
    var given = headerOf(header, "x-wxgate-session");
    if (!given || token !== s.token)
        return;
    s.token = given;
    keep(s);
    refresh(s).catch(function () { return void 0; });
}
function become(s, user) {
    var from = s.user;
    s.user = user;
    keep(s);
    var kind = from && changeOf(from, user);
    if (!from || !kind)
        return;
    for (var _i = 0, _a = s.listeners.slice(); _i < _a.length; _i++) {
        var listener = _a[_i];
        try {
            listener({ from: from, to: user, kind: kind });
        }
        catch (e) {
            console.error(e);
        }
    }
}
function changeOf(from, to) {
    if (isMember(to) !== isMember(from))
        return isMember(to) ? "login" : "logout";
    if (from.id && to.id && from.id !== to.id)
        return "merge";
    return to.phone_verified && !from.phone_verified ? "phone" : void 0;
}
function isMember(user) {
    return !!user && user.kind === "member";
}
// miniprogram/src/person.ts
function ready(s, ask) {
    if (!ask.first) {
        ask.first = s.token ? refresh(s) : ensure(s);
        ask.first.catch(function () {
            ask.first = void 0;
        });
    }
    return ask.first.then(function () { return ensure(s).then(function () { return s.user; }); }, function (error) {
        if (!s.token || !s.user)
            throw error;
        return s.user;
    });
}
function rise(s, ask) {
    var known = enough(s.user, true) ? refresh(s) : Promise.resolve();
    return known.then(function () { return !enough(s.user, true) && demand(s, ask, isMember(s.user)).then(function () { return true; }); });
}
function demand(s, ask, phone) {
    if (enough(s.user, phone))
        return Promise.resolve(s.user);
    if (ask.pending)
        return ask.pending.then(function () { return demand(s, ask, phone); });
    var done = function () {
        ask.pending = void 0;
    };
    ask.pending = ascend(s, ask, phone);
    ask.pending.then(done, done);
    return ask.pending;
}
function ascend(s, ask, phone) {
    var fail = function (code2) { return failure(code2, "wxgate:fail " + code2); };
    var first = isMember(s.user) ? Promise.resolve({}) : login(s, "login");
    return first.then(function (answer) {
        if (enough(s.user, phone))
            return s.user;
        if (!ask.phone)
            throw fail(answer.code || "phone_required");
        return ask.phone().then(function () {
            if (enough(s.user, phone))
                return s.user;
            throw fail("login_cancelled");
        });
    });
}
function enough(user, phone) {
    return isMember(user) && (!phone || !!user.phone_verified);
}
function bindPhone(s, event) {
    var _a = event.detail, code2 = _a.code, encryptedData = _a.encryptedData, iv = _a.iv;
    if (!code2 && !(encryptedData && iv))
        return Promise.reject(phoneRefusal(event.detail));
    return settled(s).then(function () { return persist(s, "/mini/phone", code2 ? { code: code2 } : { encrypted_data: encryptedData, iv: iv }); }).then(function () { return s.user; }, function (error) {
        if (error.code === "session_expired" || error.code === "session_key_lost")
            login(s).catch(function () { return void 0; });
        throw error;
    });
}
function logout(s) {
    return signedIn(s, "POST", "/logout", {}).then(function () { return refresh(s).then(function () { return void 0; }, function () { return become(s, { kind: "nobody" }); }); });
}
// miniprogram/src/socket.ts
function connect(s, options) {
    var handle = {
        closed: false,
        waiting: [],
        listeners: { onOpen: [], onMessage: [], onError: [], onClose: [] }
    };
    var origin = s.site.origin.replace(/^http/, "ws");
    var again = true;
    var attempt = function () {
        if (handle.closed)
            return emit(handle, ["onClose", { code: 1e3, reason: "" }]);
        var _a = addressed(origin, s.token, options), own = _a.own, token = _a.token, call2 = _a.call;
        var mayReplace = function () { return isRefused(s, token).then(function (refused) { return refused && !handle.closed && renew(s, token); }); };
        attach(handle, s.site.wx.connectSocket(call2), own && again ? function () { return mayReplace().then(function (yes) { return yes && (attempt(), true); }); } : void 0);
        again = false;
    };
    if (usable(s) || !addressed(origin, "", options).own)
        attempt();
    else
        ensure(s).then(attempt, function (error) {
            if (options.fail)
                options.fail(error);
            if (options.complete)
                options.complete(error);
            emit(handle, ["onError", error]);
        });
    return methodsOf(handle);
}
function attach(handle, real, replace) {
    var held;
    var tell = function (name) { return function (res) {
        if (held)
            held.push([name, res]);
        else if (name === "onError" && replace)
            hold([name, res], replace);
        else {
            replace = void 0;
            emit(handle, [name, res]);
        }
    }; };
    var hold = function (event, replace2) {
        var missed = held = [event];
        var give = function () {
            held = void 0;
            for (var _i = 0, missed_1 = missed; _i < missed_1.length; _i++) {
                var event2 = missed_1[_i];
                emit(handle, event2);
            }
        };
        replace2().then(function (replaced) { return replaced || give(); }, give);
    };
    handle.real = real;
    real.onOpen(tell("onOpen"));
    real.onMessage(tell("onMessage"));
    real.onError(tell("onError"));
    real.onClose(tell("onClose"));
    for (var _i = 0, _a = handle.waiting.splice(0); _i < _a.length; _i++) {
        var go = _a[_i];
        go();
    }
}
function emit(handle, event) {
    for (var _i = 0, _a = handle.listeners[event[0]].slice(); _i < _a.length; _i++) {
        var listener = _a[_i];
        listener(event[1]);
    }
}
function methodsOf(handle) {
    var on = function (name) { return function (listener) {
        handle.listeners[name].push(listener);
    }; };
    var use2 = function (name, option) {
        var go = function () { return handle.real[name](option); };
        if (handle.real)
            go();
        else
            handle.waiting.push(go);
    };
    return {
        onOpen: on("onOpen"),
        onMessage: on("onMessage"),
        onError: on("onError"),
        onClose: on("onClose"),
        send: function (option) { return use2("send", option); },
        close: function (option) {
            handle.closed = true;
            use2("close", option);
        }
    };
}
// miniprogram/src/task.ts
function send(s, ask, name, options) {
    var handle = { over: false, asked: [], done: function () { return void 0; } };
    var promise = new Promise(function (resolve, reject) {
        handle.done = function (callback, res) {
            if (handle.over)
                return;
            handle.over = true;
            (callback === "success" ? resolve : reject)(res);
            var told = options[callback];
            if (told)
                told(res);
            if (options.complete)
                options.complete(res);
        };
    });
    if (options.success || options.fail || options.complete)
        promise.catch(function () { return void 0; });
    start(s, ask, name, options, handle);
    return Object.assign(promise, methodsOf2(handle, name));
}
function start(s, ask, name, options, handle) {
    var fail = function (error) { return handle.done("fail", error); };
    var renewed = false;
    var attempt = function () {
        if (handle.over)
            return;
        var _a = addressed(s.site.origin, s.token, options), own = _a.own, token = _a.token, call2 = _a.call;
        delete call2.login;
        delete call2.complete;
        call2.fail = fail;
        call2.success = function (res) {
            if (own)
                take(s, res.header, token);
            if (!own || res.statusCode !== 401)
                return handle.done("success", res);
            reasonOf(s, res, token).then(function (code2) {
                if (code2 === "login_required")
                    return !!options.login && rise(s, ask);
                if (code2 !== "session_expired" || renewed || !token)
                    return false;
                renewed = true;
                return renew(s, token);
            }).then(function (again) { return again ? attempt() : handle.done("success", res); }, fail);
        };
        handle.task = s.site.wx[name](call2);
        for (var _i = 0, _b = handle.asked; _i < _b.length; _i++) {
            var _c = _b[_i], method = _c[0], args = _c[1];
            use(handle, method, args);
        }
    };
    if (usable(s) || !addressed(s.site.origin, "", options).own)
        attempt();
    else
        ensure(s).then(attempt).catch(fail);
}
function reasonOf(s, res, token) {
    var problem = problemOf(res.data);
    if (problem !== null)
        return Promise.resolve(problem ? problem.code : "");
    return isRefused(s, token).then(function (refused) { return refused ? "session_expired" : "login_required"; });
}
function methodsOf2(handle, name) {
    var methods = {
        abort: function () {
            handle.done("fail", failure("aborted", name + ":fail abort"));
            use(handle, "abort", []);
        }
    };
    var event = name === "request" ? "ChunkReceived" : "ProgressUpdate";
    var _loop_1 = function (method) {
        methods[method] = function () {
            var args = [];
            for (var _i = 0; _i < arguments.length; _i++) {
                args[_i] = arguments[_i];
            }
            handle.asked.push([method, args]);
            use(handle, method, args);
        };
    };
    for (var _i = 0, _a = ["onHeadersReceived", "offHeadersReceived", "on" + event, "off" + event]; _i < _a.length; _i++) {
        var method = _a[_i];
        _loop_1(method);
    }
    return methods;
}
function use(handle, name, args) {
    var method = handle.task && handle.task[name];
    if (method)
        method.apply(handle.task, args);
}
// miniprogram/src/index.ts
function createGateway(options) {
    var site = siteOf(options);
    var s = open(site);
    var ask = { phone: options.askPhone };
    return {
        request: function (o) { return send(s, ask, "request", o); },
        uploadFile: function (o) { return send(s, ask, "uploadFile", o); },
        downloadFile: function (o) { return send(s, ask, "downloadFile", o); },
        connectSocket: function (o) { return connect(s, o); },
        ready: function () { return ready(s, ask); },
        user: function () { return s.user; },
        onChange: function (listener) {
            s.listeners.push(listener);
            return function () {
                s.listeners = s.listeners.filter(function (l) { return l !== listener; });
            };
        },
        requireLogin: function (need) { return demand(s, ask, !!need && !!need.phone); },
        bindPhone: function (event) { return bindPhone(s, event); },
        webviewUrl: function (path) { return signedIn(s, "POST", "/mini/ticket", { return_to: path }).then(function (answer) { return String(answer.url).replace(/^\//, site.origin + "/"); }); },
        logout: function () { return logout(s); }
    };
}
