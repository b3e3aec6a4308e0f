// The living map: gateway → tiers → endpoints. Nodes are ordinary elements, so that names wrap, are found and take
// focus; the lines between them are SVG, as wide as their traffic, and what flows on them is as fast as it. On a phone
// the same nodes are a list.

import { clear, h, mark, say, svg } from "./dom.js";
import { count, duration, percent, rate, words } from "./format.js";

const SHOWN_PER_TIER = 8;
const STEP = 18;

/** In a word, how an endpoint does: never by colour alone. */
export function stateOf(endpoint) {
  if (endpoint.drained) return { state: "drained", word: "drained" };
  if (endpoint.state === "open") return { state: "open", word: "open" };
  if (endpoint.state === "half_open" && (endpoint.available || ["breaker", "full"].includes(endpoint.why ?? "breaker"))) return { state: "half_open", word: "half open" };
  if (!endpoint.available) return endpoint.why === "full" ? { state: "half_open", word: "full" } : { state: "unavailable", word: words(endpoint.why ?? "unavailable") };
  return { state: "closed", word: "closed" };
}

/** How grave a share of failed requests is: nothing, worth a look, bad. */
export function gravity(share) {
  return share >= 0.05 ? "bad" : share >= 0.01 ? "warn" : null;
}

/** A ring as a breaker's state: whole, half, broken, dotted, or crossed. */
export function ring() {
  return svg("svg", { class: "ring", viewBox: "0 0 20 20", "aria-hidden": "true" },
    svg("circle", { class: "ring-track", cx: 10, cy: 10, r: 7.5 }),
    svg("circle", { class: "ring-line", cx: 10, cy: 10, r: 7.5, pathLength: 100 }),
    svg("path", { class: "ring-cross", d: "M7.4 7.4l5.2 5.2M12.6 7.4l-5.2 5.2" }));
}

export class LivingMap {
  constructor() {
    this.edges = svg("svg", { class: "map-edges", "aria-hidden": "true" });
    this.rate = h("span", { class: "map-number" }, "–");
    this.inFlight = h("span", { class: "map-sub" }, "–");
    this.gateway = h("div", { class: "map-gateway" }, h("span", { class: "map-name" }, "Gateway"), this.rate, this.inFlight);
    this.tiers = h("div", { class: "map-tiers" });
    this.tip = h("div", { class: "map-tip", hidden: true });
    this.node = h("div", { class: "map" }, this.edges, this.gateway, this.tiers, this.tip);
    this.rows = new Map();
    this.lines = new Map();
    this.shape = "";
    this.pointed = null;
    this.resized = new ResizeObserver(() => this.route());
    this.resized.observe(this.node);
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
  }

  close() {
    this.resized.disconnect();
    for (const line of this.lines.values()) line.motion.cancel();
  }

  show(tick) {
    const tiers = tick.tiers.map((tier) => ({ ...tier, shown: busiest(tier.endpoints, this.known) }));
    const shape = JSON.stringify(tiers.map((tier) => [tier.tier, tier.shown.map((each) => each.id), tier.endpoints.length]));
    if (shape !== this.shape) {
      this.shape = shape;
      this.known = new Set(tiers.flatMap((tier) => tier.shown.map((each) => each.id)));
      this.build(tiers);
    }
    say(this.rate, `${rate(tick.perSecond)}/s`);
    say(this.inFlight, `${count(tick.inFlight)} in flight`);
    const whole = Math.max(sum(tiers, (tier) => tier.requestsPerSecond), 0.001);
    for (const tier of tiers) {
      const row = this.rows.get(tier.tier);
      mark(row.node, "data-state", tier.available ? null : "out");
      say(row.number, `${rate(tier.requestsPerSecond)}/s`);
      say(row.sub, `${tier.available} of ${tier.total} available`);
      this.flow(`tier ${tier.tier}`, tier.requestsPerSecond, whole, tier.available > 0);
      for (const endpoint of tier.shown) this.fill(endpoint, whole);
    }
    if (this.pointed !== null) this.tellPointed();
  }

  build(tiers) {
    clear(this.tiers);
    clear(this.edges);
    this.rows.clear();
    this.lines.clear();
    for (const tier of tiers) {
      const number = h("span", { class: "map-number" });
      const sub = h("span", { class: "map-sub" });
      const node = h("div", { class: "map-tier", data: { tier: tier.tier } }, h("span", { class: "map-name" }, tier.tier), number, sub);
      this.rows.set(tier.tier, { node, number, sub });
      const list = h("ul", { class: "map-endpoints" }, tier.shown.map((each) => this.endpoint(each)));
      const rest = tier.endpoints.length - tier.shown.length;
      if (rest > 0) list.append(h("li", null, h("a", { class: "map-more", href: "#/health" }, `and ${rest} more`)));
      if (tier.endpoints.length === 0) list.append(h("li", { class: "map-sub" }, "no endpoint"));
      this.tiers.append(h("section", { class: "map-row", "aria-label": `Tier ${tier.tier}` }, node, list));
      this.line(`tier ${tier.tier}`, this.gateway, node, tier.tier);
      for (const each of tier.shown) this.line(each.id, node, this.rows.get(`endpoint ${each.id}`).node, tier.tier);
    }
    this.route();
  }

  endpoint(endpoint) {
    const name = h("span", { class: "map-name", title: endpoint.id }, endpoint.name);
    const sub = h("span", { class: "map-sub" });
    const word = h("span", { class: "map-word" });
    const number = h("span", { class: "map-number" });
    const node = h("a", { class: "map-endpoint", href: `#/decisions?endpoint=${encodeURIComponent(endpoint.id)}`, on: {
      pointerenter: () => this.point(endpoint.id), pointerleave: () => this.point(null), focus: () => this.point(endpoint.id), blur: () => this.point(null),
    } }, ring(), h("span", { class: "map-text" }, name, sub), h("span", { class: "map-end" }, number, word));
    this.rows.set(`endpoint ${endpoint.id}`, { node, name, sub, word, number, endpoint });
    return h("li", null, node);
  }

