// The latest requests, newest first, and beside them the one that is being read, explained.

import { clear, h } from "./dom.js";
import { clock, count, duration, exactMoney, money } from "./format.js";
import { address, filterForm, matches, readAddress } from "./filters.js";
import { receipt } from "./receipt.js";
import { fetchJson } from "./session.js";
import { FIRST_REQUEST, ending, precise } from "./words.js";

const PAGE = 50;
const MOST_ROWS = 1000;
const SOONEST_MS = 3000;
const POLL_MS = 5000;

export const view = { id: "decisions", title: "Decisions", mount };

function mount(root, app) {
  const shown = new Decisions(root, app);
  shown.start();
  return { unmount: () => shown.stop(), update: (params) => shown.goTo(params) };
}

/** One row, from the journal. */
function kept(record) {
  return {
    requestId: record.requestId,
    entry: record.entry === "0" ? null : record.entry,
    at: record.timestamp,
    tier: record.tier,
    decided: record.decidedTier ?? null,
    strategy: record.strategy,
    reason: record.reason,
    rule: record.rule,
    endpoint: record.modelId,
    status: record.httpStatus,
    error: record.error,
    stream: record.stream,
    durationMs: record.totalLatency,
    tokens: [record.usage.promptTokens, record.usage.completionTokens],
    cost: record.cost,
    attempts: record.attempts,
    agentType: record.agentType,
    workspace: record.workspaceId,
  };
}

/** One row, as it came live. */
function heard(decision) {
  return {
    requestId: decision.requestId,
    entry: null,
    at: decision.at,
    tier: decision.tier,
    decided: decision.decidedTier ?? null,
    strategy: decision.strategy,
    reason: decision.reason,
    rule: decision.rule,
    endpoint: decision.endpoint,
    status: decision.status,
    error: decision.errorCode,
    stream: decision.stream,
    durationMs: decision.durationMs,
    tokens: [decision.promptTokens, decision.completionTokens],
    cost: decision.costUsd,
    attempts: decision.attempts,
    agentType: decision.agentType,
    workspace: decision.workspace,
  };
}

function keyOf(row) {
  return `${row.at} ${row.requestId}`;
}

/** How the journal is asked for the page after this one. */
function after(page) {
  return page.next === null || page.next === undefined ? null : { before: page.next };
}

function justAfter(at) {
  return new Date(Date.parse(at) + 1).toISOString();
}

