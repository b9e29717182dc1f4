/** What changed from one prompt to the next, word by word. */

/** @typedef {"same" | "new" | "gone"} PieceKind */
/** @typedef {{kind: PieceKind, text: string}} Piece of a prompt, or of the previous one if it is gone */
/** @typedef {{word: string, space: string}} Token a word with the white space that follows it */
/** @typedef {{kind: PieceKind, token: Token}} EditOperation */

const TOKEN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{N}\p{M}'’-]+|[^\s]/gu;
const MAX_WORDS = 1500; // in the middle part that differs: with more, the comparison would be noticeably slow

/**
 * The pieces of `after`, with the pieces removed from `before` between them.
 *
 * Without the removed ones, their texts join to exactly `after`. If less than a third has stayed, everything counts as new.
 *
 * @param {string} before
 * @param {string} after
 * @returns {Piece[]}
 */
export function wordDiff(before, after) {
  const [oldTokens, newTokens] = [tokenize(before), tokenize(after)];
  const shorter = Math.min(oldTokens.length, newTokens.length);
  let head = 0;
  while (head < shorter && oldTokens[head].word === newTokens[head].word) head++;
  let tail = 0;
  while (tail < shorter - head && oldTokens.at(-1 - tail)?.word === newTokens.at(-1 - tail)?.word) tail++;
  const middle = editScript(
    oldTokens.slice(head, oldTokens.length - tail),
    newTokens.slice(head, newTokens.length - tail),
  );
  /** @type {(tokens: Token[]) => EditOperation[]} */
  const keep = (tokens) => tokens.map((token) => ({ kind: "same", token }));
  const script = [...keep(newTokens.slice(0, head)), ...middle, ...keep(tail ? newTokens.slice(-tail) : [])];
  const kept = script.filter(({ kind }) => kind === "same").length;
  const byChance = kept * 3 < Math.max(oldTokens.length, newTokens.length); // otherwise these words would only scatter the marks
  const leadingSpace = after.slice(0, after.length - after.trimStart().length);
  return mergePieces(byChance ? replaceAll(oldTokens, newTokens) : script, leadingSpace);
}

/**
 * @param {string} text
 * @returns {Token[]}
 */
function tokenize(text) {
  const matches = [...text.matchAll(TOKEN)];
  return matches.map((match, index) => {
    const end = match.index + match[0].length;
    return { word: match[0], space: text.slice(end, matches[index + 1]?.index ?? text.length) };
  });
}

/**
 * The steps from one list of words to another, along their longest common subsequence.
 *
 * @param {Token[]} oldTokens
 * @param {Token[]} newTokens
 * @returns {EditOperation[]}
 */
function editScript(oldTokens, newTokens) {
  if (oldTokens.length > MAX_WORDS || newTokens.length > MAX_WORDS) return replaceAll(oldTokens, newTokens);
  const width = newTokens.length + 1;
  const common = new Uint16Array((oldTokens.length + 1) * width); // length of what follows [i, j]
  for (let i = oldTokens.length - 1; i >= 0; i--) {
    for (let j = newTokens.length - 1; j >= 0; j--) {
      common[i * width + j] =
        oldTokens[i].word === newTokens[j].word
          ? common[(i + 1) * width + j + 1] + 1
          : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  /** @type {EditOperation[]} */
  const script = [];
  let [i, j] = [0, 0];
  while (i < oldTokens.length && j < newTokens.length) {
    if (oldTokens[i].word === newTokens[j].word) {
      script.push({ kind: "same", token: newTokens[j++] });
      i++;
    } else if (common[(i + 1) * width + j] >= common[i * width + j + 1]) {
      script.push({ kind: "gone", token: oldTokens[i++] });
    } else {
      script.push({ kind: "new", token: newTokens[j++] });
    }
  }
  return [...script, ...replaceAll(oldTokens.slice(i), newTokens.slice(j))];
}

/**
 * @param {Token[]} oldTokens
 * @param {Token[]} newTokens
 * @returns {EditOperation[]}
 */
function replaceAll(oldTokens, newTokens) {
  /** @type {EditOperation[]} */
  const removals = oldTokens.map((token) => ({ kind: "gone", token }));
  /** @type {EditOperation[]} */
  const insertions = newTokens.map((token) => ({ kind: "new", token }));
  return [...removals, ...insertions];
}

/**
 * Merge neighbors of one kind into one piece; the white space after a marked piece stays outside its mark.
 *
 * @param {EditOperation[]} script
 * @param {string} leadingSpace
 */
function mergePieces(script, leadingSpace) {
  /** @type {Piece[]} */
  const pieces = [];
  /** @type {(kind: PieceKind, text: string) => void} */
  const add = (kind, text) => {
    const last = pieces.at(-1);
    if (!text) return;
    if (last?.kind === kind) last.text += text;
    else pieces.push({ kind, text });
  };
  add("same", leadingSpace);
  script.forEach(({ kind, token }, index) => {
    const goesOn = script[index + 1]?.kind === kind;
    add(kind, goesOn || kind === "same" ? token.word + token.space : token.word);
    if (kind === "new" && !goesOn) add("same", token.space);
  });
  return pieces;
}
