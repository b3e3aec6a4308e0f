// The form that takes a key. The key goes into the session's memory; the field is emptied at once.

import { h, say } from "./dom.js";

/** The form; `said` is told first, entered(key) signs in or throws what to say. */
export function signInForm({ said, over, entered }) {
  const wrong = h("p", { class: "wrong", role: "alert", id: "key-wrong" }, said ?? "");
  const input = h("input", {
    class: "input mono", id: "key", type: "password", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    required: true, "aria-describedby": "key-hint key-wrong", placeholder: "okr-…",
  });
  const button = h("button", { class: "button primary", type: "submit" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (key === "") {
      say(wrong, "Paste a key first.");
      return;
    }
    button.disabled = true;
    say(wrong, "");
    try {
      await entered(key);
      input.value = "";
    } catch (problem) {
      say(wrong, problem.message);
      input.select();
    } finally {
      button.disabled = false;
    }
  };
  return h("section", { class: over ? "signin over" : "signin", "aria-labelledby": "signin-title" },
    h("form", { on: { submit }, novalidate: true },
      h("h1", { id: "signin-title" }, "Sign in"),
      h("label", { for: "key" }, "Key"),
      input,
      wrong,
      button,
      h("p", { class: "hint", id: "key-hint" }, "A key of role viewer, operator or admin. It stays in this page's memory until you sign out or reload; nothing is stored.")));
}
