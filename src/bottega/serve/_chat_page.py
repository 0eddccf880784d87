"""The page of chapter 24: a conversation, readable by screen readers, with ratings and a key where one is needed."""

from __future__ import annotations

__all__ = ["PAGE", "SCRIPT"]

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@NAME@</title>
<style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; background: Canvas; color: CanvasText; }
[hidden] { display: none !important; }
body { max-width: 44rem; margin: 0 auto; padding: 1rem; }
#log { list-style: none; padding: 0; }
#log li { margin: .5rem 0; padding: .5rem .8rem; border-radius: .6rem; border: 1px solid #8886; white-space: pre-wrap; overflow-wrap: anywhere; }
#log .user { margin-left: 20%; background: #4a90d922; }
#log small { display: block; opacity: .85; }
form { display: flex; gap: .5rem; flex-wrap: wrap; align-items: center; margin-bottom: .5rem; }
#log button { margin: .3rem .5rem 0 0; }
input { flex: 1 1 12rem; font: inherit; padding: .5rem; }
button { font: inherit; padding: .5rem .9rem; min-width: 2.75rem; min-height: 2.75rem; }
</style>
</head>
<body>
<main>
<h1>@NAME@</h1>
<p id="welcome">@WELCOME@</p>
<ul id="log" role="log" aria-live="polite" aria-label="Conversation"></ul>
<form id="say">
<label for="text">Your message</label>
<input id="text" name="text" autocomplete="off" maxlength="4000" required>
<button type="submit">Send</button>
</form>
<form id="who" hidden>
<label for="key">API key, which this server asks for. It stays in this tab.</label>
<input id="key" type="password" autocomplete="off" required>
<button type="submit">Use this key</button>
</form>
<p id="state" role="status"></p>
</main>
<script src="/chat/page.js" defer></script>
</body>
</html>
"""

SCRIPT = """\
"use strict";
const log = document.getElementById("log"), form = document.getElementById("say"), box = document.getElementById("text");
const who = document.getElementById("who"), field = document.getElementById("key"), state = document.getElementById("state");
const KEY = "bottega-key"; // the studio's too: one key for both pages of a tab
const key = () => sessionStorage.getItem(KEY) || "";
const headers = () => {
  const told = { "Content-Type": "application/json", Accept: "text/event-stream" };
  return key() ? { ...told, Authorization: "Bearer " + key() } : told;
};
const ask = (why) => {
  who.hidden = false;
  state.textContent = why;
  field.focus();
};
const known = async () => {
  const said = await fetch("/v1/chats?limit=1", { headers: headers() });
  if (said.ok) {
    who.hidden = true;
    state.textContent = "";
    return true;
  }
  const told = await said.json();
  ask(said.status === 401 && !key() ? "This server asks for a key." : told.error.message);
  return false;
};
who.addEventListener("submit", async (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, field.value.trim());
  field.value = "";
  if (await known()) box.focus();
});
const line = (who, text) => {
  const li = document.createElement("li"), p = document.createElement("span");
  li.className = who === "You" ? "user" : "bot";
  const name = document.createElement("b");
  name.textContent = who + ": ";
  p.textContent = text;
  li.append(name, p);
  log.append(li);
  li.scrollIntoView({ block: "end" });
  return { li, p };
};
const rate = async (id, thumb, where) => {
  const said = await fetch("/v1/messages/" + id + "/feedback", { method: "POST", headers: headers(), body: JSON.stringify({ thumb }) });
  where.textContent = said.ok ? "Thank you." : "That was not kept.";
  box.focus(); // the button that had the focus is gone
};
const finish = (shown, reply) => {
  const about = document.createElement("small");
  about.textContent = [reply.source, reply.limits].filter(Boolean).join("; ");
  shown.p.id = "answer-" + reply.id;
  const thumbs = document.createElement("small");
  for (const [thumb, label] of [[1, "Good answer"], [-1, "Bad answer"]]) {
    const b = document.createElement("button");
    b.type = "button";
    b.textContent = label; // words: not every machine has a font with thumbs
    b.setAttribute("aria-describedby", shown.p.id);
    b.addEventListener("click", () => rate(reply.id, thumb, thumbs));
    thumbs.append(b);
  }
  shown.li.append(about, thumbs);
};
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = box.value.trim();
  if (!text) return;
  if (!who.hidden && !(await known())) return; // what was written stays
  box.value = "";
  line("You", text);
  const shown = line("Bot", "");
  try {
    const said = await fetch("/chat", { method: "POST", headers: headers(), body: JSON.stringify({ message: text }) });
    if (!said.ok) {
      const why = await said.json();
      shown.p.textContent = (why.error && why.error.message) || why.error || "Error " + said.status;
      if (said.status === 401 || said.status === 403) ask(shown.p.textContent);
      return;
    }
    const reader = said.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      held += value;
      const events = held.split("\\n\\n");
      held = events.pop();
      for (const one of events) {
        const data = one.replace(/^data: /, "");
        if (data === "[DONE]") continue;
        const told = JSON.parse(data);
        if (told.delta) shown.p.textContent += told.delta;
        else if (told.error) shown.p.textContent += told.error.message;
        else finish(shown, told);
      }
    }
  } catch (error) {
    shown.p.textContent = "The server does not answer.";
  }
  box.focus();
});
known().catch(() => { state.textContent = "The server does not answer."; });
"""
