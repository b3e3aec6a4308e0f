// The latest decisions, one line each, newest on top.

import { h } from "./dom.js";
import { clock, duration, exactMoney, moment, money, words } from "./format.js";
import { ending } from "./words.js";

const LINES = 13;

export class Ticker {
  constructor() {
    this.list = h("ol", { class: "ticker" });
    this.empty = h("p", { class: "empty" }, "The next request appears here.");
    this.node = h("div", null, this.list, this.empty);
    this.lines = new Map();
  }

  show(decisions) {
    const latest = decisions.slice(0, LINES);
    this.empty.hidden = latest.length > 0;
    const kept = new Set();
    let before = null;
    for (const each of latest) {
      const name = `${each.requestId} ${each.at}`;
      kept.add(name);
      let line = this.lines.get(name);
      if (!line) {
        line = lineOf(each);
        this.lines.set(name, line);
      }
      const follows = before === null ? this.list.firstChild : before.nextSibling;
      if (follows !== line) this.list.insertBefore(line, follows);
      before = line;
    }
    for (const [name, line] of this.lines) {
      if (!kept.has(name)) {
        line.remove();
        this.lines.delete(name);
      }
    }
  }
}

function lineOf(decision) {
  const { tone, text } = ending(decision.status, decision.errorCode);
  const why = [words(decision.reason ?? decision.strategy), decision.rule].filter((each) => each !== null && each !== undefined && each !== "").join(" · ");
  const tier = decision.tier ?? decision.decidedTier;
  return h("li", null,
    h("a", { class: "tick-line", href: `#/decisions/${encodeURIComponent(decision.requestId)}`, data: { state: tone } },
      h("span", { class: "tick-time", title: moment(decision.at) }, clock(decision.at)),
      h("span", { class: "badge", data: { tier } }, tier ?? "no tier"),
      h("span", { class: "tick-why", title: why }, tone === "ok" ? why : `${decision.status} ${text}`),
      h("span", { class: "tick-number" }, duration(decision.durationMs)),
      h("span", { class: "tick-number tick-cost", title: exactMoney(decision.costUsd) }, money(decision.costUsd))));
}
