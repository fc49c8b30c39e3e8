// As much of wx as the demo shop's mini program and its client use.
"use strict";

const wx = (() => {
  /** Tells the callbacks of a call how it ended. */
  function settle(option, good, res) {
    const callback = good ? option.success : option.fail;
    callback?.(res);
    option.complete?.(res);
  }

  function login(option) {
    const noted = phone.note("wx.login");
    phone.tap("login").then(
      (res) => {
        noted("code", true);
        settle(option, true, res);
      },
      (error) => {
        noted(error.message, false);
        settle(option, false, { errMsg: error.message });
      },
    );
  }

  /** Of a request with data: what is sent, and how. */
  function content(option, header) {
    if (option.data === undefined || option.data === null) return {};
    if ((option.method || "GET") === "GET") return { query: new URLSearchParams(option.data).toString() };
    if (!header.has("Content-Type")) header.set("Content-Type", "application/json");
    return { body: typeof option.data === "string" ? option.data : JSON.stringify(option.data) };
  }

  function read(text, option) {
    if (option.dataType && option.dataType !== "json") return text;
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }

  function request(option) {
    const noted = phone.note(`${option.method || "GET"} ${option.url.replace(/^https?:\/\/[^/]+/, "")}`);
    const stop = new AbortController();
    const late = option.timeout && setTimeout(() => stop.abort(), option.timeout);
    send(option, stop.signal)
      .then(
        (res) => {
          noted(res.statusCode, res.statusCode < 400);
          settle(option, true, res);
        },
        (error) => {
          noted(error.message, false);
          settle(option, false, { errMsg: `request:fail ${error.message}` });
        },
      )
      .finally(() => clearTimeout(late));
    return { abort: () => stop.abort() };
  }

  async function send(option, signal) {
    const header = new Headers(option.header);
    header.delete("Referer");
    const { query, body } = content(option, header);
    const url = phone.reach(option.url);
    if (url === undefined) throw new Error("url not in domain list");
    const full = query ? url + (url.includes("?") ? "&" : "?") + query : url;
    const answer = await fetch(full, { method: option.method || "GET", headers: header, body, signal, credentials: "omit" });
    return {
      statusCode: answer.status,
      header: Object.fromEntries(answer.headers),
      data: read(await answer.text(), option),
      errMsg: "request:ok",
    };
  }

  return {
    login,
    request,
    getStorageSync: (key) => phone.storage.get(key),
    setStorageSync: (key, value) => phone.storage.set(key, value),
    getAccountInfoSync: () => ({ miniProgram: { appId: phone.appid, envVersion: "develop", version: "" } }),
    showToast: (option) => phone.say(option.title),
  };
})();
