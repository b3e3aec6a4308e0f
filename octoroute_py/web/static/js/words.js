// What the gateway says in a word, as people say it. A word that is not listed here is shown as it came.

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
  "2xx": "answered",
  "4xx": "refused",
  "5xx": "failed",
  error: "any error",
};

export const MISFITS = {
  policy: "not allowed by key or workspace",
  location: "not local",
  capability: "lacks what the request needs",
  context_window: "context window too small",
  price: "costs more than allowed",
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

export const DECIDERS = {
  client: "the client",
  experiment: "an experiment",
  rule: "a rule",
  preferences: "the agent type's preferences",
  strategy: "the strategy",
};

/** A word of ours as people say it: `server_error` is "server error" where there is no better text. */
export function spoken(words, word) {
  if (word === null || word === undefined || word === "") return "–";
  return Object.hasOwn(words, word) ? words[word] : String(word).replaceAll("_", " ");
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
