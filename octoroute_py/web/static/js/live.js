// The feed: one connection for all views. It is opened once somebody subscribes after the session began, comes back by
// itself with longer and longer pauses, and says since when it is lost.

import { ApiError, session, stream } from "./session.js";

const MOST_DECISIONS = 200;
const SILENT_MS = 6000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;

class Live {
  constructor() {
    this.heard = new Set();
    this.state = fresh();
    this.running = null;
    this.drawn = false;
  }

  /** Hear of every change, at once and at most once a frame; returns the way to stop. */
  subscribe(heard) {
    this.heard.add(heard);
    heard(this.state);
    return () => this.heard.delete(heard);
  }

  /** Begin to read; does nothing while it reads. */
  start() {
    if (this.running !== null) return;
    const run = new Run(this);
    this.running = run;
    run.go();
  }

  /** Stop, and forget all that was told. */
  stop() {
    this.running?.end();
    this.running = null;
    this.state = fresh();
    this.tell();
  }

  change(changes) {
    this.state = { ...this.state, ...changes };
    this.tell();
  }

  tell() {
    if (this.drawn) return;
    this.drawn = true;
    requestAnimationFrame(() => {
      this.drawn = false;
      for (const heard of [...this.heard]) heard(this.state);
    });
  }

  take(event, text) {
    if (event === "history") {
      const history = JSON.parse(text);
      this.change({ history, decisions: merged(history.recent ?? [], this.state.decisions) });
    } else if (event === "tick") {
      const tick = JSON.parse(text);
      this.change({
        status: "live",
        since: null,
        error: null,
        tick,
        history: advanced(this.state.history, tick.second),
        decisions: merged(tick.decisions ?? [], this.state.decisions),
        missed: this.state.missed + (tick.decisionsMissed ?? 0),
      });
    }
  }
}

class Run {
  constructor(live) {
    this.live = live;
    this.ended = false;
    this.pause_ms = FIRST_PAUSE_MS;
    this.abort = null;
    this.wake = null;
    this.online = () => this.wake?.();
  }

  async go() {
    addEventListener("online", this.online);
    while (!this.ended) {
      const problem = await this.once();
      if (this.ended) break;
      if (problem instanceof ApiError && (problem.status === 401 || problem.status === 403)) {
        this.live.change({ status: "lost", since: this.live.state.since ?? Date.now(), error: problem });
        this.end();
        if (this.live.running === this) this.live.running = null;
        break;
      }
      this.live.change({ status: "lost", since: this.live.state.since ?? Date.now(), error: problem });
      await this.sleep(this.pause_ms * (0.75 + Math.random() / 2));
      this.pause_ms = Math.min(this.pause_ms * 2, LONGEST_PAUSE_MS);
    }
  }

  // One connection: until it ends, fails, or says nothing for longer than a tick can take.
  async once() {
    this.abort = new AbortController();
    let watch = null;
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => this.abort.abort(), SILENT_MS);
    };
    alive();
    try {
      await stream("/api/live", {
        signal: this.abort.signal,
        onEvent: (event, text) => {
          if (this.ended) return;
          alive();
          if (event === "tick") this.pause_ms = FIRST_PAUSE_MS;
          this.live.take(event, text);
        },
      });
      return new ApiError({ status: 0, code: "ended", message: "The gateway ended the feed.", requestId: null });
    } catch (problem) {
      if (problem instanceof ApiError) return problem;
      return new ApiError({ status: 0, code: "broken", message: "The connection to the gateway broke.", requestId: null });
    } finally {
      clearTimeout(watch);
    }
  }

  sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  end() {
    this.ended = true;
    removeEventListener("online", this.online);
    this.abort?.abort();
    this.wake?.();
  }
}

export const live = new Live();
session.onRefused(() => {
  live.running?.end();
  live.running = null;
});

function fresh() {
  return { status: "connecting", since: null, error: null, history: null, tick: null, decisions: [], missed: 0 };
}

// The window moves on by a second: every series loses its first value and gains the new one.
function advanced(history, second) {
  if (history === null || !second) return history;
  const seconds = history.windowSeconds ?? 300;
  const last = history.series.t.at(-1);
  if (last !== undefined && second.t !== undefined && second.t <= last) return history;
  const series = {};
  for (const [name, values] of Object.entries(history.series)) {
    series[name] = [...values, second[name] ?? null].slice(-seconds);
  }
  return { ...history, series };
}

// Newest first, each once: after a reconnect the history tells again what is known.
function merged(fresh, known) {
  const all = new Map();
  for (const each of [...fresh, ...known]) {
    const name = `${each.requestId} ${each.at}`;
    if (!all.has(name)) all.set(name, each);
  }
  return [...all.values()].sort((one, two) => (one.at < two.at ? 1 : one.at > two.at ? -1 : 0)).slice(0, MOST_DECISIONS);
}
