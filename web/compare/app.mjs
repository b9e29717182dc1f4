/** The page of a comparison: its grid, the blind vote, and the result. */

import { element } from "../viewer/dom.mjs";
import { Booth } from "./booth.mjs";
import { Grid } from "./grid.mjs";
import { plural } from "./record.mjs";
import { Standings } from "./standings.mjs";
import { browserStorage, VoteLog, voterOf } from "./vote_log.mjs";
import { ZoomView } from "./zoom_view.mjs";

/** @typedef {import("./record.mjs").Comparison} Comparison */
/** @typedef {import("./vote_log.mjs").VoteServer} VoteServer */

const TABS = { grid: "Grid", vote: "Vote blind", result: "Result" };
/** @typedef {keyof typeof TABS} Tab */

export class App {
  #log;
  #booth;
  #standings;
  #grid;
  #zoom;
  /** @type {Record<Tab, HTMLButtonElement>} */
  #tabs;
  /** @type {Tab} */
  #tab = "grid";
  element;

  /** @param {Comparison} comparison @param {VoteServer | null} server */
  constructor(comparison, server) {
    const storage = browserStorage();
    this.#log = new VoteLog(comparison.record.id, storage, server);
    this.#zoom = new ZoomView(comparison);
    this.#grid = new Grid(comparison, (task, variant, order) => this.#zoom.open(task, variant, order));
    this.#booth = new Booth(comparison, this.#log, voterOf(storage));
    this.#standings = new Standings(comparison, this.#log);
    /** @param {Tab} tab */
    const tabButton = (tab) =>
      element("button", { type: "button", class: "cp-tab", role: "tab", onclick: () => this.show(tab) }, TABS[tab]);
    this.#tabs = { grid: tabButton("grid"), vote: tabButton("vote"), result: tabButton("result") };
    const about = `${plural(comparison.tasks.length, "task")} · ${plural(comparison.variants.length, "editor")}`;
    this.element = element(
      "div",
      { class: "rt cp" },
      element(
        "header",
        { class: "cp-header" },
        element("h1", {}, comparison.record.title, " ", element("span", { class: "cp-faint" }, about)),
        element("nav", { class: "cp-tabs", role: "tablist" }, ...Object.values(this.#tabs)),
      ),
      element("main", {}, this.#grid.element, this.#booth.element, this.#standings.element),
      this.#zoom.element,
    );
    document.addEventListener("keydown", (event) => this.#handleKey(event));
    document.addEventListener("keyup", (event) => event.key === " " && this.#booth.flip(false));
    addEventListener("blur", () => this.#booth.flip(false));
  }

  /** Read the votes, and start on the tab that the URL names. */
  async start() {
    const wanted = /** @type {Tab} */ (location.hash.slice(1));
    this.show(wanted in TABS ? wanted : "grid");
    await this.#log.open();
    this.#draw();
  }

  /** @param {Tab} tab */
  show(tab) {
    this.#tab = tab;
    for (const [name, button] of Object.entries(this.#tabs)) button.setAttribute("aria-selected", String(name === tab));
    this.#grid.element.hidden = tab !== "grid";
    this.#booth.element.hidden = tab !== "vote";
    this.#standings.element.hidden = tab !== "result";
    this.#draw();
    if (tab === "vote") this.#booth.focus();
    if (tab === "result") this.#log.open().then(() => this.#tab === tab && this.#standings.draw()); // others vote too
  }

  #draw() {
    if (this.#tab === "vote") this.#booth.draw();
    if (this.#tab === "result") this.#standings.draw();
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    if (this.#tab !== "vote" || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target, key } = event;
    if (target instanceof Element && target.matches("button:focus-visible") && [" ", "Enter"].includes(key)) return;
    if (event.repeat) {
      if (key === " ") event.preventDefault();
    } else if (this.#booth.handleKey(key)) event.preventDefault();
  }
}
