// What somebody with eyes and a keyboard finds wrong on a page; an object of questions, each with a list of words.
// Evaluated again for every question: what must be remembered between two of them lies in window.__looks.
(() => {
  const CLICKABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [role=button], [role=link], " +
    "[role=tab], [role=switch], [role=checkbox], [role=menuitem], [role=option], [tabindex]";
  const kept = (window.__looks ??= {});

  const shown = (node) => {
    if (!node.isConnected || !node.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    if (node.closest("[inert], .sr-only, .visually-hidden")) return false;
    const box = node.getBoundingClientRect();
    return box.width > 1 && box.height > 1;
  };
  const open = () => [...document.querySelectorAll("dialog[open]")].filter((each) => each.matches(":modal")).at(-1);
  const all = (selector) => [...(open() ?? document).querySelectorAll(selector)];
  const called = (node) => {
    const id = node.id ? `#${node.id}` : "";
    const classes = typeof node.className === "string" && node.className ? `.${node.className.trim().split(/\s+/).join(".")}` : "";
    const text = (node.getAttribute("aria-label") || node.textContent || "").trim().replace(/\s+/g, " ").slice(0, 50);
    return `<${node.tagName.toLowerCase()}${id}${classes}> "${text}"`;
  };
  const styleOf = (node) => getComputedStyle(node);

  // names

  const byId = (node, attribute) => (node.getAttribute(attribute) || "").split(/\s+/)
    .map((id) => document.getElementById(id)?.textContent?.trim() || "").join(" ").trim();
  const named = (node) => (node.getAttribute("aria-label") || "").trim() || byId(node, "aria-labelledby") ||
    [...(node.labels || [])].map((label) => label.textContent.trim()).join(" ").trim() ||
    (["INPUT", "SELECT", "TEXTAREA"].includes(node.tagName) && !["submit", "button"].includes(node.type)
      ? "" : node.textContent.trim() || node.value || "") ||
    (node.querySelector("img[alt], svg title")?.getAttribute?.("alt") ?? "") || (node.title || "").trim();

  // colours

  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = "#000";
    brush.fillStyle = text;
    brush.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => {
    const alpha = top[3] + below[3] * (1 - top[3]);
    if (alpha === 0) return [0, 0, 0, 0];
    return [0, 1, 2].map((i) => (top[i] * top[3] + below[i] * below[3] * (1 - top[3])) / alpha).concat(alpha);
  };
  const brightness = (colour) => {
    const [r, g, b] = colour.map((part) => { const x = part / 255; return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [light, dark] = [brightness(one), brightness(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const ground = (node) => {
    let seen = [0, 0, 0, 0];
    for (let each = node; each; each = each.parentElement) {
      const style = styleOf(each);
      if (style.backgroundImage !== "none" && seen[3] < 1) return null;
      seen = over(seen, rgba(style.backgroundColor));
      if (seen[3] >= 0.999) return seen;
    }
    const probe = document.documentElement.appendChild(document.createElement("i"));
    probe.style.backgroundColor = "Canvas";
    const paper = rgba(styleOf(probe).backgroundColor);
    probe.remove();
    return over(seen, paper);
  };
  const dimmed = (node) => {
    let alpha = 1;
    for (let each = node; each; each = each.parentElement) alpha *= Number(styleOf(each).opacity);
    return alpha;
  };
  const texts = function* () {
    const walker = document.createTreeWalker(open() ?? document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      const parent = node.parentElement;
      if (!node.data.trim() || !parent || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION", "TITLE"].includes(parent.tagName)) continue;
      if (shown(parent)) yield [node, parent];
    }
  };

  // focus

  const ring = (node) => {
    const style = styleOf(node);
    return [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow, style.borderColor,
      style.backgroundColor, style.textDecorationLine, style.color, style.stroke, style.strokeWidth].join("|");
  };
  const stops = () => all(CLICKABLE).filter((node) => shown(node) && !node.disabled && node.tabIndex >= 0 &&
    !(node.type === "radio" && !node.checked));
  const spoken = () => all("button, [role=button], [role=switch], summary").filter((node) =>
    shown(node) && !node.disabled && !node.hasAttribute("data-acts"));

  return {
    overflow() {
      const wrong = [];
      const root = document.scrollingElement;
      const width = document.documentElement.clientWidth;
      if (root.scrollWidth > width + 1) wrong.push(`the page is ${root.scrollWidth} px wide in a window of ${width}`);
      const scrolls = (node) => {
        for (let each = node.parentElement; each && each !== document.body; each = each.parentElement) {
          if (/auto|scroll|hidden|clip/.test(styleOf(each).overflowX)) return true;
        }
        return false;
      };
      for (const node of all("body *")) {
        if (!shown(node) || node.ownerSVGElement) continue;
        const box = node.getBoundingClientRect();
        if ((box.right > width + 1 || box.left < -1) && !scrolls(node) && styleOf(node).position !== "fixed") {
          wrong.push(`beyond the edge (${Math.round(box.left)} to ${Math.round(box.right)} of ${width}): ${called(node)}`);
        }
      }
      for (const [text, node] of texts()) {
        const style = styleOf(node);
        if (node.ownerSVGElement) {
          const box = node.getBoundingClientRect();
          const frame = node.ownerSVGElement.getBoundingClientRect();
          if (box.right > frame.right + 1 || box.left < frame.left - 1) wrong.push(`text beyond its picture: ${called(node)}`);
          continue;
        }
        const clips = style.overflowX !== "visible" && !/auto|scroll/.test(style.overflowX);
        const told = style.textOverflow === "ellipsis" && (node.title || node.closest("[title]"));
        if (clips && !told && node.scrollWidth > node.clientWidth + 1) wrong.push(`text cut off at the side: ${called(node)}`);
        const low = style.overflowY !== "visible" && !/auto|scroll/.test(style.overflowY);
        if (low && !told && node.scrollHeight > node.clientHeight + 2) wrong.push(`text cut off below: ${called(node)}`);
        void text;
      }
      return wrong;
    },

    contrast() {
      const wrong = [];
      for (const [, node] of texts()) {
        const style = styleOf(node);
        if (node.closest("[disabled], [aria-disabled=true]")) continue; // of which WCAG asks nothing
        const behind = ground(node);
        if (behind === null) { wrong.push(`over a picture: ${called(node)}`); continue; }
        const ink = rgba(node.ownerSVGElement ? style.fill : style.color);
        const faded = [ink[0], ink[1], ink[2], ink[3] * dimmed(node)];
        const size = Number.parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        const found = ratio(over(faded, behind), behind);
        if (found < (large ? 3 : 4.5) - 0.01) wrong.push(`contrast ${found.toFixed(2)} (${style.color} at ${size}px): ${called(node)}`);
      }
      return [...new Set(wrong)];
    },

    nameless() {
      return all(CLICKABLE).filter((node) => shown(node) && !named(node)).map((node) => `has no name: ${called(node)}`);
    },

    begin() {
      document.activeElement?.blur?.();
      const start = document.createElement("span"); // Tab goes on from where the focus was last, so it is put first
      start.tabIndex = -1;
      (open() ?? document.body).prepend(start);
      start.focus();
      start.remove();
      kept.reached = new Set();
      kept.unringed = [];
      kept.plain = new Map(stops().map((node) => [node, ring(node)]));
      kept.first = null;
    },

    stop() { // after a Tab: whether it has come round
      const node = document.activeElement;
      if (!node || node === document.body || node === document.documentElement) return kept.reached.size > 0;
      if (kept.reached.has(node)) return true;
      kept.reached.add(node);
      const before = kept.plain.get(node);
      const within = node.closest("label, .input, [data-ring]");
      if (before !== undefined && before === ring(node) && !within?.matches(":focus-within")) kept.unringed.push(called(node));
      return false;
    },

    unreached() {
      const reached = kept.reached;
      const sameGroup = (node) => node.closest("[role=tablist], [role=radiogroup], [role=menu], [role=listbox], [role=toolbar]");
      const missed = stops().filter((node) => !reached.has(node) && !(sameGroup(node) && [...reached].some((each) => sameGroup(each) === sameGroup(node))));
      const mouse = all("body *").filter((node) => shown(node) && styleOf(node).cursor === "pointer" &&
        node.parentElement && styleOf(node.parentElement).cursor !== "pointer" && !node.closest("label") &&
        !node.matches(":disabled") && !node.closest(CLICKABLE) && !node.querySelector(CLICKABLE));
      return [
        ...missed.map((node) => `never reached by Tab: ${called(node)}`),
        ...mouse.map((node) => `for the mouse alone: ${called(node)}`),
        ...kept.unringed.map((name) => `does not show its focus: ${name}`),
      ];
    },

    dead_links() {
      return all("a").filter(shown).flatMap((node) => {
        const href = node.getAttribute("href");
        if (!href || href === "#" || href.toLowerCase().startsWith("javascript:")) return [`leads nowhere: ${called(node)}`];
        const target = href.startsWith("#") && !href.startsWith("#/") ? document.getElementById(href.slice(1)) : true;
        return target ? [] : [`leads to a part that is not there: ${called(node)}`];
      });
    },

    buttons() {
      kept.buttons = spoken();
      return kept.buttons.length;
    },

    watch(number) {
      const node = kept.buttons[number];
      kept.acted = false;
      if (!node || !shown(node) || node.disabled || (node.type === "submit" && node.form)) return null;
      kept.before = location.href;
      return called(node);
    },

    click(number) {
      const node = kept.buttons[number];
      const focus = document.activeElement;
      kept.observer?.disconnect();
      kept.observer = new MutationObserver((changes) => {
        if (changes.some((change) => node.contains(change.target) || change.type === "attributes" || change.addedNodes.length)) kept.acted = true;
      });
      kept.observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
      node.click();
      if (document.activeElement !== focus && document.activeElement !== node) kept.acted = true;
    },

    acted() {
      const acted = kept.acted || location.href !== kept.before;
      kept.observer.disconnect();
      return acted;
    },
  };
})()
