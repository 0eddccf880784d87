// @ts-check
/** Rows of a table, and each column's made values beside the real ones. */
import { figure, h, s } from "./dom.js";

const BINS = 20;
const FEW = 12;

/**
 * @param {Record<string, any>[]} rows
 * @param {number} [most]
 * @returns {HTMLElement}
 */
export function rowsTable(rows, most = 50) {
  const names = Object.keys(rows[0] ?? {});
  return h(
    "div",
    { class: "wide", style: "max-height: 420px", tabindex: 0, role: "region", "aria-label": "Made rows" },
    h("table", {}, h("thead", {}, h("tr", {}, names.map((c) => h("th", { scope: "col", class: typeof rows[0][c] === "number" ? "n" : null }, c)))),
      h("tbody", {}, rows.slice(0, most).map((row) => h("tr", {}, names.map((c) => h("td", { class: typeof row[c] === "number" ? "n" : null }, typeof row[c] === "number" ? figure(row[c]) : String(row[c] ?? "")))))))
  );
}

/** @param {any[]} values @returns {boolean} */
const numeric = (values) => values.every((v) => v === null || v === undefined || typeof v === "number") && values.some((v) => typeof v === "number");

/**
 * Shares of the same bins of two columns.
 * @param {any[]} made
 * @param {any[]} real
 * @returns {{labels: string[], made: number[], real: number[], continuous: boolean}}
 */
export function shares(made, real) {
  const all = [...made, ...real];
  const known = new Set(all.filter((v) => v !== null && v !== undefined).map(String));
  if (numeric(all) && known.size > FEW) {
    const numbers = all.filter((v) => typeof v === "number");
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    /** @param {any[]} values */
    const bins = (values) => {
      const out = new Array(BINS).fill(0);
      const there = values.filter((v) => typeof v === "number");
      for (const v of there) out[Math.min(BINS - 1, Math.floor(((v - low) / (high - low)) * BINS))] += 1 / there.length;
      return out;
    };
    return { labels: Array.from({ length: BINS }, (_, i) => figure(low + ((high - low) * i) / BINS)).concat(figure(high)), made: bins(made), real: bins(real), continuous: true };
  }
  /** @param {any[]} values @param {string} name */
  const share = (values, name) => values.filter((v) => String(v ?? "(empty)") === name).length / Math.max(1, values.length);
  const names = [...new Set(all.map((v) => String(v ?? "(empty)")))];
  names.sort(numeric(all) ? (a, b) => Number(a) - Number(b) : (a, b) => share(real.length ? real : made, b) - share(real.length ? real : made, a));
  const labels = names.slice(0, FEW);
  return { labels, made: labels.map((n) => share(made, n)), real: labels.map((n) => share(real, n)), continuous: false };
}

/**
 * Half the sum of the differences of two lists of shares: 0 where they agree, 1 where they have nothing in common.
 * @param {number[]} a
 * @param {number[]} b
 */
export const apart = (a, b) => a.reduce((sum, v, i) => sum + Math.abs(v - b[i]), 0) / 2;

/**
 * A small chart of each column.
 * @param {Record<string, any>[]} rows
 * @param {Record<string, any[]>} real
 * @returns {HTMLElement}
 */
export function histograms(rows, real) {
  const known = Object.keys(real).length > 0;
  const charts = Object.keys(rows[0] ?? {}).map((name) => {
    const got = shares(rows.map((r) => r[name]), real[name] ?? []);
    const [width, height, top] = [220, 104, Math.max(...got.made, ...got.real, 1e-9)];
    const n = got.made.length;
    const step = width / n;
    /** @param {number} v */
    const y = (v) => 84 - (v / top) * 78;
    const told = `${name}: ${known ? `made and real values differ by ${(100 * apart(got.made, got.real)).toFixed(0)} %` : `${n} ${got.continuous ? "bins" : "values"}`}`;
    const gap = got.continuous ? 0 : step * 0.15;
    const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told },
      got.real.map((v, i) => s("rect", { class: "real", x: i * step + gap, y: y(v), width: step - 2 * gap, height: 84 - y(v) })),
      got.continuous
        ? s("path", { class: "made", d: `M0 84 ${got.made.map((v, i) => `L${i * step} ${y(v)} L${(i + 1) * step} ${y(v)}`).join(" ")} L${width} 84` })
        : got.made.map((v, i) => s("rect", { class: "made", x: i * step + gap, y: y(v), width: step - 2 * gap, height: Math.max(0.01, 84 - y(v)) })),
      s("text", { x: 0, y: 98 }, got.labels[0].slice(0, 16)),
      n > 1 && s("text", { x: width, y: 98, "text-anchor": "end" }, (got.labels.at(-1) ?? "").slice(0, 16)),
    );
    return h("figure", { class: "card" }, h("h3", {}, name), svg, h("p", { class: "soft small" }, known ? `${(100 * apart(got.made, got.real)).toFixed(0)} % apart` : ""));
  });
  return h(
    "div",
    {},
    h("ul", { class: "legend" }, known && h("li", {}, h("i", { class: "key-real" }), "real, held out (filled)"), h("li", {}, h("i", { class: "key-made" }), "made (outline)")),
    h("div", { class: "columns" }, charts),
  );
}

/**
 * Points of the plane.
 * @param {number[][]} points
 * @returns {HTMLElement}
 */
export function dots(points) {
  const [x, y] = [points.map((p) => p[0]), points.map((p) => p[1] ?? 0)];
  const [left, right, low, high] = [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
  /** @param {number} v @param {number} a @param {number} b */
  const at = (v, a, b) => 14 + (b > a ? (372 * (v - a)) / (b - a) : 186);
  return h("div", { class: "dots card" },
    s("svg", { viewBox: "0 0 400 400", role: "img", style: "max-width: 520px; width: 100%", "aria-label": `${points.length} points, the first coordinate from ${figure(left)} to ${figure(right)}, the second from ${figure(low)} to ${figure(high)}` },
      points.map((p) => s("circle", { cx: at(p[0], left, right), cy: 400 - at(p[1] ?? 0, low, high), r: 3.2, fill: "var(--accent)", "fill-opacity": 0.7 }))));
}
