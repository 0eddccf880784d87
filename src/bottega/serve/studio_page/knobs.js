// @ts-check
/** The form of a model: which one, seed, how many, what to ask for, and each of its knobs as the server describes it. */
import * as api from "./api.js";
import { announce, empty, fresh, h } from "./dom.js";

const FEW = 400; // conditions that a list shows
/** How far a slider goes where the server names no end; the field beside it takes any number. @type {Record<string, number>} */
const FAR = { temperature: 2, guidance: 10, truncation: 1, repetition_penalty: 2 };

/**
 * Which model a page is about: the one its address names, else the first that can.
 * @param {api.Model[]} models
 * @param {(model: api.Model) => boolean} can
 * @param {string} [name]
 * @returns {api.Model | undefined}
 */
export function chosen(models, can, name) {
  const able = models.filter(can);
  return name ? able.find((m) => m.id === name) : (able.find((m) => m.loaded) ?? able[0]);
}

/**
 * A choice among the models that can do what a page needs; another choice is another address.
 * @param {string} page
 * @param {api.Model[]} models
 * @param {(model: api.Model) => boolean} can
 * @param {string} current
 * @returns {HTMLElement}
 */
export function pickModel(page, models, can, current) {
  const id = fresh("model");
  const select = h("select", { id }, models.filter(can).map((m) => h("option", { value: m.id, selected: m.id === current }, `${m.id} (${m.medium})`)));
  select.addEventListener("change", () => (location.hash = `#/${page}/${encodeURIComponent(select.value)}`));
  return h("div", { class: "field" }, h("label", { for: id }, "Model"), select);
}

/** @param {string} what @param {string} [name] @returns {HTMLElement} */
export function noModel(what, name) {
  return name
    ? empty(`The server has no model called ${name} that can do this.`, h("p", {}, h("a", { href: "#/" }, "See what runs there are")))
    : empty(`No model on this server can ${what}.`, h("p", {}, "Train one, or start the server with a folder that has one: ", h("code", {}, "bottega studio runs")));
}

/** @param {string} name @returns {string} */
const spoken = (name) => (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

/**
 * One knob as a field.
 * @param {string} name
 * @param {api.Knob} knob
 * @returns {{node: HTMLElement, value: () => any}}
 */
export function knobField(name, knob) {
  const id = fresh("knob");
  const type = String(knob.type ?? typeof knob.default);
  const label = h("label", { for: id }, spoken(name));
  if (Array.isArray(knob.choices)) {
    const select = h("select", { id }, knob.choices.map((c) => h("option", { value: String(c), selected: c === knob.default }, String(c))));
    const choices = knob.choices;
    return { node: h("div", { class: "field" }, label, select), value: () => choices[select.selectedIndex] };
  }
  if (/bool/.test(type)) {
    const box = h("input", { type: "checkbox", id, checked: Boolean(knob.default) });
    return { node: h("div", { class: "field check" }, box, label), value: () => box.checked };
  }
  if (/int|float|number/.test(type)) {
    const whole = /int/.test(type) && !/float|number/.test(type);
    const { min = null, max = null } = knob;
    const step = whole ? 1 : "any";
    const number = h("input", { type: "number", id, step, min, max, value: knob.default ?? "", placeholder: "as trained" });
    const read = () => (number.value === "" ? undefined : whole ? Math.round(Number(number.value)) : Number(number.value));
    const far = max ?? FAR[name] ?? null;
    if (min === null || far === null) return { node: h("div", { class: "field" }, label, number), value: read };
    const slider = h("input", { type: "range", min, max: far, step: whole ? 1 : (far - min) / 200, value: knob.default ?? min, "aria-label": `${spoken(name)}, slider` });
    slider.addEventListener("input", () => (number.value = String(whole ? slider.value : Number(Number(slider.value).toPrecision(3)))));
    number.addEventListener("input", () => (slider.value = number.value));
    return { node: h("div", { class: "field" }, label, h("div", { class: "slide" }, slider, number)), value: read };
  }
  const field = h("input", { id, value: knob.default ?? "", autocomplete: "off", placeholder: "as trained" });
  return { node: h("div", { class: "field" }, label, field), value: () => field.value || undefined };
}

/** @param {any} one @returns {string} a condition as a person reads it */
export const toldCondition = (one) => (one === null || one === undefined ? "" : typeof one === "string" ? one : typeof one === "object" ? JSON.stringify(one) : String(one));

/**
 * A file that pieces are made of: it is read when it is chosen, and a picture or sound is shown.
 * @param {string} what "picture" or "sound"
 * @returns {{node: HTMLElement, value: () => any}}
 */
function fileField(what) {
  const id = fresh("given");
  const file = h("input", { type: "file", id, accept: what === "picture" ? "image/*" : "audio/*,.wav,.flac,.ogg" });
  const seen = h("div", { style: "margin-top: 8px" });
  let data = "";
  file.addEventListener("change", () => {
    data = "";
    seen.replaceChildren();
    const [one] = file.files ?? [];
    if (!one) return;
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      data = String(reader.result);
      seen.replaceChildren(what === "picture" ? h("img", { src: data, alt: `what is given: ${one.name}`, style: "max-width: 100%; image-rendering: pixelated" }) : h("audio", { src: URL.createObjectURL(one), controls: true }));
      announce(`${one.name} is given`);
    });
    reader.readAsDataURL(one);
  });
  const hint = h("p", { class: "hint" }, "Without a file, pieces are made of what training kept back.");
  return { node: h("div", { class: "field" }, h("label", { for: id }, what === "picture" ? "A picture to make it of" : "A recording to make it of"), file, seen, hint), value: () => (data ? { data } : null) };
}

