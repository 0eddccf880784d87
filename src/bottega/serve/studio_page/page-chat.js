// @ts-check
/** Chat: with the server's bot, or with a model that answers; as it is written, with sources, thumbs, mends and a way to a person. */
import * as api from "./api.js";
import { announce, empty, h, Page, trouble } from "./dom.js";
import { noModel, pickModel } from "./knobs.js";

/**
 * @typedef {{id: string, text: string, source: string, support: string, route: string, limits: string, waiting: boolean}} Reply
 * @typedef {(part: string) => void} Heard
 * @typedef {{name: string, welcome: string, rates: boolean, say: (text: string, heard: Heard, signal: AbortSignal) => Promise<Reply>,
 *   person: ((heard: Heard, signal: AbortSignal) => Promise<Reply>) | null, since: ((signal: AbortSignal) => Promise<any[]>) | null}} Talker
 */

/** @param {api.Model} m */
const can = (m) => m.capabilities.includes("chat");
const BOT = "bot";

/**
 * A model, spoken to as OpenAI's API has it.
 * @param {string} model
 * @returns {Talker}
 */
function talkToModel(model) {
  /** @type {{role: string, content: string}[]} */
  const messages = [];
  return {
    name: model,
    welcome: "",
    rates: false,
    person: null,
    since: null,
    async say(text, heard, signal) {
      messages.push({ role: "user", content: text });
      let [said, id] = ["", ""];
      try {
        for await (const event of api.events("/v1/chat/completions", { body: { model, messages, stream: true }, signal })) {
          if (event.data === "[DONE]") break;
          const chunk = JSON.parse(event.data);
          if (chunk.error) throw new api.Refused(500, chunk.error.message);
          id = chunk.id ?? id;
          const part = chunk.choices?.[0]?.delta?.content ?? "";
          said += part;
          if (part) heard(part);
        }
      } catch (error) {
        messages.pop(); // so that it can be asked again
        throw error;
      }
      messages.push({ role: "assistant", content: said });
      return { id, text: said, source: "", support: "", route: "", limits: "", waiting: false };
    },
  };
}

/**
 * The server's bot.
 * @returns {Promise<Talker>}
 */
async function talkToBot() {
  const begun = await api.post("/v1/chats");
  const path = `/v1/chats/${encodeURIComponent(begun.id)}/messages`;
  /** @param {string} text @param {Heard} heard @param {AbortSignal} signal @returns {Promise<Reply>} */
  const say = async (text, heard, signal) => {
    let said = "";
    /** @type {any} */
    let reply = null;
    for await (const event of api.events(path, { body: { text, stream: true }, signal })) {
      if (event.data === "[DONE]") break;
      const part = JSON.parse(event.data);
      if (part.error) throw new api.Refused(400, part.error.message);
      if (typeof part.delta === "string") {
        said += part.delta;
        heard(part.delta);
      } else reply = part;
    }
    return { id: String(reply?.id ?? ""), text: reply?.text ?? said, source: reply?.source ?? "", support: reply?.support ?? "", route: reply?.route ?? "", limits: reply?.limits ?? "", waiting: Boolean(reply?.handed_off) };
  };
  return {
    name: begun.bot ?? "the bot",
    welcome: begun.welcome ?? "",
    rates: true,
    say,
    person: (heard, signal) => say("I want to talk to a person.", heard, signal),
    since: async (signal) => (await api.get(path, signal)).data.filter((/** @type {any} */ m) => m.role === "human"),
  };
}

