// Health: may it work, what keeps it, who is out and why, and what an admin can do about it.

import { clear, h, mark, say } from "./dom.js";
import { clock, count, duration, exact, moment, percent, rate, span, words } from "./format.js";
import { confirmed } from "./keyboard.js";
import { gravity, ring, slots, stateOf } from "./map.js";
import { fetchJson } from "./session.js";
import { REMEDIES } from "./words.js";

const CHANGES = 8;
const LOOK_AGAIN_MS = 15_000;

export const view = {
  id: "health",
  title: "Health",
  mount(root, app) {
    const page = new Health(root, app);
    const leave = app.live.subscribe((state) => page.show(state));
    return {
      unmount() {
        leave();
        page.close();
      },
    };
  },
};

class Health {
  constructor(root, app) {
    this.app = app;
    this.admin = app.session.may("admin");
    this.state = null;
    this.gone = new AbortController();
    this.verdict = h("p", { class: "health-verdict" });
    this.reasons = h("ul", { class: "health-reasons" });
    this.process = this.admin ? h("button", { class: "button small", type: "button", data: { acts: "" }, on: { click: () => this.turnProcess() } }) : null;
    this.about = new Facts(["Version", "Generation", "Up for", "In flight", "Requests since start", "Failed since start"]);
    this.storage = new Facts(["Journal", "On their way", "In the spool", "In memory alone", "Lost"]);
    this.told = h("p", { class: "health-told", role: "status" });
    this.table = new Endpoints(this);
    this.changes = h("div", null);
    this.waiting = h("div", { class: "panel empty" }, h("strong", null, "Waiting for the first numbers"), "They come about every second.");
    this.body = h("div", { class: "health-grid", hidden: true },
      h("section", { class: "panel health-ready", "aria-label": "Readiness" }, h("div", { class: "panel-head" }, h("h2", null, "Readiness"), this.process), this.verdict, this.reasons),
      h("section", { class: "panel", "aria-label": "This gateway" }, h("div", { class: "panel-head" }, h("h2", null, "This gateway")), this.about.node),
      h("section", { class: "panel", "aria-label": "Journal" }, h("div", { class: "panel-head" }, h("h2", null, "Journal")), this.storage.node),
      h("section", { class: "panel health-endpoints", "aria-label": "Tiers and endpoints" },
        h("div", { class: "panel-head" }, h("h2", null, "Tiers and endpoints"), this.told, this.admin ? h("button", { class: "button small", type: "button", data: { acts: "" }, on: { click: () => this.resetAll() } }, "Reset all breakers") : null),
        this.table.node),
      this.admin ? h("section", { class: "panel health-changes", "aria-label": "Changes" }, h("div", { class: "panel-head" }, h("h2", null, "Latest changes"), h("span", { class: "note" }, "what was set over the API")), this.changes) : null);
    root.append(h("div", { class: "view-head" }, h("h1", null, "Health")), this.waiting, this.body);
    if (this.admin) {
      this.look();
      this.again = setInterval(() => this.look(), LOOK_AGAIN_MS);
    }
  }

  close() {
    this.gone.abort();
    clearInterval(this.again);
  }

  show(state) {
    const { tick } = state;
    if (tick === null) return;
    this.state = tick;
    this.waiting.remove();
    this.body.hidden = false;
    this.showReadiness(tick);
    this.about.set([tick.version, exact(tick.generation), span(tick.uptimeSeconds), exact(tick.inFlight), exact(tick.totals.requests), exact(tick.totals.failed)]);
    this.showStorage(tick.storage);
    this.table.show(tick);
  }

  showReadiness(tick) {
    const state = tick.draining ? "warn" : tick.ready ? "ok" : "bad";
    mark(this.verdict, "data-state", state);
    say(this.verdict, tick.draining ? "Draining" : tick.ready ? "Ready" : "Not ready");
    const told = [...tick.reasons];
    if (tick.judge?.state && tick.judge.state !== "closed") told.push(`the judge's breaker is ${words(tick.judge.state)}`);
    for (const tier of tick.tiers) {
      if (tick.ready && tier.total > 0 && tier.available === 0) told.push(`No endpoint of ${tier.tier} can answer: its requests go to another tier where that is allowed, else they are refused with 503.`);
    }
    const texts = told.length ? told : ["Nothing stands in its way."];
    const same = this.reasons.children.length === texts.length && texts.every((each, at) => this.reasons.children[at].textContent === each);
    if (!same) clear(this.reasons).append(...texts.map((each) => h("li", null, each)));
    if (this.process !== null) say(this.process, tick.draining ? "Undrain the gateway" : "Drain the gateway");
  }

