/**
 * Ratings from pairwise votes: Bradley-Terry scores with ties (Davidson 1970), with the 95% intervals of the sandwich
 * estimator. It computes the same as `rethink/evaluation/preferences.py`; a test compares the two.
 */

/** @typedef {{winner: string, loser: string, tie: boolean, cluster: string | null}} Preference cluster: what was voted on */
/** @typedef {{name: string, score: number, low: number, high: number, wins: number, ties: number, losses: number}} Rating */

/**
 * Ratings, the best first. decided: whether the first is better than the second, with 98% confidence. more: how many more
 * votes would decide that, if the trend continues; 0 if it is decided, null if no number of votes would.
 *
 * @typedef {{ratings: Rating[], decided: boolean, more: number | null}} Ranking
 */

/** @typedef {number[][]} Matrix */

const SCALE = 400 / Math.LN10;
const CENTER = 1000;
const [Z, Z_DECIDED] = [1.959964, 2.326348];
const PRIOR = 0.01;
const DOUBT = 0.5; // of a vote, for each side of every pair that was voted on
const STEPS = 100;
const MOST_VOTES = 1e6;

/** @param {Preference[]} votes @param {string[]} names of all that take part @returns {Ranking} */
export function rank(votes, names) {
  const players = [...new Set([...names, ...votes.flatMap((vote) => [vote.winner, vote.loser])])];
  if (players.length < 2 || !votes.length)
    return { ratings: players.map((name) => ratingOf(name, 0, Infinity, votes)), decided: false, more: null };
  const { strengths, covariance } = fit(votes, players);
  const order = players.map((_, index) => index).sort((one, other) => strengths[other] - strengths[one]);
  const ratings = order.map((index) =>
    ratingOf(players[index], strengths[index], Math.sqrt(Math.max(0, covariance[index][index])), votes),
  );
  const [best, next] = order;
  const gap = strengths[best] - strengths[next];
  const spread = covariance[best][best] + covariance[next][next] - 2 * covariance[best][next];
  const ratio = gap > 0 ? ((Z_DECIDED * Math.sqrt(Math.max(0, spread))) / gap) ** 2 : Infinity;
  const needed = votes.length * (ratio - 1);
  const more = ratio < 1 ? 0 : needed <= MOST_VOTES ? Math.ceil(needed) : null;
  return { ratings, decided: ratio < 1, more };
}

/** @param {Rating} rating a tie as half a win; null without votes */
export function winRate({ wins, ties, losses }) {
  const total = wins + ties + losses;
  return total ? (wins + ties / 2) / total : null;
}

/** @param {string} name @param {number} strength @param {number} error @param {Preference[]} votes @returns {Rating} */
function ratingOf(name, strength, error, votes) {
  const mine = votes.filter((vote) => vote.winner === name || vote.loser === name);
  const ties = mine.filter((vote) => vote.tie).length;
  const wins = mine.filter((vote) => !vote.tie && vote.winner === name).length;
  const reach = Z * error;
  const [low, score, high] = [strength - reach, strength, strength + reach].map((value) => CENTER + SCALE * value);
  return { name, score, low, high, wins, ties, losses: mine.length - wins - ties };
}

/**
 * The votes, followed by half a vote for each side of every pair that was voted on, each its own cluster, so that a few votes
 * that agree do not decide anything.
 *
 * @param {Preference[]} votes
 * @returns {(Preference & {weight: number})[]}
 */
function withDoubt(votes) {
  const met = new Map(votes.map(({ winner, loser }) => [[winner, loser].sort().join("\n"), [winner, loser]]));
  const doubts = [...met.values()].flatMap(([one, other]) => [
    { winner: one, loser: other, tie: false, cluster: null, weight: DOUBT },
    { winner: other, loser: one, tie: false, cluster: null, weight: DOUBT },
  ]);
  return [...votes.map((vote) => ({ ...vote, weight: 1 })), ...doubts];
}

