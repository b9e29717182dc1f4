/** What a person can do while the loop runs: accept a turn, stop, write the next prompt. */

import { element, icon, setAttribute } from "./dom.mjs";
import { captureScroll } from "./wheel.mjs";

/** @typedef {import("./view.mjs").View} View */

/**
 * What a person asks of the loop. hold: wait before the next turn. accept: end the run with this step as its result.
 *
 * @typedef {{action: "accept", step: number}
 *   | {action: "stop" | "hold" | "go_on"}
 *   | {action: "prompt", prompt: string}} Order
 */

const PHASE_LABELS = { editing: "editing", thinking: "the thinker is looking" };
const END_PROPOSALS = { accepted: "the thinker is satisfied", plateau: "no longer improving" }; // the person is asked first

/** A bar that shows the state of the loop and takes a person's orders. */
export class Steering {
  #send;
  #onleave;
  /** @type {View | null} */
  #view = null;
  #selected = -1; // index of a step
  #proposal = ""; // the prompt that comes next unless a person writes another
  #writing = false;
  #status = element("span", { class: "rt-status", role: "status" });
  #acceptButton = element("button", {
    type: "button",
    class: "rt-button",
    title: "End the run with this turn as its result",
    onclick: () => this.#send({ action: "accept", step: this.#selected }),
  });
  #stopButton = element(
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
  #editButton = element(
    "button",
    {
      type: "button",
      class: "rt-button",
      title: "Pause the loop before its next turn",
      onclick: () => this.#startWriting(),
    },
    icon("pencil"),
    "Edit the next prompt",
  );
  #textarea = element("textarea", {
    class: "rt-textarea",
    rows: 2,
    "aria-label": "The next prompt",
    placeholder: "What the editor should do next",
    onkeydown: (event) => this.#handleKey(event),
  });
  #goOnButton = element(
    "button",
    { type: "button", class: "rt-button rt-primary", title: "Ctrl+Enter", onclick: () => this.#submit() },
    "Go on",
    icon("arrow"),
  );
  #cancelButton = element(
    "button",
    { type: "button", class: "rt-button", onclick: () => this.#cancel() },
    "Leave it to the thinker",
  );
  #form = element("div", { class: "rt-next" }, this.#textarea, this.#cancelButton, this.#goOnButton);
  element = element(
    "div",
    { class: "rt-steering", role: "group", "aria-label": "Steer the loop" },
    element("div", { class: "rt-steering-row" }, this.#status, this.#acceptButton, this.#stopButton, this.#editButton),
    this.#form,
  );

  /**
   * @param {object} listeners
   * @param {(order: Order) => void} listeners.send
   * @param {() => void} listeners.onleave the form that had the focus is hidden
   */
  constructor({ send, onleave }) {
    this.#send = send;
    this.#onleave = onleave;
    captureScroll(this.#textarea);
  }

  /** @param {View} view @param {number} selected the step that Accept would take */
  show(view, selected) {
    this.#view = view;
    this.#selected = selected;
    const { live, record } = view;
    setAttribute(this.element, "hidden", !live);
    if (!live) {
      this.#writing = false;
      return;
    }
    this.#showProposal(live.next.prompt);
    const { turns } = record.options.rules;
    this.#status.replaceChildren(
      element("i", { class: live.waiting ? "rt-pulse" : "rt-spinner" }),
      element("span", {}, element("b", {}, `Turn ${live.next.turn} of ${turns}`), ` · ${this.#describePhase(live)}`),
    );
    const step = record.steps[selected];
    setAttribute(this.#acceptButton, "disabled", !step);
    this.#acceptButton.replaceChildren(icon("check"), step ? `Accept turn ${step.turn}` : "Accept");
    const open = this.#writing || live.waiting;
    setAttribute(this.#form, "hidden", !open);
    setAttribute(this.#editButton, "hidden", open || live.next.turn >= turns); // no prompt comes after the last turn
    setAttribute(this.#cancelButton, "hidden", live.waiting);
  }

  /** @param {string} proposal */
  #showProposal(proposal) {
    if (proposal === this.#proposal) return;
    if (this.#textarea.value.trim() === this.#proposal.trim()) this.#textarea.value = proposal;
    this.#proposal = proposal;
  }

  /** @param {import("./view.mjs").LiveState} live */
  #describePhase({ waiting, phase, next }) {
    if (waiting) return next.ends ? `${END_PROPOSALS[next.ends]}; waiting for you` : "waiting for you";
    return `${PHASE_LABELS[phase]}${this.#writing ? "; then it waits for you" : ""}`;
  }

  #startWriting() {
    this.#writing = true;
    this.#textarea.value = this.#proposal;
    this.#send({ action: "hold" });
    this.#redraw();
    this.#textarea.focus();
    this.#textarea.select();
  }

  #submit() {
    const prompt = this.#textarea.value.trim();
    const asProposed = !prompt || (this.#view?.live?.waiting && prompt === this.#proposal.trim());
    this.#send(asProposed ? { action: "go_on" } : { action: "prompt", prompt });
    this.#leave();
  }

  #cancel() {
    this.#send({ action: "go_on" });
    this.#leave();
  }

  #leave() {
    this.#writing = false;
    this.#textarea.value = this.#proposal;
    const live = this.#view?.live;
    if (this.#view && live) this.#view = { ...this.#view, live: { ...live, waiting: false, phase: "editing" } };
    this.#redraw();
    this.#onleave();
  }

  #redraw() {
    if (this.#view) this.show(this.#view, this.#selected);
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#submit();
    }
    event.stopPropagation(); // letters are text here, not commands
  }
}
