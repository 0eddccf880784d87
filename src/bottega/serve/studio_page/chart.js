// @ts-check
/** Curves by the plotly.js that comes with the installed package; loaded when the first curve is drawn. */
import { colour, figure, h } from "./dom.js";

/** @type {Promise<any> | null} */
let loading = null;

/** @returns {Promise<any>} plotly */
export function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = h("script", { src: "/studio/vendor/plotly.min.js" });
    script.addEventListener("load", () => resolve(/** @type {any} */ (window).Plotly));
    script.addEventListener("error", () => {
      loading = null;
      reject(new Error("The curves need plotly on the server: pip install 'bottega[serve]'"));
    });
    document.head.append(script);
  });
  return loading;
}

/** One chart of a loss: training, and held out where there is such a line. */
export class Curve extends HTMLElement {
  constructor() {
    super();
    this.name = "";
    /** @type {Record<string, {x: number[], y: number[]}>} */
    this.lines = {};
    this.redraw = () => void this.draw();
  }

  connectedCallback() {
    addEventListener("studio-theme", this.redraw);
    if (this.plot) return;
    this.classList.add("card", "curve");
    this.plot = h("div", { class: "plot", role: "img", "aria-label": this.name });
    this.told = h("p", { class: "soft small" });
    this.append(h("h3", {}, this.name), this.plot, this.told);
    this.redraw();
  }

  disconnectedCallback() {
    removeEventListener("studio-theme", this.redraw);
    if (this.plot && /** @type {any} */ (window).Plotly) /** @type {any} */ (window).Plotly.purge(this.plot);
  }

  async draw() {
    const Plotly = await plotly();
    if (!this.isConnected || !this.plot) return;
    const [ink, line, soft] = [colour("--ink"), colour("--line"), colour("--soft")];
    const styles = /** @type {Record<string, any>} */ ({ training: { color: colour("--accent"), width: 2 }, "held out": { color: colour("--held"), width: 2.4, dash: "dash" } });
    const entries = Object.entries(this.lines);
    const all = entries.flatMap(([, l]) => l.y);
    const log = all.length > 4 && all.every((v) => v > 0) && Math.max(...all) > 100 * Math.min(...all);
    const told = entries.map(([name, l]) => `${name} from ${figure(l.y[0])} to ${figure(l.y.at(-1))}`).join(", ");
    this.plot.setAttribute("aria-label", `${this.name}: ${told}`);
    if (this.told) this.told.textContent = entries.map(([name, l]) => `${name}${name === "held out" ? " (dashed)" : ""} ${figure(l.y.at(-1))}`).join(" · ");
    await Plotly.react(
      this.plot,
      entries.map(([name, l]) => ({ x: l.x, y: l.y, name, mode: l.x.length < 3 ? "markers" : "lines", line: styles[name], marker: { color: styles[name]?.color }, hovertemplate: "step %{x}: %{y:.4g}<extra></extra>" })),
      {
        margin: { l: 48, r: 8, t: 6, b: 32 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, font: { color: soft, size: 11, family: "system-ui, sans-serif" },
        xaxis: { gridcolor: line, zeroline: false, nticks: 6, title: { text: "step", standoff: 4 } }, yaxis: { gridcolor: line, zeroline: false, nticks: 5, type: log ? "log" : "linear" }, hoverlabel: { bgcolor: colour("--card"), font: { color: ink } },
      },
      { displayModeBar: false, responsive: true, staticPlot: false },
    );
  }
}
customElements.define("loss-curve", Curve);

/** The curves of a log, a chart for each term, the monitor's own folded away. */
export class Curves extends HTMLElement {
  constructor() {
    super();
    /** @type {Map<string, Curve>} */
    this.charts = new Map();
    this.drawn = 0;
  }

  connectedCallback() {
    if (this.main) return;
    this.main = h("div", { class: "curves" });
    this.aside = h("div", { class: "curves" });
    this.more = h("details", { hidden: true }, h("summary", {}, "What the monitor watches"), this.aside);
    this.append(this.main, this.more);
  }

  /** @param {Record<string, any>[]} rows */
  add(rows) {
    const touched = new Set();
    for (const row of rows) {
      for (const [key, value] of Object.entries(row)) {
        if (key === "step" || key === "seconds" || typeof value !== "number") continue;
        const held = key.startsWith("held/");
        const name = held ? key.slice(5) : key;
        let chart = this.charts.get(name);
        if (!chart) {
          chart = new Curve();
          chart.name = name.replace("monitor/", "");
          this.charts.set(name, chart);
          const monitor = name.startsWith("monitor/");
          (monitor ? this.aside : this.main)?.append(chart);
          if (monitor && this.more) this.more.hidden = false;
        }
        const line = (chart.lines[held ? "held out" : "training"] ??= { x: [], y: [] });
        line.x.push(row.step);
        line.y.push(value);
        touched.add(chart);
      }
    }
    clearTimeout(this.waiting);
    const wait = Math.max(0, 800 - (performance.now() - this.drawn));
    this.waiting = setTimeout(() => {
      this.drawn = performance.now();
      for (const chart of this.charts.values()) chart.redraw();
    }, wait);
  }

  clear() {
    this.charts.clear();
    this.main?.replaceChildren();
    this.aside?.replaceChildren();
  }
}
customElements.define("loss-curves", Curves);
