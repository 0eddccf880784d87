// What a page must have so that everybody can use it: the main rules of WCAG 2.2 that a program can see.
// Returns a list of sentences, one for each fault; an empty list is good. Contrast is computed as WCAG 2.2 defines it.
() => {
  const faults = [];
  const say = (rule, node, why = "") => {
    const text = (node.textContent || "").trim().replace(/\s+/g, " ").slice(0, 40);
    faults.push(`${rule}: <${node.tagName.toLowerCase()}${node.id ? ` id=${node.id}` : ""}${node.className && typeof node.className === "string" ? ` class="${node.className}"` : ""}> ${text} ${why}`.trim());
  };
  const shown = (node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !node.closest("[aria-hidden=true], .unseen, .skip");
  const all = (query) => [...document.querySelectorAll(query)];

  // Names -------------------------------------------------------------------------------------------------------------
  const told = (node) => {
    if (node.nodeType === 3) return node.data;
    if (node.nodeType !== 1 || node.getAttribute("aria-hidden") === "true" || !(node.checkVisibility() || node.closest("option"))) return "";
    if (node.getAttribute("aria-label")) return node.getAttribute("aria-label");
    if (node.tagName === "IMG") return node.alt;
    return [...node.childNodes].map(told).join(" ");
  };
  const nameOf = (node) => {
    const by = (node.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean).map((id) => document.getElementById(id)?.textContent || "").join(" ");
    if (by.trim()) return by;
    if (node.getAttribute("aria-label")) return node.getAttribute("aria-label");
    if (node.labels?.length) return [...node.labels].map((l) => l.textContent).join(" ");
    if (node.tagName === "IMG") return node.alt;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(node.tagName)) return node.title || "";
    return told(node) || node.title || "";
  };
  const controls = "button, a[href], input, select, textarea, summary, audio[controls], [role=button], [role=application], [role=region], [tabindex='0']";
  for (const node of all(controls)) if (shown(node) && !nameOf(node).trim()) say("a control has a name", node);
  for (const node of all("img")) if (!node.hasAttribute("alt")) say("a picture has an alternative", node);
  for (const node of all("[role=img], dialog[open], [role=dialog]")) if (shown(node) && !nameOf(node).trim()) say("a picture or dialog has a name", node);

  // Structure ---------------------------------------------------------------------------------------------------------
  if (!document.documentElement.lang) faults.push("the page says its language");
  if (!document.title.trim()) faults.push("the page has a title");
  if (all("main").length !== 1) faults.push(`the page has one main landmark: ${all("main").length}`);
  for (const [query, name] of [["body > header", "banner"], ["nav[aria-label]", "named navigation"], ["body > footer", "footer"]]) if (!document.querySelector(query)) faults.push(`the page has a ${name}`);
  const headings = all("h1, h2, h3, h4, h5, h6").filter((n) => shown(n) && !n.closest("dialog"));
  if (headings.filter((n) => n.tagName === "H1").length !== 1) faults.push(`the page has one first heading: ${headings.filter((n) => n.tagName === "H1").length}`);
  let before = 0;
  for (const node of headings) {
    const level = Number(node.tagName[1]);
    if (level > before + 1) say("headings go down by one", node, `after level ${before}`);
    before = level;
  }
  const ids = all("[id]").map((n) => n.id);
  for (const id of new Set(ids.filter((one, i) => ids.indexOf(one) !== i))) faults.push(`ids are there once: ${id}`);
  for (const attribute of ["aria-labelledby", "aria-describedby", "aria-controls", "for"])
    for (const node of all(`[${attribute}]`)) for (const id of node.getAttribute(attribute).split(/\s+/)) if (!document.getElementById(id)) say("what is referred to is there", node, `${attribute}=${id}`);
  for (const node of all("[tabindex]")) if (Number(node.getAttribute("tabindex")) > 0) say("the order of focus is that of the page", node);
  for (const node of all("a[href] a, a[href] button, button a, button button, label button")) say("controls do not stand in controls", node);
  for (const node of all("ul > *, ol > *")) if (node.tagName !== "LI" && node.tagName !== "TEMPLATE") say("a list has items", node);
  for (const node of all("dl > *")) if (!/^(DT|DD|DIV)$/.test(node.tagName)) say("a description list has terms", node);
  for (const node of all("th")) if (!node.scope && shown(node)) say("a heading of a table says of what", node);
  const landmarks = all("section[aria-label], form[aria-label], nav[aria-label]").filter(shown).map((n) => `${n.tagName}:${n.getAttribute("aria-label")}`);
  for (const one of new Set(landmarks.filter((o, i) => landmarks.indexOf(o) !== i))) faults.push(`landmarks are told apart: ${one}`);
  for (const node of all("*")) {
    const style = getComputedStyle(node);
    if (!/auto|scroll/.test(style.overflowX + style.overflowY) || !shown(node) || /^(TEXTAREA|SELECT|HTML|BODY)$/.test(node.tagName)) continue;
    const scrolls = (node.scrollWidth > node.clientWidth + 1 && /auto|scroll/.test(style.overflowX)) || (node.scrollHeight > node.clientHeight + 1 && /auto|scroll/.test(style.overflowY));
    if (scrolls && node.tabIndex < 0 && !node.querySelector("a[href], button, input, [tabindex='0']")) say("what scrolls can be reached by keyboard", node);
  }

  // Sizes (2.5.8) -------------------------------------------------------------------------------------------------------
  for (const node of all("button, input, select, summary")) {
    const box = node.getBoundingClientRect();
    if (shown(node) && box.width && (box.width < 20 || box.height < 20 || (box.width < 24 && !node.labels?.length))) say("a target is large enough", node, `${box.width}x${box.height}`);
  }

  // Contrast (1.4.3, 1.4.11) ----------------------------------------------------------------------------------------------
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const parsed = new Map();
  const parse = (css) => {
    if (!parsed.has(css)) {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = css;
      pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      parsed.set(css, [r, g, b, a / 255]);
    }
    return parsed.get(css);
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255, 1]);
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || seen.has(node) || !shown(node) || node.closest("svg, :disabled, option, noscript")) continue;
    seen.add(node);
    const style = getComputedStyle(node);
    const under = behind(node);
    const ratio = contrast(over(parse(style.color), under), under);
    const size = Number.parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) say("text stands out", node, `contrast ${ratio.toFixed(2)}`);
  }
  for (const node of all("input:not([type=range]):not([type=checkbox]), select, textarea")) {
    if (!shown(node) || node.disabled) continue;
    const ratio = contrast(parse(getComputedStyle(node).borderTopColor), behind(node.parentElement));
    if (ratio < 3) say("the edge of a field stands out", node, `contrast ${ratio.toFixed(2)}`);
  }
  return faults;
}
