// @ts-check
/** Music: reading a Standard MIDI File, a piano roll to look at, and playing it with oscillators. */
import { count, h, moves, s, span } from "./dom.js";

/** @typedef {{pitch: number, start: number, end: number, loud: number, channel: number, program: number}} Note times in seconds */

const NAMES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
/** @param {number} pitch @returns {string} */
export const pitchName = (pitch) => `${NAMES[pitch % 12]}${Math.floor(pitch / 12) - 1}`;
const GROUPS = ["Piano", "Chromatic percussion", "Organ", "Guitar", "Bass", "Strings", "Ensemble", "Brass", "Reed", "Pipe", "Synth lead", "Synth pad", "Effects", "World", "Percussive", "Sounds"];
/** @param {Note} note @returns {string} */
const part = (note) => (note.channel === 9 ? "Drums" : GROUPS[note.program >> 3]);

/**
 * The notes of a Standard MIDI File (MIDI 1.0, RP-001), formats 0 and 1, in seconds.
 * @param {Uint8Array} data
 * @returns {{notes: Note[], seconds: number, beat: number}}
 */
export function readMidi(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  /** @param {number} at */
  const tag = (at) => String.fromCharCode(...data.subarray(at, at + 4));
  if (data.length < 14 || tag(0) !== "MThd") throw new Error("This is no MIDI file.");
  const division = view.getUint16(12);
  if (division & 0x8000) throw new Error("This MIDI file counts frames of film, which cannot be shown here.");
  /** @type {{tick: number, tempo: number}[]} */
  const tempi = [{ tick: 0, tempo: 500_000 }];
  /** @type {{pitch: number, from: number, to: number, loud: number, channel: number, program: number}[]} */
  const found = [];
  let at = 8 + view.getUint32(4);
  while (at + 8 <= data.length) {
    const [kind, size] = [tag(at), view.getUint32(at + 4)];
    at += 8;
    const end = Math.min(at + size, data.length);
    if (kind === "MTrk") track(at, end);
    at = end;
  }

  /** @param {number} from @param {number} end */
  function track(from, end) {
    let [i, tick, status] = [from, 0, 0];
    const programs = new Array(16).fill(0);
    /** @type {Map<number, {tick: number, loud: number}[]>} */
    const open = new Map();
    const number = () => {
      let value = 0;
      for (let byte = 0x80; byte & 0x80 && i < end; ) value = (value << 7) | ((byte = data[i++]) & 0x7f);
      return value;
    };
    while (i < end) {
      tick += number();
      if (data[i] & 0x80) status = data[i++];
      if (status === 0xff) {
        const type = data[i++];
        const size = number();
        if (type === 0x51 && size === 3) tempi.push({ tick, tempo: (data[i] << 16) | (data[i + 1] << 8) | data[i + 2] });
        i += size;
        continue;
      }
      if (status >= 0xf0) {
        i += number();
        continue;
      }
      const [kind, channel] = [status >> 4, status & 15];
      const one = data[i++];
      const two = kind === 0xc || kind === 0xd ? 0 : data[i++];
      if (kind === 0xc) programs[channel] = one;
      const key = channel * 128 + one;
      if (kind === 9 && two > 0) open.set(key, [...(open.get(key) ?? []), { tick, loud: two / 127 }]);
      else if (kind === 8 || kind === 9) {
        const begun = open.get(key)?.shift();
        if (begun) found.push({ pitch: one, from: begun.tick, to: tick, loud: begun.loud, channel, program: programs[channel] });
      }
    }
  }

  tempi.sort((a, b) => a.tick - b.tick);
  /** @param {number} tick */
  const seconds = (tick) => {
    let [time, last, tempo] = [0, 0, 500_000];
    for (const change of tempi) {
      if (change.tick >= tick) break;
      time += ((change.tick - last) * tempo) / division / 1e6;
      [last, tempo] = [change.tick, change.tempo];
    }
    return time + ((tick - last) * tempo) / division / 1e6;
  };
  const notes = found.map(({ from, to, ...note }) => ({ ...note, start: seconds(from), end: Math.max(seconds(to), seconds(from) + 0.02) })).sort((a, b) => a.start - b.start || a.pitch - b.pitch);
  return { notes, seconds: notes.reduce((most, n) => Math.max(most, n.end), 0), beat: seconds(division) || 0.5 };
}

/** A piano roll that can be played: `notes` before it stands. */
export class PianoRoll extends HTMLElement {
  constructor() {
    super();
    /** @type {Note[]} */
    this.notes = [];
    this.seconds = 0;
    this.beat = 0.5;
    /** @type {AudioContext | null} */
    this.sound = null;
  }

  /** @param {Uint8Array} data */
  read(data) {
    Object.assign(this, readMidi(data));
    return this;
  }