class Decisions {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.rows = new Map(); // key -> {row, node}, in the order they are shown
    this.waiting = new Map(); // those that came while one reads
    this.next = null; // how the journal is asked for what is older than all that is shown, null where nothing is
    this.asked = 0; // which question to the journal is the latest; answers to older ones are dropped
    this.refreshedAt = 0;
    this.loaded = false; // what comes before that was there already
    this.missed = 0;
    this.caughtUp = app.live.state.missed;
    this.abort = new AbortController();
    const { id, entry, filters } = readAddress(app.params);
    this.selected = id;
    this.entry = entry;
    this.filters = filters;
  }

  start() {
    this.build();
    this.leave = this.app.live.subscribe((state) => this.hear(state));
    this.timer = setInterval(() => this.poll(), 1000);
    this.onScroll = () => this.settle();
    addEventListener("scroll", this.onScroll, { passive: true });
    this.load();
    this.open(this.selected, this.entry);
  }

  stop() {
    this.leave();
    this.form.stop();
    clearInterval(this.timer);
    removeEventListener("scroll", this.onScroll);
    this.abort.abort();
  }

  build() {
    this.form = filterForm(this.filters, (filters) => this.filter(filters));
    this.fresh = h("button", { type: "button", class: "button fresh", hidden: true, on: { click: () => this.flush(true) } });
    this.list = h("ol", { class: "rows", on: { keydown: (event) => this.arrows(event), pointerleave: () => this.settle() } });
    this.note = h("div", { class: "rows-note" });
    this.older = h("button", { type: "button", class: "button", hidden: true, on: { click: () => this.more() } }, "Show older");
    this.reading = h("div", { class: "reading", tabindex: "-1" });
    this.box = h(
      "div",
      { class: "decisions", on: { keydown: (event) => this.escape(event) } },
      h("div", { class: "decisions-bar" }, this.form.node),
      h(
        "section",
        { class: "listing", "aria-label": "Latest requests" },
        h("div", { class: "fresh-line" }, this.fresh),
        heading(),
        this.list,
        this.note,
        this.older,
      ),
      this.reading,
    );
    this.root.append(h("div", { class: "view-head" }, h("h1", null, "Decisions"), h("p", null, "Where requests went, and why.")), this.box);
    this.tellFilters();
  }

  tellFilters() {
    const number = Object.keys(this.filters).length;
    this.form.tell(number);
    this.box.classList.toggle("filtered", number > 0);
  }

  // -- filters and the address

  filter(filters) {
    if (JSON.stringify(filters) === JSON.stringify(this.filters)) return;
    history.replaceState(null, "", address(this.selected, filters));
    this.filters = filters;
    this.restart();
  }

  /** The address changed: another decision, or other filters. */
  goTo(params) {
    const { id, entry, filters } = readAddress(params);
    if (JSON.stringify(filters) !== JSON.stringify(this.filters)) {
      this.filters = filters;
      this.form.fill(filters);
      this.restart();
    }
    if (id !== this.selected || entry !== this.entry) this.open(id, entry);
  }

  restart() {
    this.tellFilters();
    this.rows.clear();
    this.waiting.clear();
    this.next = null;
    this.loaded = false;
    clear(this.list);
    this.showFresh();
    this.load();
  }

  // -- the journal

  async load() {
    this.say(h("div", { class: "skeleton rows-skeleton", "aria-label": "Loading" }));
    await this.ask({}, (page) => {
      this.next = after(page);
      this.merge(page.requests.map(kept));
      this.loaded = true;
    });
    this.hear(this.app.live.state);
  }

  async more() {
    this.older.disabled = true;
    const next = this.next;
    await this.ask(next, (page) => {
      if (this.next !== next) return; // rows that stood before this page have been let go meanwhile
      this.next = after(page);
      this.merge(page.requests.map(kept), { older: true, most: Infinity });
    });
    this.older.disabled = false;
  }

  /** The newest page again, for what the feed did not tell. */
  async refresh() {
    this.caughtUp += this.missed;
    this.missed = 0;
    await this.ask({}, (page) => {
      if (this.rows.size === 0) this.next = after(page);
      const rows = page.requests.map(kept);
      if (this.paused()) this.add(rows);
      else this.merge(rows, { fresh: this.loaded });
    });
  }

  poll() {
    const due = this.status === "live" ? this.missed > 0 && Date.now() - this.refreshedAt > SOONEST_MS : Date.now() - this.refreshedAt > POLL_MS;
    if (due && !document.hidden) this.refresh();
  }

  async ask(more, use) {
    const mine = Object.keys(more).length > 0 ? this.asked : (this.asked += 1);
    this.refreshedAt = Date.now();
    const query = new URLSearchParams({ limit: PAGE, ...this.filters, ...more });
    try {
      const page = await fetchJson(`/api/metrics/requests?${query}`, { signal: this.abort.signal });
      if (mine !== this.asked || this.abort.signal.aborted) return;
      this.failed = null;
      use(page);
    } catch (error) {
      if (mine !== this.asked || this.abort.signal.aborted) return;
      this.failed = error;
    }
    this.tellState();
  }

  // -- the feed

  hear(state) {
    this.status = state.status;
    this.missed = state.missed - this.caughtUp;
    this.offer(state);
    if (!this.loaded && !this.failed) return; // the journal comes first, so that nothing is missing in between
    const known = (row) => this.rows.has(keyOf(row)) || this.waiting.has(keyOf(row));
    const news = (state.decisions ?? []).map(heard).filter((row) => !known(row) && matches(row, this.filters));
    const oldest = this.oldest();
    this.add(news.filter((row) => oldest === null || row.at > oldest));
  }

  /** Rows of the feed that are older than the journal's page come with the pages after it. */
  oldest() {
    return this.next === null ? null : [...this.rows.values()].at(-1)?.row.at ?? null;
  }

  add(rows) {
    const news = rows.filter((row) => !this.rows.has(keyOf(row)));
    if (news.length === 0) return;
    if (this.paused()) {
      for (const row of news) this.waiting.set(keyOf(row), row);
      for (const key of [...this.waiting.keys()].slice(0, Math.max(0, this.waiting.size - MOST_ROWS))) this.waiting.delete(key);
      this.showFresh();
    } else {
      this.merge(news, { fresh: this.loaded });
    }
    this.tellState();
  }

  /** Nothing moves under somebody who reads: a decision is open, the list is scrolled, or a pointer or the focus is in it. */
  paused() {
    if (this.rows.size === 0) return false;
    const pointed = matchMedia("(hover: hover)").matches && this.list.matches(":hover");
    return this.selected !== null || scrollY > 120 || pointed || this.list.contains(document.activeElement);
  }

  settle() {
    if (this.waiting.size > 0 && !this.paused()) this.flush(false);
  }

  flush(asked) {
    const rows = [...this.waiting.values()];
    this.waiting.clear();
    this.showFresh();
    this.merge(rows, { fresh: true });
    if (asked) {
      this.app.announce(`${rows.length} new shown`);
      scrollTo({ top: 0, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    }
  }

  showFresh() {
    this.fresh.hidden = this.waiting.size === 0;
    this.fresh.textContent = `${this.waiting.size}${this.waiting.size < MOST_ROWS ? "" : " or more"} new`;
  }

  /** Puts rows where they belong by their time, and drops the oldest beyond the limit; of one time they stay as given. */
  merge(rows, { fresh = false, older = false, most = MOST_ROWS } = {}) {
    const given = rows.map((row) => [keyOf(row), this.rows.get(keyOf(row)) ?? { row, node: this.item(row, fresh) }]);
    const all = new Map(older ? [...this.rows, ...given] : [...given, ...this.rows]);
    const inOrder = [...all].sort(([, a], [, b]) => (a.row.at < b.row.at ? 1 : a.row.at > b.row.at ? -1 : 0)).slice(0, most);
    this.rows = new Map(inOrder);
    if (all.size > most) this.next = { until: justAfter(inOrder.at(-1)[1].row.at) };
    let place = this.list.firstChild;
    for (const [, { node }] of inOrder) {
      if (node === place) place = place.nextSibling;
      else this.list.insertBefore(node, place);
    }
    while (place !== null) {
      const after = place.nextSibling;
      place.remove();
      place = after;
    }
  }

  offer(state) {
    const tiers = state.tick?.tiers ?? [];
    const rows = [...this.rows.values()].map(({ row }) => row);
    this.form.offer("endpoint", tiers.flatMap((tier) => tier.endpoints.map((endpoint) => endpoint.id)));
    this.form.offer("agentType", rows.map((row) => row.agentType));
    this.form.offer("workspace", rows.map((row) => row.workspace));
    this.form.offer("rule", rows.map((row) => row.rule));
  }

  // -- what is shown

  item(row, fresh) {
    const how = ending(row.status, row.error);
    const link = h(
      "a",
      {
        class: `row${fresh ? " arrived" : ""}`,
        href: address(row.requestId, this.filters, row.entry),
        data: { id: row.requestId },
        on: { click: (event) => this.follow(event, row) },
      },
      cell("time", "time", row.at, clock(row.at)),
      h("span", { class: "cell tier", title: tierText(row) }, h("span", { class: `dot tier-${row.tier}` }), row.tier ?? "none", fellBack(row)),
      h("span", { class: "cell why", title: whyText(row) }, because(row)),
      h("span", { class: "cell endpoint", title: row.endpoint }, row.endpoint ?? "–"),
      h("span", { class: "cell status" }, h("span", { class: "badge", data: { state: how.tone }, title: how.text }, String(row.status)), sends(row)),
      h("span", { class: "cell number duration", title: `${precise(row.durationMs)} ms` }, duration(row.durationMs)),
      h("span", { class: "cell number tokens", title: `${precise(row.tokens[0])} → ${precise(row.tokens[1])} tokens` }, `${count(row.tokens[0] ?? 0)} → ${count(row.tokens[1] ?? 0)}`),
      h("span", { class: "cell number cost", title: exactMoney(row.cost) }, money(row.cost)),
    );
    if (row.requestId === this.selected) link.setAttribute("aria-current", "true");
    return h("li", {}, link);
  }

  follow(event, row) {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    this.app.go(address(row.requestId, this.filters, row.entry));
  }

  tellState() {
    this.older.hidden = this.next === null;
    if (this.rows.size > 0 && !this.failed) this.say();
    else if (this.failed) this.say(failure(this.failed, () => this.load()));
    else this.say(nothing(Object.keys(this.filters).length > 0, () => this.form.fill({}, true)));
  }

  say(...nodes) {
    clear(this.note).append(...nodes);
  }

  arrows(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 }[event.key];
    if (step === undefined || event.metaKey || event.ctrlKey || event.altKey) return;
    const links = [...this.list.querySelectorAll("a.row")];
    const next = links[links.indexOf(document.activeElement) + step];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  }

  escape(event) {
    if (event.key !== "Escape" || this.selected === null || event.target.matches("input, select, textarea")) return;
    event.preventDefault();
    this.app.go(address(null, this.filters));
  }

  // -- the one that is read

  async open(id, entry = null) {
    const before = this.selected;
    this.entry = entry;
    this.selected = id;
    this.box.classList.toggle("has-receipt", id !== null);
    for (const link of this.list.querySelectorAll("a.row")) {
      if (link.dataset.id === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    clear(this.reading);
    if (id === null) {
      this.list.querySelector(`a.row[data-id="${CSS.escape(before ?? "")}"]`)?.focus();
      this.settle();
      return;
    }
    const body = h("div", {}, h("div", { class: "skeleton receipt-skeleton", "aria-label": "Loading the decision" }));
    this.reading.append(this.back(), body);
    try {
      const which = entry === null ? "" : `?entry=${encodeURIComponent(entry)}`;
      const doc = await fetchJson(`/api/decisions/${encodeURIComponent(id)}${which}`, { signal: this.abort.signal });
      if (this.selected === id && this.entry === entry) this.tell(body, receipt(doc, this.app));
    } catch (error) {
      if (this.selected === id && !this.abort.signal.aborted) this.tell(body, unknown(id, error, () => this.open(id, entry)));
    }
  }

  tell(body, node) {
    clear(body).append(node);
    this.app.announce(node.querySelector("h2, h3")?.textContent ?? "");
    if (getComputedStyle(this.list.parentElement).display !== "none") return;
    this.reading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  back() {
    return h(
      "p",
      { class: "back" },
      h("a", { class: "button small", href: address(null, this.filters) }, "← All decisions"),
    );
  }
}

function cell(name, tag, datetime, text) {
  return h(tag, { class: `cell ${name}`, datetime, title: datetime }, text);
}

function fellBack(row) {
  if (!row.decided || row.decided === row.tier) return null;
  return h("span", { class: "muted" }, ` for ${row.decided}`);
}

function tierText(row) {
  const tier = row.tier ?? "none";
  return row.decided && row.decided !== row.tier ? `${tier}, decided for ${row.decided}` : tier;
}

function whyText(row) {
  const words = (row.reason ?? "not decided").replaceAll("_", " ");
  const said = row.rule ? `${words}: ${row.rule}` : words;
  return row.error ? `${said}; ${ending(row.status, row.error).text}` : said;
}

function because(row) {
  if (row.error) return [row.reason ? [decided(row), " · "] : null, h("span", { class: "went-wrong", data: { tone: ending(row.status, row.error).tone } }, ending(row.status, row.error).text)];
  return decided(row);
}

function decided(row) {
  const words = (row.reason ?? "not decided").replaceAll("_", " ");
  return row.rule && row.reason === "rule_matched"
    ? [h("span", { class: "muted" }, "rule "), row.rule]
    : [words, row.strategy && row.strategy !== "rule" && !words.startsWith(row.strategy) ? h("span", { class: "muted" }, ` · ${row.strategy}`) : null];
}

function sends(row) {
  return row.attempts > 1 ? h("span", { class: "muted sends", title: `${row.attempts} attempts` }, `×${row.attempts}`) : null;
}

function heading() {
  const names = ["Time", "Tier", "Why", "Endpoint", "Status", "Took", "Tokens", "Cost"];
  return h(
    "div",
    { class: "row rows-head muted", "aria-hidden": "true" },
    names.map((name) => h("span", { class: `cell ${["Took", "Tokens", "Cost"].includes(name) ? "number" : ""} ${HEAD[name]}` }, name)),
  );
}

const HEAD = {
  Time: "time",
  Tier: "tier",
  Why: "why",
  Endpoint: "endpoint",
  Status: "status",
  Took: "duration",
  Tokens: "tokens",
  Cost: "cost",
};

function nothing(filtered, clearAll) {
  if (filtered) {
    const button = h("button", { type: "button", class: "button", on: { click: clearAll } }, "Clear filters");
    return h("div", { class: "empty" }, h("p", {}, "No request matches these filters."), button);
  }
  return h("div", { class: "empty" }, h("p", {}, "No request yet. Try:"), h("pre", { tabindex: "0" }, FIRST_REQUEST), h("p", {}, h("a", { href: "#/playground" }, "or send one from the playground")));
}

function failure(error, again) {
  const button = h("button", { type: "button", class: "button", on: { click: again } }, "Try again");
  return h("div", { class: "error", role: "alert" }, h("p", {}, `The journal did not answer: ${error.message}`), button);
}

function unknown(id, error, again) {
  const gone = error.status === 404;
  const button = gone ? null : h("button", { type: "button", class: "button", on: { click: again } }, "Try again");
  return h(
    "div",
    { class: "error", role: "alert" },
    h("h2", {}, gone ? "Nothing is known of this request" : "The decision could not be read"),
    h("p", {}, h("code", {}, id)),
    h("p", {}, gone ? "It may have another id, belong to another workspace, or be older than what the journal keeps." : error.message),
    button,
  );
}
