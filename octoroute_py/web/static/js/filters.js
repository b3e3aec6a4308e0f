// The filters of the decisions, as they stand in the address, in the form and in what is asked of the journal.

import { h, mark, say } from "./dom.js";
import { REASONS, STATUSES, STRATEGIES, TIERS, endedAs } from "./words.js";

const CHOICES = {
  tier: ["Tier", TIERS.map((tier) => [tier, tier])],
  strategy: ["Strategy", STRATEGIES.map((word) => [word, word])],
  reason: ["Reason", Object.keys(REASONS).map((word) => [word, word.replaceAll("_", " ")])],
  status: ["Status", Object.entries(STATUSES)],
};

const TEXTS = {
  endpoint: ["Endpoint", "Endpoint"],
  agentType: ["Agent type", "Agent type"],
  workspace: ["Workspace", "Workspace"],
  rule: ["Rule", "Rule"],
};

/** Every filter, as it is called in the address and by GET /api/metrics/requests. */
const NAMES = ["requestId", ...Object.keys(CHOICES), ...Object.keys(TEXTS)];

/** The decision, which of those with its id, and the filters that the address names; the shell has read it. */
export function readAddress({ id, query }) {
  const filters = {};
  for (const name of NAMES) {
    const value = query.get(name);
    if (value) filters[name] = value;
  }
  return { id, entry: query.get("entry"), filters };
}

/** The address of a decision, or of the list, under these filters; `entry` is which of those with its id. */
export function address(id, filters, entry = null) {
  const query = new URLSearchParams(entry === null ? filters : { ...filters, entry }).toString();
  return `#/decisions${id ? `/${encodeURIComponent(id)}` : ""}${query ? `?${query}` : ""}`;
}

/** Whether a row that came live is one of those the journal would give. */
export function matches(row, filters) {
  return Object.entries(filters).every(([name, wanted]) => {
    if (name === "requestId") return row.requestId.startsWith(wanted);
    if (name === "status") return endedAs(wanted, row.status, row.error);
    return row[name] === wanted;
  });
}

/** The form; `changed(filters)` hears of every change. */
export function filterForm(filters, changed) {
  const fields = {};
  const lists = {};
  let timer = 0;
  const toggle = h("button", { type: "button", class: "button filters-toggle", "aria-expanded": "false", on: { click: unfold } }, "Filters");
  const form = h(
    "form",
    { class: "filters", role: "search", "aria-label": "Filter decisions", on: { submit: (event) => event.preventDefault() } },
    search(),
    toggle,
    Object.entries(CHOICES).map(([name, [label, options]]) => choice(name, label, options)),
    Object.entries(TEXTS).map(([name, [label, hint]]) => words(name, label, hint)),
    h("button", { type: "button", class: "button filters-clear", on: { click: () => fill({}, true) } }, "Clear filters"),
  );

  function search() {
    fields.requestId = h("input", {
      class: "input",
      type: "search",
      placeholder: "Request id begins with …",
      "aria-label": "Request id begins with",
      autocomplete: "off",
      spellcheck: "false",
      data: { filter: "" },
      on: { input: soon },
    });
    return fields.requestId;
  }

  function choice(name, label, options) {
    fields[name] = h(
      "select",
      { class: "input", "aria-label": label, name, on: { change: tell } },
      h("option", { value: "" }, `Any ${label.toLowerCase()}`),
      options.map(([value, text]) => h("option", { value }, text)),
    );
    return fields[name];
  }

  function words(name, label, hint) {
    lists[name] = h("datalist", { id: `known-${name}` });
    const attributes = { class: "input", type: "search", name, placeholder: hint, "aria-label": label };
    const more = { list: `known-${name}`, autocomplete: "off", spellcheck: "false", on: { input: soon } };
    fields[name] = h("input", { ...attributes, ...more });
    return [fields[name], lists[name]];
  }

  function unfold() {
    const open = form.closest(".decisions").classList.toggle("filters-open");
    mark(toggle, "aria-expanded", open ? "true" : "false");
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(tell, 300);
  }

  function tell() {
    clearTimeout(timer);
    changed(given());
  }

  function given() {
    const found = {};
    for (const name of NAMES) {
      const value = fields[name].value.trim();
      if (value) found[name] = value;
    }
    return found;
  }

  function fill(wanted, tellIt = false) {
    for (const name of NAMES) {
      const value = wanted[name] ?? "";
      if (fields[name].value.trim() !== value) fields[name].value = value;
    }
    if (tellIt) tell();
  }

  /** Names that were seen, offered where one types. */
  function offer(name, values) {
    const known = [...new Set(values.filter(Boolean))].sort().slice(0, 100);
    if (known.join("\n") === lists[name].dataset.known) return;
    lists[name].dataset.known = known.join("\n");
    lists[name].replaceChildren(...known.map((value) => h("option", { value })));
  }

  fill(filters);
  return { node: form, fill, offer, tell: (number) => say(toggle, number > 0 ? `Filters (${number})` : "Filters"), stop: () => clearTimeout(timer) };
}
