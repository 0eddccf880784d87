// @ts-check
/** Sound: its wave, its spectrum over time, and the browser's own player. */
import { colour, h, span, trouble } from "./dom.js";

const FRAME = 512;

/**
 * Magnitudes of the discrete Fourier transform, in place (Cooley and Tukey 1965, radix 2).
 * @param {Float64Array} re
 * @param {Float64Array} im
 */
export function fft(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j], im[i], im[j]] = [re[j], re[i], im[j], im[i]];
  }
  for (let size = 2; size <= n; size <<= 1) {
    const [cos, sin] = [Math.cos((-2 * Math.PI) / size), Math.sin((-2 * Math.PI) / size)];
    for (let at = 0; at < n; at += size) {
      let [wr, wi] = [1, 0];
      for (let k = 0; k < size / 2; k++) {
        const [a, b] = [at + k, at + k + size / 2];
        const [tr, ti] = [re[b] * wr - im[b] * wi, re[b] * wi + im[b] * wr];
        [re[b], im[b], re[a], im[a]] = [re[a] - tr, im[a] - ti, re[a] + tr, im[a] + ti];
        [wr, wi] = [wr * cos - wi * sin, wr * sin + wi * cos];
      }
    }
  }
}

/** Samples a second that a WAV file says, where a browser can have them; else 44,100. @param {ArrayBuffer} data @returns {number} */
function rateOf(data) {
  const rate = data.byteLength > 28 && new DataView(data).getUint32(0) === 0x52494646 ? new DataView(data).getUint32(24, true) : 0; // "RIFF"
  return rate >= 8000 && rate <= 96_000 ? rate : 44_100;
}

/** @param {string} hex @returns {[number, number, number]} */
function rgb(hex) {
  const n = Number.parseInt(hex.slice(1), 16);
  return [n >> 16, (n >> 8) & 255, n & 255];
}

/** A sound: `blob` before it stands. */
export class SoundView extends HTMLElement {
  constructor() {
    super();
    /** @type {Blob | null} */
    this.blob = null;
    this.url = "";
    this.redraw = () => this.draw();
    /** @type {AudioBuffer | null} */
    this.wave = null;
  }

  async connectedCallback() {
    addEventListener("studio-theme", this.redraw);
    if (this.childElementCount || !this.blob) return;
    this.classList.add("waves");
    this.url = URL.createObjectURL(this.blob);
    this.shape = h("canvas", { width: 900, height: 120, role: "img", "aria-label": "Wave" });
    this.spectrum = h("canvas", { class: "spectrum", width: 450, height: 128, role: "img", "aria-label": "Spectrogram" });
    this.told = h("p", { class: "soft small" });
    this.append(this.shape, this.spectrum, h("audio", { controls: true, src: this.url, preload: "metadata", "aria-label": "Play this sound" }), this.told);
    try {
      const data = await this.blob.arrayBuffer();
      const sound = new OfflineAudioContext(1, 1, rateOf(data)); // another rate would resample it
      this.wave = await sound.decodeAudioData(data);
      this.draw();
    } catch {
      this.append(trouble("The browser cannot read this sound; download it instead."));
    }
  }

  disconnectedCallback() {
    removeEventListener("studio-theme", this.redraw);
    URL.revokeObjectURL(this.url);
  }

  draw() {
    const [shape, spectrum, wave] = [this.shape?.getContext("2d"), this.spectrum?.getContext("2d"), this.wave];
    if (!shape || !spectrum || !wave) return;
    const x = wave.getChannelData(0);
    let peak = 1e-9;
    for (const v of x) peak = Math.max(peak, Math.abs(v));
    const told = `${span(wave.duration)}, ${wave.numberOfChannels === 1 ? "mono" : `${wave.numberOfChannels} channels`}, peak ${(20 * Math.log10(peak)).toFixed(1)} dB`;
    if (this.told) this.told.textContent = told;
    this.shape?.setAttribute("aria-label", `Wave: ${told}`);
    this.spectrum?.setAttribute("aria-label", `Spectrogram from 0 to ${Math.round(wave.sampleRate / 2000)} kHz: ${told}`);
    const { width, height } = shape.canvas;
    shape.clearRect(0, 0, width, height);
    shape.fillStyle = colour("--accent");
    for (let i = 0; i < width; i++) {
      let [low, high] = [0, 0];
      for (let k = Math.floor((i * x.length) / width); k < ((i + 1) * x.length) / width; k++) [low, high] = [Math.min(low, x[k] ?? 0), Math.max(high, x[k] ?? 0)];
      shape.fillRect(i, height / 2 - (high * height) / 2, 1, Math.max(1, ((high - low) * height) / 2));
    }
    this.paint(spectrum, x);
  }

  /** @param {CanvasRenderingContext2D} to @param {Float32Array} x */
  paint(to, x) {
    const { width, height } = to.canvas;
    const image = to.createImageData(width, height);
    const [dark, bright] = [rgb(colour("--sunk")), rgb(colour("--accent"))];
    const window_ = Float64Array.from({ length: FRAME }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FRAME));
    for (let i = 0; i < width; i++) {
      const from = Math.floor((i * Math.max(0, x.length - FRAME)) / width);
      const re = Float64Array.from({ length: FRAME }, (_, k) => (x[from + k] ?? 0) * window_[k]);
      const im = new Float64Array(FRAME);
      fft(re, im);
      for (let j = 0; j < height; j++) {
        const bin = Math.floor(((height - 1 - j) / height) * (FRAME / 2));
        const level = 20 * Math.log10(Math.hypot(re[bin], im[bin]) / (FRAME / 4) + 1e-6);
        const share = Math.min(1, Math.max(0, (level + 80) / 80)); // from -80 dB to full scale
        const at = 4 * (j * width + i);
        for (let c = 0; c < 3; c++) image.data[at + c] = dark[c] + share * (bright[c] - dark[c]);
        image.data[at + 3] = 255;
      }
    }
    to.putImageData(image, 0, 0);
  }
}
customElements.define("sound-view", SoundView);
