// One decision explained: the sentence first, then what it rests on, then what happened. The same for a request that
// has ended (a receipt) and for one that was not sent (an explanation).

import { h } from "./dom.js";
import { count, duration, exact, money, percent, time } from "./format.js";
import { rules } from "./rules.js";
import { scorer } from "./scorer.js";
import { timeline } from "./timeline.js";
import { DECIDERS, JUDGE_STATES, MISFITS, REASONS, ending, faultText, spoken } from "./words.js";

/** The document of a receipt as nodes; `app.announce` tells what a copy button did. */
export function receipt(doc, app) {
  return h(
    "article",
    { class: "receipt", "aria-label": "Decision explained" },
    head(doc, app),
    doc.complete === false ? gaps(doc) : null,
    happened(doc),
    explanation(doc),
    raw(doc, app),
  );
}

/** The part that is told of any decision, sent or not. */
export function explanation(doc) {
  return [
    section("How it was decided", steps(doc)),
    section("Who may answer", answering(doc)),
    doc.facts ? section("Facts of the request", factsOf(doc.facts)) : null,
  ];
}

/** "Went to balanced because …" as nodes. */
export function sentence(doc) {
  const went = went_(doc);
  return h("h2", { class: "sentence" }, went, ...because(doc));
}

function went_(doc) {
  const request = doc.request;
  const tier = h("strong", { class: `ink-${doc.tier}` }, doc.tier ?? "nowhere");
  if (!request) return doc.next_step === "judge" ? ["The judge decides; if it fails, ", tier] : ["Would go to ", tier];
  const { tone } = ending(request.status, request.error_code);
  if (!doc.tier) return ["Was turned away", ` (${ending(request.status, request.error_code).text})`];
  if ((doc.attempts ?? []).length === 0 && tone !== "ok") return ["Would have gone to ", tier];
  return [tone === "ok" ? "Went to " : "Was tried at ", tier];
}

function because(doc) {
  if (!doc.reason || doc.next_step === "judge") return ["."];
  if (doc.reason === "rule_matched" && doc.rule) return [" because rule ", h("em", {}, doc.rule), " matched."];
  if (doc.reason === "explicit_endpoint" && doc.facts) {
    return [" because the client named ", h("em", {}, doc.facts.model), "."];
  }
  const arms = (doc.arms ?? []).join(", ");
  if (doc.reason === "experiment" && arms) return [" because experiment ", h("em", {}, arms), " drew it."];
  const sure = doc.confidence === null || doc.confidence === undefined ? "" : ` (${percent(doc.confidence)} sure)`;
  return [` because ${spoken(REASONS, doc.reason)}${sure}.`];
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
  const key = typeof request.key === "object" && request.key !== null ? (request.key.name ?? request.key.id) : request.key;
  const said = [
    ["workspace", request.workspace],
    ["agent", request.agent_type],
    ["key", key],
    ["tag", request.tag],
  ].filter(([, value]) => value);
  return h(
    "p",
    { class: "receipt-tags" },
    h("span", { class: `badge ${how.tone}` }, `${request.status} · ${how.text}`),
    h("time", { datetime: request.at, class: "muted" }, time(request.at)),
    h("span", { class: "chip" }, [request.surface, request.stream ? "stream" : null].filter(Boolean).join(" · ")),
    said.map(([name, value]) => h("span", { class: "chip" }, h("span", { class: "muted" }, `${name} `), value)),
    request.generation === null || request.generation === undefined
      ? null
      : h("span", { class: "chip" }, h("span", { class: "muted" }, "configuration "), String(request.generation)),
  );
}

/** What is no longer known, and why. */
function gaps(doc) {
  const missing = [
    doc.facts ? null : "the facts of the request",
    (doc.rules ?? []).length > 0 ? null : "the rules that were considered",
    doc.scorer ? null : "what the scorer believed",
    (doc.candidates ?? []).length > 0 ? null : "who else could have answered",
  ].filter(Boolean);
  const why = doc.missing ?? doc.why_incomplete;
  return h(
    "p",
    { class: "receipt-gaps", role: "note" },
    h("strong", {}, "Told from the journal. "),
    missing.length > 0 ? `No longer known: ${missing.join(", ")}. ` : null,
    typeof why === "string"
      ? why
      : "The gateway keeps what a decision rests on only for the latest requests, in memory, until it restarts.",
  );
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
  const usage = doc.usage;
  const tokens = usage ? `${count(usage.prompt_tokens)} → ${count(usage.completion_tokens)}` : "–";
  const saved = doc.saved_usd;
  const share = doc.baseline_usd > 0 && saved !== null && saved !== undefined ? ` ${percent(saved / doc.baseline_usd)}` : "";
  return h(
    "dl",
    { class: "figures" },
    figure("Duration", duration(timing.duration_ms), timing.duration_ms, "ms"),
    figure("First event", duration(timing.first_event_ms), timing.first_event_ms, "ms"),
    figure("Choosing took", duration(timing.routing_ms), timing.routing_ms, "ms"),
    figure(usage?.estimated ? "Tokens (estimate)" : "Tokens", tokens),
    figure("Cost", money(doc.cost_usd), doc.cost_usd, "USD"),
    figure("At deep", money(doc.baseline_usd), doc.baseline_usd, "USD"),
    figure("Saved", `${money(saved)}${share}`, saved, "USD"),
  );
}

