// @ts-check
/** The gallery: every run with a look at what it makes, its measures and where its training stands. */
import * as api from "./api.js";
import { count, empty, h, Page, span } from "./dom.js";
import { preview } from "./samples.js";

/** @type {Record<string, string>} */
export const STATES = {
  finished: "trained", training: "training", watched: "training elsewhere", paused: "paused", begun: "begun", damaged: "damaged", failed: "failed",
};

/** @param {api.Run} run @returns {HTMLElement} the state in a word, with a sign of its own shape */
export function stateOf(run) {
  const state = run.failed && run.state !== "training" ? "failed" : run.state;
  return h("span", { class: `state ${state}` }, STATES[state] ?? state);
}

/** @param {api.Run} run @returns {string} */
export function progressOf(run) {
  if (!run.steps) return "";
  const done = run.state === "finished" ? count(run.step, "step") : `${run.step.toLocaleString("en")} of ${count(run.steps, "step")}`;
  return run.seconds ? `${done} in ${span(run.seconds)}` : done;
}

export default class Gallery extends Page {
  async open() {
    const runs = await api.runs(this.signal);
    this.head("Runs", runs.length ? "Models that were trained here, the latest first. Open one to see how good it is and to make pieces with it." : "");
    if (!runs.length) {
      this.append(
        empty("There is no run here yet.", h("p", {}, "Train one on the page ", h("a", { href: "#/training" }, "Training"), ", or in a terminal: ", h("code", {}, "bottega demo"))),
      );
      return;
    }
    const find = h("input", { type: "search", id: "find", autocomplete: "off", placeholder: "name, medium, family, state" });
    const told = h("p", { class: "soft small", "aria-live": "polite" });
    const cards = runs.map((run) => ({ run, node: this.card(run) }));
    const list = h("ul", { class: "grid" }, cards.map((c) => c.node));
    const sift = () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { run, node } of cards) {
        const text = `${run.name} ${run.medium} ${run.family} ${run.data} ${STATES[run.state]} ${run.about}`.toLowerCase();
        node.hidden = !words.every((word) => text.includes(word));
        if (!node.hidden) shown += 1;
      }
      told.textContent = shown === cards.length ? count(shown, "run") : `${shown} of ${count(cards.length, "run")}`;
    };
    find.addEventListener("input", sift);
    if (runs.length > 3) this.append(h("div", { class: "field", style: "max-width: 420px" }, h("label", { for: "find" }, "Find"), find));
    sift();
    this.append(told, list);
  }

  /** @param {api.Run} run @returns {HTMLElement} */
  card(run) {
    const sheet = h("div", { class: "sheet" });
    const first = run.samples.find((one) => one.kind === "sheet" && !one.file.endsWith(".csv")) ?? run.samples.findLast((one) => one.kind !== "real");
    if (first) void preview(sheet, run, first, this.signal);
    else sheet.append(run.state === "damaged" ? "cannot be shown" : "no samples yet");
    return h(
      "li",
      { class: "card run", "data-run": run.name },
      sheet,
      h(
        "div",
        { class: "body" },
        h("h2", {}, h("a", { href: `#/run/${encodeURIComponent(run.name)}` }, run.name)),
        h("p", { class: "row" }, stateOf(run), h("span", { class: "soft small" }, [run.medium, run.family].filter(Boolean).join(" · "))),
        run.wrong ? h("p", { class: "small" }, run.wrong) : h("p", { class: "soft small" }, run.about || progressOf(run)),
        run.measures.length > 0 &&
          h("dl", { class: "figures" }, run.measures.flatMap((m) => [h("dt", {}, m.title), h("dd", {}, m.told, m.low !== null && h("small", {}, ` ${m.interval}`))])),
        !run.judged && run.state === "finished" && h("p", { class: "soft small" }, "not judged yet"),
      ),
    );
  }
}
customElements.define("page-gallery", Gallery);
