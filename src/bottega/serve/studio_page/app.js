// @ts-check
/** The frame: which page stands, the navigation, light and dark, the key. */
import * as api from "./api.js";
import { announce, h, Page, trouble } from "./dom.js";

/** @type {Record<string, {title: string, load: () => Promise<any>, needs: string}>} */
const PAGES = {
  "": { title: "Runs", load: () => import("./page-gallery.js"), needs: "look" },
  make: { title: "Make", load: () => import("./page-make.js"), needs: "make" },
  map: { title: "Map", load: () => import("./page-map.js"), needs: "make" },
  inpaint: { title: "Inpaint", load: () => import("./page-inpaint.js"), needs: "make" },
  chat: { title: "Chat", load: () => import("./page-chat.js"), needs: "talk" },
  training: { title: "Training", load: () => import("./page-training.js"), needs: "look" },
  review: { title: "Review", load: () => import("./page-review.js"), needs: "review" },
  run: { title: "", load: () => import("./page-run.js"), needs: "look" },
};

/** @type {api.Me | null} */
let who = null;
let opened = 0;

/** @returns {string[]} the page and its parameters */
function address() {
  const hash = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
  return hash.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

async function show() {
  const turn = ++opened;
  const [name, ...parts] = address();
  const page = PAGES[name] ?? null;
  const main = /** @type {HTMLElement} */ (document.getElementById("main"));
  navigation(name);
  /** @type {Page} */
  let node;
  try {
    node = page ? new (await page.load()).default() : new Page();
  } catch (error) {
    node = new Page();
    node.append(trouble(error));
  }
  if (turn !== opened) return;
  main.replaceChildren(node);
  main.setAttribute("aria-busy", "true");
  try {
    if (!page) node.head("No such page", "The address names a page that the studio does not have.");
    else if (who && !who.may.includes(page.needs)) {
      node.head(page.title, `A ${who.role} may not ${page.needs}; ask an admin for another role.`);
    } else await node.open(parts);
  } catch (error) {
    if (turn !== opened) return;
    if (!node.querySelector("h1")) node.head(page?.title || "Studio");
    node.append(trouble(error));
  }
  if (turn !== opened) return;
  main.removeAttribute("aria-busy");
  const heading = node.querySelector("h1");
  if (turn > 1 && heading instanceof HTMLElement) heading.focus({ preventScroll: true });
  if (turn > 1) scrollTo(0, 0);
  announce(document.title.split(" · ")[0]);
}

/** @param {string} current */
function navigation(current) {
  const list = /** @type {HTMLElement} */ (document.getElementById("nav"));
  const here = current === "run" ? "" : current;
  list.replaceChildren(
    ...Object.entries(PAGES)
      .filter(([, p]) => p.title && (!who || who.may.includes(p.needs)))
      .map(([name, p]) => h("li", {}, h("a", { href: `#/${name}`, "aria-current": name === here ? "page" : null }, p.title))),
  );
}

// Light and dark ------------------------------------------------------------------------------------------------------

const THEME = "bottega-theme";

function theme() {
  const chosen = localStorage.getItem(THEME);
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  const button = /** @type {HTMLElement} */ (document.getElementById("theme"));
  button.setAttribute("aria-pressed", String(dark));
  dispatchEvent(new CustomEvent("studio-theme"));
}

document.getElementById("theme")?.addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme === "dark";
  localStorage.setItem(THEME, dark ? "light" : "dark");
  theme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);

// The key -------------------------------------------------------------------------------------------------------------

const box = /** @type {HTMLDialogElement} */ (document.getElementById("key-box"));
const field = /** @type {HTMLInputElement} */ (document.getElementById("key-field"));

document.getElementById("key")?.addEventListener("click", () => {
  field.value = api.key();
  box.showModal();
});
document.getElementById("key-close")?.addEventListener("click", () => box.close());
document.getElementById("key-forget")?.addEventListener("click", () => {
  field.value = "";
  take();
});
document.getElementById("key-form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  take();
});

function take() {
  api.useKey(field.value.trim());
  box.close();
  void start();
}

async function start() {
  try {
    who = await api.me();
  } catch {
    who = null; // the page itself says why
  }
  await show();
}

document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault(); // the hash is the address
  document.getElementById("main")?.focus();
});
addEventListener("hashchange", () => void show());
theme();
void start();
