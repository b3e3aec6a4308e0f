// The rules that were held against a request, in the order they were asked; long lists are folded.

import { h } from "./dom.js";

const SHOWN = 6;

const FACT_OF = {
  min_tokens: "tokens",
  max_tokens: "tokens",
  task_type: "task_type",
  importance: "importance",
  model: "model",
  has_tools: "has_tools",
  has_images: "has_images",
};

const MARKS = { decided: "●", matched: "○", failed: "×", unknown: "?" };

const SOURCES = { config: "config file", api: "API", built_in: "built in" };

/** The list; `decided` is the id of the rule that decided, or null. */
export function rules(trials, facts, decided) {
  const shown = trials.filter((trial, index) => trial.matched || index < SHOWN || trial.id === decided);
  const folded = trials.filter((trial) => !shown.includes(trial));
  return h(
    "div",
    { class: "rules" },
    list(shown, facts, decided),
    folded.length > 0
      ? h(
          "details",
          {},
          h("summary", {}, `${folded.length} more that did not match`),
          list(folded, facts, decided),
        )
      : null,
  );
}

function list(trials, facts, decided) {
  return h("ol", { class: "rule-list" }, trials.map((trial) => rule(trial, facts, trial.id === decided)));
}

function rule(trial, facts, decided) {
  const state = decided ? "decided" : trial.matched === null ? "unknown" : trial.matched ? "matched" : "failed";
  return h(
    "li",
    { class: `rule ${state}`, data: { rule: trial.id } },
    h("span", { class: "rule-mark", "aria-hidden": "true" }, MARKS[state]),
    h(
      "div",
      { class: "rule-what" },
      h("span", { class: "rule-name" }, trial.name),
      h("span", { class: "rule-goal muted" }, "→ ", goal(trial)),
      h("p", { class: "rule-why" }, why(trial, facts, decided)),
    ),
    h("span", { class: "rule-source muted" }, source(trial)),
  );
}

function goal(trial) {
  if (trial.tier) return h("span", { class: `ink-${trial.tier}` }, trial.tier);
  return trial.targets.join(", ") || "nothing";
}

function source(trial) {
  const parts = [SOURCES[trial.source] ?? trial.source];
  if (trial.rule_set) parts.push(trial.rule_set);
  if (trial.source !== "built_in") parts.push(`priority ${trial.priority}`);
  return parts.join(" · ");
}

function why(trial, facts, decided) {
  if (decided) return "matched, and decided";
  if (trial.matched === null) return "nobody asked it: another had decided, and the prompt is not kept";
  if (trial.matched) {
    if (trial.eligible?.length === 0) return "matched, but nothing it names can answer";
    return "matched; another came before it";
  }
  const wanted = trial.wanted ? `wants ${trial.wanted}` : "did not match";
  const had = factOf(trial.failed, facts);
  return had === null ? wanted : `${wanted}; this has ${had}`;
}

function factOf(key, facts) {
  const name = FACT_OF[key];
  const value = name === undefined || !facts ? undefined : facts[name];
  if (value === undefined || value === null) return null;
  if (name === "tokens") return `${value}`;
  if (name === "has_tools") return value ? "tools" : "none";
  if (name === "has_images") return value ? "images" : "none";
  return String(value);
}
