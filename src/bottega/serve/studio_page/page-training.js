// @ts-check
/** Training: begin one, or watch one as it learns, stop it and go on. */
import * as api from "./api.js";
import { Curves } from "./chart.js";
import { announce, count, empty, figure, h, Page, span, trouble } from "./dom.js";
import { progressOf, stateOf } from "./page-gallery.js";
import { preview } from "./samples.js";

/** @param {api.Run} run */
const goes = (run) => run.state === "training" || run.state === "watched";

export default class Training extends Page {
  /** @param {string[]} parts */
  async open([name]) {
    this.who = await api.me();
    if (name) await this.watch(name);
    else await this.overview();
  }

  // Beginning ---------------------------------------------------------------------------------------------------------

  async overview() {
    const runs = await api.runs(this.signal);
    this.head("Training", "Begin a training from a recipe, or open one to watch it learn.");
    const rows = [...runs].sort((a, b) => Number(goes(b)) - Number(goes(a)));
    const list = rows.length
      ? h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Trainings" }, h("table", {},
          h("thead", {}, h("tr", {}, ["run", "state", "steps", "makes"].map((c) => h("th", { scope: "col" }, c)))),
          h("tbody", {}, rows.map((r) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: `#/training/${encodeURIComponent(r.name)}` }, r.name)), h("td", {}, stateOf(r)), h("td", {}, progressOf(r)), h("td", {}, r.medium))))))
      : empty("Nothing was trained here yet.");
    const form = this.who?.may.includes("train") ? await this.form() : h("p", { class: "soft" }, `A ${this.who?.role} may watch trainings, not begin them.`);
    this.append(h("div", { class: "split" }, h("div", { class: "card" }, h("h2", { style: "margin-top: 0" }, "Begin"), form), h("section", { "aria-label": "Trainings" }, list)));
  }

  async form() {
    const recipes = /** @type {{name: string, makes: string, about: string, header: string, steps: number}[]} */ (await api.recipes(this.signal));
    /** @type {Map<string, typeof recipes>} */
    const groups = new Map();
    for (const r of recipes) groups.set(r.makes, [...(groups.get(r.makes) ?? []), r]);
    const recipe = h("select", { id: "recipe", "aria-describedby": "about" }, [...groups].map(([makes, some]) => h("optgroup", { label: makes }, some.map((r) => h("option", { value: r.name }, r.name)))));
    recipe.value = recipes.some((r) => r.name === "digits-vae") ? "digits-vae" : recipes[0]?.name ?? "";
    const about = h("p", { class: "hint", id: "about" });
    const name = h("input", { id: "run-name", required: true, maxlength: 64, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*", autocomplete: "off", spellcheck: "false" });
    const steps = h("input", { id: "steps", type: "number", min: 1, step: 1 });
    const data = h("input", { id: "data", autocomplete: "off", spellcheck: "false", placeholder: "the recipe's own" });
    const judge = h("input", { id: "judge", type: "checkbox", checked: true });
    const submit = h("button", { class: "main" }, "Train");
    const wrong = h("div");
    const told = () => {
      const one = recipes.find((r) => r.name === recipe.value);
      about.textContent = one ? `${one.about}. ${/\n([^\n]*?GB)/.exec(one.header)?.[1] ?? ""}` : "";
      steps.placeholder = one ? `${one.steps.toLocaleString("en")}, as the recipe says` : "";
      if (!name.dataset.own) name.value = recipe.value;
    };
    recipe.addEventListener("change", told);
    name.addEventListener("input", () => (name.dataset.own = "yes"));
    told();
    const form = h("form", { "aria-label": "Begin a training" },
      wrong,
      h("div", { class: "field" }, h("label", { for: "recipe" }, "Recipe"), recipe, about),
      h("div", { class: "field" }, h("label", { for: "run-name" }, "Name of the run"), name),
      h("div", { class: "field" }, h("label", { for: "steps" }, "Steps"), steps),
      h("div", { class: "field" }, h("label", { for: "data" }, "Other data"), data, this.who?.here ? h("p", { class: "hint" }, "A path on this machine, or the name of what is built in.") : h("p", { class: "hint" }, "The name of what is built in.")),
      h("div", { class: "field check" }, judge, h("label", { for: "judge" }, "Judge it afterwards")),
      submit);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      wrong.replaceChildren();
      try {
        const begun = await api.begin({ recipe: recipe.value, name: name.value, data: data.value.trim(), steps: steps.value ? Number(steps.value) : null, judge: judge.checked });
        location.hash = `#/training/${encodeURIComponent(begun.name)}`;
      } catch (error) {
        wrong.replaceChildren(trouble(error));
        submit.disabled = false;
      }
    });
    return form;
  }

  // Watching ----------------------------------------------------------------------------------------------------------

  /** @param {string} name */
  async watch(name) {
    this.run = await api.run(name, this.signal);
    this.head(name, "", h("p", { class: "crumb" }, h("a", { href: "#/training" }, "All trainings"), " · ", h("a", { href: `#/run/${encodeURIComponent(name)}` }, "The run")));
    this.state = h("span");
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "Steps done" });
    this.lately = h("p", { class: "lately" });
    this.stopButton = h("button", { type: "button", onclick: () => void this.does("stop") }, "Stop, with a checkpoint");
    this.resumeButton = h("button", { type: "button", class: "main", onclick: () => void this.does("resume") }, "Resume");
    this.wrong = h("div");
    this.curves = new Curves();
    this.notes = h("div", { "aria-live": "polite" });
    this.made = h("div", { class: "made-so-far" });
    this.quiet = empty("The first numbers come with the first steps.");
    this.append(
      h("section", { class: "card", "aria-label": "Progress" }, h("div", { class: "row", style: "justify-content: space-between; margin-bottom: 12px" }, this.state, h("div", { class: "row" }, this.stopButton, this.resumeButton)), this.bar, this.lately),
      this.wrong, this.notes,
      h("h2", {}, "How it learns"), this.quiet, this.curves,
      h("h2", {}, "What it makes so far"), this.made,
    );
    this.tell(this.run);
    void this.follow(name);
  }

  /** @param {string} name */
  async follow(name) {
    let at = 0;
    let tries = 0;
    while (!this.signal.aborted) {
      try {
        let ended = false;
        for await (const event of api.follow(name, at, this.signal)) {
          tries = 0;
          if (event.id) at = Number(event.id);
          const data = JSON.parse(event.data || "{}");
          if (event.event === "rows") this.rows(data);
          else if (event.event === "state") this.tell(data);
          else if (event.event === "again") {
            at = 0;
            this.curves?.clear();
          } else if (event.event === "end") ended = true;
        }
        if (ended) {
          await new Promise((done) => (this.wake = done)); // until it is resumed
        }
      } catch (error) {
        if (this.signal.aborted) return;
        if (++tries > 5) {
          this.wrong?.replaceChildren(trouble(error));
          return;
        }
        await new Promise((done) => setTimeout(done, 1000 * tries));
      }
    }
  }

  /** @param {Record<string, any>[]} rows */
  rows(rows) {
    if (this.quiet) this.quiet.hidden = true;
    this.curves?.add(rows);
    for (const row of rows) if (typeof row.note === "string") this.notes?.append(h("p", { class: "note" }, row.note));
  }

  /** @param {api.Run} run */
  tell(run) {
    const before = this.said;
    this.said = run.failed ? "failed" : run.state;
    this.state?.replaceChildren(stateOf(run));
    if (this.bar) {
      this.bar.value = run.steps ? run.step / run.steps : 0;
      this.bar.textContent = `${run.step} of ${run.steps}`;
    }
    const cells = [
      run.steps ? h("span", {}, h("b", {}, run.step.toLocaleString("en")), ` of ${count(run.steps, "step")}`) : null,
      run.rate && goes(run) ? h("span", {}, h("b", {}, figure(run.rate)), " steps a second") : null,
      run.left_seconds !== undefined && run.left_seconds !== null ? h("span", {}, h("b", {}, run.step >= run.steps ? "measuring it" : span(run.left_seconds)), run.step >= run.steps ? "" : " left") : null,
      run.seconds && !goes(run) ? h("span", {}, "in ", h("b", {}, span(run.seconds))) : null,
    ];
    this.lately?.replaceChildren(.../** @type {HTMLElement[]} */ (cells.filter(Boolean)));
    const may = this.who?.may.includes("train") ?? false;
    if (this.stopButton) this.stopButton.hidden = !may || run.state !== "training";
    if (this.resumeButton) this.resumeButton.hidden = !may || !["paused", "begun"].includes(run.state);
    if (run.state === "watched" && !this.elsewhere) {
      this.elsewhere = h("p", { class: "soft small" }, "It was started outside the studio; stop it where it was started, with Ctrl-C.");
      this.lately?.after(this.elsewhere);
    } else if (run.state !== "watched" && this.elsewhere) {
      this.elsewhere.remove();
      this.elsewhere = undefined;
    }
    if (run.wrong) this.wrong?.replaceChildren(trouble(run.wrong));
    else if (run.failed && before !== "failed") void this.why(run.name);
    else if (!run.failed) this.wrong?.replaceChildren();
    void this.samples(run);
    if (before && before !== this.said) announce(`${run.name}: ${this.said}`);
  }

  /** What the process said before it ended. @param {string} name */
  async why(name) {
    const run = await api.run(name, this.signal).catch(() => null);
    this.wrong?.replaceChildren(trouble(run?.console?.trim().split("\n").at(-1) || "The training ended with an error."));
  }

  /** @param {api.Run} run */
  async samples(run) {
    const shown = run.samples.filter((one) => one.kind === "step" || one.kind === "sheet");
    for (const one of shown) {
      const mark = `${one.file}@${one.changed}`;
      if (!this.made || this.made.querySelector(`[data-mark="${CSS.escape(mark)}"]`)) continue;
      this.made.querySelector(`[data-file="${CSS.escape(one.file)}"]`)?.remove();
      const told = one.step === null ? "in the end" : `step ${one.step.toLocaleString("en")}`;
      const card = h("figure", { class: "card", "data-mark": mark, "data-step": one.step ?? Infinity, "data-file": one.file });
      const later = one.step === null ? null : [...this.made.children].find((c) => Number(/** @type {HTMLElement} */ (c).dataset.step ?? Infinity) < (one.step ?? 0));
      if (one.step === null) this.made.prepend(card);
      else this.made.insertBefore(card, later ?? null);
      await preview(card, run, one, this.signal, `Samples of ${run.name}, ${told}`);
      card.append(h("figcaption", {}, told));
    }
    if (this.made && !this.made.childElementCount) this.made.append(h("p", { class: "soft" }, "Samples come as it learns."));
    else if (this.made && this.made.childElementCount > 1) this.made.querySelector("p.soft")?.remove();
  }

  /** @param {"stop" | "resume"} what */
  async does(what) {
    const button = what === "stop" ? this.stopButton : this.resumeButton;
    if (!button || !this.run) return;
    button.disabled = true;
    try {
      await api[what](this.run.name);
      announce(what === "stop" ? "It stops after this step, with a checkpoint." : "It goes on.");
      this.wake?.(null);
    } catch (error) {
      this.wrong?.replaceChildren(trouble(error));
    } finally {
      setTimeout(() => (button.disabled = false), 800);
    }
  }
}
customElements.define("page-training", Training);
