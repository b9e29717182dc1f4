/** Every source with every result, filtered and sorted; images load when they scroll into view. */

import { element } from "../viewer/dom.mjs";
import { formatScore, formatSeconds } from "./record.mjs";

/** @typedef {import("./record.mjs").Comparison} Comparison */
/** @typedef {import("./record.mjs").Task} Task */

const MARGIN_IN_SIGHT = "600px"; // load images this far outside the viewport, too
const SPREAD = "spread";

export class Grid {
  #comparison;
  #onzoom;
  #rows = element("div", { class: "cp-rows" });
  #count = element("span", { class: "cp-faint", role: "status" });
  #search = element("input", {
    type: "search",
    placeholder: "Filter by instruction",
    "aria-label": "Filter by instruction",
  });
  #only;
  #by;
  #of;
  #falling = element("input", { type: "checkbox", checked: true });
  #observer;
  element;

  /** @param {Comparison} comparison @param {(task: string, variant: string, order: string[]) => void} onzoom */
  constructor(comparison, onzoom) {
    this.#comparison = comparison;
    this.#onzoom = onzoom;
    this.#only = choice("Show", [
      ["", "all"],
      ["different", "results that differ"],
      ["unchanged", "edits that changed nothing"],
      ["missing", "missing edits"],
    ]);
    const measures = comparison.measures.map(({ id, title }) => /** @type {[string, string]} */ ([id, title]));
    this.#by = choice("Sort by", [
      ["", "as given"],
      ["instruction", "instruction"],
      ...measures,
      ["seconds", "seconds"],
    ]);
    const names = comparison.variants.map(({ key, name }) => /** @type {[string, string]} */ ([key, name]));
    this.#of = choice("of", [[SPREAD, "difference between editors"], ...names]);
    this.#observer = new IntersectionObserver((seen) => this.#load(seen), { rootMargin: MARGIN_IN_SIGHT });
    this.element = element(
      "section",
      { class: "cp-grid" },
      element(
        "form",
        { class: "cp-tools", onsubmit: (event) => event.preventDefault(), oninput: () => this.#draw() },
        this.#search,
        label("Show", this.#only),
        label("Sort by", this.#by),
        label("of", this.#of),
        element("label", {}, this.#falling, "largest first"),
        this.#count,
      ),
      element("div", { class: "cp-scroll" }, this.#head(), this.#rows),
    );
    this.element.style.setProperty("--variants", String(comparison.variants.length));
    this.#draw();
  }

  /** The ids of the tasks that are shown, in order. */
  get order() {
    const text = this.#search.value.trim().toLowerCase();
    const shown = this.#comparison.tasks.filter((task) => this.#isShown(task, text));
    const by = this.#by.value;
    if (by === "instruction") shown.sort((one, other) => one.instruction.localeCompare(other.instruction));
    else if (by) {
      const values = new Map(shown.map((task) => [task.id, this.#value(task)]));
      const sign = this.#falling.checked ? -1 : 1;
      shown.sort((one, other) => {
        const [left, right] = [values.get(one.id), values.get(other.id)];
        if (left === undefined || right === undefined) return Number(left === undefined) - Number(right === undefined);
        return sign * (left - right);
      });
    }
    return shown.map((task) => task.id);
  }

  /** @param {Task} task @param {string} text */
  #isShown(task, text) {
    if (!`${task.instruction} ${task.name}`.toLowerCase().includes(text)) return false;
    const edits = this.#comparison.variants.map(({ key }) => this.#comparison.edit(task.id, key));
    if (this.#only.value === "different") return new Set(edits.map((edit) => edit?.digest)).size > 1;
    if (this.#only.value === "unchanged") return edits.some((edit) => edit?.unchanged);
    return this.#only.value !== "missing" || edits.includes(undefined);
  }

  /** The value a task is sorted by; undefined if it was not measured. @param {Task} task */
  #value(task) {
    const measure = this.#by.value;
    /** @param {string} variant */
    const valueOf = (variant) => {
      const edit = this.#comparison.edit(task.id, variant);
      return measure === "seconds" ? edit?.seconds : edit?.scores[measure];
    };
    if (this.#of.value !== SPREAD) return valueOf(this.#of.value);
    const values = this.#comparison.variants.flatMap(({ key }) => valueOf(key) ?? []);
    return values.length > 1 ? Math.max(...values) - Math.min(...values) : undefined;
  }

  #head() {
    const names = this.#comparison.variants.map(({ name }) => element("span", { title: name }, name));
    return element("div", { class: "cp-row cp-head" }, element("span", {}, "Source"), ...names);
  }

  #draw() {
    const order = this.order;
    this.#count.textContent = `${order.length} of ${this.#comparison.tasks.length}`;
    this.#of.disabled = !this.#by.value || this.#by.value === "instruction";
    this.#observer.disconnect();
    this.#rows.replaceChildren(...order.map((id) => this.#row(id, order)));
    for (const image of this.#rows.querySelectorAll("img")) this.#observer.observe(image);
  }

  /** @param {string} id of a task @param {string[]} order */
  #row(id, order) {
    const task = this.#comparison.task(id);
    if (!task) return element("div");
    const source = element(
      "figure",
      { class: "cp-cell" },
      element("div", { class: "cp-frame" }, element("img", { "data-file": task.file, alt: `Source: ${task.name}` })),
      element("figcaption", { class: "cp-faint" }, task.name),
    );
    const cells = this.#comparison.variants.map(({ key }) => this.#cell(task, key, order));
    return element(
      "section",
      { class: "cp-task", "aria-label": task.instruction },
      element("h2", { class: "cp-instruction" }, task.instruction),
      element("div", { class: "cp-row" }, source, ...cells),
    );
  }

  /** @param {Task} task @param {string} key @param {string[]} order */
  #cell(task, key, order) {
    const [edit, name] = [this.#comparison.edit(task.id, key), this.#comparison.nameOf(key)];
    if (!edit) {
      const why = this.#comparison.whyMissing(task.id, key);
      return element(
        "figure",
        { class: "cp-cell" },
        element("div", { class: "cp-frame cp-missing" }, why),
        nameOnPhones(name),
      );
    }
    const scores = this.#comparison.measures
      .filter((measure) => measure.id in edit.scores)
      .map((measure) => score(measure.title, formatScore(edit.scores[measure.id], measure), measure.help));
    const marks = [...(edit.unchanged ? ["nothing changed"] : []), ...this.#sizeNote(task, edit.size)];
    const button = element(
      "button",
      {
        type: "button",
        class: "cp-frame",
        "aria-label": `Enlarge ${name}`,
        onclick: () => this.#onzoom(task.id, key, order),
      },
      element("img", { "data-file": edit.file, alt: `${name}: ${task.instruction}` }),
      ...marks.map((text) => element("span", { class: "cp-mark" }, text)),
    );
    const facts = element(
      "figcaption",
      { class: "cp-scores" },
      ...scores,
      score("Seconds", formatSeconds(edit.seconds), ""),
    );
    return element("figure", { class: "cp-cell" }, button, nameOnPhones(name), facts);
  }

  /** A note on a result whose size differs from its source. @param {Task} task @param {[number, number]} size */
  #sizeNote({ size: source }, size) {
    if (source.length < 2 || (source[0] === size[0] && source[1] === size[1])) return [];
    return [`${size.join(" × ")}, source ${source.join(" × ")}: shown fitted`];
  }

  /** @param {IntersectionObserverEntry[]} seen */
  #load(seen) {
    for (const { target, isIntersecting } of seen) {
      if (!isIntersecting || !(target instanceof HTMLImageElement)) continue;
      this.#observer.unobserve(target);
      this.#read(target);
    }
  }

  /** @param {HTMLImageElement} image */
  async #read(image) {
    image.src = await this.#comparison.addressOf(image.dataset.file ?? "");
  }
}

/** @param {string} name */
const nameOnPhones = (name) => element("div", { class: "cp-cell-name" }, name);

/** @param {string} title @param {string} value @param {string} help */
const score = (title, value, help) => element("span", { title: help || null }, `${title} `, element("b", {}, value));

/** @param {string} text @param {HTMLElement} control */
const label = (text, control) => element("label", {}, text, control);

/** @param {string} name @param {[string, string][]} options */
function choice(name, options) {
  return element(
    "select",
    { "aria-label": name },
    ...options.map(([value, text]) => element("option", { value }, text)),
  );
}
