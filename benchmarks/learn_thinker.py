"""No thinker < SFT < SFT + GRPO? EditThinker's ranking in miniature, by the exact oracle of the built-in world, in wide English.

    python benchmarks/learn_thinker.py [--thinker FOLDER] [--sft-steps N] [--seeds N …] [--steps N] [--tasks N] [--held-out N] [--work FOLDER]
        [OPTIONS]

First SFT: the thinker in FOLDER learns for --sft-steps steps from a teacher that does not know the editor (`unaware_teacher.py`); with
0, GRPO starts from the thinker in FOLDER itself. That thinker takes two turns on every task and is asked about both edits: the one by
the user's own words, nearly always wrong, and the one by its own prompt, right if the editor understood it. From these questions it
learns by GRPO, from the start with every seed: the built-in editor carries out its prompts, and the oracle judges; the sentences follow
the rules that SFT has lessons for. The checkpoint that does best on --watched other tasks of these is kept; with 0, the last one. Then
the thinkers before and after GRPO think about other scenes, half in sentences of those rules and half of held-out rules, and the oracle
judges the results, and those of the editor without a thinker. Prints one line per step and the figures as one JSON object. busy: the
shares of the time of all steps, times the threads torch may use, in which the processor worked for editor, judge and policy (with a
GPU: of the time alone), and the share of time spent waiting for servers. Existing results in the folder of --work are reused; only
--seeds and --held-out may then differ. OPTIONS: the options --rollouts, --prompts, --batch, --learning-rate, --kl, --preset and
--lora-rank of `train-thinker --method grpo`.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from unaware_teacher import teach

from rethink.builtin import EDITOR_FOLDER, THINKER_FOLDER
from rethink.editors.loading import load_editor
from rethink.evaluation.statistics import mean_interval, paired_difference
from rethink.images import save_image
from rethink.options import option_of
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import TEMPLATE, Thinker, critique, critique_messages
from rethink.thinkers.critique_format import format_critique
from rethink.thinkers.protocol import ThinkerError
from rethink.tiny import render, sample_task
from rethink.tiny.oracle import observe
from rethink.tiny.tasks import WIDE
from rethink.tiny.teacher import criticize
from rethink.tiny.think_benchmark import TOKENS, think_about
from rethink.training.thinker_folders import save
from rethink.training.thinker_grpo import GRPOTask, train
from rethink.training.thinker_rewards import RewardRules
from rethink.training.thinker_rollouts import Rollouts
from rethink.training.thinker_settings import GRPOConfig
from rethink.training.thinker_steps import ThinkerStep, hold_out

QUESTION = "{source}{edited}{instruction}\n{prompt}"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MOST_PROCESSES = 12  # for the first turns
TUNED = ("rollouts", "prompts", "batch", "learning_rate", "kl", "lora_rank")
DEFAULTS = {"prompts": 12, "learning_rate": 1e-4}  # where these differ from those for large thinkers


class OracleJudge:
    """A Chat that judges edits of known tasks exactly. It answers only QUESTION."""

    name, placement = "oracle", "fixed"  # it runs in this process

    def __init__(self, tasks):
        self.tasks = {(fingerprint(render([task.source])), task.instruction.strip()): task for task in tasks}

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        instruction, _, prompt = messages[0]["content"][-1]["text"].rpartition("\n")
        task = self.tasks.get((fingerprint(images[0]), instruction))
        if task is None:
            raise ThinkerError(f"judge: no task has this source and “{instruction}”.")
        return format_critique(criticize(task, observe(images[-1].to(DEVICE), task), prompt))


def fingerprint(image):
    return hashlib.sha256((image * 255).round().byte().numpy().tobytes()).hexdigest()


def open_processes(most):
    """At most this many processes, with one thread each."""
    return ProcessPoolExecutor(min(os.cpu_count() or 1, most), get_context("spawn"), torch.set_num_threads, (1,))


def make_steps(thinker, tasks, folder):
    """The questions of the first two turns of a thinker (folder) on tasks {number: task}: about the edit by the user's own words and
    about the edit by its own prompt. Existing results in the folder are reused."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in tasks if not (folder / f"{number}.json").exists()]
    if missing:
        shares = min(MOST_PROCESSES, len(missing))
        with open_processes(shares) as processes:
            parts = [processes.submit(take_turns, thinker, missing[share::shares], folder) for share in range(shares)]
            for part in parts:
                part.result()
    return [step for number, task in tasks.items() for step in ask_about(task, folder / str(number))]


def take_turns(thinker, numbers, folder):
    editor, thinker = load_editor(EDITOR_FOLDER), Thinker(load_thinker(thinker, dtype="fp32"), max_tokens=TOKENS)
    for number, task in sample_training(numbers).items():
        source = render([task.source])
        prepared = editor.prepare(source)
        first = editor.edit(prepared, [task.instruction], [number], editor.defaults)
        (answer,) = critique(thinker, source, [first], task.instruction, [task.instruction], [number])
        images = {"source": source, "first": first}
        if answer.next_prompt and answer.next_prompt != task.instruction:
            images["second"] = editor.edit(prepared, [answer.next_prompt], [number], editor.defaults)
        for name, image in images.items():
            save_image(image, folder / f"{number}-{name}.png")
        (folder / f"{number}.json").write_text(json.dumps(answer.next_prompt), encoding="utf-8")


def ask_about(task, path):
    """The questions about the edits whose file names start with the path."""
    source, first, second = (Path(f"{path}-{name}.png") for name in ("source", "first", "second"))
    made = {first: task.instruction}
    if second.exists():
        made[second] = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    for edited, prompt in made.items():
        messages = critique_messages(TEMPLATE, instruction=task.instruction, prompt=prompt)
        yield ThinkerStep(messages, (source, edited), source, edited, task.instruction, prompt)


