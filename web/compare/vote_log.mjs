/**
 * Where votes are kept: in the results folder if a server writes them there, otherwise in this browser. Lines are only ever
 * added; lines that the server has not accepted yet stay in the browser until it does.
 */

import { checkLine } from "./ballot.mjs";

/** @typedef {import("./ballot.mjs").Line} Line */

/**
 * The server that takes votes. load: all existing votes, or null if there is no such server; send: throws if they were not written.
 *
 * @typedef {{load: () => Promise<Line[] | null>, send: (lines: Line[]) => Promise<void>}} VoteServer
 */

/** @typedef {{getItem: (name: string) => string | null, setItem: (name: string, value: string) => void}} VoteStorage */

export class VoteLog {
  /** @type {Map<string, Line>} */
  #lines = new Map();
  #storage;
  #server;
  #name;
  #sending = Promise.resolve();
  /** Whether a server stores the votes. */
  served = false;
  /** Why votes are not stored where they should be; "" if they are. */
  trouble = "";

  /** @param {string} comparison its id @param {VoteStorage | null} storage @param {VoteServer | null} server */
  constructor(comparison, storage, server) {
    this.#name = `rethink-votes-${comparison}`;
    this.#storage = storage;
    this.#server = server;
  }

  get lines() {
    return [...this.#lines.values()];
  }

  /** Read the existing votes; called again, also what others have voted since. */
  async open() {
    for (const line of this.#stored()) this.#lines.set(line.id, line);
    const theirs = (await this.#server?.load().catch(() => null)) ?? null;
    this.served ||= theirs !== null;
    for (const line of theirs ?? []) this.#keep(line);
    await this.#flush(new Set((theirs ?? []).map((line) => line.id)));
  }

  /** Add lines, which are saved in the browser immediately. @param {Line[]} lines */
  async add(lines) {
    for (const line of lines) this.#keep(line);
    this.#store();
    await this.#flush();
  }

  /** All lines in the format of votes.jsonl. */
  export() {
    return asText(this.lines);
  }

  /** Add the lines of another file; → how many are new, and how many are not votes. @param {string} text */
  async import(text) {
    const records = text.split("\n").filter((line) => line.trim());
    const lines = records.map(parseLine);
    const fresh = lines.flatMap((line) => (line && !this.#lines.has(line.id) ? [line] : []));
    await this.add(fresh);
    return { added: fresh.length, damaged: lines.filter((line) => !line).length };
  }

  /** @param {any} line */
  #keep(line) {
    const checked = checkLine(line);
    if (checked && !this.#lines.has(checked.id)) this.#lines.set(checked.id, checked);
  }

  /** @returns {Line[]} */
  #stored() {
    const text = this.#storage?.getItem(this.#name) ?? "";
    return text.split("\n").flatMap((line) => parseLine(line) ?? []);
  }

  /** Write the lines to the browser's storage, including what another tab has added meanwhile. */
  #store() {
    if (!this.#storage) {
      if (!this.served)
        this.trouble = "This browser stores nothing for a local file: export your votes before you close it.";
      return;
    }
    for (const line of this.#stored()) this.#keep(line);
    try {
      const kept = this.served ? this.lines.filter((line) => !this.#sent.has(line.id)) : this.lines;
      this.#storage.setItem(this.#name, asText(kept));
    } catch {
      this.trouble = "This browser's storage is full: export your votes before you close it.";
    }
  }

  /** Send what the server does not have, one request at a time. @param {Set<string>} [known] ids that it has */
  #flush(known) {
    const before = this.#sending;
    this.#sending = before.then(async () => {
      if (known) this.#sent = known;
      const left = this.lines.filter((line) => !this.#sent.has(line.id));
      if (!this.served || !this.#server || !left.length) return;
      try {
        await this.#server.send(left);
        for (const line of left) this.#sent.add(line.id);
        this.trouble = "";
        this.#store();
      } catch (error) {
        const votes = left.length === 1 ? "1 vote is" : `${left.length} votes are`;
        this.trouble = `${votes} not in the folder yet (${error instanceof Error ? error.message : error}); this browser keeps them and will retry.`;
      }
    });
    return this.#sending;
  }

  /** @type {Set<string>} ids that the server has */
  #sent = new Set();
}

/** @param {Line[]} lines */
const asText = (lines) => lines.map((line) => `${JSON.stringify(line)}\n`).join("");

/** @param {string} text @returns {Line | null} */
function parseLine(text) {
  try {
    return checkLine(JSON.parse(text));
  } catch {
    return null;
  }
}

/** The server whose page this is. @param {string} address of its votes @returns {VoteServer} */
export function voteServer(address) {
  return {
    async load() {
      const reply = await fetch(address, { cache: "no-store" });
      return reply.ok ? (await reply.json()).votes : null;
    },
    async send(lines) {
      for (let start = 0; start < lines.length; start += 1000) {
        const body = JSON.stringify({ votes: lines.slice(start, start + 1000) });
        const headers = { "Content-Type": "application/json" };
        const reply = await fetch(address, { method: "POST", body, headers });
        if (!reply.ok)
          throw new Error(
            (await reply.json().catch(() => ({}))).error ?? `the server responded with status ${reply.status}`,
          );
      }
    },
  };
}

/** This browser's storage, if the page may use it. @returns {Storage | null} */
export function browserStorage() {
  try {
    localStorage.setItem("rethink-try", "1");
    localStorage.removeItem("rethink-try");
    return localStorage;
  } catch {
    return null;
  }
}

/** The id of the voter in this browser; stays the same across visits if there is storage. @param {VoteStorage | null} storage */
export function voterOf(storage) {
  const known = storage?.getItem("rethink-voter");
  if (known && /^[0-9a-z]{8,32}$/.test(known)) return known;
  const created = randomId();
  storage?.setItem("rethink-voter", created);
  return created;
}

export const randomId = () =>
  [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
