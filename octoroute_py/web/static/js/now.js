// Now: what the gateway does this minute, in numbers first.

import { Chart } from "./charts.js";
import { h, mark, say } from "./dom.js";
import { axisMoney, count, durationParts, exact, exactMoney, money, percent, rate } from "./format.js";
import { gravity, LivingMap } from "./map.js";
import { Ticker } from "./ticker.js";
import { FIRST_REQUEST, TIERS } from "./words.js";

const BUCKET_S = 5;

export const view = {
  id: "now",
  title: "Now",
  mount(root, app) {
    const page = new Now(root);
    const leave = app.live.subscribe((state) => page.show(state));
    return {
      unmount() {
        leave();
        page.close();
      },
    };
  },
};

class Now {
  constructor(root) {
    this.stats = {
      perSecond: new Stat("Requests / s"), inFlight: new Stat("In flight"), p50: new Stat("Latency p50"), p95: new Stat("p95"), p99: new Stat("p99"),
      failed: new Stat("Failed"), spent: new Stat("Spent today"), saved: new Stat("Saved today"),
    };
    this.mix = new Mix();
    this.map = new LivingMap();
    this.ticker = new Ticker();
    this.seconds = 300;
    this.charts = this.makeCharts();
    this.empty = emptyHint();
    this.body = h("div", { class: "now-grid" },
      h("section", { class: "panel now-stats", "aria-label": "Numbers" }, Object.values(this.stats).map((each) => each.node)),
      this.empty,
      h("section", { class: "panel now-map", "aria-label": "Map of tiers and endpoints" }, h("div", { class: "panel-head" }, h("h2", null, "Where requests go"), h("span", { class: "note" }, "width and speed by traffic")), this.map.node),
      h("section", { class: "panel now-ticker", "aria-label": "Latest decisions" }, h("div", { class: "panel-head" }, h("h2", null, "Latest decisions"), h("a", { href: "#/decisions" }, "all decisions")), this.ticker.node),
      h("section", { class: "now-charts", "aria-label": "The last five minutes" }, this.charts.map((each) => each.node)));
    this.why = h("p", null, "They come about every second.");
    this.waiting = h("div", { class: "panel empty now-waiting" }, h("strong", null, "Waiting for the first numbers"), this.why);
    this.body.hidden = true;
    root.append(h("div", { class: "view-head now-head" }, h("h1", null, "Now"), this.mix.node), this.waiting, this.body);
  }

  makeCharts() {
    const perSecond = (value) => (value === null ? "–" : `${rate(value)}/s`);
    const spread = { note: `5 min, by ${BUCKET_S} s`, seconds: this.seconds };
    this.requests = new Chart({ title: "Requests by tier", ...spread, format: perSecond, axis: rate, series: TIERS.map((tier) => ({ label: tier, colour: `--${tier}`, kind: "bar" })) });
    const ms = (value) => durationParts(value).join(" ").trim();
    this.latency = new Chart({ title: "Latency", note: "5 min, by second", seconds: this.seconds, format: ms,
      series: [{ label: "p50", colour: "--ink", kind: "line" }, { label: "p95", colour: "--accent", kind: "area" }] });
    this.money = new Chart({ title: "Money", ...spread, note: `5 min, by ${BUCKET_S} s; together: all at deep`, format: money, axis: axisMoney,
      series: [{ label: "spent", colour: "--accent", kind: "bar" }, { label: "saved", colour: "--ok", kind: "bar" }] });
    return [this.requests, this.latency, this.money];
  }

  show(state) {
    const { tick, history } = state;
    if (tick === null || history === null) {
      if (state.error !== null) say(this.why, state.error.message);
      return;
    }
    if (this.body.hidden) {
      this.body.hidden = false;
      this.waiting.remove();
    }
    const { series } = history;
    this.numbers(tick, series);
    this.mix.show(series);
    this.map.show(tick);
    this.ticker.show(state.decisions);
    this.empty.hidden = tick.totals.requests > 0 || state.decisions.length > 0;
    const whole = bucketed(series, BUCKET_S);
    this.requests.show(whole.t, TIERS.map((tier) => whole[tier].map((value) => value / BUCKET_S)));
    this.latency.show(series.t, [series.p50Ms, series.p95Ms]);
    this.money.show(whole.t, [whole.costUsd, whole.savedUsd]);
  }

