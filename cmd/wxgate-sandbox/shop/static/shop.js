// The shop's only script. It asks the shop about the visitor; where the
// gateway wants a login first, the answer is a problem document that says so.
"use strict";

async function showSummary(box) {
  const answer = await fetch("/api/me/summary", { headers: { Accept: "application/json" } });
  const body = await answer.json();
  if (answer.ok) {
    box.textContent = `你有 ${body.orders} 个订单，共 ${body.spent} · ${body.orders} orders, ${body.spent}`;
  } else if (answer.status === 401 && body.code === "login_required") {
    const link = document.createElement("a");
    link.href = body.login_url;
    link.textContent = "登录后查看你的订单 · Log in to see your orders";
    box.append(link);
  } else {
    box.textContent = `${body.title} (${body.code})`;
  }
  box.hidden = false;
}

async function logOut() {
  await fetch("/wxgate/logout", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: "{}",
  });
  location.assign("/");
}

const summary = document.getElementById("summary");
if (summary) {
  showSummary(summary).catch((err) => console.error("asking for the summary:", err));
}
document.getElementById("log-out")?.addEventListener("click", logOut);
