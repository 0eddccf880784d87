// @ts-check
/** Review: people who wait for a person, and what happened in the conversations. */
import * as api from "./api.js";
import { announce, empty, figure, h, Page, span, trouble } from "./dom.js";

export default class Review extends Page {
  async open() {
    this.head("Review", "People who wait for a person, and what happened in the conversations.");
    if (!(await api.me()).bot) {
      this.append(empty("This server has no bot, so nobody can call a person.", h("p", {}, "Start it with one: ", h("code", {}, "bottega serve --bot my-bot"))));
      return;
    }
    const waiting = (await api.get("/v1/handoffs", this.signal)).data ?? [];
    this.list = h("section", { "aria-label": "Waiting" });
    this.append(h("h2", {}, "Waiting for a person"), this.list);
    this.fill(waiting);
    await this.report();
  }

  /** @param {any[]} waiting */
  fill(waiting) {
    this.list?.replaceChildren(waiting.length ? h("ul", { class: "grid" }, waiting.map((one) => this.one(one))) : empty("Nobody waits."));
  }

  /** @param {any} one */
  one(one) {
    const place = h("div");
    const path = `/v1/handoffs/${encodeURIComponent(one.id)}`;
    /** @param {string} what @param {any} body @param {string} told */
    const send = async (what, body, told) => {
      try {
        await api.post(`${path}/${what}`, body);
        announce(told);
        this.fill((await api.get("/v1/handoffs", this.signal)).data ?? []);
        /** @type {HTMLElement | null | undefined} */ (this.list?.querySelector(`[data-handoff="${one.id}"] textarea, [data-handoff="${one.id}"] button`))?.focus();
      } catch (error) {
        place.replaceChildren(trouble(error));
      }
    };
    const field = h("textarea", { rows: 3, "aria-label": `Your answer to ${one.user}` });
    const form = one.by
      ? h("form", { "aria-label": `Answer ${one.user}, ${one.id}` }, field, h("p", { class: "row", style: "margin-top: 8px" }, h("button", { class: "main" }, "Answer"), h("button", { type: "button", onclick: () => void send("close", {}, "Given back to the bot.") }, "Give it back")))
      : h("p", { class: "row" }, h("button", { type: "button", class: "main", onclick: () => void send("take", {}, "Taken over.") }, "Take it over"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim()) void send("messages", { text: field.value.trim() }, "Sent.");
    });
    const late = one.left_seconds < 0 ? `late by ${span(-one.left_seconds)}` : `${span(one.left_seconds)} left`;
    return h("li", { class: "card", "data-handoff": one.id },
      h("h3", {}, one.user), h("p", { class: "soft small" }, [one.urgent && "urgent", one.why, one.by ? `taken by ${one.by}` : late].filter(Boolean).join(" · ")),
      h("div", { class: "transcript", tabindex: 0, role: "region", "aria-label": `Conversation ${one.id}` }, (one.transcript ?? []).map((/** @type {any} */ m) => h("p", { class: "small" }, h("b", {}, `${m.role}: `), m.text))),
      place, form);
  }

  async report() {
    const told = await api.get("/v1/chats/report", this.signal);
    const figures = Object.entries(told).filter(([, v]) => typeof v === "number");
    this.append(h("h2", {}, "The last seven days"),
      told.messages ? h("div", { class: "card" }, h("dl", {}, figures.flatMap(([k, v]) => [h("dt", {}, k.replaceAll("_", " ")), h("dd", {}, figure(/** @type {number} */ (v)))]))) : empty("Nobody said anything yet."));
    const lists = Object.entries(told).filter(([, v]) => Array.isArray(v) && v.length);
    for (const [name, rows] of lists) this.append(h("details", {}, h("summary", {}, `${name.replaceAll("_", " ")} (${rows.length})`), h("ul", {}, rows.slice(0, 40).map((/** @type {any} */ r) => h("li", {}, typeof r === "string" ? r : Object.values(r ?? {}).flat().filter((v) => typeof v !== "object").join(" · "))))));
  }
}
customElements.define("page-review", Review);
