// As much of WeChat's base library as the demo shop's mini program uses: modules,
// pages on a stack, tabs, and templates with {{path}}, {{!path}}, wx:if, wx:for
// and bound events.
"use strict";

const { define, template, launch, App, Page } = (() => {
  const of = (id) => document.getElementById(id);
  const code = {}; // module -> function
  const modules = {}; // module -> { exports }
  const templates = {}; // route -> its root element
  const definitions = {}; // route -> what was given to Page
  const tabs = new Map(); // route -> page
  let stack = []; // pages in view, the uppermost last
  let loading; // the route whose code is running

  function define(name, run) {
    code[name] = run;
  }

  /** The require of a file in a folder, whose name ends in a slash. */
  function requireFrom(folder) {
    return (name) => {
      const path = name.startsWith(".") ? new URL(name, `app:/${folder}`).pathname.slice(1) : name;
      const key = path.replace(/\.js$/, "");
      if (!code[key]) throw new Error(`no module ${name}`);
      if (!modules[key]) {
        modules[key] = { exports: {} };
        code[key](requireFrom(key.replace(/[^/]*$/, "")), modules[key], modules[key].exports);
      }
      return modules[key].exports;
    };
  }

  function template(route, text) {
    const xml = text.replace(/wx:else(?=[\s>])/g, 'wx:else=""');
    const root = new DOMParser().parseFromString(`<page xmlns:wx="wx">${xml}</page>`, "application/xml").documentElement;
    if (root.querySelector("parsererror")) throw new Error(`${route}.wxml: ${root.textContent}`);
    templates[route] = root;
  }

  function App(app) {
    app.onLaunch?.();
  }

  function Page(definition) {
    definitions[loading] = definition;
  }

  function make(route, options, opener) {
    loading = route;
    requireFrom("")(route);
    const page = { ...definitions[route], data: structuredClone(definitions[route].data || {}), route, options };
    page.view = document.createElement("page");
    page.setData = (changes) => {
      Object.assign(page.data, changes);
      draw(page);
    };
    page.getOpenerEventChannel = () => ({ emit: (name, value) => opener?.[name]?.(value) });
    of("screen").append(page.view);
    draw(page);
    page.onLoad?.(options);
    return page;
  }

  function draw(page) {
    page.view.replaceChildren(...children(templates[page.route], page, page.data));
  }

  /** Draws what is in an element, of wx:if and wx:else no more than one. */
  function children(parent, page, scope) {
    const drawn = [];
    let decided = false;
    for (const node of parent.childNodes) {
      if (node.nodeType === Node.TEXT_NODE) {
        const text = fill(node.data, scope);
        if (text.trim() || !text.includes("\n")) drawn.push(text);
      } else if (node.nodeType === Node.ELEMENT_NODE) {
        if (node.hasAttribute("wx:if")) decided = !!value(node.getAttribute("wx:if"), scope);
        else if (node.hasAttribute("wx:else")) decided = !decided;
        else decided = true;
        if (decided) drawn.push(...elements(node, page, scope));
      }
    }
    return drawn;
  }

  function elements(node, page, scope) {
    if (!node.hasAttribute("wx:for")) return element(node, page, scope);
    return value(node.getAttribute("wx:for"), scope).flatMap((item, index) => element(node, page, { ...scope, item, index }));
  }

  function element(node, page, scope) {
    if (node.tagName === "block") return children(node, page, scope);
    const drawn = document.createElement(node.tagName === "web-view" ? "iframe" : node.tagName);
    for (const { name, value: text } of node.attributes) {
      if (name.startsWith("bind")) listen(drawn, node, page, name.slice(4), text);
      else if (name === "src") drawn.src = phone.frame(fill(text, scope)) || "about:blank";
      else if (!name.startsWith("wx:")) drawn.setAttribute(name, fill(text, scope));
    }
    drawn.append(...children(node, page, scope));
    return [drawn];
  }

  /** Binds an event to a method of the page. */
  function listen(drawn, node, page, event, method) {
    const tell = (detail) => page[method]({ type: event, detail, currentTarget: { dataset: { ...drawn.dataset } } });
    if (event === "tap") drawn.addEventListener("click", () => tell({}));
    else if (event === "input") drawn.addEventListener("input", () => tell({ value: drawn.value }));
    else if (event === "getphonenumber" && node.getAttribute("open-type") === "getPhoneNumber") {
      drawn.addEventListener("click", async () => {
        const noted = phone.note("getPhoneNumber");
        const detail = (await phone.mayHaveNumber()) ? await phone.tap("phone") : { errMsg: "getPhoneNumber:fail user deny" };
        noted(detail.errMsg, !!detail.code);
        tell(detail);
      });
    } else throw new Error(`${page.route}.wxml: no event ${event}`);
  }

  /** Evaluates {{path}} or {{!path}}. */
  function value(text, scope) {
    const [, not, path] = /^\s*\{\{\s*(!?)\s*([\w.]+)\s*\}\}\s*$/.exec(text) || [];
    if (!path) throw new Error(`not understood: ${text}`);
    const found = path.split(".").reduce((at, key) => at?.[key], scope);
    return not ? !found : found;
  }

  function fill(text, scope) {
    return text.replace(/\{\{[^}]*\}\}/g, (part) => value(part, scope) ?? "");
  }

  /** Shows the uppermost page. */
  function show() {
    const top = stack.at(-1);
    for (const view of of("screen").children) view.hidden = view !== top.view;
    of("back").hidden = stack.length < 2;
    of("tabs").hidden = !tabs.has(top.route);
    for (const button of of("tabs").children) button.toggleAttribute("aria-current", button.dataset.route === top.route);
    top.onShow?.();
  }

  function close(page) {
    page.onUnload?.();
    page.view.remove();
  }

  function switchTab({ url }) {
    const route = url.replace(/^\//, "");
    for (const page of stack.filter((p) => !tabs.has(p.route))) close(page);
    if (!tabs.get(route)) tabs.set(route, make(route, {}));
    stack = [tabs.get(route)];
    show();
  }

  function navigateTo({ url, events }) {
    const [path, query = ""] = url.split("?"); // whose values a page decodes itself
    const options = query.split("&").filter(Boolean).map((pair) => pair.split("="));
    stack.push(make(path.slice(1), Object.fromEntries(options), events));
    show();
  }

  function navigateBack() {
    if (stack.length < 2) return;
    close(stack.pop());
    show();
  }

  /** Opens the mini program at its first page. */
  function launch(app) {
    Object.assign(wx, { switchTab, navigateTo, navigateBack });
    of("title").textContent = document.title = app.window.navigationBarTitleText;
    of("back").onclick = navigateBack;
    for (const { pagePath, text } of app.tabBar?.list ?? []) {
      tabs.set(pagePath, undefined);
      const button = document.createElement("button");
      button.textContent = text;
      button.dataset.route = pagePath;
      button.onclick = () => switchTab({ url: pagePath });
      of("tabs").append(button);
    }
    requireFrom("")("app");
    if (tabs.has(app.pages[0])) return switchTab({ url: app.pages[0] });
    navigateTo({ url: `/${app.pages[0]}` });
  }

  return { define, template, launch, App, Page };
})();
