/** The blind vote: two edits of one task, no names, by keyboard. */

import { element } from "../viewer/dom.mjs";
import { currentVotes, questionKey, questionsOf } from "./ballot.mjs";
import { randomId } from "./vote_log.mjs";

/** @typedef {import("./record.mjs").Comparison} Comparison */
/** @typedef {import("./ballot.mjs").Question} Question */
/** @typedef {import("./ballot.mjs").Winner} Winner */
/** @typedef {import("./vote_log.mjs").VoteLog} VoteLog */

const PRELOADED = 3; // questions whose images are loaded ahead of time

export class Booth {
  #comparison;
  #log;
  #voter;
  #questions;
  /** @type {Question | undefined} */
  #asked;
  #ready = false;
  /** @type {Map<string, Promise<HTMLImageElement>>} */
  #images = new Map();
  #instruction = element("h2", { class: "cp-question" });
  #source = element("div", { class: "cp-side cp-side-source" });
  #sides = { a: element("div", { class: "cp-side" }), b: element("div", { class: "cp-side" }) };
  #stage;
  #buttons;
  #progress = element("progress", { "aria-label": "Questions that you have answered" });
  #count = element("span", { class: "cp-faint", role: "status" });
  #trouble = element("p", { class: "cp-trouble", role: "alert" });
  element;