  numbers(tick, series) {
    const { stats } = this;
    const requests = total(series.requests);
    const errors = total(series.errors);
    stats.perSecond.set([rate(tick.perSecond), ""], `${count(tick.totals.requests)} since start`, `${exact(tick.totals.requests)} requests since the start`);
    stats.inFlight.set([count(tick.inFlight), ""], tick.draining ? "draining" : "right now");
    const timed = `of the newest ${exact(tick.latency.count)} routed requests`;
    stats.p50.set(durationParts(tick.latency.p50Ms), "half are faster", timed);
    stats.p95.set(durationParts(tick.latency.p95Ms), "1 in 20 slower", timed);
    stats.p99.set(durationParts(tick.latency.p99Ms), "1 in 100 slower", timed);
    stats.failed.set([percent(requests ? errors / requests : 0), ""], `${count(errors)} of ${count(requests)}, 5 min`, `${exact(errors)} of ${exact(requests)} requests of the last five minutes`);
    mark(stats.failed.node, "data-state", requests ? gravity(errors / requests) : null);
    const of = tick.money;
    stats.spent.set([money(of?.costUsd), ""], of ? `${count(of.requests)} requests, UTC day` : "not known without a journal", exactMoney(of?.costUsd));
    stats.saved.set([money(of?.savedUsd), ""], of?.savedPercent === null || of?.savedPercent === undefined ? "against all at deep" : `${of.savedPercent.toFixed(1)}% of ${money(of.baselineUsd)} at deep`, exactMoney(of?.savedUsd));
    mark(stats.saved.node, "data-state", of?.savedUsd > 0 ? "ok" : null);
  }

  close() {
    this.map.close();
    for (const each of this.charts) each.close();
  }
}

class Stat {
  constructor(label) {
    this.number = h("span", null, "–");
    this.unit = h("span", { class: "unit" });
    this.value = h("span", { class: "value" }, this.number, this.unit);
    this.sub = h("span", { class: "sub" });
    this.node = h("div", { class: "stat", data: { stat: label } }, h("span", { class: "label" }, label), this.value, this.sub);
  }

  set([number, unit], sub, title = null) {
    say(this.number, number);
    say(this.unit, unit);
    say(this.sub, sub);
    mark(this.sub, "title", sub);
    mark(this.value, "title", title);
  }
}

class Mix {
  constructor() {
    this.parts = TIERS.map((tier) => ({ tier, bar: h("span", { class: "mix-bar", data: { tier } }), share: h("span", { class: "mix-share" }, "–") }));
    this.node = h("div", { class: "mix", role: "group", "aria-label": "Share of each tier, last five minutes" },
      h("div", { class: "mix-bars", "aria-hidden": "true" }, this.parts.map((each) => each.bar)),
      h("div", { class: "mix-legend" }, this.parts.map((each) => h("span", { class: "badge", data: { tier: each.tier } }, each.tier, each.share))));
  }

  show(series) {
    const sums = TIERS.map((tier) => total(series[tier]));
    const whole = sums.reduce((one, two) => one + two, 0);
    this.parts.forEach((each, at) => {
      each.bar.style.setProperty("flex-grow", String(whole ? sums[at] : 0));
      say(each.share, whole ? percent(sums[at] / whole) : "–");
    });
  }
}

function emptyHint() {
  return h("section", { class: "panel empty now-empty", "aria-label": "How to begin" }, h("strong", null, "No request yet"), "Send one, and this page comes to life:",
    h("div", null, h("pre", null, FIRST_REQUEST)),
    h("p", null, "or try the ", h("a", { href: "#/playground" }, "Playground"), "."));
}

function total(values) {
  let sum = 0;
  for (const each of values) sum += each ?? 0;
  return sum;
}

// Sums of each so many seconds, cut at multiples of them: a bar that is over stays as it is.
function bucketed(series, seconds) {
  const names = [...TIERS, "costUsd", "savedUsd"];
  const whole = { t: [], ...Object.fromEntries(names.map((name) => [name, []])) };
  series.t.forEach((t, at) => {
    const begin = Math.floor(t / seconds) * seconds;
    if (whole.t.at(-1) !== begin) {
      whole.t.push(begin);
      for (const name of names) whole[name].push(0);
    }
    for (const name of names) whole[name][whole.t.length - 1] += series[name][at] ?? 0;
  });
  return whole;
}