  connectedCallback() {
    if (this.childElementCount) return;
    if (!this.notes.length) {
      this.append(h("p", { class: "soft" }, "A piece without a note."));
      return;
    }
    const parts = [...new Set(this.notes.map(part))];
    const pitches = this.notes.map((n) => n.pitch);
    const told = `${count(this.notes.length, "note")} from ${pitchName(Math.min(...pitches))} to ${pitchName(Math.max(...pitches))}, ${span(this.seconds)}, ${parts.join(", ").toLowerCase()}`;
    const play = h("button", { type: "button", "aria-pressed": "false" }, "Play");
    play.addEventListener("click", () => (this.sound ? this.stop() : this.play()));
    this.button = play;
    this.append(
      h("div", { class: "roll", tabindex: 0, role: "region", "aria-label": "Piano roll, scrolls sideways" }, this.draw(parts, told)),
      h("ul", { class: "legend" }, parts.map((name, i) => h("li", {}, h("i", { class: `note-${i % 4}` }), name))),
      h("p", { class: "row", style: "margin-top: 10px" }, play, h("span", { class: "soft small" }, told)),
      h("details", {}, h("summary", { class: "small" }, "The notes as a list"),
        h("div", { class: "wide", style: "max-height: 260px", tabindex: 0, role: "region", "aria-label": "Notes" },
          h("table", {}, h("thead", {}, h("tr", {}, ["note", "begins", "lasts", "part"].map((c) => h("th", { scope: "col" }, c)))),
            h("tbody", {}, this.notes.slice(0, 400).map((n) => h("tr", {}, h("td", {}, pitchName(n.pitch)), h("td", {}, `${n.start.toFixed(2)} s`), h("td", {}, `${(n.end - n.start).toFixed(2)} s`), h("td", {}, part(n)))))))),
    );
  }

  disconnectedCallback() {
    this.stop();
  }

  /** @param {string[]} parts @param {string} told */
  draw(parts, told) {
    const [low, high] = [Math.min(...this.notes.map((n) => n.pitch)) - 1, Math.max(...this.notes.map((n) => n.pitch)) + 1];
    const tall = Math.max(3.5, Math.min(9, 190 / (high - low + 1)));
    const wide = Math.max(this.clientWidth - 2, 240, this.seconds * 60);
    const [left, height] = [34, (high - low + 1) * tall + 18];
    /** @param {number} t */
    const x = (t) => left + (t / this.seconds) * (wide - left - 6);
    /** @param {number} pitch */
    const y = (pitch) => (high - pitch) * tall;
    const svg = s("svg", { width: wide, height, viewBox: `0 0 ${wide} ${height}`, role: "img", "aria-label": `Piano roll: ${told}` });
    for (let pitch = low; pitch <= high; pitch++) {
      if ([1, 3, 6, 8, 10].includes(pitch % 12)) svg.append(s("rect", { class: "black", x: left, y: y(pitch), width: wide - left, height: tall }));
      if (pitch % 12 === 0) svg.append(s("text", { x: 4, y: y(pitch) + tall }, pitchName(pitch)));
    }
    const every = this.beat * 4;
    for (let t = 0, bar = 1; t <= this.seconds; t += every, bar++) {
      svg.append(s("line", { class: "bar-line", x1: x(t), x2: x(t), y1: 0, y2: height - 16 }));
      if (bar % 2) svg.append(s("text", { x: x(t) + 2, y: height - 4 }, String(bar)));
    }
    for (const note of this.notes) {
      svg.append(s("rect", { class: `note-${parts.indexOf(part(note)) % 4}`, x: x(note.start), y: y(note.pitch), width: Math.max(2, x(note.end) - x(note.start)), height: tall, rx: 1.5 }));
    }
    this.head = s("line", { class: "head", x1: left, x2: left, y1: 0, y2: height - 16, visibility: "hidden" });
    svg.append(this.head);
    this.x = x;
    return svg;
  }

  play() {
    const sound = new AudioContext();
    this.sound = sound;
    const all = sound.createDynamicsCompressor();
    all.connect(sound.destination);
    const now = sound.currentTime + 0.08;
    for (const note of this.notes) tone(sound, all, note, now);
    this.button?.setAttribute("aria-pressed", "true");
    if (this.button) this.button.textContent = "Stop";
    this.head?.setAttribute("visibility", "visible");
    const step = () => {
      if (this.sound !== sound) return;
      const t = sound.currentTime - now;
      if (t > this.seconds + 0.3) return this.stop();
      const at = String(this.x?.(Math.min(this.seconds, Math.max(0, moves() ? t : Math.floor(t)))));
      this.head?.setAttribute("x1", at);
      this.head?.setAttribute("x2", at);
      requestAnimationFrame(step);
    };
    step();
  }

  stop() {
    void this.sound?.close();
    this.sound = null;
    this.button?.setAttribute("aria-pressed", "false");
    if (this.button) this.button.textContent = "Play";
    this.head?.setAttribute("visibility", "hidden");
  }
}

/**
 * One note: a triangle with a soft edge; drums are bursts of noise.
 * @param {AudioContext} sound
 * @param {AudioNode} to
 * @param {Note} note
 * @param {number} zero
 */
function tone(sound, to, note, zero) {
  const [from, end] = [zero + note.start, zero + note.end];
  const loud = sound.createGain();
  const peak = 0.05 + 0.15 * note.loud;
  loud.gain.setValueAtTime(0, from);
  loud.gain.linearRampToValueAtTime(peak, from + 0.012);
  loud.gain.exponentialRampToValueAtTime(peak * 0.5, Math.max(from + 0.02, end - 0.02));
  loud.gain.linearRampToValueAtTime(0, end + 0.06);
  loud.connect(to);
  if (note.channel === 9) {
    const noise = sound.createBuffer(1, Math.round(sound.sampleRate * 0.12), sound.sampleRate);
    const wave = noise.getChannelData(0);
    for (let i = 0; i < wave.length; i++) wave[i] = (Math.random() * 2 - 1) * Math.exp(-i / (wave.length / 6));
    const source = sound.createBufferSource();
    source.buffer = noise;
    source.connect(loud);
    source.start(from);
    return;
  }
  const source = sound.createOscillator();
  source.type = note.program >= 32 && note.program < 40 ? "sine" : "triangle";
  source.frequency.value = 440 * 2 ** ((note.pitch - 69) / 12);
  source.connect(loud);
  source.start(from);
  source.stop(end + 0.08);
}
customElements.define("piano-roll", PianoRoll);
