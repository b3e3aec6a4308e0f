// What the playground's form says as the body of a chat completion, and what comes back, piece by piece.

import { fetchJson, stream } from "./session.js";

const ROUTE = ["tier", "strategy", "reason", "endpoint", "attempts", "confidence", "cost", "warning"];

/** The body; a field that was left alone is not in it. */
export function bodyOf({ prompt, system, model, importance, task, privacy, most, streamed }) {
  const messages = [{ role: "user", content: prompt }];
  if (system.trim()) messages.unshift({ role: "system", content: system });
  const hints = {};
  if (importance) hints.importance = importance;
  if (task) hints.task_type = task;
  if (privacy) hints.privacy = privacy;
  const body = { model: model || "auto", messages, stream: streamed };
  if (most) body.max_tokens = Number(most);
  if (Object.keys(hints).length > 0) body.octoroute = hints;
  return body;
}

/** Where the body would go, and why; the judge is asked only with `judge`. */
export function explain(body, { judge = false, signal }) {
  return fetchJson(`/api/playground/explain${judge ? "?judge=ask" : ""}`, { method: "POST", body, signal });
}

/** Sends the body. `told({requestId, …})` hears what the headers say of the route, `piece({text, thought, …})` the rest. */
export async function send(body, { signal, told, piece }) {
  await stream("/api/playground/chat", {
    method: "POST",
    body,
    signal,
    onHeaders: (headers) => told(routeOf(headers)),
    onEvent: (_, data) => {
      if (data !== "[DONE]") piece(pieceOf(data));
    },
  });
}

/** The receipt of a request that has just ended; null if nothing is known of it. */
export async function receiptOf(requestId, { signal, tries = 5, pause_ms = 200 }) {
  for (let left = tries; left > 0; left -= 1) {
    try {
      return await fetchJson(`/api/decisions/${encodeURIComponent(requestId)}`, { signal });
    } catch (error) {
      if (error.status !== 404) return null;
    }
    await new Promise((resolve) => setTimeout(resolve, pause_ms));
  }
  return null;
}

function routeOf(headers) {
  const said = { requestId: headers.get("x-request-id") };
  for (const name of ROUTE) said[name] = headers.get(`x-octoroute-${name}`);
  return said;
}

function pieceOf(data) {
  let said;
  try {
    said = JSON.parse(data);
  } catch {
    return { problem: "A piece of the answer is not JSON." };
  }
  if (said?.error) return { problem: said.error.message ?? String(said.error), code: said.error.code };
  const choice = said?.choices?.[0] ?? {};
  const words = choice.delta ?? choice.message ?? {};
  return {
    text: textOf(words.content),
    thought: textOf(words.reasoning_content ?? words.reasoning),
    finish: choice.finish_reason ?? null,
    usage: said?.usage ?? null,
  };
}

function textOf(content) {
  return typeof content === "string" ? content : "";
}
