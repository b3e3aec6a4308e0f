// What happened when, from a request's arrival to its last byte, as bars that share one scale.

import { h } from "./dom.js";
import { duration } from "./format.js";
import { faultText } from "./words.js";

/** The attempts of a receipt on a timeline, or null where none was sent. */
export function timeline(doc) {
  const attempts = doc.attempts ?? [];
  const timing = doc.timing ?? {};
  if (attempts.length === 0) return null;
  const whole = Math.max(timing.duration_ms ?? 0, ...attempts.map(end), 0.001);
  const rows = [];
  if (timing.routing_ms > 0 && attempts[0].started_ms !== null) rows.push(choosing(timing.routing_ms, attempts[0].started_ms, whole));
  attempts.forEach((attempt, index) => rows.push(row(attempt, index, whole)));
  return h(
    "div",
    { class: "timeline" },
    h("ol", { class: "timeline-rows" }, rows, firstEvent(timing.first_event_ms, whole)),
    axis(whole),
  );
}

function end(attempt) {
  return (attempt.started_ms ?? 0) + (attempt.duration_ms ?? 0);
}

/** The choice ends where the first attempt begins; how long it took is what was measured. */
function choosing(took, until, whole) {
  const from = Math.max(0, until - took);
  return h(
    "li",
    { class: "timeline-row" },
    h("span", { class: "timeline-name muted" }, "choosing"),
    track(from, took, whole, "choosing"),
    h("span", { class: "timeline-words muted" }, duration(took)),
  );
}

function row(attempt, index, whole) {
  const well = !attempt.fault && attempt.status !== null && attempt.status < 400;
  const words = well ? `${attempt.status}` : [attempt.status, faultText(attempt.fault)].filter(Boolean).join(" · ");
  const known = attempt.started_ms !== null;
  const title = known ? `attempt ${index + 1}: began after ${duration(attempt.started_ms)}, took ${duration(attempt.duration_ms)}` : `attempt ${index + 1}: nobody wrote down when`;
  return h(
    "li",
    { class: "timeline-row", data: { attempt: index + 1 }, title },
    h("span", { class: "timeline-name" }, h("span", { class: `dot tier-${attempt.tier}` }), attempt.endpoint),
    known ? track(attempt.started_ms, attempt.duration_ms, whole, well ? `tier-${attempt.tier}` : "fault") : h("span", { class: "muted" }, "when is not known"),
    h(
      "span",
      { class: `timeline-words${well ? "" : " bad"}` },
      h("span", { class: "timeline-result" }, words),
      known ? h("span", { class: "muted" }, ` ${duration(attempt.duration_ms)}`) : null,
    ),
  );
}

function track(from, took, whole, kind) {
  const bar = h("span", { class: `timeline-bar ${kind}` });
  place(bar, "--from", from / whole);
  place(bar, "--size", took / whole);
  return h("span", { class: "timeline-track", "aria-hidden": "true" }, bar);
}

function firstEvent(at, whole) {
  if (at === null || at === undefined) return null;
  const mark = h("span", { class: "timeline-mark" });
  place(mark, "--from", at / whole);
  return h(
    "li",
    { class: "timeline-row timeline-first" },
    h("span", { class: "timeline-name muted" }, "first event"),
    h("span", { class: "timeline-track", "aria-hidden": "true" }, mark),
    h("span", { class: "timeline-words muted" }, `at ${duration(at)}`),
  );
}

function axis(whole) {
  return h(
    "div",
    { class: "timeline-axis muted", "aria-hidden": "true" },
    [0, 0.5, 1].map((share) => h("span", {}, duration(whole * share))),
  );
}

/** A share of the track as a custom property, which the stylesheet turns into a place or a size. */
export function place(node, name, share) {
  const bounded = Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0));
  node.style.setProperty(name, `${(bounded * 100).toFixed(3)}%`);
}