  fill(endpoint, whole) {
    const row = this.rows.get(`endpoint ${endpoint.id}`);
    const { state, word } = stateOf(endpoint);
    row.endpoint = endpoint;
    mark(row.node, "data-state", state);
    say(row.number, `${rate(endpoint.requestsPerSecond)}/s`);
    const sub = `${duration(endpoint.latencyMs)} · ${slots(endpoint)} in flight`;
    say(row.sub, sub);
    mark(row.sub, "title", sub);
    say(row.word, word);
    mark(row.node, "aria-label", `${endpoint.name}: ${word}, ${rate(endpoint.requestsPerSecond)} requests per second; its decisions`);
    this.flow(endpoint.id, endpoint.requestsPerSecond, whole, endpoint.available);
  }

  // Lines

  line(id, from, to, tier) {
    const path = svg("path", { class: "edge", data: { tier } });
    const flow = svg("path", { class: "edge-flow", data: { tier } });
    this.edges.append(path, flow);
    const motion = flow.animate([{ strokeDashoffset: STEP }, { strokeDashoffset: 0 }], { duration: 1000, iterations: Infinity });
    motion.pause();
    this.lines.set(id, { from, to, path, flow, motion });
  }

  flow(id, perSecond, whole, open) {
    const line = this.lines.get(id);
    if (!line) return;
    const width = perSecond > 0 ? 2 + 12 * Math.sqrt(Math.min(1, perSecond / whole)) : 1.5;
    line.path.style.setProperty("stroke-width", width.toFixed(1));
    line.flow.style.setProperty("stroke-width", Math.max(2, width * 0.4).toFixed(1));
    mark(line.path, "data-open", open ? null : "no");
    const moves = perSecond > 0 && !this.still.matches;
    mark(line.flow, "hidden", !moves);
    if (moves) {
      line.motion.updatePlaybackRate(Math.min(4, 0.4 + Math.log2(1 + perSecond) * 0.6));
      if (line.motion.playState !== "running") line.motion.play();
    } else if (line.motion.playState === "running") line.motion.pause();
  }

  route() {
    const box = this.node.getBoundingClientRect();
    if (box.width === 0 || getComputedStyle(this.edges).display === "none") return;
    mark(this.edges, "viewBox", `0 0 ${box.width} ${box.height}`);
    for (const { from, to, path, flow } of this.lines.values()) {
      const one = from.getBoundingClientRect();
      const two = to.getBoundingClientRect();
      const [x1, y1, x2, y2] = [one.right - box.left, one.top + one.height / 2 - box.top, two.left - box.left, two.top + two.height / 2 - box.top];
      const bend = (x2 - x1) * 0.5;
      const way = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
      mark(path, "d", way);
      mark(flow, "d", way);
    }
  }

  // What an endpoint's numbers are, while it is pointed at

  point(id) {
    this.pointed = id;
    this.tip.hidden = id === null;
    if (id !== null) this.tellPointed();
  }

  tellPointed() {
    const row = this.rows.get(`endpoint ${this.pointed}`);
    if (!row) {
      this.point(null);
      return;
    }
    const { endpoint } = row;
    const facts = [
      ["Breaker", words(endpoint.state)],
      ...(endpoint.available ? [] : [["Unavailable", words(endpoint.why ?? "unavailable")]]),
      ["Requests, 5 min", count(endpoint.requests5m)],
      ["Failed, 5 min", `${count(endpoint.failed5m)} (${percent(endpoint.requests5m ? endpoint.failed5m / endpoint.requests5m : 0)})`],
      ["Latency", duration(endpoint.latencyMs)],
      ["In flight", slots(endpoint)],
      ["Weight, priority", `${endpoint.weight}, ${endpoint.priority}`],
      ["Location", endpoint.registered ? `${endpoint.location}, registered` : endpoint.location],
    ];
    clear(this.tip).append(h("p", { class: "map-tip-id mono" }, endpoint.id), h("dl", null, facts.map(([name, value]) => [h("dt", null, name), h("dd", null, value)])));
    const box = this.node.getBoundingClientRect();
    const at = row.node.getBoundingClientRect();
    const top = Math.min(Math.max(0, at.top - box.top + at.height / 2 - this.tip.offsetHeight / 2), Math.max(0, box.height - this.tip.offsetHeight));
    this.tip.style.setProperty("top", `${top}px`);
    this.tip.style.setProperty("right", `${box.right - at.left + 12}px`);
  }
}

/** In flight, of how many at most. */
export function slots(endpoint) {
  return endpoint.maxInFlight === null || endpoint.maxInFlight === undefined ? count(endpoint.inFlight) : `${count(endpoint.inFlight)}/${count(endpoint.maxInFlight)}`;
}

// Who is shown stays shown while it is there, so that nothing jumps; places are given to the busiest first.
function busiest(endpoints, known) {
  if (endpoints.length <= SHOWN_PER_TIER) return endpoints;
  const stays = endpoints.filter((each) => known?.has(each.id)).slice(0, SHOWN_PER_TIER);
  const rest = endpoints.filter((each) => !stays.includes(each)).sort((one, two) => two.requestsPerSecond - one.requestsPerSecond);
  const chosen = new Set([...stays, ...rest.slice(0, SHOWN_PER_TIER - stays.length)]);
  return endpoints.filter((each) => chosen.has(each));
}

function sum(all, value) {
  return all.reduce((whole, each) => whole + value(each), 0);
}
