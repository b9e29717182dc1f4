"""Check whether the benchmarks' results are reliable: means against their definitions, judge throughput against the server's own,
and intervals against known truths.

    python benchmarks/evaluate.py

aggregation_max_error: the largest difference between a figure and its definition, on random scores. judge_throughput: the rate of
judging a thousand edits, as a share of the rate of plain requests of the same size to the same server, which answers after --latency
seconds. The two alternate in rounds, and the median counts, so that other load on the machine affects both alike.
interval_coverage: how often a 95% interval contains the truth, the worst and the best of several kinds of scores and votes.
false_better: how often two equal editors are called “better” or “decided”.
"""

import argparse
import http.server
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from rethink.benchmarking.budget import NO_LIMITS
from rethink.benchmarking.judging import Judge, find_edits, judge_edits
from rethink.benchmarking.reply_log import ReplyLog
from rethink.evaluation.benchmarks import BENCHMARKS, gedit_scores, imgedit_scores, kris_scores, rise_scores
from rethink.evaluation.benchmarks.core import Item
from rethink.evaluation.preferences import CENTER, SCALE, Vote, rank
from rethink.evaluation.statistics import mean_interval
from rethink.images import save_image
from rethink.thinkers.critique import Thinker
from rethink.thinkers.openai_chat import OpenAIChat

ROUNDS = 10
REPLY = json.dumps(
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": "A: 4\nB: 3\nC: 5"}}]}
).encode()


