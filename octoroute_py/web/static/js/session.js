// Who is looking, and every word with the gateway. The key lives in this module's memory and nowhere else: no cookie,
// no storage, no address. Closing or reloading the page forgets it.

const RANK = { inference: 0, viewer: 1, operator: 2, admin: 3 };

/** What went wrong, in the gateway's own words; status 0 if no answer came. */
export class ApiError extends Error {
  constructor({ status, code, message, requestId }) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.requestId = requestId;
  }
}

class Session {
  constructor() {
    this.key = null;
    this.you = null;
    this.info = null;
    this.refused = new Set();
  }

  /** Whether this role, or one above it, is looking. */
  may(role) {
    return this.you !== null && (RANK[this.you.role] ?? -1) >= RANK[role];
  }

  /** Ask the gateway who we are with this key, null for none; throws ApiError and changes nothing if it says no. */
  async enter(key) {
    const info = await ask("/info", { key });
    const you = info.you ?? null;
    const role = you?.role ?? null;
    if ((RANK[role] ?? -1) < RANK.viewer) {
      const code = key === null ? "key_needed" : role === null ? "wrong_key" : "role_too_low";
      throw new ApiError({ status: role === null ? 401 : 403, code, message: refusal(key, role), requestId: null });
    }
    this.key = key;
    this.you = you;
    this.info = info;
    return you;
  }

  /** Forget the key and whose it was. */
  leave() {
    this.key = null;
    this.you = null;
    this.info = null;
  }

  /** Hear of every 401; returns the way to stop hearing. */
  onRefused(heard) {
    this.refused.add(heard);
    return () => this.refused.delete(heard);
  }
}

export const session = new Session();

/** JSON of a path; `body` is sent as JSON. Throws ApiError, or the signal's AbortError. */
export async function fetchJson(path, options = {}) {
  return noticing(() => ask(path, { ...options, key: session.key }));
}

/** Read events of a path until it ends: onEvent(event, data) gets data as the text that was sent. */
export async function stream(path, { method = "GET", body, signal, headers = {}, onEvent, onHeaders } = {}) {
  return noticing(async () => {
    const response = await send(path, { method, body, signal, key: session.key, headers });
    onHeaders?.(response.headers);
    if (!(response.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
      onEvent("message", await response.text());
      return;
    }
    const parse = new EventParser(onEvent);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      parse.feed(value);
    }
  });
}

/** Server-sent events out of pieces of text, however they are cut. */
class EventParser {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.event = "";
    this.data = [];
  }

  feed(text) {
    // A lone CR at the end may be half of a CRLF: it waits for what follows.
    this.rest += text;
    const held = this.rest.endsWith("\r") ? 1 : 0;
    const lines = this.rest.slice(0, this.rest.length - held).split(/\r\n|\n|\r/);
    this.rest = lines.pop() + (held ? "\r" : "");
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (line === "") {
      if (this.data.length) this.onEvent(this.event || "message", this.data.join("\n"));
      this.event = "";
      this.data = [];
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.event = value;
    else if (name === "data") this.data.push(value);
  }
}

async function noticing(work) {
  try {
    return await work();
  } catch (problem) {
    if (problem instanceof ApiError && problem.status === 401) for (const heard of session.refused) heard(problem);
    throw problem;
  }
}

async function ask(path, options) {
  const response = await send(path, options);
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new ApiError({ status: response.status, code: "unreadable", message: "The answer is not JSON.", requestId: response.headers.get("x-request-id") });
  }
}

async function send(path, { method = "GET", body, signal, key = null, headers = {} }) {
  const all = { accept: "application/json, text/event-stream", ...headers };
  if (key !== null) all.authorization = `Bearer ${key}`;
  if (body !== undefined) all["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new ApiError({ status: 0, code: "unreachable", message: "The gateway does not answer.", requestId: null });
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

// /v1 says {error: {message, code}}, /api {error, code}, /admin {error} or {success: false, message}.
async function errorOf(response) {
  const requestId = response.headers.get("x-request-id");
  let said = null;
  try {
    said = await response.json();
  } catch {
    said = null;
  }
  const inner = said?.error;
  const object = inner !== null && typeof inner === "object" ? inner : null;
  const message = object?.message ?? (typeof inner === "string" ? inner : null) ?? said?.message ?? `The gateway answered ${response.status}.`;
  return new ApiError({ status: response.status, code: object?.code ?? said?.code ?? null, message: String(message), requestId });
}

function refusal(key, role) {
  if (key === null) return "A key is needed to look.";
  if (role === null) return "The gateway does not know this key. Check that it is whole and has not been revoked.";
  return `This key has the role ${role}, which may send requests but not look. Looking needs a key of role viewer, operator or admin.`;
}
