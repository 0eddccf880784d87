// @ts-check
/** What the page asks of its server: JSON, files and streams, with the key where there is one, and errors as words. */

/**
 * @typedef {{type?: string, default?: any, min?: number | null, max?: number | null, choices?: any[] | null}} Knob
 * @typedef {{id: string, medium: string, capabilities: string[], conditions: any[] | null, given?: string, knobs: Record<string, Knob>, context?: number | null, loaded?: boolean}} Model
 * @typedef {{seed: number | null, condition: any, media_type: string, encoding: "utf-8" | "base64", data: string, provenance?: Record<string, any>}} Piece
 * @typedef {{file: string, kind: string, step: number | null, changed: number}} Sample
 * @typedef {{name: string, title: string, told: string, interval: string, value: number, low: number | null, high: number | null, ceiling: number | null, better: string, n: number, judge: string, note: string}} Measure
 * @typedef {{name: string, state: string, wrong: string, failed: boolean, recipe: string, about: string, family: string, medium: string, data: string, step: number, steps: number, parameters: number, seconds: number | null, changed: number, judged: boolean, measures: Measure[], samples: Sample[], [more: string]: any}} Run
 * @typedef {{id: string, role: string, may: string[], here: boolean, bot: boolean, most: number}} Me
 */

const KEY = "bottega-key";

/** The key that this tab was given; empty where none was. @returns {string} */
export const key = () => sessionStorage.getItem(KEY) ?? "";

/** @param {string} value */
export function useKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

/** What a server answered that is no success, in its words. */
export class Refused extends Error {
  /** @param {number} status @param {string} message @param {number | null} after seconds to wait */
  constructor(status, message, after = null) {
    super(message);
    this.status = status;
    this.after = after;
  }
}

/** @param {Record<string, string>} [more] @returns {Record<string, string>} */
function headers(more = {}) {
  const known = key();
  return known ? { Authorization: `Bearer ${known}`, ...more } : more;
}

/**
 * @param {string} path
 * @param {{method?: string, body?: any, signal?: AbortSignal, accept?: string}} [how]
 * @returns {Promise<Response>}
 */