def main() -> None:
    options = read_options()
    figures = {"aggregation_max_error": max(aggregation_errors(np.random.default_rng(options.seed)).values())}
    print(f"{'means against their definitions':<44}{figures['aggregation_max_error']:.1e}", flush=True)
    figures["judge_throughput"] = judge_throughput(options)
    held, wrong = simulate(options.trials)
    figures["interval_coverage"] = [min(held.values()), max(held.values())]
    figures["false_better"] = max(wrong.values())
    print(json.dumps({"bench": "evaluate", **figures, "coverage_by_kind": held, "false_by_kind": wrong}))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=1000, help="edits to judge (default 1000)")
    parser.add_argument(
        "--latency", type=float, default=0.25, help="seconds the server takes per answer (default 0.25)"
    )
    parser.add_argument("--concurrency", type=int, default=4, help="concurrent calls (default 4)")
    parser.add_argument("--side", type=int, default=256, help="side of the edits in pixels (default 256)")
    parser.add_argument("--trials", type=int, default=1000, help="trials of each simulation (default 1000)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


# ── means ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def aggregation_errors(rng: np.random.Generator, count: int = 400) -> dict[str, float]:
    """The largest error of each benchmark's headline and of one other figure, computed with arrays instead of our sums."""
    return {
        "gedit": _gedit_error(rng, count),
        "imgedit": _imgedit_error(rng, count),
        "rise": _rise_error(rng, count),
        "kris": _kris_error(rng, count),
    }


def _gedit_error(rng: np.random.Generator, count: int) -> float:
    tasks, scores = rng.integers(11, size=count), rng.uniform(0, 10, (count, 2))
    items = [Item(str(n), gedit_scores.TASKS[task], "x") for n, task in enumerate(tasks)]
    judged = {str(n): dict(zip(("semantics", "quality"), map(float, row))) for n, row in enumerate(scores)}
    overall = np.sqrt(scores.prod(1))
    expected = np.mean([overall[tasks == task].mean() for task in np.unique(tasks)])
    return abs(gedit_scores.summarize(items, judged).value("mean of tasks", "overall") - expected)


def _imgedit_error(rng: np.random.Generator, count: int) -> float:
    types, lines = rng.integers(9, size=count), rng.integers(1, 6, (count, 3))
    items = [Item(str(n), imgedit_scores.TYPES[kind], "x") for n, kind in enumerate(types)]
    replies = {str(n): "\n".join(f"Score {k}: {v}" for k, v in enumerate(row)) for n, row in enumerate(lines)}
    judged = {item.id: imgedit_scores.read_reply(item, "score", replies[item.id]) for item in items}
    scores = lines.mean(1).round(2)
    of_types = np.mean([scores[types == kind].mean().round(2) for kind in np.unique(types)])
    summary = imgedit_scores.summarize(items, judged)
    errors = (
        summary.value("overall", "score", imgedit_scores.BY_TYPE) - of_types,
        summary.value("overall", "score", imgedit_scores.BY_ITEM) - scores.mean(),
    )
    return max(map(abs, errors))


def _rise_error(rng: np.random.Generator, count: int) -> float:
    kinds, free = rng.integers(4, size=count), rng.random(count) < 0.1
    scores = rng.integers(1, 6, (count, 3)).astype(float)
    scores[kinds == 3] = 4 * (scores[kinds == 3] > 2) + 1
    items, judged = [], {}
    for n, kind in enumerate(kinds):
        tags = {"consistency_free": True} if free[n] and kind != 3 else {}
        item = Item(str(n), rise_scores.CATEGORIES[kind], "x", tags=tags)
        items.append(item)
        names = rise_scores.measures_of(item)
        judged[item.id] = {name: value for name, value in zip(rise_scores.MEASURES, scores[n]) if name in names}
    weights = np.where((kinds == 3)[:, None], [0.3, 0.7, 0], np.where(free[:, None], [0, 0.8, 0.2], [0.3, 0.5, 0.2]))
    values = (weights * scores).sum(1)
    values = np.where(scores[:, 1] == 1, np.maximum(values / 2, 1), values)
    right = ((scores == 5) | (weights == 0)).all(1)
    summary = rise_scores.summarize(items, judged)
    errors = (
        summary.value("overall", "score", rise_scores.AS_WRITTEN) - values.mean(),
        summary.value("overall", "accuracy", rise_scores.NEW_RULE) - 100 * right.mean(),
    )
    return max(map(abs, errors))


def _kris_error(rng: np.random.Generator, count: int) -> float:
    items, judged, pool = [], {}, []
    for n, place in enumerate(rng.integers(20, size=count)):
        item = Item(str(n), kris_scores.CATEGORIES[place], "x")
        items.append(item)
        judged[item.id] = {name: int(rng.integers(1, 6)) for name in kris_scores.measures_of(item.group)}
        pool += judged[item.id].values()
    expected = (np.mean(pool) - 1) * 25
    return abs(kris_scores.summarize(items, judged).value("overall", "average", kris_scores.POOLED) - expected)


# ── judging ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def judge_throughput(options: argparse.Namespace) -> float:
    """Compare judging with plain requests of the same number and size, `options.concurrency` at once."""
    ready, stop = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(stop, options.latency), daemon=True)
    server.start()
    port = ready.recv()
    try:
        with tempfile.TemporaryDirectory() as folder:
            rounds = list(_rounds(Path(folder), port, options))
    finally:
        server.terminate()
    for name, rates in zip(("plain requests", "judging"), zip(*rounds)):
        print(f"{name:<44}{median(rates):.1f}/s ({min(rates):.1f} to {max(rates):.1f})", flush=True)
    return median(judging / plain for plain, judging in rounds)