  showStorage(storage) {
    const state = storage?.state ?? "off";
    const told = { ok: "keeps every row", degraded: "takes no rows, the spool does", refused: "cannot be used", off: "is not kept" }[state] ?? words(state);
    this.storage.set([told, ...["waiting", "spooled", "unkept", "lost"].map((name) => count(storage?.[name] ?? 0))]);
    mark(this.storage.values[0], "data-state", { ok: "ok", degraded: "warn", refused: "bad", off: null }[state]);
    mark(this.storage.values[4], "data-state", storage?.lost > 0 ? "bad" : null);
  }

  // What an admin does

  async turnProcess() {
    const back = this.state?.draining === true;
    const sure = back || await confirmed({
      title: "Drain the gateway?", danger: true, yes: "Drain the gateway",
      text: "It refuses every new request and is told as not ready, until it is undrained. Requests under way are finished.",
    });
    if (sure) await this.act(back ? "/admin/undrain" : "/admin/drain", {});
  }

  async resetAll() {
    const text = "Every breaker is closed, and what else keeps an endpoint out is forgotten: the very next requests may go there.";
    if (await confirmed({ title: "Reset all breakers?", text, yes: "Reset all" })) await this.act("/admin/circuit-breaker/reset", {});
  }

  async reset(endpoint) {
    const text = `The breaker of ${endpoint.id} is closed, and what else keeps it out is forgotten: the very next request may go there.`;
    if (await confirmed({ title: "Reset this breaker?", text, yes: "Reset" })) await this.act("/admin/circuit-breaker/reset", { endpoint: endpoint.id });
  }

  async turn(endpoint) {
    const text = `${endpoint.id} gets no new requests until it is undrained. Those under way are finished.`;
    const sure = endpoint.drained || await confirmed({ title: "Drain this endpoint?", text, yes: "Drain", danger: true });
    if (sure) await this.act(endpoint.drained ? "/admin/undrain" : "/admin/drain", { endpoint: endpoint.id });
  }

  async act(path, body) {
    try {
      const said = await fetchJson(path, { method: "POST", body, signal: this.gone.signal });
      this.tell(`${clock(Date.now() / 1000)} ${said.message ?? "Done"}.`, "ok");
    } catch (problem) {
      if (problem.name === "AbortError") return;
      this.tell(`That did not work: ${problem.message}`, "bad");
    }
  }

  tell(text, state) {
    mark(this.told, "data-state", state);
    say(this.told, text);
  }

  async look() {
    try {
      const page = await fetchJson(`/api/audit?limit=${CHANGES}`, { signal: this.gone.signal });
      clear(this.changes).append(changesOf(page.entries));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      clear(this.changes).append(h("p", { class: "empty" }, problem.message));
    }
  }
}

class Facts {
  constructor(names) {
    this.values = names.map(() => h("dd", null, "–"));
    this.node = h("dl", { class: "health-facts" }, names.map((name, at) => [h("dt", null, name), this.values[at]]));
  }

  set(texts) {
    texts.forEach((text, at) => say(this.values[at], text));
  }
}