async function ask(path, { method = "GET", body, signal, accept = "application/json" } = {}) {
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(path, {
      method,
      signal: signal ?? null,
      headers: headers(body === undefined ? { Accept: accept } : { Accept: accept, "Content-Type": "application/json" }),
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused(0, "The server does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  const wait = Number(answer.headers.get("Retry-After"));
  throw new Refused(answer.status, await words(answer), wait || null);
}

/** @param {Response} answer @returns {Promise<string>} the message, whichever shape it came in */
async function words(answer) {
  const text = await answer.text();
  let said = text.slice(0, 400);
  try {
    const body = JSON.parse(text);
    const detail = body?.error?.message ?? body?.error ?? body?.detail;
    if (typeof detail === "string") said = detail;
    else if (Array.isArray(detail)) said = detail.map((d) => `${(d.loc ?? []).slice(1).join(".")}: ${d.msg}`).join("; ");
  } catch {
    // no JSON: the text itself
  }
  if (answer.status === 401) return `${said || "The server wants a key."} (Use the button Key at the top.)`;
  return said || `The server answered ${answer.status}.`;
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<any>} */
export const get = async (path, signal) => (await ask(path, { signal })).json();

/** @param {string} path @param {any} [body] @param {AbortSignal} [signal] @param {string} [method] @returns {Promise<any>} */
export async function post(path, body = {}, signal, method = "POST") {
  const answer = await ask(path, { method, body, signal });
  return answer.status === 204 ? null : answer.json();
}

/** A file as an address for this page (images cannot send a key). @param {string} path @param {AbortSignal} [signal] @returns {Promise<Blob>} */
export const blob = async (path, signal) => (await ask(path, { signal, accept: "*/*" })).blob();

/**
 * Server-sent events, one by one; `fetch` and not EventSource, which cannot send a key.
 * @param {string} path
 * @param {{body?: any, signal?: AbortSignal}} [how]
 * @returns {AsyncGenerator<{event: string, data: string, id: string}>}
 */
export async function* events(path, { body, signal } = {}) {
  const answer = await ask(path, { method: body === undefined ? "GET" : "POST", body, signal, accept: "text/event-stream" });
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    rest += (value ?? "").replaceAll("\r\n", "\n");
    const blocks = rest.split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const one = { event: "message", data: "", id: "" };
      for (const line of block.split("\n")) {
        const [, field, text] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (field === "event") one.event = text;
        else if (field === "id") one.id = text;
        else if (field === "data") one.data += (one.data ? "\n" : "") + text;
      }
      if (one.data || one.event !== "message") yield one;
    }
    if (done) return;
  }
}

// What the pages ask -------------------------------------------------------------------------------------------------

const at = encodeURIComponent;
const RUNS = "/studio/api/runs";

/** @returns {Promise<Me>} */
export const me = () => get("/studio/api/me");
/** @param {AbortSignal} [signal] @returns {Promise<Run[]>} */
export const runs = async (signal) => (await get(RUNS, signal)).runs;
/** @param {string} name @param {AbortSignal} [signal] @returns {Promise<Run>} */
export const run = (name, signal) => get(`${RUNS}/${at(name)}`, signal);
/** @param {string} name @param {string} file @param {AbortSignal} [signal] */
export const sample = (name, file, signal) => blob(`${RUNS}/${at(name)}/samples/${at(file)}`, signal);
/** @param {string} name @param {AbortSignal} [signal] @returns {Promise<Record<string, any[]>>} */
export const columns = async (name, signal) => (await get(`${RUNS}/${at(name)}/columns`, signal)).columns;
/** @param {string} name @param {number} after @param {AbortSignal} signal */
export const follow = (name, after, signal) => events(`${RUNS}/${at(name)}/events?after=${after}`, { signal });
/** @param {AbortSignal} [signal] */
export const recipes = async (signal) => (await get("/studio/api/recipes", signal)).recipes;
/** @param {Record<string, any>} what @returns {Promise<{name: string}>} */
export const begin = (what) => post("/studio/api/trainings", what);
/** @param {string} name */
export const stop = (name) => post(`${RUNS}/${at(name)}/stop`);
/** @param {string} name */
export const resume = (name) => post(`${RUNS}/${at(name)}/resume`);

/** @param {AbortSignal} [signal] @returns {Promise<Model[]>} */
export const models = async (signal) =>
  (await get("/v1/models", signal)).data.map((/** @type {any} */ m) => ({ medium: "", capabilities: [], conditions: null, knobs: {}, ...m })).filter((/** @type {Model} */ m) => m.medium); // what has none is damaged
let most = 0;
/** As many pieces as are wanted, in as many requests as the server's limit makes of it. @param {Record<string, any>} what @param {AbortSignal} [signal] @returns {Promise<Piece[]>} */
export async function pieces(what, signal) {
  most ||= (await me()).most;
  /** @type {Piece[]} */
  const out = [];
  while (out.length < what.n) out.push(...(await post("/v1/pieces", { ...what, seed: what.seed + out.length, n: Math.min(most, what.n - out.length) }, signal)).pieces);
  return out;
}
/** @param {Record<string, any>} what @param {AbortSignal} [signal] @returns {Promise<Piece[]>} */
export const edit = async (what, signal) => (await post("/v1/pieces/edit", what, signal)).pieces;
/** @param {Record<string, any>} what @param {AbortSignal} [signal] @returns {Promise<Piece[]>} */
export const between = async (what, signal) => (await post("/v1/pieces/between", what, signal)).pieces;
/** @param {Record<string, any>} what @param {AbortSignal} [signal] @returns {Promise<Piece[]>} */
export const plane = async (what, signal) => (await post("/studio/api/plane", what, signal)).pieces;

/** The bytes of a piece. @param {Piece} piece @returns {Uint8Array<ArrayBuffer>} */
export function bytes(piece) {
  if (piece.encoding !== "base64") return new TextEncoder().encode(piece.data);
  return Uint8Array.from(atob(piece.data), (c) => c.charCodeAt(0));
}

/** @param {Piece} piece @returns {string} */
export const text = (piece) => (piece.encoding === "base64" ? new TextDecoder().decode(bytes(piece)) : piece.data);

/** @param {Piece} piece @returns {Blob} */
export const file = (piece) => new Blob([bytes(piece)], { type: piece.media_type });
