// The phone around the mini program: what it shows above and below the pages,
// its storage, its network, and a record of what the mini program calls.
"use strict";

const phone = (() => {
  const of = (id) => document.getElementById(id);
  const { appid, domain, gateway, network, webview, person } = document.documentElement.dataset;
  const shown = 60; // calls
  let toast;

  /** Adds a call to the record; the answer is added once it is known. */
  function note(text) {
    const line = document.createElement("li");
    line.textContent = text;
    of("calls").prepend(line);
    while (of("calls").children.length > shown) of("calls").lastChild.remove();
    return (answer, good) => {
      line.textContent = `${text} → ${answer}`;
      line.className = good ? "" : "bad";
    };
  }

  function say(text) {
    of("toast").textContent = text;
    of("toast").hidden = false;
    clearTimeout(toast);
    toast = setTimeout(() => (of("toast").hidden = true), 2000);
  }

  /** Asks the person whether the mini program may have his number. */
  function mayHaveNumber() {
    of("sheet").hidden = false;
    of("allow").focus();
    return new Promise((answer) => {
      for (const id of ["allow", "deny"]) {
        of(id).onclick = () => {
          of("sheet").hidden = true;
          answer(id === "allow");
        };
      }
    });
  }

  /** What WeChat does on the phone: login, phone. */
  async function tap(what) {
    const answer = await fetch(`/mini/wx/${what}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ appid, person }),
    });
    if (!answer.ok) throw new Error(`${what}:fail ${await answer.text()}`);
    return answer.json();
  }

  /** The storage that WeChat keeps for this person. */
  const storage = {
    get(key) {
      const text = localStorage.getItem(`${person} ${key}`);
      return text === null ? "" : JSON.parse(text);
    },
    set(key, value) {
      localStorage.setItem(`${person} ${key}`, JSON.stringify(value));
    },
    clear() {
      for (const key of Object.keys(localStorage)) {
        if (key.startsWith(`${person} `)) localStorage.removeItem(key);
      }
    },
  };

  /** A URL of the site, as another origin of ours; undefined for every other host. */
  function moved(url, to) {
    for (const origin of [domain, gateway]) {
      if (url === origin || url.startsWith(origin + "/")) return to + url.slice(origin.length);
    }
  }

  window.addEventListener("error", (event) => note(event.message)("", false));
  window.addEventListener("unhandledrejection", (event) => note(String(event.reason))("", false));
  of("reinstall").onclick = () => {
    storage.clear();
    location.reload();
  };
  // In somebody else's hands it is another phone.
  window.addEventListener("focus", async () => {
    if ((await (await fetch("/holder")).text()) !== person) location.reload();
  });

  return {
    appid, storage, note, say, tap, mayHaveNumber,
    reach: (url) => moved(url, network),
    frame: (url) => moved(url, webview),
  };
})();