  /** @param {Comparison} comparison @param {VoteLog} log @param {string} voter */
  constructor(comparison, log, voter) {
    this.#comparison = comparison;
    this.#log = log;
    this.#voter = voter;
    this.#questions = questionsOf(comparison, voter);
    /** @type {(text: string, key: string, act: () => unknown) => HTMLButtonElement} */
    const button = (text, key, act) => {
      /** @param {MouseEvent} event */
      const onclick = (event) => {
        if (event.detail) this.focus(); // by mouse: give the keys back to the question
        act();
      };
      return element("button", { type: "button", class: "cp-button", onclick }, `${text} `, element("kbd", {}, key));
    };
    this.#buttons = {
      a: button("A is better", "←", () => this.vote("a")),
      tie: button("No difference", "↓", () => this.vote("tie")),
      b: button("B is better", "→", () => this.vote("b")),
      undo: button("Undo", "U", () => this.undo()),
    };
    this.#stage = element(
      "div",
      { class: "cp-ballot" },
      figure("Source", this.#source, "cp-figure-source"),
      figure("A", this.#sides.a),
      figure("B", this.#sides.b),
    );
    this.element = element(
      "section",
      { class: "cp-booth", "aria-label": "Blind vote", tabindex: -1 },
      element("div", { class: "cp-booth-head" }, this.#progress, this.#count),
      this.#instruction,
      this.#stage,
      this.#trouble,
      element("div", { class: "cp-answers" }, this.#buttons.a, this.#buttons.tie, this.#buttons.b, this.#buttons.undo),
      element("p", { class: "cp-keys" }, "← A · ↓ no difference · → B · U undo · hold space: source · Z actual pixels"),
    );
  }

  /** Take the keyboard focus. */
  focus() {
    this.element.focus({ preventScroll: true });
  }

  /** The current votes of this voter, the newest last. */
  #mine() {
    return currentVotes(this.#log.lines).filter((vote) => vote.voter === this.#voter);
  }

  /** Show the next unanswered question. */
  draw() {
    const answered = new Set(this.#mine().map(questionKey));
    const open = this.#questions.filter((question) => !answered.has(questionKey(question)));
    const done = this.#questions.length - open.length;
    this.#progress.max = Math.max(1, this.#questions.length);
    this.#progress.value = done;
    this.#count.textContent = `${done} of ${this.#questions.length} answered by you`;
    this.#trouble.textContent = this.#log.trouble;
    this.#buttons.undo.disabled = !this.#mine().length;
    const [question] = open;
    for (const each of ["a", "tie", "b"]) this.#buttons[/** @type {Winner} */ (each)].disabled = !question;
    this.#stage.hidden = !question;
    if (!question) {
      this.#asked = undefined;
      this.#instruction.textContent = this.#questions.length
        ? "You have answered all questions. The votes are under Result."
        : "There is nothing to vote on: no two results differ.";
      return;
    }
    if (!this.#asked || questionKey(question) !== questionKey(this.#asked)) this.#show(question);
    for (const next of open.slice(1, 1 + PRELOADED)) for (const file of this.#filesOf(next)) this.#image(file);
    this.#forget(open.slice(0, 1 + PRELOADED));
  }

  /** @param {Question} question */
  async #show(question) {
    this.#asked = question;
    this.#ready = false;
    this.#instruction.textContent = this.#comparison.task(question.task)?.instruction ?? "";
    const [source, a, b] = await Promise.all(this.#filesOf(question).map((file) => this.#image(file)));
    if (this.#asked !== question) return; // another one has been requested meanwhile
    this.#source.replaceChildren(source);
    this.#sides.a.replaceChildren(a, overlay(source));
    this.#sides.b.replaceChildren(b, overlay(source));
    a.alt = "Edit A";
    b.alt = "Edit B";
    source.alt = "Source";
    this.#ready = true;
    this.element.dataset.asked = questionKey(question);
  }

  /** @param {Question} question */
  #filesOf({ task, a, b }) {
    const edits = [a, b].map((variant) => this.#comparison.edit(task, variant)?.file ?? "");
    return [this.#comparison.task(task)?.file ?? "", ...edits];
  }

  /** An image, decoded and ready to be shown. @param {string} file */
  #image(file) {
    const known = this.#images.get(file);
    if (known) return known;
    const ready = this.#read(file);
    this.#images.set(file, ready);
    return ready;
  }

  /** @param {string} file */
  async #read(file) {
    const src = await this.#comparison.addressOf(file);
    const image = element("img", { draggable: "false", src });
    await image.decode().catch(() => {}); // a file that is broken shows its text
    return image;
  }

  /** Drop the images that none of these questions use. @param {Question[]} questions */
  #forget(questions) {
    const kept = new Set(questions.flatMap((question) => this.#filesOf(question)));
    for (const file of this.#images.keys()) if (!kept.has(file)) this.#images.delete(file);
  }

  /** @param {Winner} winner */
  async vote(winner) {
    const question = this.#asked;
    if (!question || !this.#ready) return; // pressing a key twice must not vote on something not seen yet
    this.#ready = false;
    const line = { id: randomId(), voter: this.#voter, ...question, winner, at: new Date().toISOString() };
    const written = this.#log.add([line]);
    this.draw();
    await written;
    this.#trouble.textContent = this.#log.trouble;
  }

  async undo() {
    const last = this.#mine().at(-1);
    if (!last) return;
    const line = { id: randomId(), voter: this.#voter, undo: last.id, at: new Date().toISOString() };
    const written = this.#log.add([line]);
    this.#asked = undefined;
    this.draw();
    await written;
    this.#trouble.textContent = this.#log.trouble;
  }

  /** @param {boolean} on whether to show the source in place of both */
  flip(on) {
    this.#stage.classList.toggle("cp-flipped", on);
  }

  toggleRealPixels() {
    this.#stage.classList.toggle("cp-real");
  }

  /** Whether the key was a command of the booth. @param {string} key */
  handleKey(key) {
    /** @type {Record<string, () => unknown>} */
    const commands = {
      arrowleft: () => this.vote("a"),
      arrowright: () => this.vote("b"),
      arrowdown: () => this.vote("tie"),
      u: () => this.undo(),
      backspace: () => this.undo(),
      z: () => this.toggleRealPixels(),
      " ": () => this.flip(true),
    };
    const command = commands[key.toLowerCase()];
    command?.();
    return Boolean(command);
  }
}

/** The source over an edit, shown while space is held. @param {HTMLImageElement} source */
function overlay(source) {
  return element("img", { class: "cp-overlay", src: source.src, alt: "", "aria-hidden": "true" });
}

/** @param {string} text @param {HTMLElement} image @param {string} more */
function figure(text, image, more = "") {
  return element("figure", { class: `cp-figure ${more}` }, image, element("figcaption", {}, text));
}
