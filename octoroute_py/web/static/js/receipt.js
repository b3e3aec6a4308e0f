// One decision explained: the sentence first, then what it rests on, then what happened. The same for a request that
// has ended (a receipt) and for one that was not sent (an explanation).

import { h } from "./dom.js";
import { count, duration, moment, money, percent } from "./format.js";
import { rules } from "./rules.js";
import { scorer } from "./scorer.js";
import { timeline } from "./timeline.js";
import { JUDGE_STATES, MISFITS, PARTS, REASONS, UNKNOWN, ending, faultText, precise, spoken } from "./words.js";

/** The document of a receipt as nodes; `app.announce` tells what a copy button did. */
export function receipt(doc, app) {
  return h(
    "article",
    { class: "receipt", "aria-label": "Decision explained" },
    head(doc, app),
    namesakes(doc),
    gaps(doc),
    happened(doc),
    explanation(doc),
    raw(doc, app),
  );
}

/** The part that is told of any decision, sent or not. */
export function explanation(doc) {
  return [
    section("How it was decided", steps(doc), unasked(doc)),
    doc.complete === false ? null : section(doc.request ? "Why this endpoint" : "Who can take it", answering(doc)),
    doc.facts ? section("Facts of the request", factsOf(doc.facts)) : null,
  ];
}

/** "Went to balanced because …" as a heading. */
export function sentence(doc) {
  return h("h2", { class: "sentence" }, doc.request ? past(doc) : future(doc));
}

function future(doc) {
  if (doc.next_step === "judge") return ["The judge decides; if it fails, it goes to ", tierWord(doc.tier), "."];
  return ["Would go to ", tierWord(doc.tier), because(doc), "."];
}

function past(doc) {
  const { tone, text } = ending(doc.request.status, doc.request.error_code);
  const sent = doc.attempts.length > 0;
  if (!doc.tier) return ["Was turned away: ", text, "."];
  if (!sent && tone !== "ok") return ["Was not sent: ", text, ". It was meant for ", tierWord(doc.tier), because(doc), "."];
  const other = doc.answered_tier !== doc.tier;
  const went = tone === "ok" ? "Went to " : text === "client left" ? "Was left by its client at " : "Failed at ";
  if (!other) return [went, tierWord(doc.tier), because(doc), "."];
  return [went, tierWord(doc.answered_tier), " instead of ", tierWord(doc.tier), `: ${spoken(REASONS, doc.answered_reason)}. It was meant for `, tierWord(doc.tier), because(doc), "."];
}

function tierWord(tier) {
  return h("strong", { class: `ink-${tier}` }, tier ?? "nowhere");
}

function because(doc) {
  if (!doc.reason) return null;
  if (doc.reason === "rule_matched" && doc.rule) return [" because rule ", h("em", null, doc.rule), " matched"];
  if (doc.reason === "explicit_endpoint" && doc.facts) return [" because the client named ", h("em", null, doc.facts.model)];
  if (doc.reason === "experiment" && doc.arms.length > 0) return [" because experiment ", h("em", null, doc.arms.join(", ")), " drew it"];
  const sure = doc.confidence === null ? "" : ` (${percent(doc.confidence)} sure)`;
  return ` because ${spoken(REASONS, doc.reason)}${sure}`;
}

function head(doc, app) {
  const request = doc.request;
  return h(
    "header",
    { class: "receipt-head" },
    request
      ? h(
          "p",
          { class: "receipt-id" },
          h("code", {}, request.request_id),
          copyButton("Copy id", request.request_id, "request id", app),
        )
      : null,
    sentence(doc),
    request ? tags(request) : null,
  );
}

function tags(request) {
  const how = ending(request.status, request.error_code);
  const said = [
    ["workspace", request.workspace],
    ["agent", request.agent_type],
    ["key", request.key && (request.key.name ?? request.key.id)],
    ["configuration", request.generation],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "p",
    { class: "receipt-tags" },
    h("span", { class: "badge", data: { state: how.tone } }, `${request.status} · ${how.text}`),
    h("time", { datetime: request.at, class: "muted", title: request.at }, moment(request.at)),
    h("span", { class: "chip" }, request.stream ? `${request.surface} · stream` : request.surface),
    said.map(([name, value]) => h("span", { class: "chip" }, h("span", { class: "muted" }, name), String(value))),
  );
}

/** Others that came with the same id. */
function namesakes(doc) {
  const { request, entries = [] } = doc;
  if (entries.length < 2) return null;
  const links = entries.map((entry, index) =>
    h(
      "a",
      {
        class: "button small",
        href: `#/decisions/${encodeURIComponent(request.request_id)}?entry=${entry}`,
        "aria-current": entry === request.entry ? "true" : null,
      },
      index === 0 ? "newest" : String(index + 1),
    ),
  );
  return h("p", { class: "namesakes" }, h("span", { class: "muted" }, `${entries.length} requests came with this id, newest first:`), links);
}

