// @ts-check
/** One run: what it makes beside real pieces, how good it is, and where to go on from here. */
import * as api from "./api.js";
import { count, empty, figure, h, Page } from "./dom.js";
import { progressOf, stateOf } from "./page-gallery.js";
import { preview } from "./samples.js";

/** @param {api.Measure} m @returns {HTMLElement} */
function measureOf(m) {
  const ends = [m.value, m.low, m.high, m.ceiling].filter((v) => v !== null);
  let [low, high] = [Math.min(...ends), Math.max(...ends)];
  if (low >= 0 && high <= 1) [low, high] = [0, 1];
  else if (high > low) [low, high] = [low - 0.1 * (high - low), high + 0.1 * (high - low)];
  /** @param {number} v */
  const at = (v) => (high > low ? Math.min(100, Math.max(0, (100 * (v - low)) / (high - low))) : 50);
  const sure = m.low !== null && m.high !== null;
  const bar = sure || m.ceiling !== null;
  return h(
    "li",
    { class: "card measure" },
    h("h3", {}, m.title),
    h("p", { class: "value" }, m.told),
    bar &&
      h("div", { class: "band", "aria-hidden": "true" },
        h("i", { class: "track" }),
        sure && h("i", { class: "sure", style: `left:${at(m.low ?? 0)}%;width:${at(m.high ?? 0) - at(m.low ?? 0)}%` }),
        m.ceiling !== null && h("i", { class: "mark", style: `left:${at(m.ceiling)}%` }),
        h("i", { class: "dot", style: `left:${at(m.value)}%` }),
      ),
    h("p", { class: "soft small" },
      [sure && `95 %: ${m.interval}`, m.ceiling !== null && `held-out data: ${figure(m.ceiling)}`, m.better && `${m.better} is better`, m.n && `n = ${m.n.toLocaleString("en")}`].filter(Boolean).join(" · ")),
  );
}

export default class RunPage extends Page {
  /** @param {string[]} parts */
  async open([name = ""]) {
    const [run, models] = await Promise.all([api.run(name, this.signal), api.models(this.signal).catch(() => /** @type {api.Model[]} */ ([]))]);
    const model = models.find((m) => m.id === name);
    this.head(run.name, run.about, h("p", { class: "row" }, stateOf(run), h("span", { class: "soft small" }, progressOf(run))), this.ways(run, model));
    if (run.wrong) this.append(h("p", { class: "trouble" }, h("b", {}, "This run is damaged. "), run.wrong));
    this.sheets(run);
    if (run.notes?.length) this.append(h("h2", {}, "Worth knowing"), ...run.notes.map((/** @type {string} */ note) => h("p", { class: "note" }, note)));
    this.append(h("h2", {}, "How good it is"));
    if (run.measures.length) {
      this.append(
        h("ul", { class: "grid" }, run.measures.map(measureOf)),
        h("p", { class: "soft small", style: "margin-top: 12px" }, "The dot is this run, the band its 95 % interval, the upright mark the same measure of real data that it never saw."),
      );
    } else this.append(empty("It was not judged yet.", h("p", {}, "In a terminal: ", h("code", {}, `bottega judge ${run.name}`))));
    this.append(h("h2", {}, "What it is"), this.facts(run));
  }

  /** @param {api.Run} run @param {api.Model | undefined} model */
  ways(run, model) {
    const to = encodeURIComponent(run.name);
    const can = new Set(model?.capabilities ?? []);
    return h(
      "p",
      { class: "row" },
      model && can.has("piece") && h("a", { class: "button", href: `#/make/${to}` }, "Make pieces"),
      model && can.has("encode") && h("a", { class: "button", href: `#/map/${to}` }, "Wander its map"),
      model && model.medium === "image" && can.has("edit") && h("a", { class: "button", href: `#/inpaint/${to}` }, "Inpaint"),
      model && (can.has("chat") || can.has("complete")) && h("a", { class: "button", href: `#/chat/${to}` }, "Talk to it"),
      h("a", { class: "button", href: `#/training/${to}` }, "Its training"),
      !model && run.state === "finished" && h("span", { class: "soft small" }, "This server does not serve it; start it with this run to make pieces."),
    );
  }

  /** @param {api.Run} run */
  sheets(run) {
    const shown = ["beside", "sheet", "real"].flatMap((kind) => {
      const of = run.samples.filter((one) => one.kind === kind);
      return of.find((one) => one.file.endsWith(".txt")) ?? of.find((one) => !one.file.endsWith(".csv")) ?? of[0] ?? [];
    });
    if (!shown.length) return;
    const captions = /** @type {Record<string, string>} */ ({ beside: "Given, made, and the real one", sheet: "Made by this run", real: "Real, held out: never seen in training" });
    const place = h("div", { class: "sheets" });
    for (const one of shown) {
      const card = h("figure", { class: "card" });
      void preview(card, run, one, this.signal, captions[one.kind]).then(() => card.append(h("figcaption", {}, captions[one.kind])));
      place.append(card);
    }
    this.append(h("section", { "aria-label": "Samples" }, place));
  }

  /** @param {api.Run} run */
  facts(run) {
    const rows = /** @type {[string, any][]} */ ([
      ["family", run.family], ["medium", run.medium], ["data", run.data], ["licence of the data", run.licence],
      ["rows", run.rows?.[0] ? `${count(run.rows[0], "row")} trained on, ${(run.rows[1] ?? 0).toLocaleString("en")} held out` : ""],
      ["parameters", run.parameters ? run.parameters.toLocaleString("en") : ""], ["recipe", run.recipe], ["weights", run.weights ? run.weights.slice(0, 16) : ""],
    ]);
    const tables = Object.entries(run.tables ?? {}).filter(([, t]) => Object.keys(t ?? {}).length);
    return h(
      "div",
      { class: "card" },
      h("dl", {}, rows.filter(([, v]) => v).flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])),
      tables.length > 0 &&
        h("details", { style: "margin-top: 14px" }, h("summary", {}, "The recipe"),
          h("pre", {}, tables.map(([name, t]) => `[${name}]\n${Object.entries(t).map(([k, v]) => `${k} = ${JSON.stringify(v)}`).join("\n")}`).join("\n\n"))),
      Object.keys(run.skipped ?? {}).length > 0 &&
        h("details", {}, h("summary", {}, `Not judged by ${count(Object.keys(run.skipped).length, "judge")}`), h("dl", {}, Object.entries(run.skipped).flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]))),
    );
  }
}
customElements.define("page-run", RunPage);