// One body of rows a tier; rows stay where they are while the endpoints are the same, so that a button keeps its focus.
class Endpoints {
  constructor(page) {
    this.page = page;
    this.shape = "";
    this.rows = new Map();
    this.head = ["Endpoint", "State", "Requests, 5 min", "Failed", "Latency", "Rate", "In flight", "Weight · priority", ...(page.admin ? ["Actions"] : [])];
    this.table = h("table", { class: "table endpoints" },
      h("caption", { class: "sr-only" }, "Every endpoint by tier"),
      h("thead", null, h("tr", null, this.head.map((name, at) => h("th", { scope: "col", class: at > 1 ? "num" : null }, name)))));
    this.node = h("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Table of endpoints" }, this.table);
  }

  show(tick) {
    const shape = JSON.stringify(tick.tiers.map((tier) => [tier.tier, tier.endpoints.map((each) => each.id)]));
    if (shape !== this.shape) {
      this.shape = shape;
      this.build(tick.tiers);
    }
    for (const tier of tick.tiers) {
      const head = this.rows.get(`tier ${tier.tier}`);
      mark(head.state, "data-state", tier.state);
      say(head.state, words(tier.state));
      say(head.told, `${tier.available} of ${tier.total} available · ${rate(tier.requestsPerSecond)}/s · tripped ${count(tier.trips)}×`);
      for (const endpoint of tier.endpoints) this.fill(endpoint);
    }
  }

  build(tiers) {
    this.rows.clear();
    for (const body of [...this.table.tBodies]) body.remove();
    for (const tier of tiers) {
      const state = h("span", { class: "badge" });
      const told = h("span", { class: "tier-told" });
      this.rows.set(`tier ${tier.tier}`, { state, told });
      this.table.append(h("tbody", null,
        h("tr", { class: "tier-row" }, h("th", { scope: "rowgroup", colspan: this.head.length },
          h("span", { class: "tier-line" }, h("span", { class: "badge tier-name", data: { tier: tier.tier } }, tier.tier), state, told))),
        tier.endpoints.map((each) => this.row(each)),
        tier.endpoints.length ? null : h("tr", null, h("td", { colspan: this.head.length, class: "muted" }, "This tier has no endpoint."))));
    }
  }

  row(endpoint) {
    const cells = this.head.slice(2, 8).map((name) => h("td", { class: "num", data: { name } }));
    const row = { endpoint, cells, word: h("span", { class: "state-word" }), why: h("span", { class: "state-why" }), help: h("p", { class: "endpoint-help" }) };
    if (this.page.admin) {
      row.reset = h("button", { class: "button small", type: "button", "aria-label": `Reset the breaker of ${endpoint.id}`, data: { acts: "" }, on: { click: () => this.page.reset(row.endpoint) } }, "Reset");
      row.drain = h("button", { class: "button small", type: "button", data: { acts: "" }, on: { click: () => this.page.turn(row.endpoint) } });
    }
    const names = [h("span", { class: "endpoint-name" }, endpoint.name), h("span", { class: "endpoint-where" }, h("span", { class: "mono" }, endpoint.id), " · ", endpoint.registered ? `${endpoint.location}, registered` : endpoint.location)];
    row.node = h("tr", { class: "endpoint-row" },
      h("th", { scope: "row" }, h("a", { href: `#/decisions?endpoint=${encodeURIComponent(endpoint.id)}`, class: "endpoint-link" }, names), row.help),
      h("td", { class: "state-cell" }, ring(), h("span", { class: "state-text" }, row.word, row.why)),
      cells,
      this.page.admin ? h("td", { class: "acts" }, row.reset, row.drain) : null);
    this.rows.set(endpoint.id, row);
    return row.node;
  }

  fill(endpoint) {
    const row = this.rows.get(endpoint.id);
    const { state, word } = stateOf(endpoint);
    row.endpoint = endpoint;
    mark(row.node, "data-state", state);
    say(row.word, word);
    say(row.why, endpoint.available || words(endpoint.why) === word ? "" : words(endpoint.why));
    say(row.help, endpoint.available ? "" : REMEDIES[endpoint.drained ? "drained" : endpoint.why] ?? "");
    const failed = endpoint.requests5m ? endpoint.failed5m / endpoint.requests5m : 0;
    const texts = [count(endpoint.requests5m), `${count(endpoint.failed5m)} · ${percent(failed)}`, duration(endpoint.latencyMs), `${rate(endpoint.requestsPerSecond)}/s`, slots(endpoint), `${endpoint.weight} · ${endpoint.priority}`];
    texts.forEach((text, at) => say(row.cells[at], text));
    mark(row.cells[1], "data-state", gravity(failed));
    if (row.drain) {
      say(row.drain, endpoint.drained ? "Undrain" : "Drain");
      mark(row.drain, "aria-label", `${endpoint.drained ? "Undrain" : "Drain"} ${endpoint.id}`);
    }
  }
}

// Settings have no name of their own: told are those that changed.
function subjectOf({ subject, details }) {
  if (details?.kind !== "settings") return subject;
  const { before, after } = details;
  return Object.keys({ ...before, ...after }).filter((name) => JSON.stringify(before?.[name]) !== JSON.stringify(after?.[name])).join(", ") || subject;
}

function changesOf(entries) {
  if (!entries.length) return h("p", { class: "empty" }, h("strong", null, "No change yet"), "Keys, workspaces, models and rules that are set over the API are told here.");
  return h("ol", { class: "changes" }, entries.map((each) => h("li", null,
    h("span", { class: "muted", title: moment(each.at) }, moment(each.at)), h("span", null, words(each.action)), h("span", { class: "mono" }, subjectOf(each)), h("span", { class: "muted" }, `by ${each.actor}`))));
}