/** Strengths of mean 0 by Newton's method, and their covariance. @param {Preference[]} cast @param {string[]} players */
function fit(cast, players) {
  const place = new Map(players.map((name, index) => [name, index]));
  const votes = withDoubt(cast);
  const pairs = votes.map((vote) => [place.get(vote.winner) ?? 0, place.get(vote.loser) ?? 0]);
  const ties = votes.map((vote) => vote.tie);
  const weights = votes.map((vote) => vote.weight);
  const [count, hasTies] = [players.length, ties.includes(true)];
  const size = count + 1; // the last parameter is the tie's
  const parameters = Array(size).fill(0);
  if (!hasTies) parameters[count] = -Infinity;
  for (let step = 0; step < STEPS; step++) {
    const { scores, information } = derivatives(parameters, pairs, ties, weights, hasTies);
    const slope = parameters.map(
      (value, index) => sum(scores.map((row, at) => weights[at] * row[index])) - PRIOR * finite(value),
    );
    let move = multiply(
      inverse(withPrior(information)),
      slope.map((value) => [value]),
    ).map(([value]) => value);
    const largest = Math.max(...move.map(Math.abs));
    move = move.map((value) => value * Math.min(1, 2 / Math.max(1e-12, largest)));
    for (let index = 0; index < (hasTies ? size : count); index++) parameters[index] += move[index];
    if (Math.max(...move.map(Math.abs)) < 1e-9) break;
  }
  const { scores, information } = derivatives(parameters, pairs, ties, weights, hasTies);
  const bread = inverse(withPrior(information));
  const groups = new Map();
  votes.forEach(({ cluster }, index) => {
    const group = cluster === null ? index : `c ${cluster}`;
    const before = groups.get(group) ?? Array(size).fill(0);
    groups.set(
      group,
      before.map(
        (/** @type {number} */ value, /** @type {number} */ at) =>
          value + Math.sqrt(weights[index]) * scores[index][at],
      ),
    );
  });
  const summed = [...groups.values()];
  const few = summed.length / Math.max(1, summed.length - 1);
  const meat = multiply(transpose(summed), summed);
  const whole = multiply(multiply(bread, meat), bread);
  const centered = parameters.slice(0, count).map((_, row) =>
    Array(count)
      .fill(0)
      .map((__, column) => Number(row === column) - 1 / count),
  );
  const part = whole.slice(0, count).map((row) => row.slice(0, count).map((value) => value * few));
  const mean = sum(parameters.slice(0, count)) / count;
  return {
    strengths: parameters.slice(0, count).map((value) => value - mean),
    covariance: multiply(multiply(centered, part), transpose(centered)),
  };
}

/**
 * The score of every vote, and the information of all.
 *
 * @param {number[]} parameters
 * @param {number[][]} pairs winner and loser
 * @param {boolean[]} ties
 * @param {number[]} weights of the votes
 * @param {boolean} hasTies
 */
function derivatives(parameters, pairs, ties, weights, hasTies) {
  const size = parameters.length;
  const last = size - 1;
  /** @type {Matrix} */
  const information = Array.from({ length: size }, () => Array(size).fill(0));
  const scores = pairs.map(([first, second], index) => {
    const half = (parameters[first] - parameters[second]) / 2;
    const top = Math.max(half, -half, parameters[last]);
    const chances = [half, -half, parameters[last]].map((value) => Math.exp(value - top));
    const [win, loss, tie] = chances.map((value) => value / sum(chances));
    const expected = win - loss;
    const row = Array(size).fill(0);
    const outcome = Number(!ties[index]) - expected;
    row[first] = outcome / 2;
    row[second] = -outcome / 2;
    const weight = weights[index];
    const [variance, mixed] = [weight * (win + loss - expected ** 2), -weight * expected * tie];
    information[first][first] += variance / 4;
    information[second][second] += variance / 4;
    information[first][second] -= variance / 4;
    information[second][first] -= variance / 4;
    if (hasTies) {
      row[last] = Number(ties[index]) - tie;
      for (const [at, sign] of [
        [first, 0.5],
        [second, -0.5],
      ]) {
        information[last][at] += sign * mixed;
        information[at][last] += sign * mixed;
      }
      information[last][last] += weight * tie * (1 - tie);
    }
    return row;
  });
  return { scores, information };
}

/** @param {number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** @param {number} value */
const finite = (value) => (Number.isFinite(value) ? value : 0);

/** @param {Matrix} matrix */
const withPrior = (matrix) =>
  matrix.map((row, index) => row.map((value, column) => value + (index === column ? PRIOR : 0)));

/** @param {Matrix} matrix @returns {Matrix} */
const transpose = (matrix) => matrix[0].map((_, column) => matrix.map((row) => row[column]));

/** @param {Matrix} one @param {Matrix} other @returns {Matrix} */
function multiply(one, other) {
  const columns = transpose(other);
  return one.map((row) => columns.map((column) => row.reduce((total, value, at) => total + value * column[at], 0)));
}

/** By Gauss and Jordan, with the largest pivot. @param {Matrix} matrix @returns {Matrix} */
function inverse(matrix) {
  const size = matrix.length;
  const rows = matrix.map((row, index) => [
    ...row,
    ...Array(size)
      .fill(0)
      .map((_, column) => Number(index === column)),
  ]);
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column + 1; row < size; row++)
      if (Math.abs(rows[row][column]) > Math.abs(rows[pivot][column])) pivot = row;
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    const divisor = rows[column][column];
    rows[column] = rows[column].map((value) => value / divisor);
    for (let row = 0; row < size; row++) {
      const factor = rows[row][column];
      if (row !== column && factor) rows[row] = rows[row].map((value, at) => value - factor * rows[column][at]);
    }
  }
  return rows.map((row) => row.slice(size));
}