def serve(stop, latency: float) -> None:
    """A server that has read a request, waits, and answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(latency)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(REPLY)))
            self.end_headers()
            self.wfile.write(REPLY)

        def log_message(self, *_):
            pass

    place = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stop.send(place.server_port)
    place.serve_forever()


def _rounds(folder: Path, port: int, options: argparse.Namespace) -> Iterator[tuple[float, float]]:
    """(plain requests, judged edits) per second, for every round."""
    row, generator = BENCHMARKS["imgedit"], torch.Generator().manual_seed(options.seed)
    smooth = torch.rand(1, 3, 16, 16, generator=generator)
    photo = torch.nn.functional.interpolate(smooth, options.side, mode="bicubic").clamp(0, 1).movedim(1, -1)
    save_image(photo, folder / "source.png")
    source = (folder / "source.png").read_bytes
    items = [Item(str(n), "add", f"add hat {n}", {"source": source}) for n in range(options.edits)]
    for item in items:
        (folder / f"{item.id}.png").write_bytes(source())
    chat = OpenAIChat(f"http://127.0.0.1:{port}/v1", "judge", concurrency=options.concurrency)
    judge, prompts = Judge(Thinker(chat)), dict.fromkeys(imgedit_scores.TYPES, "Score it: <edit_prompt>")
    edits, log = find_edits(row, items, folder), ReplyLog(folder)
    body = b"x" * (2 * len(source()) * 4 // 3 + 600)
    for start in range(0, len(items), max(1, len(items) // ROUNDS)):
        some = items[start : start + max(1, len(items) // ROUNDS)]
        plain = _request(port, body, len(some), options.concurrency)
        started = time.perf_counter()
        found = judge_edits(row, some, edits, prompts, judge, log, NO_LIMITS)
        seconds = time.perf_counter() - started
        assert len(found.judged) == found.calls == len(some) and all(found.judged.values())
        yield len(some) / plain, len(some) / seconds


def _request(port: int, body: bytes, count: int, concurrency: int) -> float:
    """Seconds for this many requests, each on its own connection."""

    def send(_: int) -> None:
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/v1/chat/completions", body)
        connection.getresponse().read()
        connection.close()

    started = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as threads:
        list(threads.map(send, range(count)))
    return time.perf_counter() - started


# ── intervals ────────────────────────────────────────────────────────────────────────────────────────────────────────


def simulate(trials: int) -> tuple[dict[str, float], dict[str, float]]:
    """(how often intervals contain the truth, how often two equal ones are said to differ), by kind."""
    kinds = {
        "100 sources": (100, 1, "normal"),
        "40 sources of 1 to 4 items": (40, 4, "normal"),
        "60 sources, mostly equal scores": (60, 2, "tied"),
        "votes": (150, 0, ""),
        "votes with many ties": (150, 1, ""),
    }
    held, wrong = {}, {}
    for name, (size, more, shape) in kinds.items():
        held[name], wrong[name] = _means(trials, size, more, shape) if shape else _votes(trials, size, more)
        print(f"{name:<44}{held[name]:.1%} contain the truth, {wrong[name]:.1%} false", flush=True)
    return held, wrong


def _means(trials: int, sources: int, most: int, shape: str) -> tuple[float, float]:
    held = false = 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        clusters = np.repeat(np.arange(sources), rng.integers(1, most + 1, sources))
        values = 0.7 * rng.normal(size=sources)[clusters] + 0.7 * rng.normal(size=len(clusters))
        if shape == "tied":
            values = np.sign(values) * (np.abs(values) > 1)
        found = mean_interval(values.tolist(), clusters.tolist(), seed=trial)
        held += found.low <= 0 <= found.high
        false += found.verdict == "better"
    return held / trials, false / trials


def _votes(trials: int, count: int, ties: float) -> tuple[float, float]:
    """Votes for three editors of known strength, and for two equal ones."""
    held = false = 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        strengths = {"a": 0.6, "b": 0.0, "c": -0.6}
        ratings = rank(_cast(rng, strengths, count, ties)).ratings
        held += sum(r.low <= CENTER + SCALE * strengths[r.name] <= r.high for r in ratings)
        false += rank(_cast(rng, {"a": 0.0, "b": 0.0}, count, ties)).decided
    return held / (3 * trials), false / trials


def _cast(rng: np.random.Generator, strengths: dict[str, float], count: int, ties: float) -> list[Vote]:
    names, votes = list(strengths), []
    for first, second in (rng.choice(len(names), 2, replace=False) for _ in range(count)):
        a, b = names[first], names[second]
        weights = [math.exp(strengths[a]), math.exp(strengths[b]), ties * math.exp((strengths[a] + strengths[b]) / 2)]
        result = rng.random() * sum(weights)
        tie = result > weights[0] + weights[1]
        votes.append(Vote(b, a) if weights[0] < result and not tie else Vote(a, b, tie=tie))
    return votes


if __name__ == "__main__":
    main()
