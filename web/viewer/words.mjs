/** What changed from one prompt to the next, word by word. */

const TOKEN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{N}\p{M}'’-]+|[^\s]/gu;
const MOST = 1500; // words in the middle that differ: beyond, the table of the comparison would be felt

/**
 * Pieces of `after` with what is gone from `before` between them: [{kind: "same" | "new" | "gone", text}, …].
 * Without the gone ones, the texts join to `after`, letter by letter. Where less than a third has stayed, all is new.
 */
export function wordDiff(before, after) {
  const [old, now] = [tokens(before), tokens(after)];
  let head = 0;
  while (head < Math.min(old.length, now.length) && old[head].word === now[head].word) head++;
  let tail = 0;
  while (tail < Math.min(old.length, now.length) - head && old.at(-1 - tail).word === now.at(-1 - tail).word) tail++;
  const middle = changes(old.slice(head, old.length - tail), now.slice(head, now.length - tail));
  const same = (list) => list.map((token) => ({ kind: "same", token }));
  const all = [...same(now.slice(0, head)), ...middle, ...same(tail ? now.slice(-tail) : [])];
  const kept = all.filter(({ kind }) => kind === "same").length;
  const byChance = kept * 3 < Math.max(old.length, now.length); // such words would only scatter the marks
  return joined(byChance ? whole(old, now) : all, after.match(/^\s*/)[0]);
}

/** Words with the white space that follows them. */
function tokens(text) {
  const found = [...text.matchAll(TOKEN)];
  return found.map((match, index) => {
    const end = match.index + match[0].length;
    return { word: match[0], space: text.slice(end, found[index + 1]?.index ?? text.length) };
  });
}

/** The longest common subsequence of two lists of words, as the steps from one to the other. */
function changes(old, now) {
  if (old.length > MOST || now.length > MOST) return whole(old, now);
  const width = now.length + 1;
  const common = new Uint16Array((old.length + 1) * width); // of what follows [i, j]
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = now.length - 1; j >= 0; j--) {
      common[i * width + j] =
        old[i].word === now[j].word
          ? common[(i + 1) * width + j + 1] + 1
          : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const steps = [];
  let [i, j] = [0, 0];
  while (i < old.length && j < now.length) {
    if (old[i].word === now[j].word) {
      steps.push({ kind: "same", token: now[j++] });
      i++;
    } else if (common[(i + 1) * width + j] >= common[i * width + j + 1]) {
      steps.push({ kind: "gone", token: old[i++] });
    } else {
      steps.push({ kind: "new", token: now[j++] });
    }
  }
  return [...steps, ...whole(old.slice(i), now.slice(j))];
}

function whole(old, now) {
  return [...old.map((token) => ({ kind: "gone", token })), ...now.map((token) => ({ kind: "new", token }))];
}

/** Neighbours of one kind in one piece; the white space after a marked piece stands outside of its mark. */
function joined(steps, lead) {
  const pieces = lead ? [{ kind: "same", text: lead }] : [];
  const add = (kind, text) => {
    if (!text) return;
    if (pieces.at(-1)?.kind === kind) pieces.at(-1).text += text;
    else pieces.push({ kind, text });
  };
  steps.forEach(({ kind, token }, index) => {
    const goesOn = steps[index + 1]?.kind === kind;
    add(kind, goesOn || kind === "same" ? token.word + token.space : token.word);
    if (kind === "new" && !goesOn) add("same", token.space);
  });
  return pieces;
}
