// Type a prompt, see where it would go and why, then send it. Nothing is stored: what was typed stays in this page's
// memory for as long as the same key is signed in.

import { clear, h, mark, say } from "./dom.js";
import { count, duration, exactMoney, money } from "./format.js";
import { copyButton, explanation, sentence } from "./receipt.js";
import { bodyOf, explain, receiptOf, send } from "./sending.js";
import { TIERS, faultText } from "./words.js";

const QUIET_MS = 350;
const TASKS = ["casual_chat", "code", "creative_writing", "deep_analysis", "document_summary", "question_answer"];
const DRAFT = { prompt: "", system: "", model: "auto", importance: "", task: "", privacy: "", most: "", streamed: true, watch: true };

const drafts = new WeakMap(); // of whoever is signed in; gone with them

export const view = { id: "playground", title: "Playground", mount };

function mount(root, app) {
  root.append(h("div", { class: "view-head" }, h("h1", null, "Playground"), h("p", null, "See where a prompt would go, then send it.")));
  if (!app.session.may("operator")) {
    root.append(notAllowed(app.session.you));
    return { unmount() {} };
  }
  const shown = new Playground(root, app);
  shown.start();
  return { unmount: () => shown.stop() };
}

function notAllowed(you) {
  return h(
    "div",
    { class: "panel empty" },
    h("strong", null, "This key may look, not send"),
    h("p", null, `Its role is ${you?.role ?? "unknown"}. Explaining and sending prompts here needs a key of role operator or admin: sign out, and in again with such a key.`),
  );
}

