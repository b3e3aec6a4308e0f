// The shell: which view is shown, who is signed in, what the keyboard does.
//
// A view is {id, title, mount(root, app)}; mount returns {unmount()}, and update(params) too if it follows its own
// addresses (#/decisions → #/decisions/<id>?tier=deep) without being built anew. app.params is {id, query}: what stands
// behind the view's name, or null, and the URLSearchParams behind "?".

import { clear, h, mark, say, svg } from "./dom.js";
import { span } from "./format.js";
import { live } from "./live.js";
import { session } from "./session.js";
import { openKeys, watchKeys } from "./keyboard.js";
import { signInForm } from "./signin.js";

const VIEWS = [
  { id: "now", title: "Now", module: "./now.js", style: "css/now.css", key: "n" },
  { id: "decisions", title: "Decisions", module: "./decisions.js", style: "css/decisions.css", key: "d" },
  { id: "playground", title: "Playground", module: "./playground.js", style: "css/playground.css", key: "p" },
  { id: "health", title: "Health", module: "./health.js", style: "css/health.css", key: "h" },
];
const HOME = "#/now";

const root = document.getElementById("content");
const over = document.getElementById("over");
const banner = document.getElementById("banner");
const styles = new Map();
const shown = { place: null, mounted: null, turn: 0 };

const app = { session, live, params: { id: null, query: new URLSearchParams() }, go, announce };

/** Go to an address such as "#/decisions/req-1". */
function go(hash) {
  if (location.hash === hash) show();
  else location.hash = hash;
}

/** Tell those who listen instead of looking. */
function announce(text) {
  const region = document.getElementById("announce");
  clear(region);
  setTimeout(() => say(region, text), 60);
}

function placeOf(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const place = VIEWS.find((each) => each.id === name) ?? null;
  return { place, id: rest.length && rest[0] !== "" ? decoded(rest.join("/")) : null, query: new URLSearchParams(search) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function show() {
  const { place, id, query } = placeOf(location.hash);
  if (place === null) {
    history.replaceState(null, "", HOME);
    return show();
  }
  app.params = { id, query };
  if (session.you === null) return undefined;
  if (shown.place === place && shown.mounted?.update) {
    shown.mounted.update(app.params);
    return undefined;
  }
  const turn = ++shown.turn;
  const moved = shown.place !== null;
  leaveView();
  shown.place = place;
  document.title = `${place.title} · Octoroute`;
  for (const tab of document.querySelectorAll(".tab")) mark(tab, "aria-current", tab.dataset.view === place.id ? "page" : null);
  try {
    const [module] = await Promise.all([import(place.module), styled(place.style)]);
    if (turn !== shown.turn) return undefined;
    shown.mounted = module.view.mount(root, app) ?? null;
    const heading = root.querySelector("h1");
    if (moved && heading) {
      mark(heading, "tabindex", "-1");
      heading.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  } catch (problem) {
    if (turn !== shown.turn) return undefined;
    clear(root).append(
      h("div", { class: "panel error", role: "alert" }, h("strong", null, `${place.title} could not be drawn`), String(problem?.message ?? problem),
        h("p", null, h("button", { class: "button", on: { click: () => location.reload() } }, "Load the page again"))),
    );
  }
  return undefined;
}

function leaveView() {
  shown.mounted?.unmount?.();
  shown.mounted = null;
  shown.place = null;
  clear(root);
}

function styled(path) {
  if (!styles.has(path)) {
    styles.set(path, new Promise((resolve, reject) => {
      const link = h("link", { rel: "stylesheet", href: `/dashboard/static/${path}` });
      link.addEventListener("load", resolve);
      link.addEventListener("error", () => reject(new Error(`${path} could not be loaded.`)));
      document.head.append(link);
    }));
  }
  return styles.get(path);
}

// Signing in and out

function askForKey(said) {
  const kept = shown.mounted !== null;
  mark(root, "inert", kept);
  clear(over).append(signInForm({ said, over: kept, entered: enter }));
  over.querySelector("input").focus();
  drawTop();
  drawLink(live.state);
}

async function enter(key) {
  await session.enter(key);
  clear(over);
  mark(root, "inert", null);
  drawTop();
  live.start();
  announce(`Signed in as ${session.you.name ?? session.you.role}.`);
  if (shown.mounted === null) await show();
}

function signOut() {
  leaveView();
  session.leave();
  live.stop();
  askForKey(null);
  announce("Signed out. The key is forgotten.");
}

// The bar on top

const status = {
  word: h("span", null, "connecting"),
  node: h("span", { class: "link-state", data: { status: "connecting" } }),
};
status.node.append(h("span", { class: "link-dot", "aria-hidden": "true" }), status.word);

function drawTop() {
  const end = clear(document.getElementById("top-end"));
  if (session.you !== null) {
    const who = session.you.name ?? "no key needed";
    end.append(status.node, h("span", { class: "who", title: `${who}, role ${session.you.role}` }, `${who} · ${session.you.role}`));
  }
  end.append(
    h("button", { class: "icon-button", type: "button", "aria-label": "Switch between dark and light", title: "Dark or light", on: { click: switchTheme } },
      svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("circle", { cx: 12, cy: 12, r: 8 }), svg("path", { d: "M12 4a8 8 0 0 1 0 16z", fill: "currentColor" }))),
    h("button", { class: "icon-button", type: "button", "aria-label": "Keys of this page", title: "Keys (?)", on: { click: () => openKeys(VIEWS) } }, "?"),
  );
  if (session.key !== null) {
    end.append(h("button", { class: "icon-button", type: "button", "aria-label": "Sign out", title: "Sign out", data: { acts: "" }, on: { click: signOut } },
      svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: "M14 4h5v16h-5M3 12h11M10 8l4 4-4 4" }))));
  }
}

