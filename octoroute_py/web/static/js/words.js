// What the gateway says in a word, as people say it. A word that is not listed here is shown as it came.

/** What somebody who has not asked anything yet can type. */
export const FIRST_REQUEST = `curl ${location.origin}/v1/chat/completions -H 'Content-Type: application/json' \\\n  -d '{"model": "auto", "messages": [{"role": "user", "content": "hello there"}]}'`;

export const TIERS = ["fast", "balanced", "deep"];

export const STRATEGIES = ["rule", "llm", "neural", "tool"];

export const REASONS = {
  explicit_tier: "the client asked for this tier",
  explicit_endpoint: "the client named the model",
  rule_matched: "a rule matched",
  neural_decided: "the scorer chose it",
  llm_judged: "the judge chose it",
  default_tier: "nothing else decided, and this is the default tier",
  judge_failed: "the judge failed, and this is where requests go then",
  tier_fallback: "no other tier could answer",
  local_only: "it may only go to local endpoints",
  policy: "the policy of its key or workspace allows nothing else",
  experiment: "an experiment drew it",
  context_overflow: "the prompt is too long for a smaller tier",
  capability: "the other tier lacks what the request needs",
};

export const STATUSES = {
  success: "answered whole",
  failed: "failed or refused",
  timeout: "timed out",
  rate_limited: "rate limited",
  cancelled: "client left",
  "2xx": "2xx",
  "4xx": "4xx",
  "5xx": "5xx",
};

/** Whether a request that ended so is one of those that the journal gives for a word of STATUSES. */
export function endedAs(wanted, status, code) {
  if (/^[245]xx$/.test(wanted)) return Math.floor(status / 100) === Number(wanted[0]);
  if (wanted === "cancelled") return status === 499;
  if (status === 499) return false;
  if (wanted === "success" || wanted === "failed") return (wanted === "failed") === Boolean(code);
  return Boolean(code) && { timeout: 504, rate_limited: 429 }[wanted] === status;
}

export const MISFITS = {
  policy: "not allowed by key or workspace",
  location: "not local",
  capability: "lacks what the request needs",
  context_window: "context window too small",
  price: "costs more than allowed",
};

/** What helps an endpoint that gets no request, by why it gets none. */
export const REMEDIES = {
  breaker: "Its latest requests failed. It is tried again by itself; open it to see what went wrong.",
  cooldown: "It asked for a pause, and is tried again after that.",
  quota_exhausted: "Its provider says the quota is used up: raise it there, then reset it here.",
  auth_failed: "Its provider refuses the credential: mend it, reload the configuration, then reset it here.",
  probe_failed: "It does not answer probes: see whether its server runs and can be reached.",
  full: "It has as many requests as max_in_flight allows.",
  drained: "An operator took it out. Undrain lets it back.",
};

const FAULTS = {
  connect: "could not connect",
  exhausted: "no socket left here",
  timeout: "took too long",
  server_error: "server error",
  unavailable: "unavailable",
  gateway_timeout: "its gateway timed out",
  request_timeout: "request timed out there",
  rate_limited: "rate limited",
  quota: "quota used up",
  auth: "credentials refused",
  model_missing: "model not there",
  context_length: "prompt too long for it",
  rejected: "request rejected",
  redirect: "sent elsewhere",
  malformed: "answer not understood",
  truncated: "answer cut short",
  stalled: "stream stalled",
  given_up: "client waited no longer",
  client_gone: "client left",
};

export const DOUBTS = {
  empty_set: "no tier is a likely answer",
  out_of_distribution: "the prompt is unlike what the scorer learned from",
  low_confidence: "it is less sure than routing.neural.confidence_threshold asks",
  high_uncertainty: "it is less certain than routing.neural.max_uncertainty asks",
};

export const JUDGE_STATES = {
  not_needed: "not needed: a step before it decided",
  not_asked: "would be asked next",
  remembered: "remembered its answer to the same words",
  answered: "answered",
  failed: "failed",
};

export const CHANGES = {
  max_quality_loss: "max_quality_loss",
  confidence_threshold: "confidence_threshold",
  max_uncertainty: "max_uncertainty",
  gain_fast: "what deep adds over fast",
  gain_balanced: "what deep adds over balanced",
  p_fast: "the chance of fast",
  p_balanced: "the chance of balanced",
  labels: "the likely set",
  in_distribution: "a familiar prompt",
};

export const PARTS = {
  chosen: "chosen",
  not_drawn: "as good, not drawn",
  passed_over: "came before it, could not take it",
  not_reached: "would have come after",
};

export const UNKNOWN = {
  facts: "its facts",
  "facts.has_code": "whether there is code in it",
  "rules.matched": "what the patterns of some rules would have said",
  "rules.eligible": "which models of some rules could have answered",
  preferred: "which preferred models could have answered",
  scorer: "what the scorer would have believed",
};

/** A word of ours as people say it: `server_error` is "server error" where there is no better text. */
export function spoken(words, word) {
  if (word === null || word === undefined || word === "") return "–";
  return Object.hasOwn(words, word) ? words[word] : String(word).replaceAll("_", " ");
}

/** A number as it is, to the millionth. */
export function precise(value) {
  return value === null || value === undefined ? "–" : String(Math.round(value * 1e6) / 1e6);
}

export function faultText(fault) {
  return spoken(FAULTS, fault);
}

/** How a request ended: `ok`, `warn` (its client's doing) or `bad`, which colours follow, and a word beside it. */
export function ending(status, code) {
  if (status === 499) return { tone: "warn", text: "client left" };
  if (!code && status < 400) return { tone: "ok", text: "answered" };
  const text = code ? String(code).replaceAll("_", " ") : `status ${status}`;
  return { tone: status >= 400 && status < 500 ? "warn" : "bad", text };
}