class Playground {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.left = new AbortController();
    this.asking = null;
    this.sending = null;
    this.predicted = null;
    this.timer = 0;
    if (!drafts.has(app.session.you)) drafts.set(app.session.you, { ...DRAFT });
    this.draft = drafts.get(app.session.you);
  }

  start() {
    this.build();
    this.leave = this.app.live.subscribe((state) => this.offer(state));
    if (this.draft.prompt.trim()) this.predict();
    else this.invite();
  }

  stop() {
    clearTimeout(this.timer);
    this.leave();
    this.left.abort();
    this.asking?.abort();
    this.sending?.abort();
  }

  // -- the form

  build() {
    this.model = h("select", { class: "input", id: "pg-model", on: { change: () => this.changed("model", this.model.value) } });
    this.names = "";
    this.offer(this.app.live.state);
    this.sendButton = h("button", { type: "submit", class: "button primary", title: "Ctrl+Enter" }, "Send");
    this.stopButton = h("button", { type: "button", class: "button", hidden: true, on: { click: () => this.cancel() } }, "Stop");
    this.form = h(
      "form",
      { class: "panel composer", "aria-label": "Try a prompt", on: { submit: (event) => this.submit(event), keydown: (event) => this.keys(event) } },
      labelled("Prompt", "pg-prompt", this.area("pg-prompt", "prompt", 6, "What would you like to ask?")),
      h("details", { open: this.draft.system !== "" }, h("summary", null, "System message"), this.area("pg-system", "system", 3, "None", "System message")),
      h(
        "div",
        { class: "composer-choices" },
        labelled("Model", "pg-model", this.model),
        labelled("Importance", "pg-importance", this.choice("pg-importance", "importance", ["low", "normal", "high"], "default")),
        labelled("Task", "pg-task", this.choice("pg-task", "task", TASKS, "inferred")),
        labelled("Privacy", "pg-privacy", this.choice("pg-privacy", "privacy", ["local-only"], "anywhere")),
        labelled("Most tokens", "pg-most", this.most()),
      ),
      h(
        "div",
        { class: "composer-end" },
        this.check("pg-stream", "streamed", "Stream"),
        this.check("pg-watch", "watch", "Explain while typing"),
        h("span", { class: "composer-buttons" }, this.stopButton, this.sendButton),
      ),
    );
    this.prediction = h("div", { class: "prediction-body" });
    this.answer = h("section", { class: "panel answer", "aria-label": "Answer", hidden: true });
    const why = h("section", { class: "panel prediction", "aria-label": "Where would it go?" }, h("h2", null, "Where would it go?"), this.prediction);
    this.root.append(h("div", { class: "playground" }, h("div", { class: "playground-main" }, this.form, this.answer), why));
  }

  area(id, name, rows, placeholder, label = null) {
    const attributes = { class: "input", id, rows, placeholder, "aria-label": label, spellcheck: "false" };
    const area = h("textarea", { ...attributes, on: { input: () => this.changed(name, area.value) } });
    area.value = this.draft[name];
    return area;
  }

  choice(id, name, values, none) {
    const select = h(
      "select",
      { class: "input", id, on: { change: () => this.changed(name, select.value) } },
      h("option", { value: "" }, none),
      values.map((value) => h("option", { value }, value.replaceAll("_", " "))),
    );
    select.value = this.draft[name];
    return select;
  }

  most() {
    const attributes = { class: "input", id: "pg-most", type: "number", min: 1, max: 1_000_000, step: 1, placeholder: "no limit" };
    const field = h("input", { ...attributes, on: { input: () => this.changed("most", field.value) } });
    field.value = this.draft.most;
    return field;
  }

  check(id, name, label) {
    const box = h("input", { type: "checkbox", id, on: { change: () => this.changed(name, box.checked) } });
    box.checked = this.draft[name];
    return h("label", { class: "check", for: id }, box, label);
  }

  /** Models that are known now, tiers first. */
  offer(state) {
    const tiers = state.tick?.tiers ?? [];
    const found = tiers.length > 0 ? tiers.flatMap((tier) => tier.endpoints.map((each) => each.name)) : (this.app.session.info?.endpoints ?? []).map((each) => each.name);
    const names = [...new Set(found)].filter((name) => !TIERS.includes(name) && name !== "auto").sort();
    if (this.names === names.join("\n") && this.model.options.length > 0) return;
    this.names = names.join("\n");
    const wanted = this.draft.model;
    clear(this.model).append(
      h("option", { value: "auto" }, "auto"),
      h("optgroup", { label: "Tiers" }, TIERS.map((tier) => h("option", { value: tier }, tier))),
      h("optgroup", { label: "Models" }, names.map((name) => h("option", { value: name }, name))),
    );
    this.model.value = [...this.model.options].some((option) => option.value === wanted) ? wanted : "auto";
    this.draft.model = this.model.value;
  }

  changed(name, value) {
    this.draft[name] = value;
    clearTimeout(this.timer);
    if (!this.draft.prompt.trim()) return this.invite();
    if (!this.draft.watch) return this.offerToExplain();
    mark(this.prediction, "data-stale", true);
    this.timer = setTimeout(() => this.predict(), QUIET_MS);
    return undefined;
  }

  keys(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this.form.requestSubmit();
  }

  // -- before it is sent

  invite() {
    this.asking?.abort();
    this.predicted = null;
    this.showPrediction(h("p", { class: "muted" }, "Type a prompt: before anything is sent, you see here which tier would answer it, and why."));
  }

  offerToExplain() {
    this.asking?.abort();
    this.predicted = null;
    const button = h("button", { type: "button", class: "button", on: { click: () => this.predict() } }, "Explain");
    this.showPrediction(h("p", { class: "muted" }, "Not asked while you type."), button);
  }

  async predict({ judge = false } = {}) {
    this.asking?.abort();
    const asking = new AbortController();
    this.asking = asking;
    mark(this.prediction, "data-stale", true);
    try {
      const doc = await explain(bodyOf(this.draft), { judge, signal: asking.signal });
      if (asking.signal.aborted) return;
      this.predicted = doc.next_step === "judge" ? null : doc.tier;
      this.showPrediction(sentence(doc), this.judge(doc), ...explanation(doc));
      if (judge) this.app.announce(this.prediction.querySelector(".sentence").textContent);
    } catch (error) {
      if (asking.signal.aborted) return;
      this.predicted = null;
      this.showPrediction(problem("It would be refused", error.message, error.code));
    }
  }

  judge(doc) {
    if (doc.next_step !== "judge") return null;
    const button = h("button", { type: "button", class: "button", on: { click: () => this.predict({ judge: true }) } }, "Ask the judge");
    return h("p", { class: "judge-ask" }, button, h("span", { class: "muted" }, " It costs what a judge costs, and counts as a request."));
  }

  showPrediction(...nodes) {
    mark(this.prediction, "data-stale", null);
    clear(this.prediction).append(...nodes.filter(Boolean));
  }

  // -- sending

  async submit(event) {
    event.preventDefault();
    if (this.sending !== null) return;
    if (!this.draft.prompt.trim()) {
      this.form.querySelector("#pg-prompt").focus();
      this.app.announce("Type a prompt first.");
      return;
    }
    const sending = new AbortController();
    this.sending = sending;
    this.busy(true);
    const shown = new Answer(this.answer, this.app, this.predicted);
    if (matchMedia("(max-width: 980px)").matches) this.answer.scrollIntoView({ block: "start" });
    try {
      await send(bodyOf(this.draft), { signal: sending.signal, told: (route) => shown.told(route), piece: (piece) => shown.piece(piece) });
      shown.ended();
    } catch (error) {
      if (this.left.signal.aborted) return;
      shown.failed(error);
    } finally {
      if (this.sending === sending) this.sending = null;
      if (!this.left.signal.aborted) this.busy(false);
    }
    await shown.account(this.left.signal);
  }

  cancel() {
    this.sending?.abort();
    this.form.querySelector("#pg-prompt").focus();
  }

  busy(on) {
    this.stopButton.hidden = !on;
    mark(this.sendButton, "disabled", on);
    say(this.sendButton, on ? "Sending …" : "Send");
  }
}

