// @wxgate/miniprogram, built from its TypeScript by make sdk-build. Apache License 2.0.
"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.createGateway = createGateway;
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
function urlOf(origin, url) {
    return url.charAt(0) === "/" && url.charAt(1) !== "/" ? origin + url : url;
}
function isOf(origin, url) {
    return url === origin || url.indexOf(origin + "/") === 0 || url.indexOf(origin + "?") === 0;
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
// miniprogram/src/socket.ts
function connect(site, session, options) {
    var origin = site.origin.replace(/^http/, "ws");
    var url = urlOf(origin, options.url);
    var own = isOf(origin, url);
    var socket = new Connection(own);
    socket.open = function () {
        var token = own ? session.token : "";
        var call = Object.assign({}, options, { url: url, header: own ? withSession(options.header, token) : options.header });
        socket.attach(site.wx.connectSocket(call));
        socket.mayReplace = function () { return session.isRefused(token).then(function (refused) { return refused && session.renew(token); }); };
    };
    if (!own || session.usable())
        socket.open();
    else
        session.ensure().then(socket.open, function (error) { return socket.fail(error); });
    return socket.task;
}
var Connection = /** @class */ (function () {
    /** @param again says whether a connection that never opened may be tried again. */
    function Connection(again) {
        var _this = this;
        this.again = again;
        this.open = function () { return void 0; };
        this.mayReplace = function () { return Promise.resolve(false); };
        this.waiting = [];
        this.listeners = { onOpen: [], onMessage: [], onError: [], onClose: [] };
        this.closed = false;
        var on = function (name) { return function (listener) {
            _this.listeners[name].push(listener);
        }; };
        var use = function (name) { return function (option) {
            if (name === "close")
                _this.closed = true;
            var go = function () { return _this.real[name](option); };
            if (_this.real)
                go();
            else
                _this.waiting.push(go);
        }; };
        this.task = {
            onOpen: on("onOpen"),
            onMessage: on("onMessage"),
            onError: on("onError"),
            onClose: on("onClose"),
            send: use("send"),
            close: use("close")
        };
    }
    Connection.prototype.attach = function (real) {
        var _this = this;
        this.real = real;
        var held;
        var tell = function (name) { return function (res) {
            if (held)
                held.push([name, res]);
            else if (name === "onError" && _this.again && !_this.closed) {
                _this.again = false;
                var missed_1 = held = [[name, res]];
                var give_1 = function () {
                    held = void 0;
                    for (var _i = 0, missed_2 = missed_1; _i < missed_2.length; _i++) {
                        var _a = missed_2[_i], event = _a[0], what = _a[1];
                        _this.emit(event, what);
                    }
                };
                _this.mayReplace().then(function (yes) { return yes && !_this.closed ? _this.open() : give_1(); }, give_1);
            }
            else
                _this.emit(name, res);
        }; };
        real.onOpen(function (res) {
            _this.again = false;
            tell("onOpen")(res);
        });
        real.onMessage(tell("onMessage"));
        real.onError(tell("onError"));
        real.onClose(tell("onClose"));
        for (var _i = 0, _a = this.waiting.splice(0); _i < _a.length; _i++) {
            var go = _a[_i];
            go();
        }
    };
    /** There will be no connection. */
    Connection.prototype.fail = function (error) {
        this.emit("onError", error);
    };
    Connection.prototype.emit = function (name, res) {
        for (var _i = 0, _a = this.listeners[name].slice(); _i < _a.length; _i++) {
            var listener = _a[_i];
            listener(res);
        }
    };
    return Connection;
}());
// miniprogram/src/error.ts
function failure(code, errMsg, more) {
    var error = new Error(errMsg);
    return Object.assign(error, more, { code: code, errMsg: errMsg });
}
function problemOf(data) {
    if (typeof data === "string") {
        try {
            data = JSON.parse(data);
        }
        catch (e) {
            return void 0;
        }
    }
    if (data === void 0 || data instanceof ArrayBuffer)
        return null;
    var problem = data;
    return problem && String(problem.type).indexOf("urn:wxgate:problem:") === 0 ? problem : void 0;
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
// miniprogram/src/session.ts
var PAUSES = [500, 2e3];
var LOGIN_GAP = 1e4;
var TIMEOUT = 1e4;
var Session = /** @class */ (function () {
    function Session(site) {
        var _this = this;
        this.site = site;
        this.token = "";
        this.pending = null;
        this.loggedInAt = 0;
        this.listeners = [];
        this.key = "wxgate " + site.appid + " " + site.origin;
        var kept = this.storage(function () { return site.wx.getStorageSync(_this.key); });
        if (kept && typeof kept.token === "string") {
            this.token = kept.token;
            this.user = kept.user;
        }
    }
    /** Waits until requests can be sent: with a session, or without one after a logout. */
    Session.prototype.ensure = function () {
        if (this.pending)
            return this.pending;
        return this.token || this.user === null ? Promise.resolve() : this.login();
    };
    /** Says whether requests can be sent without waiting. */
    Session.prototype.usable = function () {
        return !this.pending && (!!this.token || this.user === null);
    };
    /** Waits until no login is under way, whatever has become of it. */
    Session.prototype.settled = function () {
        return (this.pending || Promise.resolve()).catch(function () { return void 0; });
    };
    /** Logs in again by itself. */
    Session.prototype.replace = function () {
        this.login().catch(function () { return void 0; });
    };
    /** Logs in, once for all who wait. */
    Session.prototype.login = function (want) {
        var _this = this;
        if (this.pending)
            return want ? this.pending.then(function () { return _this.login(want); }) : this.pending;
        var done = function () {
            _this.pending = null;
        };
        this.pending = this.exchange(want, true);
        this.pending.then(done, done);
        return this.pending;
    };
    /**
     * Gets another session for one that the gateway refuses. False: it was only just
     * given out, and asking again would not end.
     */
    Session.prototype.renew = function (refused) {
        if (!this.pending && this.token === refused) {
            if (Date.now() - this.loggedInAt < LOGIN_GAP)
                return Promise.resolve(false);
            this.token = "";
        }
        return this.ensure().then(function () { return true; });
    };
    /** Asks the gateway who the person is. */
    Session.prototype.refresh = function () {
        return this.signedIn("GET", "/me").then(function () { return void 0; });
    };
    /** Says whether the gateway refuses a session, for answers that do not show it. */
    Session.prototype.isRefused = function (token) {
        return this.call("GET", "/me", void 0, token).then(function () { return false; }, function (error) { return error.code === "session_expired"; });
    };
    /** Calls an endpoint with a session, and with another one if it is refused. */
    Session.prototype.signedIn = function (method, path, data) {
        var _this = this;
        return this.ensure().then(function () {
            var token = _this.token;
            return _this.call(method, path, data, token).catch(function (error) {
                if (error.code !== "session_expired")
                    throw error;
                return _this.renew(token).then(function (renewed) {
                    if (!renewed)
                        throw error;
                    return _this.call(method, path, data, _this.token);
                });
            });
        });
    };
    /** Calls an endpoint as it is, takes over what the answer says, and fails with the gateway's code. */
    Session.prototype.call = function (method, path, data, token) {
        var _this = this;
        return new Promise(function (resolve, reject) {
            _this.site.wx.request({
                url: _this.site.origin + _this.site.prefix + path,
                method: method,
                data: data,
                timeout: TIMEOUT,
                header: withSession({ "content-type": "application/json", accept: "application/json" }, token),
                success: function (res) {
                    var answer = res.data;
                    if (res.statusCode < 200 || res.statusCode > 299)
                        return reject(refusal(res));
                    var given = answer && answer.session || headerOf(res.header, "x-wxgate-session");
                    var user = path === "/me" ? res.data : answer && answer.user;
                    if (token === _this.token && (token || given)) {
                        _this.token = given || token;
                        if (user)
                            _this.become(user);
                    }
                    resolve(answer);
                },
                fail: function (res) { return reject(failure("network", res.errMsg)); }
            });
        });
    };
    /** Calls an endpoint that bears to be called twice, again while the network fails. */
    Session.prototype.persist = function (path, data) {
        var _this = this;
        var attempt = function (failed) { return _this.call("POST", path, data, _this.token).catch(function (error) {
            if (error.code !== "network" || failed >= PAUSES.length)
                throw error;
            return new Promise(function (resolve) { return setTimeout(resolve, PAUSES[failed]); }).then(function () { return attempt(failed + 1); });
        }); };
        return attempt(0);
    };
    /** Takes over the session that an answer of the shop brings along: the person's level has risen, or it was renewed. */
    Session.prototype.take = function (header, token) {
        var given = headerOf(header, "x-wxgate-session");
        if (!given || token !== this.token || given === token)
            return;
        this.token = given;
        this.keep();
        this.refresh().catch(function () { return void 0; });
    };
    /** Forgets the session, until a login is wanted. */
    Session.prototype.forget = function () {
        this.token = "";
        this.become(null);
    };
    Session.prototype.onChange = function (listener) {
        var _this = this;
        this.listeners.push(listener);
        return function () {
            _this.listeners = _this.listeners.filter(function (l) { return l !== listener; });
        };
    };
    /** Changes a code of WeChat's for a session. A code that is spent is replaced once. */
    Session.prototype.exchange = function (want, again) {
        var _this = this;
        return this.code().then(function (code) { return _this.persist("/mini/login", { appid: _this.site.appid, code: code, want: want }); }).then(function () {
            _this.loggedInAt = Date.now();
        }, function (error) {
            if (again && (error.code === "code_used" || error.code === "code_invalid"))
                return _this.exchange(want, false);
            throw error;
        });
    };
    Session.prototype.code = function () {
        var _this = this;
        return new Promise(function (resolve, reject) {
            _this.site.wx.login({
                timeout: TIMEOUT,
                success: function (res) { return res.code ? resolve(res.code) : reject(failure("wx_login_failed", res.errMsg)); },
                fail: function (res) { return reject(failure("wx_login_failed", res.errMsg)); }
            });
        });
    };
    Session.prototype.become = function (user) {
        var before = this.user;
        this.user = user;
        this.keep();
        if (before === void 0)
            return;
        var kind = changeOf(before, user);
        if (!kind)
            return;
        for (var _i = 0, _a = this.listeners.slice(); _i < _a.length; _i++) {
            var listener = _a[_i];
            try {
                listener({ from: before, to: user, kind: kind });
            }
            catch (e) {
                console.error(e);
            }
        }
    };
    Session.prototype.keep = function () {
        var _this = this;
        var kept = { token: this.token, user: this.user };
        this.storage(function () { return _this.site.wx.setStorageSync(_this.key, kept); });
    };
    /** A phone whose storage is full or broken costs a login at the next start. */
    Session.prototype.storage = function (use) {
        try {
            return use();
        }
        catch (e) {
            return void 0;
        }
    };
    return Session;
}());
function refusal(res) {
    var problem = problemOf(res.data);
    var retryAfter = Number(headerOf(res.header, "retry-after")) || void 0;
    var said = "wxgate:fail " + (problem ? problem.code : res.statusCode);
    return failure(problem ? problem.code : "unavailable", said, {
        status: res.statusCode,
        title: problem ? problem.title : void 0,
        detail: problem ? problem.detail : void 0,
        retryAfter: retryAfter
    });
}
function changeOf(from, to) {
    var was = from ? from.kind : "nobody";
    var is = to ? to.kind : "nobody";
    if (is === "member" && was !== "member")
        return "login";
    if (was === "member" && is !== "member")
        return "logout";
    if (from && to && from.id && to.id && from.id !== to.id)
        return "merge";
    return to && to.phone_verified && from && !from.phone_verified ? "phone" : void 0;
}
// miniprogram/src/task.ts
var EVENTS = {
    request: ["HeadersReceived", "ChunkReceived"],
    uploadFile: ["HeadersReceived", "ProgressUpdate"],
    downloadFile: ["HeadersReceived", "ProgressUpdate"]
};
var Sender = /** @class */ (function () {
    function Sender(site, session, ask) {
        this.site = site;
        this.session = session;
        this.ask = ask;
    }
    Sender.prototype.request = function (options) {
        return this.send("request", options);
    };
    Sender.prototype.uploadFile = function (options) {
        return this.send("uploadFile", options);
    };
    Sender.prototype.downloadFile = function (options) {
        return this.send("downloadFile", options);
    };
    Sender.prototype.send = function (name, options) {
        var _this = this;
        var handle = new Handle(EVENTS[name]);
        var promise = new Promise(function (resolve, reject) {
            var done = function (callback, res) {
                handle.over = true;
                if (callback === "success")
                    resolve(res);
                else
                    reject(res);
                if (options[callback])
                    options[callback](res);
                if (options.complete)
                    options.complete(res);
            };
            handle.onAbort = function () { return done("fail", failure("aborted", name + ":fail abort")); };
            _this.start(name, options, handle, done);
        });
        if (options.success || options.fail || options.complete)
            promise.catch(function () { return void 0; });
        return Object.assign(promise, handle.methods);
    };
    Sender.prototype.start = function (name, options, handle, done) {
        var _this = this;
        var url = urlOf(this.site.origin, options.url);
        var own = isOf(this.site.origin, url);
        var renewed = false;
        var fail = function (error) {
            if (!handle.over)
                done("fail", error);
        };
        var attempt = function () {
            if (handle.over)
                return;
            var token = own ? _this.session.token : "";
            var call = Object.assign({}, options, { url: url, header: own ? withSession(options.header, token) : options.header });
            delete call.login;
            delete call.complete;
            call.fail = fail;
            call.success = function (res) {
                if (handle.over)
                    return;
                if (own)
                    _this.session.take(res.header, token);
                if (!own || res.statusCode !== 401)
                    return done("success", res);
                _this.again(res, token, options, renewed).then(function (again) {
                    if (again === "renewed")
                        renewed = true;
                    if (again)
                        attempt();
                    else if (!handle.over)
                        done("success", res);
                }, fail);
            };
            handle.attach(_this.site.wx[name](call));
        };
        if (!own || this.session.usable())
            attempt();
        else
            this.session.ensure().then(attempt, fail);
    };
    /**
     * Says whether a request that was answered 401 is to be sent again. A refused
     * session is replaced once; each further time the person has to have come one
     * step further, so that there is an end.
     */
    Sender.prototype.again = function (res, token, options, renewed) {
        var _this = this;
        var problem = problemOf(res.data);
        var code = problem === null ? this.session.isRefused(token).then(function (refused) { return refused ? "session_expired" : "login_required"; }) : Promise.resolve(problem ? problem.code : "");
        return code.then(function (code2) {
            if (code2 === "session_expired" && !renewed && token) {
                return _this.session.renew(token).then(function (yes) { return yes ? "renewed" : ""; });
            }
            if (code2 === "login_required" && options.login)
                return _this.ask().then(function (yes) { return yes ? "asked" : ""; });
            return "";
        });
    };
    return Sender;
}());
var Handle = /** @class */ (function () {
    function Handle(events) {
        var _this = this;
        this.over = false;
        this.onAbort = function () { return void 0; };
        this.methods = {};
        this.calls = [];
        this.methods.abort = function () {
            if (_this.over)
                return;
            if (_this.task)
                _this.use("abort", []);
            _this.onAbort();
        };
        for (var _i = 0, events_1 = events; _i < events_1.length; _i++) {
            var event = events_1[_i];
            var _loop_1 = function (name) {
                this_1.methods[name] = function () {
                    var args = [];
                    for (var _i = 0; _i < arguments.length; _i++) {
                        args[_i] = arguments[_i];
                    }
                    _this.calls.push([name, args]);
                    _this.use(name, args);
                };
            };
            var this_1 = this;
            for (var _a = 0, _b = ["on" + event, "off" + event]; _a < _b.length; _a++) {
                var name = _b[_a];
                _loop_1(name);
            }
        }
    }
    Handle.prototype.attach = function (task) {
        this.task = task;
        for (var _i = 0, _a = this.calls; _i < _a.length; _i++) {
            var _b = _a[_i], name = _b[0], args = _b[1];
            this.use(name, args);
        }
    };
    Handle.prototype.use = function (name, args) {
        var method = this.task && this.task[name];
        if (method)
            method.apply(this.task, args);
    };
    return Handle;
}());
// miniprogram/src/index.ts
function createGateway(options) {
    var site = siteOf(options);
    var session = new Session(site);
    var person = new Person(session, options.askPhone);
    var sender = new Sender(site, session, function () { return person.rise(); });
    return {
        request: function (o) { return sender.request(o); },
        uploadFile: function (o) { return sender.uploadFile(o); },
        downloadFile: function (o) { return sender.downloadFile(o); },
        connectSocket: function (o) { return connect(site, session, o); },
        ready: function () { return person.ready(); },
        user: function () { return session.user || null; },
        onChange: function (listener) { return session.onChange(listener); },
        requireLogin: function (need) { return person.require(!!need && !!need.phone); },
        bindPhone: function (event) { return person.bindPhone(event); },
        webviewUrl: function (path) { return session.signedIn("POST", "/mini/ticket", { return_to: path }).then(function (answer) { return String(answer.url).replace(/^\//, site.origin + "/"); }); },
        logout: function () { return person.logout(); }
    };
}
var Person = /** @class */ (function () {
    function Person(session, askPhone) {
        this.session = session;
        this.askPhone = askPhone;
    }
    Person.prototype.ready = function () {
        var _this = this;
        if (!this.first) {
            var offline = function (error) {
                _this.first = void 0;
                if (!_this.session.user)
                    throw error;
            };
            this.first = this.session.token ? this.session.refresh().catch(offline) : this.session.ensure();
            this.first.catch(function () { return _this.first = void 0; });
        }
        return this.first.then(function () { return _this.session.ensure(); }).then(function () { return _this.session.user || null; });
    };
    /** Brings the person one level further, for a request that was refused. */
    Person.prototype.rise = function () {
        var user = this.session.user;
        if (isMember(user) && user.phone_verified)
            return Promise.resolve(false);
        return this.require(isMember(user)).then(function () { return true; });
    };
    /** Asks once for all who want it. */
    Person.prototype.require = function (phone) {
        var _this = this;
        var user = this.session.user;
        if (isMember(user) && (!phone || user.phone_verified))
            return Promise.resolve(user);
        if (this.asking)
            return this.asking.then(function () { return _this.require(phone); });
        var done = function () {
            _this.asking = void 0;
        };
        this.asking = this.ask(phone);
        this.asking.then(done, done);
        return this.asking;
    };
    Person.prototype.ask = function (phone) {
        var _this = this;
        var enough = function (user) { return isMember(user) && (!phone || !!user.phone_verified); };
        var loggedIn = isMember(this.session.user) ? Promise.resolve() : this.session.login("login");
        var missing = failure("phone_required", "wxgate:fail phone_required");
        return loggedIn.catch(function (error) {
            if (error.code !== "phone_required")
                throw error;
            Object.assign(missing, error);
        }).then(function () {
            if (enough(_this.session.user))
                return _this.session.user;
            if (!_this.askPhone)
                throw missing;
            return _this.askPhone().then(function () {
                if (enough(_this.session.user))
                    return _this.session.user;
                throw failure("login_cancelled", "wxgate:fail login_cancelled");
            });
        });
    };
    Person.prototype.bindPhone = function (event) {
        var _this = this;
        var detail = event.detail;
        if (!detail.code && !(detail.encryptedData && detail.iv))
            return Promise.reject(phoneRefusal(detail));
        var data = detail.code ? { code: detail.code } : { encrypted_data: detail.encryptedData, iv: detail.iv };
        return this.session.settled().then(function () { return _this.session.persist("/mini/phone", data); }).then(function () { return _this.session.user; }, function (error) {
            if (error.code === "session_expired" || error.code === "session_key_lost")
                _this.session.replace();
            throw error;
        });
    };
    Person.prototype.logout = function () {
        var _this = this;
        var token = this.session.token;
        var over = function () {
            _this.first = void 0;
            _this.session.forget();
        };
        if (!token)
            return Promise.resolve(over());
        return this.session.call("POST", "/logout", {}, token).then(over, function (error) {
            if (error.code !== "session_expired")
                throw error;
            over();
        });
    };
    return Person;
}());
function isMember(user) {
    return !!user && user.kind === "member";
}
