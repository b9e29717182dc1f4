"""Check the dataset rules on many synthetic runs: every rule drops exactly the runs it should, whatever is wrong with others, and
memory stays flat. The job runs in its own process, first on a tenth of the runs, then on all of them.

    python benchmarks/collect.py --runs 10000
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from rethink.collect.dataset_job import CollectJob
from rethink.collect.rules import CollectRules
from rethink.collect.run_log import RunReader
from rethink.steps import Critique, Preservation, Step
from rethink.trajectory import RECORD_FILE, SOURCE_FILE, new_trajectory

KINDS = ("add", "remove", "color", "style", "background")
# What is wrong with each run, in turn; a copy is a copy of the previous run.
FAULTS = (*[""] * 7, "copy", "unreadable", "newer", "image", "unfinished", "failed")
TURNS = 5


def main() -> None:
    options = read_options()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    figures = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        for name, count in (("few", options.runs // 10), ("many", options.runs)):
            runs = Path(work, name)
            expected = write_runs(runs, count)
            command = [sys.executable, __file__, "--measure", str(runs)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            figures[name] = found = json.loads(done.stdout.splitlines()[-1])
            found["rules_hold"] = found["dropped"] == expected and check_data(runs, found)
            print(
                f"{count:>7} runs: {found['kept']} kept, {found['steps']} steps, {found['seconds']:.0f} s, "
                f"peak {found['peak_mb']:.0f} MB, read again in {found['again_seconds']:.0f} s; rules hold: {found['rules_hold']}"
            )
            for why, dropped in found["dropped"].items():
                print(f"{dropped:>15} × {why}")
    few, many = figures["few"], figures["many"]
    growth = (many["peak_mb"] - few["peak_mb"]) / (many["runs"] - few["runs"]) * 1024
    print(
        json.dumps(
            {
                "collect_runs": many["runs"],
                "collect_rules_hold": few["rules_hold"] and many["rules_hold"],
                "collect_runs_per_second": round(many["runs"] / many["seconds"], 1),
                "collect_peak_mb": round(many["peak_mb"], 1),
                "collect_peak_mb_of_a_tenth": round(few["peak_mb"], 1),
                "collect_kb_per_run": round(growth, 2),
            }
        )
    )


def write_runs(folder: Path, count: int) -> dict[str, int]:
    """Write runs of every kind, good and bad, that share image files; → how many each rule should drop."""
    rng, expected, text, model = random.Random(count), Counter(), "", write_model(folder.with_name("model"))
    for number in range(count):
        place, fault = folder / f"{number % 100:02d}" / f"{number:06d}", FAULTS[number % len(FAULTS)]
        scores = [rng.randint(0, 10) for _ in range(rng.randint(1, TURNS))]
        why = fault or drop_by_plain_rules(scores)
        if fault != "copy":
            text = json.dumps(record_of(model, number, scores, fault))
        place.mkdir(parents=True)
        (place / RECORD_FILE).write_text(text[: 100 if fault == "unreadable" else None], encoding="utf-8")
        for turn in range(len(scores) if fault != "copy" else text.count('"turn"')):
            os.link(model.folder / f"turn-{turn + 1:04d}-00.png", place / f"turn-{turn + 1:04d}-00.png")
        if fault != "image":
            os.link(model.folder / SOURCE_FILE, place / SOURCE_FILE)
        if why:
            expected[why] += 1
    return dict(sorted(expected.items()))


def drop_by_plain_rules(scores: list[int]) -> str:
    """ThinkEdit's rule, as stated in the paper."""
    if len(scores) == 1:
        return "single"
    return "" if max(scores[1:]) >= scores[0] else "harm"


def write_model(folder: Path):
    """A run with an image for every turn."""
    if folder.exists():
        from rethink.trajectory import load_trajectory

        return load_trajectory(folder)
    run = new_trajectory(folder, torch.rand(1, 16, 16, 3), "make it red", {})
    kept = Preservation(0.1, 40.0, False)
    for turn in range(1, TURNS + 1):
        critique = Critique("ok", 5, 5, "It is not red yet.", "make the square red")
        image = torch.rand(1, 16, 16, 3)
        run = run.append_step(Step(turn, 0, "make it red", "user", turn, critique, kept, 5, 1, 1, image=image))
    return run.finish("turns")


def record_of(model, number: int, scores: list[int], fault: str) -> dict:
    record = model.as_dict()
    steps = json.loads(json.dumps(record["steps"][: len(scores)]))
    for step, score in zip(steps, scores):
        step["critique"] |= {"semantic": score, "quality": score}
        step["score"] = score
    if fault == "failed":
        steps[0]["critique"] |= {"status": "failed", "semantic": None, "quality": None}
    options = {"kind": KINDS[number % len(KINDS)]}
    return record | {
        "schema": 99 if fault == "newer" else record["schema"],
        "instruction": f"make number {number} red",
        "options": options,
        "steps": steps,
        "stopped": "" if fault == "unfinished" else "turns",
        "best": 0,
    }


def measure(runs: Path) -> dict:
    """Run the job on a folder of runs; → what it made, how long it took, and its peak memory."""
    import resource

    output = runs.with_name(f"{runs.name}-data")
    job = CollectJob((runs,), output, format="llama-factory")
    started = time.monotonic()
    report = job.run()
    seconds = time.monotonic() - started
    started = time.monotonic()
    RunReader((runs,)).read(output)
    return {
        "runs": report.choice.runs,
        "kept": report.choice.kept,
        "steps": report.written.total(),
        "dropped": dict(sorted(report.choice.dropped.items())),
        "seconds": seconds,
        "again_seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def check_data(runs: Path, found: dict) -> bool:
    """Whether the dataset follows the rules: cut at the best, the lowest variance for SFT, no group above twice the median."""
    output = runs.with_name(f"{runs.name}-data")
    lines = (output / "llama-factory-sft.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    facts = [facts for facts in RunReader((runs,)).read(output) if facts.content]
    kept = [
        facts for facts in facts if not facts.why and not drop_by_plain_rules([turn.overall for turn in facts.turns])
    ]
    calm = sorted(statistics.pvariance([turn.overall for turn in facts.turns]) for facts in kept)
    calmest = calm[round(CollectRules().sft_share * len(kept)) - 1]
    names = {facts.content: facts for facts in kept}
    groups, sound = Counter(), len(rows) == found["steps"] and len(kept) == found["kept"]
    for row in rows:
        edited = row["images"][1].rpartition("/")[2]
        run, turn = names[edited[:16]], int(edited[22:26]) - 1
        overall = [turn.overall for turn in run.turns]
        sound &= turn <= overall.index(max(overall)) and statistics.pvariance(overall) <= calmest
        groups[run.kind, round(overall[turn])] += 1
    sizes = sorted(groups.values())
    return sound and sizes[-1] <= 2 * sizes[len(sizes) // 2]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument(
        "--folder", type=Path, help="where the runs are written; default: the system's temporary folder"
    )
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