/** Why a receipt of long ago says less. */
function gaps(doc) {
  if (doc.complete) return null;
  return h(
    "p",
    { class: "receipt-gaps", role: "note" },
    h("strong", null, "Only what came of it is known. "),
    "Its facts, the rules that were considered, what the scorer believed and who else could have answered are gone: the gateway keeps them in memory for its latest requests alone, until it restarts or its configuration has changed many times.",
  );
}

/** What nobody asked at the time, and nobody can ask now. */
function unasked(doc) {
  if (!doc.complete || doc.unknown.length === 0) return null;
  const names = doc.unknown.map((name) => spoken(UNKNOWN, name)).join("; ");
  return h("p", { class: "unasked muted" }, `Nobody asked at the time, and the prompt is not kept: ${names}.`);
}

function happened(doc) {
  if (!doc.request) return null;
  const timing = doc.timing ?? {};
  const drawn = timeline(doc);
  return section(
    "What happened",
    figures(doc, timing),
    drawn ?? h("p", { class: "muted" }, "Nothing was sent to an endpoint."),
    ...failures(doc),
  );
}

function figures(doc, timing) {
  const { usage, saved_usd: saved } = doc;
  const share = saved !== null && doc.baseline_usd > 0 ? h("span", { class: "share" }, percent(saved / doc.baseline_usd)) : null;
  return h(
    "dl",
    { class: "figures" },
    figure("Duration", duration(timing.duration_ms), timing.duration_ms, "ms"),
    figure("First event", duration(timing.first_event_ms), timing.first_event_ms, "ms"),
    figure("Choosing", duration(timing.routing_ms), timing.routing_ms, "ms"),
    figure(usage.estimated ? "Tokens (estimate)" : "Tokens", `${count(usage.prompt_tokens)} → ${count(usage.completion_tokens)}`),
    figure("Cost", money(doc.cost_usd), doc.cost_usd, "USD"),
    figure("At deep", money(doc.baseline_usd), doc.baseline_usd, "USD"),
    figure(["Saved", share], money(saved), saved, "USD"),
  );
}

function figure(name, value, number, unit) {
  const title = number === null || number === undefined ? null : `${precise(number)} ${unit}`;
  return h("div", { class: "figure" }, h("dt", {}, name), h("dd", { title }, value));
}

function failures(doc) {
  const failed = (doc.attempts ?? []).filter((attempt) => attempt.fault);
  if (failed.length === 0) return [];
  const said = failed.map((attempt) => `${attempt.endpoint}: ${faultText(attempt.fault)}`);
  return [h("p", { class: "muted" }, `Failed on the way: ${said.join("; ")}.`)];
}

/** Who decided, in a word of ours; null while it is the judge's turn. */
function decider(doc) {
  if (doc.next_step === "judge") return null;
  if (doc.decided_by && doc.decided_by !== "strategy") return doc.decided_by;
  if (doc.reason === "explicit_tier" || doc.reason === "explicit_endpoint") return "client";
  if (doc.reason === "experiment") return "experiment";
  if (doc.rule) return "rule";
  if (doc.strategy === "neural") return "scorer";
  if (doc.strategy === "rule" || doc.reason === "judge_failed") return doc.reason ? "default" : null;
  return "judge";
}

/** Each step that could decide, in the order they are asked. */
function steps(doc) {
  const by = decider(doc);
  const trials = doc.rules;
  const matched = trials.filter((trial) => trial.matched).length;
  const { judge, scorer: beliefs } = doc;
  const named = by === "client" ? "named a tier or a model: nobody else is asked" : "left the choice to the gateway";
  const decided = by === "rule" ? ruleId(doc) : null;
  return h(
    "ol",
    { class: "steps" },
    step("Client", by === "client", named),
    by === "experiment" ? step("Experiment", true, doc.arms.join(", ")) : null,
    trials.length > 0
      ? step("Rules", by === "rule", `${count(trials.length)} considered, ${count(matched)} matched`, rules(trials, doc.facts, decided))
      : by === "rule" ? step("Rules", true, `rule ${doc.rule}`) : null,
    doc.preferred
      ? step("Preferences", by === "preferences", doc.preferred.join(", ") || "none of the preferred models can answer")
      : null,
    beliefs ? step("Scorer", by === "scorer", null, scorer(beliefs, by === "scorer")) : by === "scorer" ? step("Scorer", true, null) : null,
    judge
      ? step("Judge", by === "judge", `${spoken(JUDGE_STATES, judge.state)} (on ${judge.tier}, ${judge.strategy})`)
      : by === "judge" ? step("Judge", true, null) : null,
    doc.default_tier && by !== "client" ? step("Default tier", by === "default", doc.default_tier) : by === "default" ? step("Default tier", true, null) : null,
  );
}