/**
 * What to ask for: a file, one of the known conditions, or one's own words.
 * @param {api.Model} model
 * @returns {{node: HTMLElement | null, value: () => any}}
 */
export function conditionField(model) {
  if (model.given) return fileField(model.given);
  const known = model.conditions;
  if (!known) return { node: null, value: () => null };
  const [id, other] = [fresh("condition"), fresh("words")];
  const words = h("input", { id: other, autocomplete: "off" });
  const place = h("div", { hidden: true, style: "margin-top: 8px" }, h("label", { for: other }, "In your own words"), words);
  const select = h("select", { id }, h("option", { value: "" }, "as the seed says"), known.slice(0, FEW).map((c, i) => h("option", { value: i }, toldCondition(c).slice(0, 80))), h("option", { value: "other" }, "something else …"));
  select.addEventListener("change", () => {
    place.hidden = select.value !== "other";
    if (!place.hidden) words.focus();
  });
  return {
    node: h("div", { class: "field" }, h("label", { for: id }, "Ask for"), select, place),
    value: () => (select.value === "" ? null : select.value === "other" ? words.value || null : known[Number(select.value)]),
  };
}

/**
 * The whole form.
 * @param {api.Model} model
 * @param {{most?: number, n?: number, button?: string, seed?: number}} [how]
 * @returns {{form: HTMLFormElement, value: () => Record<string, any>, busy: (on: boolean) => void, seed: (value: number) => void}}
 */
export function makeForm(model, { most = 64, n = 16, button = "Make", seed = 0 } = {}) {
  const [ids, idn] = [fresh("seed"), fresh("n")];
  const start = h("input", { type: "number", id: ids, min: 0, max: 2147483647, step: 1, value: seed, required: true });
  const many = h("input", { type: "number", id: idn, min: 1, max: most, step: 1, value: n, required: true });
  const other = h("button", { type: "button", class: "quiet", onclick: () => (start.value = String(Math.floor(Math.random() * 1e6))) }, "Another seed");
  const condition = conditionField(model);
  const knobs = Object.entries(model.knobs).map(([name, knob]) => ({ name, knob, ...knobField(name, knob) }));
  const submit = h("button", { class: "main" }, button);
  const first = knobs.filter((k) => ["temperature", "guidance", "steps", "top_p", "top_k", "truncation"].includes(k.name));
  const rest = knobs.filter((k) => !first.includes(k));
  const form = h(
    "form",
    { "aria-label": "What to make" },
    h("fieldset", {}, h("legend", { class: "unseen" }, "Seed and number"), h("div", { class: "pair" }, h("div", { class: "field" }, h("label", { for: ids }, "Seed"), start), h("div", { class: "field" }, h("label", { for: idn }, "How many"), many))),
    condition.node,
    first.map((k) => k.node),
    rest.length > 0 && h("details", { class: "field", open: first.length === 0 && rest.length <= 4 }, h("summary", {}, "More knobs"), rest.map((k) => k.node)),
    h("p", { class: "row" }, submit, other),
    h("p", { class: "hint" }, "The same seed makes the same piece, alone or among others."),
  );
  return {
    form,
    value: () => {
      const given = Object.fromEntries(knobs.map((k) => [k.name, k.value(), k.knob.default]).filter(([, v, d]) => v !== undefined && v !== d).map(([k, v]) => [k, v]));
      const asked = condition.value();
      return { model: model.id, n: Number(many.value), seed: Number(start.value), ...(asked === null ? {} : { condition: asked }), knobs: given };
    },
    busy: (on) => {
      submit.disabled = on;
      submit.textContent = on ? "Making …" : button;
    },
    seed: (value) => (start.value = String(value)),
  };
}
