// @ts-check
/** Inpainting: paint over a part of a picture, with a pointer or the keyboard, and the model makes that part anew. */
import * as api from "./api.js";
import { announce, count, empty, h, Page, trouble } from "./dom.js";
import { chosen, makeForm, noModel, pickModel } from "./knobs.js";
import { gallery, label } from "./piece.js";

/** @param {api.Model} m */
const can = (m) => m.medium === "image" && m.capabilities.includes("edit");

export default class Inpaint extends Page {
  /** @param {string[]} parts */
  async open([name]) {
    const models = await api.models(this.signal);
    const model = chosen(models, can, name);
    this.head("Inpaint", "Paint over what should be made anew; the rest of the picture stays as it is.");
    if (!model) {
      this.append(noModel("make a part of a picture anew", name));
      return;
    }
    this.model = model;
    /** @type {api.Piece | null} */
    this.source = null;
    this.picture = h("canvas", { width: 8, height: 8, "aria-hidden": "true" });
    this.mask = h("canvas", { width: 8, height: 8 }); // white where it is made anew; never shown
    this.mask.getContext("2d", { willReadFrequently: true });
    this.veil = h("canvas", { width: 480, height: 480, tabindex: 0, role: "application", "aria-roledescription": "canvas to paint on", "aria-label": "Mask. Arrow keys move the brush, Space paints, Delete rubs out.", "aria-describedby": "painted" });
    this.brush = h("input", { type: "range", id: "brush", min: 2, max: 50, step: 1, value: 16 });
    this.painted = h("p", { class: "soft small", id: "painted", "aria-live": "polite" }, "Nothing is painted yet.");
    this.rub = h("button", { type: "button", "aria-pressed": "false", onclick: () => this.rub?.setAttribute("aria-pressed", String(this.rub.getAttribute("aria-pressed") !== "true")) }, "Rub out");
    this.at = { x: 0.5, y: 0.5, shown: false };
    const upload = h("input", { type: "file", id: "upload", accept: "image/*" });
    upload.addEventListener("change", () => upload.files?.[0] && void this.load(upload.files[0]));
    this.fields = makeForm(model, { n: 4, most: 16, button: "Make it anew", seed: 0 });
    this.fields.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.make();
    });
    this.results = h("section", { "aria-label": "Versions" });
    this.trouble = h("div");
    const seed = h("input", { type: "number", id: "source-seed", min: 0, max: 2147483647, step: 1, value: 0 });
    this.append(
      h("div", { class: "split" },
        h("div", { class: "card" }, pickModel("inpaint", models, can, model.id), this.fields.form),
        h("div", {},
          h("div", { class: "row field", style: "align-items: end" },
            h("div", { style: "flex: 1 1 110px" }, h("label", { for: "source-seed" }, "Picture of seed"), seed),
            h("button", { type: "button", id: "fetch-source", onclick: () => void this.take(Number(seed.value)) }, "Take it"),
            h("div", { style: "flex: 2 1 200px" }, h("label", { for: "upload" }, "or a file of yours"), upload)),
          this.trouble,
          h("div", { class: "easel" }, this.picture, this.veil),
          h("div", { class: "field", style: "max-width: 480px; margin-top: 12px" }, h("label", { for: "brush" }, "Brush"), this.brush),
          h("p", { class: "row" }, this.rub,
            h("button", { type: "button", onclick: () => this.half() }, "Lower half"),
            h("button", { type: "button", onclick: () => this.invert() }, "Turn round"),
            h("button", { type: "button", onclick: () => this.clear() }, "Clear")),
          this.painted,
          this.results)),
    );
    this.listen();
    await this.take(0);
  }

  /** A picture of the model's own. @param {number} seed */
  async take(seed) {
    try {
      const [piece] = await api.pieces({ model: this.model?.id, n: 1, seed }, this.signal);
      this.source = piece;
      await this.put(api.file(piece));
      this.trouble?.replaceChildren();
      this.veil?.setAttribute("data-source", label(piece));
    } catch (error) {
      if (!this.signal.aborted) this.trouble?.replaceChildren(trouble(error));
    }
  }

  /** A picture of the user's. @param {File} blob */
  async load(blob) {
    try {
      await this.put(blob);
      const bytes = new Uint8Array(await blob.arrayBuffer());
      let data = "";
      for (let i = 0; i < bytes.length; i += 8192) data += String.fromCharCode(...bytes.subarray(i, i + 8192));
      this.source = { seed: null, condition: null, media_type: blob.type || "image/png", encoding: "base64", data: btoa(data) };
      this.trouble?.replaceChildren();
    } catch {
      this.trouble?.replaceChildren(trouble("This file is no picture that the browser can read."));
    }
  }

  /** @param {Blob} blob */
  async put(blob) {
    if (!this.picture || !this.mask) return;
    const bitmap = await createImageBitmap(blob);
    for (const canvas of [this.picture, this.mask]) Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    this.picture.getContext("2d")?.drawImage(bitmap, 0, 0);
    const easel = this.picture.parentElement;
    if (easel) easel.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
    if (this.veil) this.veil.height = Math.round((480 * bitmap.height) / bitmap.width);
    this.clear();
  }

  listen() {
    const veil = /** @type {HTMLCanvasElement} */ (this.veil);
    /** @param {PointerEvent} event */
    const place = (event) => {
      const box = veil.getBoundingClientRect();
      Object.assign(this.at ?? {}, { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height, shown: true });
    };
    veil.addEventListener("pointerdown", (event) => {
      veil.setPointerCapture(event.pointerId);
      place(event);
      this.dab(event.button === 2 || this.rub?.getAttribute("aria-pressed") === "true");
    });
    veil.addEventListener("pointermove", (event) => {
      place(event);
      if (veil.hasPointerCapture(event.pointerId)) this.dab(this.rub?.getAttribute("aria-pressed") === "true");
      else this.redraw();
    });
    veil.addEventListener("pointerup", () => this.tell());
    veil.addEventListener("pointerleave", () => this.redraw());
    veil.addEventListener("focus", () => this.redraw());
    veil.addEventListener("blur", () => this.redraw());
    veil.addEventListener("keydown", (event) => {
      const by = event.shiftKey ? 0.15 : 0.04;
      const step = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] })[event.key];
      const at = this.at ?? { x: 0, y: 0, shown: true };
      if (step) Object.assign(at, { x: Math.min(1, Math.max(0, at.x + step[0])), y: Math.min(1, Math.max(0, at.y + step[1])), shown: true });
      else if (event.key === " " || event.key === "Enter") this.dab(this.rub?.getAttribute("aria-pressed") === "true");
      else if (event.key === "Delete" || event.key === "Backspace") this.dab(true);
      else return;
      event.preventDefault();
      this.redraw();
      this.tell();
    });
  }

  /** One touch of the brush. @param {boolean} away whether it rubs out */
  dab(away) {
    const to = this.mask?.getContext("2d");
    if (!to || !this.mask || !this.at || !this.brush) return;
    to.globalCompositeOperation = away ? "destination-out" : "source-over";
    to.fillStyle = "#fff";
    to.beginPath();
    const radius = Math.max(0.5, (Number(this.brush.value) / 100) * this.mask.width);
    to.arc(this.at.x * this.mask.width, this.at.y * this.mask.height, radius, 0, 2 * Math.PI);
    to.fill();
    this.redraw();
  }

  redraw() {
    const { veil, mask } = this;
    const to = veil?.getContext("2d");
    if (!to || !veil || !mask || !this.at || !this.brush) return;
    to.clearRect(0, 0, veil.width, veil.height);
    to.imageSmoothingEnabled = false;
    to.drawImage(mask, 0, 0, veil.width, veil.height);
    to.globalCompositeOperation = "source-in"; // stripes, so that the veil is not told by its colour alone
    const size = 14;
    const stripes = h("canvas", { width: size, height: size });
    const pen = stripes.getContext("2d");
    if (pen) {
      pen.fillStyle = "rgb(163 64 26 / .62)";
      pen.fillRect(0, 0, size, size);
      pen.strokeStyle = "rgb(255 255 255 / .75)";
      pen.lineWidth = 2.5;
      for (const [a, b] of [[-size, 0], [0, size], [0, 0]]) {
        pen.beginPath();
        pen.moveTo(a, size + b);
        pen.lineTo(a + size, b);
        pen.stroke();
      }
      to.fillStyle = to.createPattern(stripes, "repeat") ?? "#a3401a";
      to.fillRect(0, 0, veil.width, veil.height);
    }
    to.globalCompositeOperation = "source-over";
    if (!this.at.shown && document.activeElement !== veil) return;
    const radius = (Number(this.brush.value) / 100) * veil.width;
    for (const [width, ink] of /** @type {[number, string][]} */ ([[4, "#fff"], [2, "#221d17"]])) {
      to.lineWidth = width;
      to.strokeStyle = ink;
      to.beginPath();
      to.arc(this.at.x * veil.width, this.at.y * veil.height, radius, 0, 2 * Math.PI);
      to.stroke();
    }
  }

  /** @returns {number} the share of the picture that is painted */
  share() {
    const { mask } = this;
    const data = mask?.getContext("2d")?.getImageData(0, 0, mask.width, mask.height).data ?? new Uint8ClampedArray(4);
    let n = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i] > 127) n += 1;
    return n / (data.length / 4);
  }

  tell() {
    const share = this.share();
    if (this.painted) this.painted.textContent = share ? `${Math.max(1, Math.round(share * 100))} % of the picture is painted over.` : "Nothing is painted yet.";
  }

  clear() {
    this.mask?.getContext("2d")?.clearRect(0, 0, this.mask.width, this.mask.height);
    this.redraw();
    this.tell();
  }

  half() {
    const { mask } = this;
    const to = mask?.getContext("2d");
    if (!to || !mask) return;
    to.globalCompositeOperation = "source-over";
    to.fillStyle = "#fff";
    to.fillRect(0, Math.floor(mask.height / 2), mask.width, mask.height);
    this.redraw();
    this.tell();
  }

  invert() {
    const { mask } = this;
    const to = mask?.getContext("2d");
    if (!to || !mask) return;
    to.globalCompositeOperation = "source-out";
    to.fillStyle = "#fff";
    to.fillRect(0, 0, mask.width, mask.height);
    this.redraw();
    this.tell();
  }

  /** The mask as PNG: black, and transparent where it is painted, as the server reads one with alpha. @returns {string} base64 */
  png() {
    const mask = /** @type {HTMLCanvasElement} */ (this.mask);
    const out = h("canvas", { width: mask.width, height: mask.height });
    const to = out.getContext("2d");
    const from = mask.getContext("2d")?.getImageData(0, 0, mask.width, mask.height);
    if (to && from) {
      for (let i = 0; i < from.data.length; i += 4) from.data.set([0, 0, 0, from.data[i + 3] > 127 ? 0 : 255], i);
      to.putImageData(from, 0, 0);
    }
    return out.toDataURL("image/png").split(",")[1];
  }

  async make() {
    if (!this.source || !this.fields || !this.results) return;
    if (!this.share()) {
      this.results.replaceChildren(trouble("Nothing is painted, so nothing would change. Paint over a part of the picture first."));
      return;
    }
    this.fields.busy(true);
    this.results.setAttribute("aria-busy", "true");
    try {
      const { media_type, encoding, data, condition } = this.source;
      const asked = this.fields.value();
      const made = await api.edit({ ...(condition === null || condition === undefined ? {} : { condition }), ...asked, piece: { media_type, encoding, data }, mask: { media_type: "image/png", encoding: "base64", data: this.png() } }, this.signal);
      this.results.replaceChildren(h("h2", {}, count(made.length, "version")), gallery(made, { signal: this.signal, name: `${this.model?.id}-inpainted` }));
      announce(`${count(made.length, "version")} made`);
    } catch (error) {
      if (!this.signal.aborted) this.results.replaceChildren(trouble(error));
    } finally {
      this.results.removeAttribute("aria-busy");
      this.fields.busy(false);
    }
    if (!this.results.childElementCount) this.results.append(empty("Nothing came back."));
  }
}
customElements.define("page-inpaint", Inpaint);
