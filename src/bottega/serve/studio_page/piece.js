// @ts-check
/** Pieces, each shown as what it is: picture, words, music, sound, rows, points. */
import * as api from "./api.js";
import { dots, histograms, rowsTable } from "./columns.js";
import { download, h } from "./dom.js";
import { toldCondition } from "./knobs.js";
import { PianoRoll } from "./music.js";
import { parse, picture } from "./samples.js";
import { SoundView } from "./sound.js";

/** @typedef {{signal: AbortSignal, again?: (piece: api.Piece) => void, againSaid?: string, name?: string, real?: Record<string, any[]>}} Frame */

const ENDINGS = /** @type {Record<string, string>} */ ({
  "image/png": "png", "image/gif": "gif", "image/jpeg": "jpg", "image/svg+xml": "svg", "image/webp": "webp", "audio/wav": "wav", "audio/x-wav": "wav", "audio/flac": "flac", "audio/midi": "mid", "audio/mid": "mid", "audio/x-midi": "mid",
  "text/csv": "csv", "application/json": "json", "text/plain": "txt", "application/vnd.recordare.musicxml+xml": "musicxml",
});

/** @param {api.Piece} piece @returns {string} its kind: picture, music, sound, rows, points or text */
export function kindOf(piece) {
  const type = piece.media_type.split(";")[0].trim();
  if (/midi?$/.test(type)) return "music";
  if (type.startsWith("image/")) return "picture";
  if (type.startsWith("audio/")) return "sound";
  if (type === "text/csv") return "rows";
  if (type === "application/json") {
    const value = JSON.parse(api.text(piece));
    if (Array.isArray(value) && value.length && value.every((v) => typeof v === "number")) return "points";
    if (value && typeof value === "object" && !Array.isArray(value) && Object.values(value).every((v) => v === null || typeof v !== "object")) return "rows";
    if (Array.isArray(value) && value.length && value.every((v) => v && typeof v === "object" && !Array.isArray(v))) return "rows";
  }
  return "text";
}

/** @param {string} cell @returns {any} */
const number = (cell) => (cell !== "" && Number.isFinite(Number(cell)) ? Number(cell) : cell === "" ? null : cell);

/** Rows that a piece holds. @param {api.Piece} piece @returns {Record<string, any>[]} */
export function rowsOf(piece) {
  if (piece.media_type.startsWith("text/csv")) {
    const [head = [], ...body] = parse(api.text(piece));
    return body.map((row) => Object.fromEntries(head.map((name, i) => [name, number(row[i] ?? "")])));
  }
  const value = JSON.parse(api.text(piece));
  return Array.isArray(value) ? value : [value];
}

/** @param {api.Piece} piece @returns {string} */
export const label = (piece) => [piece.seed === null || piece.seed === undefined ? "" : `seed ${piece.seed}`, toldCondition(piece.condition).slice(0, 60)].filter(Boolean).join(" · ");

/** @param {api.Piece} piece @param {string} name @returns {string} */
const fileName = (piece, name) => `${name}-${piece.seed ?? "piece"}.${ENDINGS[piece.media_type.split(";")[0].trim()] ?? "txt"}`;

/**
 * The look of a piece alone.
 * @param {api.Piece} piece
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function look(piece, signal) {
  const kind = kindOf(piece);
  if (kind === "picture") return picture(api.file(piece), label(piece) || "a made picture", signal);
  if (kind === "music") return new PianoRoll().read(api.bytes(piece));
  if (kind === "sound") {
    const view = new SoundView();
    view.blob = api.file(piece);
    return view;
  }
  if (kind === "rows") return rowsTable(rowsOf(piece));
  const text = api.text(piece);
  return h(kind === "text" && text.includes("\n") && /^[^a-z]{12,}/m.test(text) ? "pre" : "div", { class: "text" }, text || "(an empty text)");
}

/**
 * All pieces of one making.
 * @param {api.Piece[]} pieces
 * @param {Frame} frame
 * @returns {HTMLElement}
 */
