// The sheet on Preview Pairs: some pairs with their instructions, and the way to the review page.
import { api } from "../../../scripts/api.js";
import { ownScroll } from "../viewer/wheel.mjs";
import { element, Pairs, plural } from "./element.mjs";

const THUMB = 320; // pixels

export class Sheet {
  constructor() {
    this.summary = element("span.rethink-summary", { role: "status" });
    this.link = element("a.rethink-button", { target: "_blank", hidden: true }, "Review");
    this.cards = element("div.rethink-cards", { tabindex: "0", role: "list", "aria-label": "Pairs" });
    this.element = element(
      "div.rethink-pairs", {}, element("div.rethink-bar", {}, this.summary, this.link), this.cards,
    );
    this.cards.append(element("p.rethink-empty", {}, "The pairs appear here when the workflow has run."));
    ownScroll(this.cards);
    this.refresh = () => this.shown && document.visibilityState === "visible" && this.#load();
    document.addEventListener("visibilitychange", this.refresh); // back from the review page
  }

  /** shown: {"key", "sheet": key of the few that are shown here, "name", "count"} */
  show(shown) {
    this.shown = shown;
    const [red, green, blue] = getComputedStyle(document.body).color.match(/[\d.]+/g).map(Number);
    const theme = red + green + blue > 384 ? "dark" : "light"; // whatever the palette is called, its text is light on dark
    const page = new URL("./review.html", import.meta.url);
    page.search = new URLSearchParams({ pairs: shown.key, name: shown.name, theme });
    this.link.href = page.href;
    this.link.hidden = false;
    return this.#load();
  }

  async #load() {
    const { shown } = this;
    const { key, sheet } = shown;
    const few = new Pairs(api.apiURL(""), sheet);
    try {
      const [all, some] = await Promise.all([new Pairs(api.apiURL(""), key).list({ count: 1 }), few.list({ count: 60 })]);
      if (shown !== this.shown) return; // the node has run again since
      const { counts } = all;
      this.summary.textContent = `${plural(counts.all, "pair")}${counts.rejected ? ` · ${counts.rejected.toLocaleString()} rejected` : ""}`;
      this.cards.replaceChildren(...some.pairs.map((pair) => card(pair, few)));
    } catch (error) {
      this.summary.textContent = error.message;
      this.link.hidden = true;
    }
  }

  remove() {
    document.removeEventListener("visibilitychange", this.refresh);
  }
}

function card(pair, pairs) {
  const picture = (path, name) =>
    element("img", { src: pairs.picture(path, THUMB), alt: name, title: name, loading: "lazy", decoding: "async", draggable: "false" });
  const mark = pair.state === "rejected" ? "✕ rejected" : pair.by === "person" ? "✓ accepted" : "";
  return element(
    `figure.rethink-card${pair.state === "rejected" ? ".rethink-rejected" : ""}`,
    { role: "listitem", title: [pair.instruction, ...pair.why].join("\n") },
    element("div.rethink-two", {}, picture(pair.input, "input"), element("span.rethink-arrow", { "aria-hidden": "true" }, "→"), picture(pair.target, "target")),
    element("figcaption", {}, pair.instruction),
    mark && element(`span.rethink-mark${pair.state === "rejected" ? ".rethink-bad" : ""}`, {}, mark, pair.why.length ? `: ${pair.why[0]}` : ""),
  );
}