def sample_training(numbers):
    return {number: sample_task(number, WIDE, split="train") for number in numbers}


def sample_held_out(count):
    """Tasks on held-out scenes, alternating between sentences of trained rules and of held-out ones."""
    wordings = ("known", "held_out")
    return {10**6 + n: sample_task(10**6 + n, WIDE, wording=wordings[n % 2]) for n in range(count)}


def teach_thinker(options, work):
    """The folder of the thinker after SFT."""
    folder = work / "sft"
    if not options.sft_steps:
        return options.thinker
    if not (folder / "config.json").exists():
        chat = load_thinker(options.thinker, dtype="fp32", device=DEVICE)
        save(teach(chat, options.sft_steps, work / "training-sft"), options.thinker, folder)
    return folder


def train_thinker(seed, begin, options, work):
    """The folder of the thinker that GRPO trains from the one in the folder `begin`."""
    folder = work / f"thinker-{seed}"
    if (folder / "config.json").exists():
        return folder
    tasks = sample_training(range(options.tasks))
    steps, held_out = hold_out(make_steps(begin, tasks, work / "turns"), options.watched)
    editor = load_editor(EDITOR_FOLDER, dtype="fp32", device=DEVICE)
    config = GRPOConfig(
        steps=options.steps,
        answer_tokens=TOKENS,
        precision="no",
        checkpointing=False,
        save_every=max(1, options.steps // 5),
        seed=seed,
        reward=RewardRules(preset=options.preset),
        **{name: getattr(options, name) for name in TUNED},
    )
    judge = OracleJudge(tasks.values())
    rollouts = Rollouts(editor, Thinker(judge, QUESTION), editor.defaults, seed)
    chat = load_thinker(begin, dtype="fp32", device=DEVICE)
    result = train(GRPOTask(chat, TEMPLATE, steps, held_out, rollouts, config, work / f"training-{seed}"))
    print(json.dumps({"seed": seed, "best": result.best and result.best.record, "busy": dict(result.busy)}))
    save(result.model, begin, folder)
    return folder


def think(folder, held_out, file):
    """The results on the held-out tasks, {figure: [one per task]}; kept in the file."""
    if not file.exists():
        editor = load_editor(EDITOR_FOLDER)
        thinker = Thinker(load_thinker(folder, dtype="fp32"), max_tokens=TOKENS)
        outcomes = list(think_about(editor, thinker, sample_held_out(held_out)))
        figures = {
            name: [float(getattr(o, name)) for o in outcomes] for name in ("alone", "thinking", "turns", "harmed")
        }
        file.write_text(json.dumps(figures), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def compare(before, after):
    """{figure: value} of the thinker before training and of those after it, over the same tasks."""
    figures = {"tasks": len(before["thinking"]), "no_thinker_success": fmean(before["alone"])}
    for name, found in (("before", [before]), ("after", after)):
        figures[f"{name}_success"] = [fmean(each["thinking"]) for each in found]
        by_task = [fmean(task) for task in zip(*(each["thinking"] for each in found))]
        figures[f"{name}_interval"] = mean_interval(by_task).text(3)
        figures[f"{name}_turns"] = fmean(fmean(each["turns"]) for each in found)
        figures[f"{name}_harm"] = fmean(fmean(each["harmed"]) for each in found)
    for name, first in (("known", 0), ("held_out", 1)):
        rows = [fmean(fmean(each["thinking"][first::2]) for each in found) for found in ([before], after)]
        figures[f"{name}_success"] = rows
    means = {str(n): fmean(task) for n, task in enumerate(zip(*(each["thinking"] for each in after)))}
    difference = paired_difference(means, {str(n): value for n, value in enumerate(before["thinking"])})
    figures["grpo_points_over_sft"] = 100 * (fmean(figures["after_success"]) - figures["before_success"][0])
    return {**figures, "words": f"{difference.verdict}: {difference.words}"}


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"--sft-steps": 60, "--steps": 40, "--tasks": 400, "--watched": 0, "--held-out": 400}.items():
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--thinker", type=Path, default=THINKER_FOLDER, help="thinker that SFT starts from")
    parser.add_argument("--work", type=Path, help="folder for all results; default: a temporary one")
    parser.add_argument("--preset", default="paper")
    for name in TUNED:
        usual = option_of(GRPOConfig, name).default
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(usual), default=DEFAULTS.get(name, usual))
    return parser.parse_args()


def check_work(options, folder):
    """Store the options in the work folder; exit if its contents were made with others."""
    chosen = {name: str(value) for name, value in vars(options).items() if name not in ("seeds", "work", "held_out")}
    file = folder / "options.json"
    if file.exists() and (there := json.loads(file.read_text(encoding="utf-8"))) != chosen:
        others = ", ".join(sorted(name for name in chosen if there.get(name) != chosen[name]))
        sys.exit(f"--work: {folder} was made with other options ({others}); choose another folder.")
    file.write_text(json.dumps(chosen, indent=2) + "\n", encoding="utf-8")


def main():
    options = read_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        check_work(options, work)
        thinkers = {"before": (begin := teach_thinker(options, work))}
        thinkers |= {f"after-{seed}": train_thinker(seed, begin, options, work) for seed in options.seeds}
        if not options.held_out:
            return
        with open_processes(len(thinkers)) as processes:
            files = [work / f"{name}-{options.held_out}.json" for name in thinkers]
            before, *after = processes.map(think, thinkers.values(), [options.held_out] * len(files), files)
        print(json.dumps({"bench": "learn_thinker", "seeds": options.seeds, **compare(before, after)}))


if __name__ == "__main__":
    main()
