/** What a person can do while the loop runs: accept a turn, stop, write the next prompt. */

import { element, icon, setAttribute } from "./dom.mjs";
import { endOf } from "./record.mjs";
import { ownScroll } from "./wheel.mjs";

const PHASES = { editing: "editing", thinking: "the thinker is looking" };
const WOULD_END = { accepted: "the thinker is content", plateau: "no longer improving" }; // but a person is asked

/**
 * A bar that says where the loop is. `send(order)` is called with {action: "accept", step} | {action: "stop"} |
 * {action: "hold"} | {action: "go_on"} | {action: "prompt", prompt}; `onleave()` when the form that had the keyboard goes.
 */
export class Steering {
  #send;
  #onleave;
  #view = null;
  #selected = -1;
  #proposal = ""; // the prompt that comes next unless a person writes another
  #writing = false;
  #status = element("span", { class: "rt-status", role: "status" });
  #accept = element("button", {
    type: "button",
    class: "rt-button",
    title: "End the run with this turn as its result",
    onclick: () => this.#acceptSelected(),
  });
  #stop = element(
    "button",
    {
      type: "button",
      class: "rt-button",
      title: "End the run; the best edit so far is the result",
      onclick: () => this.#send({ action: "stop" }),
    },
    icon("stop"),
    "Stop",
  );
  #edit = element(
    "button",
    { type: "button", class: "rt-button", title: "The loop waits before its next turn", onclick: () => this.#write() },
    icon("pencil"),
    "Edit the next prompt",
  );
  #text = element("textarea", {
    class: "rt-textarea",
    rows: 2,
    "aria-label": "The next prompt",
    placeholder: "What the editor shall be told next",
    onkeydown: (event) => this.#key(event),
  });
  #goOn = element(
    "button",
    { type: "button", class: "rt-button rt-primary", title: "Ctrl+Enter", onclick: () => this.#use() },
    "Go on",
    icon("arrow"),
  );
  #cancel = element(
    "button",
    { type: "button", class: "rt-button", onclick: () => this.#leave() },
    "Leave it to the thinker",
  );
  #form = element("div", { class: "rt-next" }, this.#text, this.#cancel, this.#goOn);
  element = element(
    "div",
    { class: "rt-steering", role: "group", "aria-label": "Steer the loop" },
    element("div", { class: "rt-steering-row" }, this.#status, this.#accept, this.#stop, this.#edit),
    this.#form,
  );

  constructor({ send, onleave }) {
    this.#send = send;
    this.#onleave = onleave;
    ownScroll(this.#text);
  }

  /** selected: the step that Accept would take. */
  show(view, selected) {
    this.#view = view;
    this.#selected = selected;
    const { live, record } = view;
    setAttribute(this.element, "hidden", !live);
    if (!live) {
      this.#writing = false;
      return;
    }
    const proposal = live.next.prompt;
    if (proposal !== this.#proposal) {
      if (this.#text.value.trim() === this.#proposal.trim()) this.#text.value = proposal;
      this.#proposal = proposal;
    }
    const { turns } = record.options.rules;
    const { turn, ends } = live.next;
    const waiting = ends ? `${WOULD_END[ends]}; waiting for you` : "waiting for you";
    const phase = live.waiting ? waiting : PHASES[live.phase];
    const promise = this.#writing && !live.waiting ? "; then it waits for you" : "";
    this.#status.replaceChildren(
      element("i", { class: live.waiting ? "rt-pulse" : "rt-spinner" }),
      element("span", {}, element("b", {}, `Turn ${turn} of ${turns}`), ` · ${phase}${promise}`),
    );
    const step = record.steps[selected];
    setAttribute(this.#accept, "disabled", !step);
    this.#accept.replaceChildren(icon("check"), step ? `Accept turn ${step.turn}` : "Accept");
    const open = this.#writing || live.waiting;
    setAttribute(this.#form, "hidden", !open);
    setAttribute(this.#edit, "hidden", open || turn >= turns); // no prompt comes after the last turn
    setAttribute(this.#cancel, "hidden", live.waiting);
  }

  #acceptSelected() {
    this.#send({ action: "accept", step: this.#selected });
  }

  #write() {
    this.#writing = true;
    this.#text.value = this.#proposal;
    this.#send({ action: "hold" });
    this.show(this.#view, this.#selected);
    this.#text.focus();
    this.#text.select();
  }

  #use() {
    const prompt = this.#text.value.trim();
    const asProposed = !prompt || (this.#view.live.waiting && prompt === this.#proposal.trim());
    this.#send(asProposed ? { action: "go_on" } : { action: "prompt", prompt });
    this.#done();
  }

  #leave() {
    this.#send({ action: "go_on" });
    this.#done();
  }

  #done() {
    this.#writing = false;
    this.#text.value = this.#proposal;
    this.show({ ...this.#view, live: { ...this.#view.live, waiting: false, phase: "editing" } }, this.#selected);
    this.#onleave();
  }

  #key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#use();
    }
    event.stopPropagation(); // letters are letters here, not commands
  }
}

/** How an ended run stands, with a mark. */
export function ending(record) {
  if (!record.stopped) return element("span", { class: "rt-end" }, "Not finished");
  const good = record.stopped === "accepted" || record.chosen !== null;
  const kind = record.stopped === "failed" ? "failed" : good ? "good" : "plain";
  return element("span", { class: "rt-end", "data-kind": kind, title: record.message || null }, endOf(record));
}
