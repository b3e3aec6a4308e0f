// What the scorer believes of a request: each tier's chance, its risk against the dial, and what would have flipped it.

import { h } from "./dom.js";
import { percent } from "./format.js";
import { place } from "./timeline.js";
import { CHANGES, DOUBTS, TIERS, precise, spoken } from "./words.js";

/** The scorer's part of an explanation; `decided` says whether the decision is its own. */
export function scorer(view, decided) {
  const { score, choice } = view;
  const gain = choice.dial.basis === "gain";
  const chances = [score.p_fast, score.p_balanced, score.p_deep];
  const scale = Math.max(...choice.risks, choice.dial.threshold, 0.001) * 1.15;
  return h(
    "div",
    { class: "scorer" },
    h("p", { class: "scorer-says" }, verdict(choice, decided)),
    h(
      "div",
      { class: "scorer-grid", role: "table", "aria-label": "What the scorer believes of each tier" },
      header(gain),
      TIERS.map((tier, rank) =>
        h(
          "div",
          { class: "scorer-row", role: "row", data: { tier } },
          h("span", { class: "scorer-tier", role: "rowheader" }, h("span", { class: `dot tier-${tier}` }), tier),
          h("span", { class: "scorer-cell", role: "cell" }, bar(chances[rank], 1, `tier-${tier}`), number(chances[rank])),
          risk(choice, rank, scale),
          h("span", { class: "scorer-word", role: "cell" }, standing(view, rank)),
        ),
      ),
    ),
    facts(view),
    flips(view.flips),
  );
}

function verdict(choice, decided) {
  if (choice.tier === null) {
    return ["It would not choose: ", spoken(DOUBTS, choice.doubt), ". It leans to ", strong(choice.leaning), "."];
  }
  const sure = ` and is ${percent(choice.confidence)} sure that no larger tier does better.`;
  return [decided ? "It chose " : "Asked alone, it would choose ", strong(choice.tier), sure];
}

function strong(tier) {
  return h("strong", { class: `ink-${tier}` }, tier);
}

function header(gain) {
  const words = ["Tier", "Answers well", gain ? "What deep would add" : "May fail", "Against the dial"];
  return h(
    "div",
    { class: "scorer-row scorer-head", role: "row" },
    words.map((word) => h("span", { role: "columnheader" }, word)),
  );
}

function risk(choice, rank, scale) {
  const value = choice.risks[rank];
  const within = value <= choice.dial.threshold;
  const drawn = bar(value, scale, within ? "within" : "beyond");
  const tick = h("span", { class: "bar-tick" });
  place(tick, "--from", choice.dial.threshold / scale);
  drawn.append(tick);
  return h("span", { class: "scorer-cell", role: "cell" }, drawn, number(value));
}

function bar(value, scale, kind) {
  const fill = h("span", { class: `bar-fill ${kind}` });
  place(fill, "--size", value / scale);
  return h("span", { class: "bar", "aria-hidden": "true" }, fill);
}

function number(value) {
  return h("span", { class: "scorer-number", title: precise(value) }, percent(value));
}

/** Why a tier is the chosen one, or is not, in the order in which the policy looks at them. */
function standing({ score, choice }, rank) {
  const tier = TIERS[rank];
  if (score.labels.length > 0 && rank < TIERS.indexOf(score.labels[0])) return "below the likely set";
  if (choice.risks[rank] > choice.dial.threshold) return "too much risk";
  return tier === choice.leaning ? "cheapest within" : "within";
}

function facts({ score, choice, limits, prices }) {
  const { dial } = choice;
  const rows = [
    ["Likely set", score.labels.length > 0 ? score.labels.join(", ") : "empty", "tiers that may be the smallest that succeeds"],
    ["Dial", `${percent(dial.threshold)} of risk`, `keeps the average loss within ${percent(dial.alpha)}${dial.tag ? ` for ${dial.tag}` : ""}`],
    ["Margin", percent(choice.margin), "to the nearest risk on the other side"],
    ["Confidence", percent(choice.confidence), asked(limits.confidence_threshold, "at least")],
    ["Uncertainty", percent(score.uncertainty), asked(limits.max_uncertainty, "at most")],
    ["Familiar prompt", score.in_distribution ? "yes" : "no", "like those the scorer learned from"],
    ["Relative prices", prices.map((price) => precise(price)).join(" : "), "fast : balanced : deep"],
  ];
  return h(
    "dl",
    { class: "facts" },
    rows.map(([name, value, note]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value), note ? h("dd", { class: "muted" }, note) : null),
    ),
  );
}

function asked(limit, word) {
  return limit === null || limit === undefined ? "no limit is set" : `${word} ${percent(limit)} is asked for`;
}

function flips(found) {
  if (found.length === 0) return h("p", { class: "muted" }, "No single change would lead to another tier.");
  return h(
    "div",
    { class: "flips" },
    h("h4", {}, "What would have led to another tier"),
    h(
      "ul",
      {},
      found.map(({ change, value, tier }) =>
        h("li", {}, "with ", h("code", {}, spoken(CHANGES, change)), " at ", h("strong", {}, shown(value)), " → ", strong(tier)),
      ),
    ),
  );
}

function shown(value) {
  if (Array.isArray(value)) return `{${value.join(", ")}}`;
  return typeof value === "number" ? precise(value) : String(value);
}