export function gallery(pieces, frame) {
  const kind = pieces.length ? kindOf(pieces[0]) : "text";
  const name = frame.name ?? "piece";
  if (kind === "points") {
    const points = pieces.map((p) => JSON.parse(api.text(p)));
    return h("div", {}, points[0].length <= 2 ? dots(points) : rowsTable(points.map((p) => Object.fromEntries(p.map((/** @type {number} */ v, /** @type {number} */ i) => [`x${i + 1}`, v])))), all(pieces, name));
  }
  if (kind === "rows") {
    const rows = pieces.flatMap(rowsOf);
    return h("div", {}, rowsTable(rows), histograms(rows, frame.real ?? {}), all(pieces, name));
  }
  const broad = kind !== "picture";
  return h("div", { class: broad ? "pieces broad" : "pieces" }, pieces.map((piece, i) => one(piece, i, pieces, frame, kind)));
}

/** @param {api.Piece[]} pieces @param {string} name */
function all(pieces, name) {
  return h("p", { class: "row", style: "margin-top: 16px" }, h("button", { type: "button", onclick: () => download(new Blob([JSON.stringify(pieces, null, 1)], { type: "application/json" }), `${name}.json`) }, "Download with their marks"));
}

/**
 * @param {api.Piece} piece
 * @param {number} i
 * @param {api.Piece[]} pieces
 * @param {Frame} frame
 * @param {string} kind
 */
function one(piece, i, pieces, frame, kind) {
  const view = look(piece, frame.signal);
  const name = frame.name ?? "piece";
  const told = label(piece);
  const save = h("button", { type: "button", class: "quiet", "aria-label": `Download ${told || "this piece"}`, onclick: () => download(api.file(piece), fileName(piece, name)) }, kind === "picture" ? "↓" : "Download");
  const again = frame.again && h("button", { type: "button", class: "quiet", "aria-label": `${frame.againSaid ?? "Continue"}: ${told}`, onclick: () => frame.again?.(piece) }, frame.againSaid ?? "Continue");
  const body = kind === "picture"
    ? h("button", { type: "button", class: "look", "aria-label": `Enlarge ${told || "this picture"}`, onclick: () => zoom(pieces, i, frame) }, view)
    : h("div", { class: kind === "text" ? "" : "inside" }, view);
  return h("article", { class: "piece", "aria-label": told || "piece" }, body, h("footer", {}, h("span", {}, told), again, save));
}

/**
 * One picture large, with what made it; arrow keys go to the next.
 * @param {api.Piece[]} pieces
 * @param {number} at
 * @param {Frame} frame
 */
function zoom(pieces, at, frame) {
  const place = h("div");
  const box = h("dialog", { class: "zoom", "aria-label": "A piece, enlarged" }, place);
  const show = () => {
    const piece = pieces[at];
    const mark = piece.provenance ?? {};
    const rows = Object.entries(mark).filter(([, v]) => v !== null && v !== "" && typeof v !== "object");
    place.replaceChildren(
      look(piece, frame.signal),
      h("h2", { style: "margin: 14px 0 0; font-size: 1.1rem" }, label(piece) || "A piece"),
      rows.length > 0 && h("dl", { class: "mono" }, rows.flatMap(([k, v]) => [h("dt", {}, k.replaceAll("_", " ")), h("dd", {}, String(v))])) || "",
      h("p", { class: "row" },
        h("button", { type: "button", disabled: at === 0, onclick: () => go(-1) }, "Previous"),
        h("button", { type: "button", disabled: at === pieces.length - 1, onclick: () => go(1) }, "Next"),
        h("button", { type: "button", onclick: () => download(api.file(piece), fileName(piece, frame.name ?? "piece")) }, "Download"),
        frame.again && h("button", { type: "button", onclick: () => (box.close(), frame.again?.(piece)) }, frame.againSaid ?? "Continue"),
        h("button", { type: "button", onclick: () => box.close() }, "Close"),
      ),
    );
  };
  /** @param {number} by */
  const go = (by) => {
    const to = at + by;
    if (to < 0 || to >= pieces.length) return;
    at = to;
    show();
    /** @type {HTMLElement | null} */ (place.querySelector(`button:nth-of-type(${by < 0 ? 1 : 2}):not(:disabled)`) ?? place.querySelector("button:not(:disabled)"))?.focus();
  };
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  });
  box.addEventListener("close", () => box.remove());
  frame.signal.addEventListener("abort", () => box.remove(), { once: true });
  show();
  document.body.append(box);
  box.showModal();
}
