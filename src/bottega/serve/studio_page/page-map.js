// @ts-check
/** The map: a plane through the codes of three seeds to drag through, and the way from the first to the second. */
import * as api from "./api.js";
import { announce, count, download, empty, h, moves, Page, trouble } from "./dom.js";
import { chosen, conditionField, noModel, pickModel } from "./knobs.js";
import { file, text } from "./api.js";
import { kindOf, look } from "./piece.js";
import { picture } from "./samples.js";

const SIDE = 7; // cells of the plane along each side

/** @param {api.Model} m */
const can = (m) => m.capabilities.includes("encode");

export default class LatentMap extends Page {
  u = 0.5; // of the way to B
  v = 0.5; // of the way to C

  /** @param {string[]} parts */
  async open([name]) {
    const models = await api.models(this.signal);
    const model = chosen(models, can, name);
    this.head("Map", "Three seeds span a plane through the space of the model's codes. Drag through it, or take the way from the first seed to the second.");
    if (!model) {
      this.append(noModel("turn a piece into a code and back", name));
      return;
    }
    this.model = model;
    const seeds = [0, 1, 2].map((seed, i) => h("input", { type: "number", id: `corner-${i}`, min: 0, max: 2147483647, step: 1, value: seed * 7 + 3, required: true }));
    this.seeds = seeds;
    this.condition = conditionField(model);
    const frames = h("input", { type: "number", id: "frames", min: 3, max: 48, step: 1, value: 12, required: true });
    this.frames = frames;
    this.go = h("button", { class: "main" }, "Show the plane");
    const form = h("form", { "aria-label": "The plane" },
      h("fieldset", {}, h("legend", {}, "Three seeds"),
        h("div", { class: "field" }, ["A, top left", "B, to the right", "C, downwards"].map((told, i) => h("div", { style: "margin: 8px 0" }, h("label", { for: `corner-${i}`, class: "soft" }, told), seeds[i])))),
      this.condition.node,
      h("div", { class: "field" }, h("label", { for: "frames" }, "Pieces on the way"), frames),
      h("p", { class: "row" }, this.go),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.lay();
    });
    this.place = h("section", { "aria-label": "Plane" }, empty("Press Show the plane."));
    this.append(h("div", { class: "split" }, h("div", { class: "card" }, pickModel("map", models, can, model.id), form), this.place));
  }

  asked() {
    const condition = this.condition?.value() ?? null;
    return { model: this.model?.id ?? "", seeds: (this.seeds ?? []).map((s) => Number(s.value)), ...(condition === null ? {} : { condition }) };
  }

  async lay() {
    if (!this.place || !this.go || !this.model) return;
    this.go.disabled = true;
    this.place.setAttribute("aria-busy", "true");
    try {
      const asked = this.asked();
      const at = Array.from({ length: SIDE * SIDE }, (_, i) => [(i % SIDE) / (SIDE - 1), Math.floor(i / SIDE) / (SIDE - 1)]);
      const cells = await api.plane({ ...asked, at }, this.signal);
      const { seeds, ...rest } = asked;
      const way = await api.between({ ...rest, first: { seed: seeds[0] }, last: { seed: seeds[1] }, n: Number(this.frames?.value ?? 12) }, this.signal);
      this.planeAsked = asked;
      this.draw(cells, way);
      announce(`The plane of seeds ${asked.seeds.join(", ")} stands; move through it with the arrow keys.`);
    } catch (error) {
      if (!this.signal.aborted) this.place.replaceChildren(trouble(error));
    } finally {
      this.place.removeAttribute("aria-busy");
      this.go.disabled = false;
    }
  }

  /** @param {api.Piece[]} cells @param {api.Piece[]} way */
  draw(cells, way) {
    this.knob = h("div", { class: "knob" });
    const seeds = this.planeAsked?.seeds ?? [];
    const plane = h("div", { class: "plane", id: "plane", tabindex: 0, role: "application", "aria-roledescription": "plane to move through", "aria-label": "Plane of three seeds. Arrow keys move, with Shift in larger steps.", "aria-describedby": "where" },
      h("div", { class: "cells", style: `grid-template: repeat(${SIDE}, minmax(0, 1fr)) / repeat(${SIDE}, minmax(0, 1fr))`, "aria-hidden": "true" }, cells.map((c) => this.thumb(c, ""))),
      h("span", { class: "corner", style: "left: 8px; top: 8px" }, `A ${seeds[0]}`),
      h("span", { class: "corner", style: "right: 8px; top: 8px" }, `B ${seeds[1]}`),
      h("span", { class: "corner", style: "left: 8px; bottom: 8px" }, `C ${seeds[2]}`),
      this.knob,
    );
    const drag = (/** @type {PointerEvent} */ event) => {
      const box = plane.getBoundingClientRect();
      this.move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    plane.addEventListener("dragstart", (event) => event.preventDefault()); // the pictures are not what is dragged
    plane.addEventListener("pointerdown", (event) => {
      plane.setPointerCapture(event.pointerId);
      drag(event);
    });
    plane.addEventListener("pointermove", (event) => plane.hasPointerCapture(event.pointerId) && drag(event));
    plane.addEventListener("keydown", (event) => {
      const by = event.shiftKey ? 0.2 : 0.04;
      const step = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] })[event.key];
      if (!step) return;
      event.preventDefault();
      this.move(this.u + step[0], this.v + step[1]);
    });
    this.here = h("div", { class: "card", id: "here" });
    this.where = h("p", { class: "soft small", id: "where", "aria-live": "polite" });
    this.cells = cells;
    this.place?.replaceChildren(
      h("div", { class: "atlas" }, plane, h("div", {}, h("h2", { style: "margin-top: 0" }, "Here"), this.here, this.where)),
      h("h2", {}, "From A to B"),
      this.strip(way),
    );
    this.move(this.u, this.v);
  }

  /** A piece small. @param {api.Piece} piece @param {string} alt @returns {HTMLElement} */
  thumb(piece, alt) {
    if (kindOf(piece) === "picture") return picture(file(piece), alt, this.signal);
    return h("pre", {}, kindOf(piece) === "text" ? text(piece).slice(0, 160) : kindOf(piece));
  }

  /** @param {number} u @param {number} v */
  move(u, v) {
    this.u = Math.min(1, Math.max(0, u));
    this.v = Math.min(1, Math.max(0, v));
    if (this.knob) Object.assign(this.knob.style, { left: `${this.u * 100}%`, top: `${this.v * 100}%` });
    const near = this.cells?.[Math.round(this.v * (SIDE - 1)) * SIDE + Math.round(this.u * (SIDE - 1))];
    if (near && this.here && kindOf(near) === "picture") this.put(near); // at once, then the exact one
    clearTimeout(this.resting);
    this.resting = setTimeout(() => void this.exact(), 160);
  }

  /** @param {api.Piece} piece */
  put(piece) {
    const view = look(piece, this.signal);
    if (view instanceof HTMLImageElement) Object.assign(view.style, { width: "100%", maxHeight: "300px", objectFit: "contain", display: "block" });
    this.here?.replaceChildren(view);
  }

  async exact() {
    const [u, v] = [this.u, this.v];
    try {
      const [piece] = await api.plane({ ...this.planeAsked, at: [[u, v]] }, this.signal);
      if (u !== this.u || v !== this.v) return; // it has moved on
      this.put(piece);
      if (this.where) this.where.textContent = `${Math.round(100 * u)} % of the way to B, ${Math.round(100 * v)} % of the way to C`;
    } catch (error) {
      if (!this.signal.aborted) this.here?.replaceChildren(trouble(error));
    }
  }

  /** @param {api.Piece[]} way @returns {HTMLElement} */
  strip(way) {
    const pictures = way.length > 0 && kindOf(way[0]) === "picture";
    const large = h("div", { class: "card", id: "way-here", style: "max-width: 320px; margin-bottom: 12px" });
    const steps = way.map((piece, i) => h("button", { type: "button", "aria-label": `Step ${i + 1} of ${way.length}`, "aria-pressed": "false", onclick: () => put(i) }, this.thumb(piece, "")));
    let at = 0;
    /** @param {number} i */
    const put = (i) => {
      at = i;
      steps.forEach((b, k) => b.setAttribute("aria-pressed", String(k === i)));
      const view = look(way[i], this.signal);
      if (view instanceof HTMLImageElement) Object.assign(view.style, { width: "100%", display: "block" });
      large.replaceChildren(view);
    };
    /** @type {ReturnType<typeof setInterval> | undefined} */
    let clock;
    const play = h("button", { type: "button", "aria-pressed": "false" }, "Play");
    const stop = () => {
      clearInterval(clock);
      clock = undefined;
      play.textContent = "Play";
      play.setAttribute("aria-pressed", "false");
    };
    let by = 1;
    play.addEventListener("click", () => {
      if (clock) return stop();
      play.textContent = "Stop";
      play.setAttribute("aria-pressed", "true");
      clock = setInterval(() => {
        if (at + by < 0 || at + by >= way.length) by = -by;
        put(at + by);
      }, moves() ? 140 : 900);
    });
    this.signal.addEventListener("abort", stop);
    put(0);
    return h("div", {}, large, h("div", { class: "strip", role: "group", "aria-label": `The way from A to B, ${count(way.length, "piece")}` }, steps),
      h("p", { class: "row" }, pictures && play, pictures && h("button", { type: "button", onclick: () => void save(way, this.model?.id ?? "way") }, "Download as one picture"), !pictures && h("span", { class: "soft small" }, "Choose a step to see and hear it.")));
  }
}

/** All pictures in a row as one PNG. @param {api.Piece[]} way @param {string} name */
async function save(way, name) {
  const bitmaps = await Promise.all(way.map((p) => createImageBitmap(file(p))));
  const [width, height] = [bitmaps[0].width, bitmaps[0].height];
  const scale = Math.max(1, Math.floor(96 / width));
  const canvas = h("canvas", { width: width * scale * bitmaps.length, height: height * scale });
  const to = canvas.getContext("2d");
  if (!to) return;
  to.imageSmoothingEnabled = false;
  bitmaps.forEach((b, i) => to.drawImage(b, i * width * scale, 0, width * scale, height * scale));
  canvas.toBlob((blob) => blob && download(blob, `${name}-way.png`));
}
customElements.define("page-map", LatentMap);
