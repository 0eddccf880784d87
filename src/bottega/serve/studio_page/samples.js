// @ts-check
/** What stands in a run's folder to be looked at: sheets of pictures, words, rows. */
import * as api from "./api.js";
import { h } from "./dom.js";

/**
 * A picture from the server as an element; its address is given back when the page is left.
 * @param {Blob} blob
 * @param {string} alt
 * @param {AbortSignal} signal
 * @returns {HTMLImageElement}
 */
export function picture(blob, alt, signal) {
  const url = URL.createObjectURL(blob);
  signal.addEventListener("abort", () => URL.revokeObjectURL(url), { once: true });
  const img = h("img", { src: url, alt });
  img.addEventListener("load", () => img.classList.toggle("small", img.naturalWidth < 200));
  return img;
}

/** @param {string} text @param {number} [most] @returns {HTMLElement} the first rows of a CSV file */
export function csv(text, most = 12) {
  const rows = parse(text).slice(0, most + 1);
  const [head = [], ...body] = rows;
  return h(
    "div",
    { class: "wide", tabindex: 0, role: "region", "aria-label": "Rows" },
    h("table", {}, h("thead", {}, h("tr", {}, head.map((c) => h("th", { scope: "col" }, c)))), h("tbody", {}, body.map((r) => h("tr", {}, r.map((c) => h("td", {}, c)))))),
  );
}

/** Comma-separated values as RFC 4180 has them. @param {string} text @returns {string[][]} */
export function parse(text) {
  /** @type {string[][]} */
  const rows = [];
  let row = [""];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted && c === '"' && text[i + 1] === '"') (row[row.length - 1] += c), i++;
    else if (c === '"') quoted = !quoted;
    else if (!quoted && c === ",") row.push("");
    else if (!quoted && (c === "\n" || c === "\r")) {
      if (c === "\r" && text[i + 1] === "\n") i++;
      rows.push(row);
      row = [""];
    } else row[row.length - 1] += c;
  }
  if (row.length > 1 || row[0]) rows.push(row);
  return rows;
}

/**
 * Put a sample into a place, when it has come.
 * @param {HTMLElement} place
 * @param {api.Run} run
 * @param {api.Sample} one
 * @param {AbortSignal} signal
 * @param {string} [alt]
 */
export async function preview(place, run, one, signal, alt = `Samples of ${run.name}${run.about ? `: ${run.about}` : ""}`) {
  try {
    const blob = await api.sample(run.name, one.file, signal);
    if (one.file.endsWith(".txt")) place.append(h("pre", {}, (await blob.text()).slice(0, 4000)));
    else if (one.file.endsWith(".csv")) place.append(csv(await blob.text()));
    else place.append(picture(blob, alt, signal));
  } catch (error) {
    if (!signal.aborted) place.append(h("span", {}, error instanceof Error ? error.message : "cannot be shown"));
  }
}