function switchTheme() {
  const now = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  dispatchEvent(new Event("themechange"));
}

function drawLink(state) {
  mark(status.node, "data-status", state.status);
  if (state.status === "lost" && state.since !== null) say(status.word, `lost ${span((Date.now() - state.since) / 1000)} ago`);
  else say(status.word, state.status);
  root.classList.toggle("stale", state.status === "lost" && state.tick !== null);
  drawBanner(state);
}

function drawBanner(state) {
  const draining = state.status === "live" && state.tick?.draining;
  const text = session.you === null || over.firstChild !== null ? null : state.status === "lost" ? lostText(state) : draining ? ["Draining", "This gateway takes no new requests.", "warn"] : null;
  if (text === null) {
    if (banner.firstChild) clear(banner);
    return;
  }
  const [title, words, kind] = text;
  const told = `${title} ${words}`;
  if (banner.dataset.told === told && banner.firstChild) return;
  banner.dataset.told = told;
  clear(banner).append(h("div", { class: "banner", role: kind === "bad" ? "alert" : "status", data: { kind } }, h("strong", null, title), h("span", null, words)));
}

function lostText(state) {
  const refused = state.error?.status === 401 || state.error?.status === 403;
  if (refused) return ["Not for this key", state.error.message, "bad"];
  return ["Connection lost", `${state.error?.message ?? ""} What you see is from before; the page tries again by itself.`, "bad"];
}

// Begin

for (const each of VIEWS) {
  document.getElementById("tabs").append(h("a", { class: "tab", href: `#/${each.id}`, data: { view: each.id } }, each.title));
}
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  root.focus();
});
watchKeys(VIEWS, go);
addEventListener("hashchange", show);
session.onRefused((problem) => {
  if (over.firstChild === null) askForKey(session.key === null ? problem.message : "The gateway takes this key no longer: it has expired, or was revoked or replaced. Sign in with another one.");
});
live.subscribe(drawLink);
setInterval(() => {
  if (live.state.status === "lost") drawLink(live.state);
}, 1000);
drawTop();
try {
  await enter(null);
} catch (problem) {
  askForKey(problem.code === "key_needed" ? null : problem.message);
}