function figure(name, value, number, unit) {
  const title = number === null || number === undefined ? null : `${exact(number)} ${unit}`;
  return h("div", { class: "figure" }, h("dt", {}, name), h("dd", { title }, value));
}

function failures(doc) {
  const failed = (doc.attempts ?? []).filter((attempt) => attempt.fault);
  if (failed.length === 0) return [];
  const said = failed.map((attempt) => `${attempt.endpoint}: ${faultText(attempt.fault)}`);
  return [h("p", { class: "muted" }, `Failed on the way: ${said.join("; ")}.`)];
}

/** Each step that could decide, in the order they are asked. */
function steps(doc) {
  const trials = doc.rules ?? [];
  const by = doc.decided_by;
  const own = trials.filter((trial) => trial.matched).length;
  return h(
    "ol",
    { class: "steps" },
    step("Client", by === "client", by === "client" ? "named a tier or a model: nobody else is asked" : "left the choice to the gateway"),
    (doc.arms ?? []).length > 0 || by === "experiment"
      ? step("Experiment", by === "experiment", `arms: ${(doc.arms ?? []).join(", ")}`)
      : null,
    trials.length > 0
      ? step("Rules", isRule(doc), `${count(trials.length)} considered, ${count(own)} matched`, rules(trials, doc.facts, isRule(doc) ? ruleId(doc) : null))
      : null,
    doc.preferred
      ? step("Preferences", by === "preferences", doc.preferred.join(", ") || "none of the preferred models can answer")
      : null,
    doc.scorer ? step("Scorer", doc.reason === "neural_decided", null, scorer(doc.scorer, doc.reason === "neural_decided")) : null,
    doc.judge
      ? step("Judge", doc.reason === "llm_judged", `${spoken(JUDGE_STATES, doc.judge.state)} (asked on ${doc.judge.tier}, ${doc.judge.strategy})`)
      : null,
    doc.default_tier ? step("Default tier", doc.reason === "default_tier" || doc.reason === "judge_failed", doc.default_tier) : null,
    by ? null : step("Decided by", false, `${spoken(DECIDERS, by)} – ${spoken(REASONS, doc.reason)}`),
  );
}

function isRule(doc) {
  return doc.reason === "rule_matched" || Boolean(doc.rule && doc.decided_by !== "client");
}

function ruleId(doc) {
  if (doc.rule_id) return doc.rule_id;
  return (doc.rules ?? []).find((trial) => trial.matched && trial.name === doc.rule)?.id ?? null;
}

function step(name, decided, said, ...more) {
  return h(
    "li",
    { class: `step${decided ? " decided" : ""}` },
    h("h4", {}, name, decided ? h("span", { class: "badge ok" }, "decided") : null),
    said ? h("p", {}, said) : null,
    ...more,
  );
}

/** Endpoints that could take it, and why the others could not. */
function answering(doc) {
  const chosen = chosenBy(doc);
  const candidates = doc.candidates ?? [];
  const known = new Map((doc.why_endpoint?.candidates ?? []).map((each) => [each.id ?? each.endpoint, each]));
  const unfit = Object.entries(doc.unfit ?? {});
  return [
    whyEndpoint(doc, chosen),
    candidates.length + unfit.length > 0
      ? h(
          "ul",
          { class: "candidates" },
          candidates.map((id) => candidate(id, id === chosen, known.get(id))),
          unfit.map(([id, misfit]) =>
            h("li", { class: "candidate out" }, h("span", { class: "candidate-name" }, id), h("span", { class: "muted" }, spoken(MISFITS, misfit))),
          ),
        )
      : null,
    h(
      "dl",
      { class: "facts" },
      named("Models, in order", doc.models),
      named("Drawn first among", doc.first),
      named("Arms", doc.arms),
    ),
  ];
}

function chosenBy(doc) {
  if (typeof doc.endpoint === "string") return doc.endpoint;
  return doc.endpoint?.id ?? null;
}

function candidate(id, chosen, known) {
  const words = chosen ? "answered" : known?.unavailable ?? known?.why ?? "could have";
  return h(
    "li",
    { class: `candidate${chosen ? " chosen" : ""}` },
    h("span", { class: "candidate-name" }, id),
    h("span", { class: "muted" }, spoken({}, words)),
  );
}

function whyEndpoint(doc, chosen) {
  if (!chosen) return null;
  const why = doc.why_endpoint;
  const said = typeof why === "string" ? why : [why?.balancer, why?.priority].filter((x) => x !== undefined && x !== null).join(", priority ");
  return h("p", {}, h("strong", {}, chosen), " answered or was tried last", said ? `: ${said}.` : ".");
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
