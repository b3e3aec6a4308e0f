// Keys of the page: g and a letter go to a view, / to the filter, ? shows them all, Esc closes.

import { h } from "./dom.js";

const PATIENCE_MS = 1200;

/** Listen for the keys; go(hash) moves. */
export function watchKeys(views, go) {
  let prefix_ms = -Infinity;
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || typing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "?") {
      openKeys(views);
      event.preventDefault();
    } else if (event.key === "/") {
      const filter = document.querySelector("#content [data-filter], #content input[type=search]");
      if (filter !== null) {
        filter.focus();
        event.preventDefault();
      }
    } else if (event.key === "g") {
      prefix_ms = event.timeStamp;
      return;
    } else if (event.timeStamp - prefix_ms < PATIENCE_MS) {
      const view = views.find((each) => each.key === event.key);
      if (view) go(`#/${view.id}`);
    }
    prefix_ms = -Infinity;
  });
}

/** Show the keys. */
export function openKeys(views) {
  const close = () => dialog.close();
  const rows = [
    ...views.map((each) => [["g", each.key], each.title]),
    [["/"], "To the filter"],
    [["Ctrl", "Enter"], "Send, in the Playground"],
    [["?"], "These keys"],
    [["Esc"], "Close"],
  ];
  const dialog = h("dialog", { "aria-labelledby": "keys-title" },
    h("h2", { id: "keys-title" }, "Keys"),
    h("dl", { class: "keys" }, rows.map(([keys, what]) => [h("dt", null, keys.map((key) => [h("kbd", null, key), " "])), h("dd", null, what)])),
    h("div", { class: "dialog-end" }, h("button", { class: "button", type: "button", on: { click: close } }, "Close")));
  showDialog(dialog);
}

/** Ask before something is done: resolves true or false; Esc is no. */
export function confirmed({ title, text, yes, danger = false }) {
  return new Promise((resolve) => {
    const answer = (value) => {
      dialog.returnValue = value ? "yes" : "no";
      dialog.close(dialog.returnValue);
    };
    const dialog = h("dialog", { "aria-labelledby": "ask-title", "aria-describedby": "ask-text" },
      h("h2", { id: "ask-title" }, title),
      h("p", { id: "ask-text" }, text),
      h("div", { class: "dialog-end" },
        h("button", { class: "button", type: "button", on: { click: () => answer(false) } }, "Cancel"),
        h("button", { class: danger ? "button danger" : "button primary", type: "button", on: { click: () => answer(true) } }, yes)));
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
    showDialog(dialog);
  });
}

function showDialog(dialog) {
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function typing(target) {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;
}
