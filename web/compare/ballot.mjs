/** Which two edits to ask about, in which order and on which side, and the answers. */

/** @typedef {import("./record.mjs").Comparison} Comparison */
/** @typedef {import("./preferences.mjs").Preference} Preference */
/** @typedef {"a" | "b" | "tie"} Winner */

/** Two edits of a task: `a` on the left. @typedef {{task: string, a: string, b: string}} Question */

/** @typedef {Question & {id: string, voter: string, winner: Winner, at?: string}} VoteLine */
/** @typedef {{id: string, voter: string, undo: string, at?: string}} UndoLine */
/** @typedef {VoteLine | UndoLine} Line a line of votes.jsonl */

const FEWEST_CLUSTERS = 8; // images that were voted on: with fewer, each vote is its own cluster

/**
 * All questions in this voter's own order, which stays the same across visits. Edits with equal pixels are not asked about.
 *
 * @param {Comparison} comparison
 * @param {string} voter
 * @returns {Question[]}
 */
export function questionsOf(comparison, voter) {
  const random = randomBy(`${comparison.record.id} ${voter}`);
  /** @type {Question[]} */
  const questions = [];
  for (const task of comparison.tasks) {
    const edits = comparison.variants.flatMap(({ key }) => comparison.edit(task.id, key) ?? []);
    edits.forEach((one, index) => {
      for (const other of edits.slice(index + 1)) {
        if (one.digest === other.digest) continue;
        const [a, b] = random() < 0.5 ? [one, other] : [other, one];
        questions.push({ task: task.id, a: a.variant, b: b.variant });
      }
    });
  }
  for (let index = questions.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [questions[index], questions[other]] = [questions[other], questions[index]];
  }
  return questions;
}

/** The key of a question, whichever edit is on the left. @param {Question} question */
export const questionKey = ({ task, a, b }) => `${task} ${[a, b].sort().join(" ")}`;

/**
 * The votes that count: not undone, and only a voter's last vote on the same two edits. Duplicate lines count once.
 *
 * @param {Line[]} lines
 * @returns {VoteLine[]}
 */
export function currentVotes(lines) {
  /** @type {Map<string, VoteLine>} */
  const votes = new Map();
  const undone = new Set();
  for (const line of lines) {
    if ("undo" in line) undone.add(`${line.voter} ${line.undo}`);
    else if (!votes.has(line.id)) votes.set(line.id, line);
  }
  const latest = new Map();
  for (const vote of votes.values())
    if (!undone.has(`${vote.voter} ${vote.id}`)) {
      const place = `${vote.voter} ${questionKey(vote)}`;
      latest.delete(place); // so that the last vote comes last
      latest.set(place, vote);
    }
  return [...latest.values()];
}

/**
 * The votes on edits of this comparison, as preferences, and whether they cover too few images to generalize.
 *
 * @param {Comparison} comparison
 * @param {VoteLine[]} votes
 * @returns {{preferences: Preference[], few: boolean}}
 */
export function preferencesOf(comparison, votes) {
  const keys = new Set(comparison.variants.map((variant) => variant.key));
  const known = votes.filter((vote) => comparison.task(vote.task) && keys.has(vote.a) && keys.has(vote.b));
  /** @param {VoteLine} vote */
  const sourceOf = (vote) => comparison.task(vote.task)?.source ?? "";
  const few = new Set(known.map(sourceOf)).size < FEWEST_CLUSTERS;
  const preferences = known.map((vote) => ({
    winner: vote.winner === "b" ? vote.b : vote.a,
    loser: vote.winner === "b" ? vote.a : vote.b,
    tie: vote.winner === "tie",
    cluster: few ? null : sourceOf(vote),
  }));
  return { preferences, few };
}

/** A valid line of votes.jsonl, or null. @param {any} line @returns {Line | null} */
export function checkLine(line) {
  /** @param {any} value */
  const isId = (value) => typeof value === "string" && /^[0-9A-Za-z_-]{1,64}$/.test(value);
  if (!line || typeof line !== "object" || !isId(line.id) || !isId(line.voter)) return null;
  const at = typeof line.at === "string" && /^[0-9A-Za-z:.+-]{0,40}$/.test(line.at) ? line.at : "";
  const { id, voter, task, a, b, winner, undo } = line;
  if ("undo" in line) return isId(undo) ? { id, voter, undo, at } : null;
  if (![task, a, b].every(isId) || a === b || !["a", "b", "tie"].includes(winner)) return null;
  return { id, voter, task, a, b, winner, at };
}

/** Pseudorandom numbers 0…1 seeded by a text (FNV-1a, then mulberry32). @param {string} text */
function randomBy(text) {
  let state = 2166136261;
  for (const letter of text) state = Math.imul(state ^ (letter.codePointAt(0) ?? 0), 16777619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