export default class Chat extends Page {
  /** @param {string[]} parts */
  async open([name]) {
    const [models, { bot }] = await Promise.all([api.models(this.signal), api.me()]);
    const able = models.filter(can);
    const withBot = bot && (!name || name === BOT);
    const model = withBot ? undefined : name ? able.find((m) => m.id === name) : able[0];
    this.head("Chat", "Answers come from a machine. It can be wrong.");
    if (!withBot && !model) {
      this.append(noModel("hold a conversation", name));
      return;
    }
    this.talker = withBot ? await talkToBot() : talkToModel(/** @type {api.Model} */ (model).id);
    const choice = (bot ? [/** @type {api.Model} */ ({ id: BOT, medium: "with knowledge and people behind it", capabilities: ["chat"], conditions: null, knobs: {} })] : []).concat(able);
    this.talk = h("div", { class: "talk", role: "log", "aria-label": "Conversation" }, empty("Say something."));
    this.words = h("textarea", { id: "words", rows: 2, "aria-describedby": "how", placeholder: "Your message" });
    this.send = h("button", { class: "main" }, "Send");
    this.stop = h("button", { type: "button", hidden: true, onclick: () => this.turn?.abort() }, "Stop");
    const person = this.talker.person && h("button", { type: "button", onclick: () => void this.person() }, "Talk to a person");
    const form = h("form", { class: "ask", "aria-label": "Your message" }, h("label", { for: "words", class: "unseen" }, "Your message"), this.words,
      h("p", { class: "row" }, this.send, this.stop, person, h("span", { class: "hint", id: "how" }, "Enter sends, Shift and Enter begin a line.")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.say();
    });
    this.words.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        void this.say();
      }
    });
    this.append(h("div", { class: "chat" }, choice.length > 1 ? pickModel("chat", choice, () => true, withBot ? BOT : (model?.id ?? "")) : h("p", { class: "soft small" }, `You talk to ${this.talker.name}.`), this.talk, form));
    this.signal.addEventListener("abort", () => this.turn?.abort());
    if (this.talker.welcome) this.put("assistant", this.talker.welcome);
  }

  /** @param {string} who @param {string} text @returns {{node: HTMLElement, words: HTMLElement}} */
  put(who, text) {
    this.talk?.querySelector(".empty")?.remove();
    const words = h("p", { class: "words" }, text);
    const node = h("article", { class: `said ${who}` }, h("p", { class: "who" }, who === "user" ? "You" : who === "person" ? "A person" : "Machine"), words);
    this.talk?.append(node);
    node.scrollIntoView({ block: "nearest" });
    return { node, words };
  }

  async say() {
    const text = this.words?.value.trim() ?? "";
    if (!text || !this.talker || !this.words || this.turn) return;
    this.words.value = "";
    this.put("user", text);
    await this.answer((heard, signal) => /** @type {Talker} */ (this.talker).say(text, heard, signal), text);
  }

  async person() {
    if (!this.talker?.person || this.turn) return;
    const call = this.talker.person;
    this.put("user", "I want to talk to a person.");
    await this.answer(call, "");
  }

  /**
   * @param {(heard: (part: string) => void, signal: AbortSignal) => Promise<Reply>} asks
   * @param {string} text what is put back where it failed
   */
  async answer(asks, text) {
    const turn = new AbortController();
    this.turn = turn;
    const { node, words } = this.put("assistant", "");
    node.setAttribute("aria-busy", "true"); // read when it is whole, not part by part
    if (this.send) this.send.disabled = true;
    if (this.stop) this.stop.hidden = false;
    try {
      const reply = await asks((part) => {
        words.append(part);
        node.scrollIntoView({ block: "nearest" });
      }, turn.signal);
      words.textContent = reply.text || "(nothing was said)";
      this.behind(node, reply);
      announce(`Answer: ${reply.text}`);
    } catch (error) {
      if (turn.signal.aborted) {
        node.append(h("p", { class: "hint" }, "Stopped."));
      } else {
        node.replaceChildren(trouble(error));
        if (this.words && !this.words.value) this.words.value = text;
      }
    } finally {
      node.removeAttribute("aria-busy");
      this.turn = undefined;
      if (this.send) this.send.disabled = false;
      if (this.stop) this.stop.hidden = true;
    }
  }

  /** Look for what people say, for as long as the page stands. */
  async wait() {
    const since = this.talker?.since;
    if (!since || this.waiting) return;
    this.waiting = true;
    let shown = 0;
    while (!this.signal.aborted) {
      const said = await since(this.signal).catch(() => []);
      for (const one of said.slice(shown)) {
        this.put("person", one.text);
        announce(`A person: ${one.text}`);
      }
      shown = Math.max(shown, said.length);
      await new Promise((done) => setTimeout(done, 2500));
    }
  }

  /** What stands under an answer. @param {HTMLElement} node @param {Reply} reply */
  behind(node, reply) {
    if (reply.source) node.append(h("p", { class: "hint source" }, "Source: ", h("cite", {}, reply.source), reply.support && ` (${reply.support})`));
    if (reply.limits) node.append(h("p", { class: "hint" }, reply.limits));
    if (reply.waiting) {
      node.append(h("p", { class: "note", style: "margin: 10px 0 0" }, "A person was called and will answer here."));
      void this.wait();
    }
    if (!this.talker?.rates || !reply.id) return;
    const path = `/v1/messages/${encodeURIComponent(reply.id)}/feedback`;
    const told = h("span", { class: "hint", role: "status" });
    const thumbs = [["Good", "Good answer", 1], ["Bad", "Bad answer", -1]].map(([sign, name, thumb]) => {
      const button = h("button", { type: "button", class: "quiet", "aria-label": name, "aria-pressed": "false" }, String(sign));
      button.addEventListener("click", async () => {
        try {
          await api.post(path, { thumb });
          for (const other of thumbs) other.setAttribute("aria-pressed", String(other === button));
          told.textContent = `Thank you: ${String(name).toLowerCase()}.`;
        } catch (error) {
          told.replaceChildren(trouble(error));
        }
      });
      return button;
    });
    const mend = h("button", { type: "button", class: "quiet" }, "Mend it");
    mend.addEventListener("click", () => {
      const field = h("textarea", { rows: 3, "aria-label": "What it should have said" });
      field.value = reply.text;
      const form = h("form", { class: "ask", "aria-label": "Mend the answer", style: "margin-top: 8px" }, field, h("p", { class: "row" }, h("button", { class: "main" }, "Keep"), h("button", { type: "button", onclick: () => (form.remove(), mend.focus()) }, "Leave it")));
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        try {
          await api.post(path, { edit: field.value });
          form.remove();
          told.textContent = "Kept; the bot can learn from it.";
          mend.focus();
        } catch (error) {
          form.prepend(trouble(error));
        }
      });
      node.append(form);
      field.focus();
    });
    node.append(h("div", { class: "row" }, thumbs, mend, told));
  }
}
customElements.define("page-chat", Chat);
