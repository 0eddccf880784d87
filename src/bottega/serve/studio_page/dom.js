// @ts-check
/** Small helpers: elements, figures as the house writes them, and saying aloud what arrives. */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An element. Keys of `props` that begin with "on" are listeners, `class`, `text`, `html`-free; others are attributes
 * (true: present, false or null: absent).
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [props]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on") && typeof value === "function") node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, String(value));
  }
  node.append(...kids(children));
  return node;
}

/**
 * @param {(Child | Child[])[]} children
 * @returns {(Node | string)[]}
 */
function kids(children) {
  return /** @type {(Node | string)[]} */ (
    children.flat().filter((c) => c !== null && c !== undefined && c !== false).map((c) => (c instanceof Node ? c : String(c)))
  );
}

/**
 * An SVG element.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Child | Child[])} children
 * @returns {SVGElement}
 */
export function s(tag, props = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(props)) if (value !== null && value !== undefined) node.setAttribute(key, String(value));
  node.append(...kids(children));
  return node;
}

let ids = 0;
/** @param {string} stem @returns {string} an id that nothing else on the page has */
export const fresh = (stem) => `${stem}-${++ids}`;

/** Say something to those who listen to the page. @param {string} text */
export function announce(text) {
  const place = document.getElementById("announcer");
  if (!place) return;
  place.textContent = "";
  setTimeout(() => (place.textContent = text), 60); // a change of nothing is not read
}

/** @param {number | null | undefined} value @returns {string} four significant digits */
export function figure(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size !== 0 && size < 1e-3) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/** @param {number | null | undefined} seconds @returns {string} */
export function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 60) return `${Number(seconds.toPrecision(2))} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** @param {number | null | undefined} n @param {string} one @param {string} [many] @returns {string} */
export const count = (n, one, many = `${one}s`) => `${(n ?? 0).toLocaleString("en")} ${n === 1 ? one : many}`;

/** Whether things may move by themselves. @returns {boolean} */
export const moves = () => !matchMedia("(prefers-reduced-motion: reduce)").matches;

/**
 * An error, in words, where it happened.
 * @param {unknown} error
 * @returns {HTMLElement}
 */
export function trouble(error) {
  const text = error instanceof Error ? error.message : String(error);
  return h("p", { class: "trouble", role: "alert" }, h("b", {}, "That did not work. "), text);
}

/** @param {string} text @param {...Child} more @returns {HTMLElement} what is said where there is nothing yet */
export const empty = (text, ...more) => h("div", { class: "empty" }, h("p", {}, text), ...more);

/**
 * Offer bytes as a file.
 * @param {Blob} blob
 * @param {string} name
 */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** The value of a colour of the style sheet. @param {string} name @returns {string} */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A page: an element that is told its parameters when it stands, and whose signal ends what it began when it leaves. */
export class Page extends HTMLElement {
  constructor() {
    super();
    this.leaving = new AbortController();
  }
  /** Ends when the page is left. @returns {AbortSignal} */
  get signal() {
    return this.leaving.signal;
  }
  disconnectedCallback() {
    this.leaving.abort();
  }
  /**
   * The heading with what stands below it.
   * @param {string} title
   * @param {string} [lead]
   * @param {...Child} more
   */
  head(title, lead = "", ...more) {
    this.append(h("div", { class: "head" }, h("h1", { tabindex: -1 }, title), lead && h("p", { class: "lead" }, lead), ...more));
    document.title = `${title} · Studio · Bottega`;
  }
  /** Fill the page. @param {string[]} parts what the address says behind the page's name */
  async open(parts) {
    void parts;
  }
}
