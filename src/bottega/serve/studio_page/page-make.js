// @ts-check
/** Making pieces: the model's knobs as a form, what it makes as what it is. */
import * as api from "./api.js";
import { announce, count, empty, h, Page, span, trouble } from "./dom.js";
import { chosen, makeForm, noModel, pickModel } from "./knobs.js";
import { gallery } from "./piece.js";

/** @param {api.Model} m */
const can = (m) => m.capabilities.includes("piece");
const MANY = /** @type {Record<string, number>} */ ({ image: 16, table: 200, points: 200, text: 4, music: 2, audio: 2, speech: 2 });

export default class Make extends Page {
  /** @param {string[]} parts */
  async open([name]) {
    const models = await api.models(this.signal);
    const model = chosen(models, can, name);
    this.head("Make", "New pieces from a trained model. Every one is marked with the weights and the seed that made it.");
    if (!model) {
      this.append(noModel("make pieces", name));
      return;
    }
    if (!model.conditions && !model.loaded) model.conditions = (await api.run(model.id, this.signal).catch(() => null))?.conditions ?? null;
    this.place = h("section", { "aria-label": "Pieces", "aria-live": "off" }, empty("Choose a seed and press Make."));
    const n = MANY[model.medium] ?? 4;
    this.fields = makeForm(model, { n, most: Math.max(64, n) });
    this.fields.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.make(model);
    });
    if (model.medium === "text" && model.capabilities.includes("edit")) {
      this.begun = h("textarea", { id: "begun", rows: 2, placeholder: "nothing: from the start" });
      this.fields.form.prepend(h("div", { class: "field" }, h("label", { for: "begun" }, "How it begins"), this.begun));
    }
    this.append(h("div", { class: "split" }, h("div", { class: "card" }, pickModel("make", models, can, model.id), this.fields.form), this.place));
    if (model.medium === "table") this.real = api.columns(model.id, this.signal).catch(() => ({}));
  }

  /** @param {api.Model} model */
  async make(model) {
    if (!this.fields || !this.place) return;
    this.fields.busy(true);
    this.place.setAttribute("aria-busy", "true");
    const began = performance.now();
    try {
      const asked = this.fields.value();
      const begun = this.begun?.value ?? "";
      const made = begun
        ? await api.edit({ ...asked, piece: { media_type: "text/plain", encoding: "utf-8", data: begun } }, this.signal)
        : await api.pieces(asked, this.signal);
      const real = (await this.real) ?? {};
      const again = model.capabilities.includes("edit") && ["music", "text", "audio"].includes(model.medium) ? (/** @type {api.Piece} */ p) => void this.again(model, p) : undefined;
      this.place.replaceChildren(
        h("p", { class: "soft small" }, `${count(made.length, "piece")} in ${span((performance.now() - began) / 1000)}`),
        gallery(made, { signal: this.signal, name: model.id, real, ...(again ? { again, againSaid: "Continue" } : {}) }),
      );
      announce(`${count(made.length, "piece")} made`);
    } catch (error) {
      if (!this.signal.aborted) this.place.replaceChildren(trouble(error));
    } finally {
      this.place.removeAttribute("aria-busy");
      this.fields.busy(false);
    }
  }

  /** Go on from a piece. @param {api.Model} model @param {api.Piece} piece */
  async again(model, piece) {
    if (!this.fields || !this.place) return;
    this.fields.busy(true);
    try {
      const { media_type, encoding, data } = piece;
      const made = await api.edit({ model: model.id, piece: { media_type, encoding, data }, n: 1, seed: (piece.seed ?? 0) + 1, ...(piece.condition === null || piece.condition === undefined ? {} : { condition: piece.condition }) }, this.signal);
      const shown = gallery(made, { signal: this.signal, name: `${model.id}-continued`, again: (p) => void this.again(model, p), againSaid: "Continue" });
      const heading = h("h2", { tabindex: -1 }, "Continued");
      this.place.prepend(heading, shown);
      heading.focus();
      announce("The continuation stands above.");
    } catch (error) {
      if (!this.signal.aborted) this.place.prepend(trouble(error));
    } finally {
      this.fields.busy(false);
    }
  }
}
customElements.define("page-make", Make);
