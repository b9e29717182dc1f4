// Elements and requests, as the views of pairs need them.
import { element as plain } from "../viewer/dom.mjs";

/** element("p.note", {title: "…"}, "text", otherElement, …) */
export function element(kind, attributes = {}, ...inside) {
  const [tag, ...classes] = kind.split(".");
  return plain(tag, { class: classes.join(" ") || null, ...attributes }, ...inside.filter((part) => part !== ""));
}

/** What published pairs answer; `base` is the address of ComfyUI's API, `key` the pairs'. */
export class Pairs {
  constructor(base, key) {
    this.address = `${base}/rethink/pairs/${/^\w+$/.test(key) ? key : "unknown"}`; // no other way than to pairs
  }

  /** {"counts", "pairs"}: at most `count` pairs behind the id `after`. */
  list(options) {
    return this.#ask(`?${new URLSearchParams(options)}`);
  }

  /** The address of a picture, at most `side` pixels long. */
  picture(path, side) {
    return `${this.address}/picture?${new URLSearchParams({ path, side })}`;
  }

  /** accepted: true, false, or null to take the verdict back. → the state of the pair. */
  judge(id, accepted) {
    return this.#ask("/verdict", { id, accepted });
  }

  /** How many pairs these thresholds would keep. */
  tried(thresholds) {
    return this.#ask("/tried", thresholds);
  }

  async #ask(path, body) {
    const post = body && { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    const reply = await fetch(this.address + path, { cache: "no-store", ...post });
    const found = await reply.json().catch(() => ({}));
    if (!reply.ok) throw new Error(found.error ?? `The server answers ${reply.status}.`);
    return found;
  }
}

export const plural = (count, word) => `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;