/** One answer as it comes. */
class Answer {
  constructor(node, app, predicted) {
    this.app = app;
    this.predicted = predicted;
    this.began = performance.now();
    this.first = null;
    this.route = null;
    this.broken = false;
    this.stopped = false;
    this.text = document.createTextNode("");
    this.thought = document.createTextNode("");
    this.facts = h("p", { class: "answer-facts" }, h("span", { class: "muted" }, "Sent. Waiting for the first event."));
    this.words = h("div", { class: "answer-text", tabindex: "0", role: "region", "aria-label": "Text of the answer" }, this.text);
    this.thinking = h("details", { class: "answer-thought", hidden: true }, h("summary", null, "Thinking"), h("div", { class: "answer-text" }, this.thought));
    this.note = h("div", { class: "answer-note" });
    this.end = h("p", { class: "answer-end" });
    node.hidden = false;
    clear(node).append(h("h2", null, "Answer"), this.facts, this.thinking, this.words, this.note, this.end);
  }

  told(route) {
    this.route = route;
    clear(this.facts).append(
      ...[
        route.tier ? h("span", { class: "badge", data: { tier: route.tier } }, route.tier) : null,
        asPredicted(this.predicted, route.tier),
        told("endpoint", route.endpoint),
        told("strategy", route.strategy),
        told("reason", route.reason?.replaceAll("_", " ")),
        told("attempts", route.attempts),
        told("cost", route.cost === null ? null : money(Number(route.cost))),
      ].filter(Boolean),
    );
    if (route.warning) this.note.append(h("p", { class: "answer-warning" }, route.warning));
    this.app.announce(`Answered by ${route.endpoint ?? route.tier}.`);
  }

  piece({ text, thought, problem: said, code, finish }) {
    if (said) {
      this.broken = true;
      this.note.append(problem("The answer broke off", said, code));
      return;
    }
    if (thought) {
      this.thinking.hidden = false;
      this.thought.appendData(thought);
    }
    if (text) {
      this.first ??= performance.now() - this.began;
      this.text.appendData(text);
    }
    if (finish === "length") this.note.append(h("p", { class: "muted" }, "Cut at its limit of tokens."));
  }

  ended() {
    this.took = performance.now() - this.began;
    if (!this.broken && this.text.length === 0) this.note.append(h("p", { class: "muted" }, "The answer has no text."));
    this.app.announce(this.broken ? "The answer broke off." : "The answer is complete.");
  }

  failed(error) {
    this.took = performance.now() - this.began;
    if (error.name === "AbortError") {
      this.stopped = true;
      if (this.route === null) clear(this.facts);
      this.note.append(h("p", { class: "muted" }, "Stopped."));
      this.app.announce("Stopped.");
      return;
    }
    if (this.route === null) clear(this.facts);
    this.route ??= { requestId: error.requestId };
    this.note.append(problem(error.status ? `Not answered (${error.status})` : "The answer broke off", error.message, error.code));
    this.app.announce(`Not answered: ${error.message}`);
  }

  /** What it took and cost, from its receipt, and the way there. */
  async account(signal) {
    const id = this.route?.requestId;
    this.end.append(h("span", { class: "muted" }, `${duration(this.took)} in all`, this.first === null ? "" : `, first words after ${duration(this.first)}`));
    if (!id) return;
    this.end.append(
      h("a", { class: "button small", href: `#/decisions/${encodeURIComponent(id)}` }, "Receipt"),
      copyButton("Copy id", id, "request id", this.app),
    );
    if (this.stopped) return; // the gateway has yet to notice that we left
    const doc = await receiptOf(id, { signal });
    if (doc === null || signal.aborted) return;
    const failed = (doc.attempts ?? []).filter((attempt) => attempt.fault);
    if (failed.length > 0) this.note.append(h("p", { class: "muted" }, failed.map((each) => `${each.endpoint}: ${faultText(each.fault)}`).join("; ")));
    if (doc.usage) this.end.append(h("span", { class: "muted answer-tokens" }, `${count(doc.usage.prompt_tokens)} → ${count(doc.usage.completion_tokens)} tokens`));
    if (doc.cost_usd !== null && doc.cost_usd !== undefined) this.end.append(h("span", { class: "muted answer-cost", title: exactMoney(doc.cost_usd) }, money(doc.cost_usd)));
  }
}

function asPredicted(predicted, tier) {
  if (predicted === null || !tier) return null;
  return predicted === tier ? h("span", { class: "muted" }, "as predicted") : h("span", { class: "muted" }, `predicted ${predicted}`);
}

function told(name, value) {
  return value ? h("span", { class: "told" }, h("span", { class: "muted" }, `${name} `), value) : null;
}

function problem(title, message, code) {
  return h("div", { class: "problem", role: "alert" }, h("strong", null, title), h("p", null, message, code ? h("span", { class: "muted" }, ` (${code})`) : null));
}

function labelled(text, id, field) {
  return h("div", { class: "field" }, h("label", { for: id }, text), field);
}
