// @ts-check
/** Review: people who wait for a person, and what people said of answers. */
import * as api from "./api.js";
import { announce, count, empty, h, Page, trouble } from "./dom.js";

export default class Review extends Page {
  async open() {
    this.head("Review", "People who asked for a person, and what people said of answers.");
    if (!(await api.me()).bot) {
      this.append(empty("This server has no bot, so nobody can call a person.", h("p", {}, "Start it with one: ", h("code", {}, "bottega serve --bot my-bot"))));
      return;
    }
    const waiting = (await api.get("/v1/handoffs", this.signal)).data ?? [];
    this.list = h("section", { "aria-label": "Waiting" });
    this.append(h("h2", {}, "Waiting for a person"), this.list);
    this.fill(waiting);
    await this.feedback();
  }

  /** @param {any[]} waiting */
  fill(waiting) {
    this.list?.replaceChildren(waiting.length ? h("ul", { class: "grid" }, waiting.map((one) => this.one(one))) : empty("Nobody waits."));
  }

  /** @param {any} one */
  one(one) {
    const field = h("textarea", { rows: 3, "aria-label": `Your answer to ${one.user ?? one.chat ?? one.id}` });
    const place = h("div");
    const messages = /** @type {any[]} */ (one.messages ?? []);
    const form = h("form", { "aria-label": "Answer" }, field, h("p", { class: "row", style: "margin-top: 8px" }, h("button", { class: "main" }, "Answer"), h("button", { type: "button", onclick: () => void send({ close: true }) }, "Done")));
    /** @param {any} body */
    const send = async (body) => {
      try {
        await api.post(`/v1/handoffs/${encodeURIComponent(one.id)}`, body);
        announce("Sent.");
        this.fill((await api.get("/v1/handoffs", this.signal)).data ?? []);
      } catch (error) {
        place.replaceChildren(trouble(error));
      }
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim()) void send({ reply: field.value.trim() });
    });
    return h("li", { class: "card" }, h("h3", {}, String(one.user ?? one.chat ?? one.id)), h("p", { class: "soft small" }, [one.reason, one.created ?? one.at].filter(Boolean).join(" · ")),
      messages.map((m) => h("p", { class: "small" }, h("b", {}, `${m.role}: `), m.text ?? m.content)), place, form);
  }

  async feedback() {
    /** @type {any[]} */
    let said;
    try {
      said = (await api.get("/v1/feedback", this.signal)).data ?? [];
    } catch {
      return;
    }
    this.append(h("h2", {}, "What people said"), said.length
      ? h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Feedback" }, h("table", {}, h("caption", { class: "unseen" }, count(said.length, "answer")),
          h("thead", {}, h("tr", {}, ["asked", "answered", "said of it", "mended"].map((c) => h("th", { scope: "col" }, c)))),
          h("tbody", {}, said.map((f) => h("tr", {}, h("td", {}, f.asked ?? ""), h("td", {}, f.answered ?? ""), h("td", {}, f.rating > 0 ? "good" : f.rating < 0 ? "bad" : ""), h("td", {}, f.edit ?? ""))))))
      : empty("Nobody said anything yet."));
  }
}
customElements.define("page-review", Review);