function ruleId(doc) {
  return doc.rule_id ?? doc.rules.find((trial) => trial.matched && trial.name === doc.rule)?.id ?? null;
}

function step(name, decided, said, ...more) {
  return h(
    "li",
    { class: `step${decided ? " decided" : ""}` },
    h("h4", null, name, decided ? h("span", { class: "badge", data: { state: "ok" } }, "decided") : null),
    said ? h("p", null, said) : null,
    ...more,
  );
}

/** Who could take it, why the others could not, and why this endpoint. */
function answering(doc) {
  const why = doc.why_endpoint;
  const listed = why ? why.candidates.map((each) => candidate(each, doc.attempts.length > 0)) : able(doc);
  return [
    why ? drawn(doc, why) : null,
    listed.length > 0 ? h("ul", { class: "candidates" }, listed) : null,
    why?.more ? h("p", { class: "muted" }, `and ${count(why.more)} more`) : null,
    h("dl", { class: "facts" }, named("Models, in order", doc.models), named("Drawn first among", doc.first), named("Arms", doc.arms)),
  ];
}

function drawn(doc, why) {
  if (!doc.endpoint) return h("p", { class: "muted" }, "No endpoint took it.");
  const first = why.candidates.find((each) => each.part === "chosen");
  const many = why.drawn_among.length;
  const how = many > 1 ? `drawn by ${why.balancer.replaceAll("_", " ")} among ${many}` : "the only one";
  const last = first && first.endpoint !== doc.endpoint ? [" In the end it was ", h("strong", null, doc.endpoint), "."] : null;
  return h("p", { class: "drawn" }, h("strong", null, first?.endpoint ?? doc.endpoint), ` was asked first: ${how} of priority ${why.priority ?? "–"}.`, last);
}

function candidate(each, sentAny) {
  const known = sentAny || each.part !== "not_reached" ? spoken(PARTS, each.part) : "not asked";
  const part = each.part === "unfit" ? spoken(MISFITS, each.unfit) : known;
  const sent = each.attempts.length > 0 ? `attempt ${each.attempts.join(", ")} · ` : "";
  return h(
    "li",
    { class: `candidate ${each.part}` },
    h("span", { class: "candidate-name" }, h("span", { class: `dot tier-${each.tier}` }), each.endpoint),
    h("span", { class: "muted" }, `${sent}${part} · priority ${each.priority}, weight ${precise(each.weight)}`),
  );
}

function able(doc) {
  return [
    ...doc.candidates.map((id) => h("li", { class: "candidate" }, h("span", { class: "candidate-name" }, id), h("span", { class: "muted" }, "can take it"))),
    ...Object.entries(doc.unfit).map(([id, misfit]) =>
      h("li", { class: "candidate unfit" }, h("span", { class: "candidate-name" }, id), h("span", { class: "muted" }, spoken(MISFITS, misfit)))),
  ];
}

function named(name, values) {
  return values && values.length > 0 ? h("div", {}, h("dt", {}, name), h("dd", {}, values.join(", "))) : null;
}

function factsOf(facts) {
  const rows = [
    ["Tokens", count(facts.tokens)],
    ["Task type", spoken({}, facts.task_type)],
    ["Importance", facts.importance],
    ["Asked for", facts.model],
    ["Turns", facts.turns],
    ["Tools", yes(facts.has_tools)],
    ["Images", yes(facts.has_images)],
    ["Code", yes(facts.has_code)],
  ];
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value ?? "–")))));
}

function yes(value) {
  if (value === null) return "nobody looked";
  return value ? "yes" : "no";
}

function section(title, ...children) {
  return h("section", { class: "panel receipt-part" }, h("h3", {}, title), ...children);
}

function raw(doc, app) {
  const text = JSON.stringify(doc, null, 2);
  return h(
    "details",
    { class: "panel receipt-part" },
    h("summary", {}, "As JSON"),
    copyButton("Copy JSON", text, "JSON", app),
    h("pre", { class: "json", tabindex: "0", "aria-label": "The receipt as JSON" }, text),
  );
}

/** A button that copies, and says whether it did. */
export function copyButton(label, text, what, app) {
  const button = h("button", { type: "button", class: "button small", on: { click: copy } }, label);
  async function copy() {
    const done = await copied(text);
    button.textContent = done ? "Copied" : "Not copied";
    app.announce(done ? `Copied the ${what}` : `The browser did not allow copying the ${what}`);
    setTimeout(() => {
      button.textContent = label;
    }, 2000);
  }
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // no secure context, or not allowed
  }
}
