/** The results of votes and measures: ratings, win rates, intervals, and which editor is better, in words. */

import { element } from "../viewer/dom.mjs";
import { currentVotes, preferencesOf } from "./ballot.mjs";
import { rank, winRate } from "./preferences.mjs";
import { formatFixed, formatMemory, formatScore, formatSeconds, plural } from "./record.mjs";

/** @typedef {import("./record.mjs").Comparison} Comparison */
/** @typedef {import("./record.mjs").Interval} Interval */
/** @typedef {import("./record.mjs").Measure} Measure */
/** @typedef {import("./record.mjs").Variant} Variant */
/** @typedef {import("./preferences.mjs").Ranking} Ranking */
/** @typedef {import("./preferences.mjs").Rating} Rating */
/** @typedef {import("./vote_log.mjs").VoteLog} VoteLog */

export class Standings {
  #comparison;
  #log;
  #body = element("div");
  #message = element("p", { class: "cp-faint", role: "status" });
  #against = "";
  element;

  /** @param {Comparison} comparison @param {VoteLog} log */
  constructor(comparison, log) {
    this.#comparison = comparison;
    this.#log = log;
    this.#against = comparison.variants[0]?.key ?? "";
    this.element = element("section", { class: "cp-standings", "aria-label": "Result" }, this.#body);
  }

  draw() {
    const votes = currentVotes(this.#log.lines);
    const { preferences, few } = preferencesOf(this.#comparison, votes);
    const names = this.#comparison.variants.map(({ key }) => key);
    const ranking = rank(preferences, names);
    const voters = new Set(votes.map((vote) => vote.voter)).size;
    const strangers = votes.length - preferences.length;
    const sentences = [
      describeRanking(ranking, preferences.length, (key) => this.#comparison.nameOf(key)),
      preferences.length ? `${plural(preferences.length, "vote")} by ${plural(voters, "voter")}.` : "",
      few && preferences.length
        ? "The votes cover too few images to generalize: the intervals apply only to these images."
        : "",
      strangers ? `Left out: ${plural(strangers, "vote")} on edits that are not in this comparison.` : "",
    ];
    this.#body.replaceChildren(
      element("h2", {}, "Votes"),
      ...sentences
        .filter(Boolean)
        .map((text, index) => element("p", { class: index ? "cp-faint" : "cp-verdict" }, text)),
      ...(preferences.length ? [this.#ratings(ranking)] : []),
      this.#keeping(),
      element("h2", {}, "Measures"),
      this.#measures(),
      ...this.#comparison.record.sentences.map((text) => element("p", { class: "cp-faint" }, text)),
      element("h2", {}, "How the edits were made"),
      this.#settings(),
    );
  }

  /** @param {Ranking} ranking */
  #ratings({ ratings }) {
    const ends = ratings.flatMap(({ low, score, high }) => [low, score, high]).filter(Number.isFinite);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    /** @param {number} value */
    const place = (value) => `${(100 * (Math.min(high, Math.max(low, value)) - low)) / (high - low || 1)}%`;
    const rows = ratings.map((rating) => {
      const rate = winRate(rating);
      const bar = element("div", { class: "cp-bar" }, element("i"), element("b"));
      bar.style.setProperty("--low", place(rating.low));
      bar.style.setProperty("--high", place(rating.high));
      bar.style.setProperty("--score", place(rating.score));
      return row(
        "td",
        this.#comparison.nameOf(rating.name),
        rate === null ? "no votes" : `${Math.round(rating.score)}`,
        rate === null ? "" : `${Math.round(rating.low)} … ${Math.round(rating.high)}`,
        bar,
        rate === null ? "" : `${(100 * rate).toFixed(0)}%`,
        `${rating.wins} · ${rating.ties} · ${rating.losses}`,
      );
    });
    const head = row("th", "Editor", "Score", "95% interval", "", "Win rate", "Won · tied · lost");
    return element(
      "div",
      { class: "cp-scroll" },
      element("table", { class: "cp-table" }, element("thead", {}, head), element("tbody", {}, ...rows)),
    );
  }

  #keeping() {
    const kept = this.#log.served
      ? "Votes are written to the results folder."
      : "Votes are kept in this browser. Export them to combine them with the votes of others.";
    const file = element("input", {
      type: "file",
      accept: ".jsonl,.json,text/plain",
      hidden: true,
      onchange: () => this.#import(file),
    });
    return element(
      "div",
      { class: "cp-keeping" },
      element("span", {}, this.#log.trouble || kept),
      element("button", { type: "button", class: "cp-button", onclick: () => this.#export() }, "Export votes"),
      element("button", { type: "button", class: "cp-button", onclick: () => file.click() }, "Import votes"),
      file,
      this.#message,
    );
  }

  #export() {
    const href = `data:application/x-ndjson;charset=utf-8,${encodeURIComponent(this.#log.export())}`;
    element("a", { href, download: "votes.jsonl" }).click();
  }

  /** @param {HTMLInputElement} input */
  async #import(input) {
    const [file] = input.files ?? [];
    if (!file) return;
    const { added, damaged } = await this.#log.import(await file.text());
    this.draw();
    const bad = damaged ? `; left out: ${plural(damaged, "line")} without a vote` : "";
    this.#message.textContent = `Imported ${plural(added, "new line")} from ${file.name}${bad}.`;
  }

  #measures() {
    const { measures, variants } = this.#comparison;
    const names = variants.map(({ key, name }) =>
      element("option", { value: key, selected: key === this.#against }, name),
    );
    const select = element(
      "select",
      {
        "aria-label": "Compared with",
        onchange: () => {
          this.#against = select.value;
          this.draw();
        },
      },
      ...names,
    );
    const head = element(
      "tr",
      {},
      element("th", {}, "Editor"),
      ...measures.map(({ title, help }) => element("th", { title: help }, title)),
      ...["Seconds", "Memory", "Edits"].map((text) => element("th", {}, text)),
    );
    const rows = variants.map((variant) =>
      row(
        "td",
        variant.name,
        ...measures.map((measure) => this.#mean(variant, measure)),
        formatSeconds(variant.seconds),
        formatMemory(variant.memory),
        String(variant.edits),
      ),
    );
    const few = variants.some(({ means }) => Object.values(means).some(({ low }) => low === null));
    const note = few
      ? element("p", { class: "cp-faint" }, "A missing interval means that there are too few sources.")
      : null;
    return element(
      "div",
      {},
      element("label", { class: "cp-against" }, "Verdicts compared with", select),
      element(
        "div",
        { class: "cp-scroll" },
        element("table", { class: "cp-table" }, element("thead", {}, head), element("tbody", {}, ...rows)),
      ),
      note,
    );
  }

  /** @param {Variant} variant @param {Measure} measure */
  #mean(variant, measure) {
    const found = variant.means[measure.id];
    if (!found) return element("span", { class: "cp-faint" }, "not measured");
    const against = this.#comparison.difference(measure.id, variant.key, this.#against);
    const words = against ? element("em", { "data-verdict": against.verdict }, against.verdict) : null;
    return element(
      "span",
      {},
      element("b", {}, formatScore(found.mean, measure)),
      " ",
      element("small", {}, between(found, measure)),
      words,
    );
  }

  #settings() {
    const lines = this.#comparison.variants.map(({ name, settings, record }) => {
      const summary = element("summary", {}, name, " ", element("span", { class: "cp-faint" }, settings ?? ""));
      return element("details", {}, summary, element("pre", {}, JSON.stringify(record, null, 2)));
    });
    return element("div", { class: "cp-settings" }, ...lines);
  }
}

/** @param {Ranking} ranking @param {number} votes @param {(key: string) => string} nameOf */
export function describeRanking({ ratings, decided, more }, votes, nameOf) {
  if (!votes) return "No votes yet.";
  const [first, second] = ratings.map(({ name }) => nameOf(name));
  if (decided) return `${first} is better than ${second}.`;
  if (more === null) return `${first} against ${second}: cannot tell, and they are too similar for votes to decide.`;
  return `${first} against ${second}: cannot tell. About ${plural(more, "more vote")} would decide, if the trend continues.`;
}

/** The text of an interval; empty if there are too few sources for one.
 * @param {Interval} interval @param {Measure} measure */
function between({ low, high }, { digits }) {
  return low === null || high === null ? "" : `${formatFixed(low, digits)} … ${formatFixed(high, digits)}`;
}

/** @param {"td" | "th"} tag @param {...(string | HTMLElement)} cells */
const row = (tag, ...cells) => element("tr", {}, ...cells.map((cell) => element(tag, {}, cell)));
