"""Does reinforcement teach a thinker? By the exact oracle of the built-in world, in wide English of rules that it was not trained on.

    python benchmarks/learn_thinker.py [--steps N] [--tasks N] [--held-out N] [--seed N] [--thinker FOLDER] [--work FOLDER] [OPTIONS]

First every task is edited once, by its own words. From these edits the thinker learns by GRPO: its prompts are edited by the
built-in editor, the oracle judges. Then it and the thinker it was think over other scenes, in sentences of held-out rules, and the
oracle says what came of it, and of the editor without a thinker. Prints a line a step and the figures as one JSON object; busy:
the share of the time of all steps in which editor, judge or policy were at work. OPTIONS: those of `train-thinker --method grpo`
that begin with --rollouts, --prompts, --batch, --learning-rate, --preset and --lora-rank.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rethink.builtin import EDITOR_FOLDER, THINKER_FOLDER
from rethink.editors.loading import load_editor
from rethink.evaluation.statistics import paired_difference
from rethink.images import save_image
from rethink.options import option_of
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import TEMPLATE, Thinker, critique_messages
from rethink.thinkers.critique_format import format_critique
from rethink.thinkers.protocol import ThinkerError
from rethink.tiny import render, sample_task
from rethink.tiny.oracle import observe
from rethink.tiny.tasks import WIDE
from rethink.tiny.teacher import criticize
from rethink.tiny.think_benchmark import TOKENS, think_about
from rethink.training.thinker_grpo import GRPOTask, train
from rethink.training.thinker_rewards import RewardRules
from rethink.training.thinker_rollouts import Rollouts
from rethink.training.thinker_settings import GRPOConfig
from rethink.training.thinker_steps import ThinkerStep, hold_out

QUESTION = "{source}{edited}{instruction}\n{prompt}"
TUNED = ("rollouts", "prompts", "batch", "learning_rate", "lora_rank")


class OracleJudge:
    """A Chat that judges edits of known tasks exactly. It takes QUESTION only."""

    name, placement = "oracle", "elsewhere"

    def __init__(self, tasks):
        self.tasks = {(fingerprint(render([task.source])), task.instruction.strip()): task for task in tasks}

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        instruction, _, prompt = messages[0]["content"][-1]["text"].rpartition("\n")
        task = self.tasks.get((fingerprint(images[0]), instruction))
        if task is None:
            raise ThinkerError(f"judge: no task has this source and “{instruction}”.")
        return format_critique(criticize(task, observe(images[-1], task), prompt))


def fingerprint(image):
    return hashlib.sha256((image * 255).round().byte().numpy().tobytes()).hexdigest()


def make_step(editor, task, number, folder):
    """The question about the edit of a task by its own words."""
    source = render([task.source])
    files = folder / f"{number}-source.png", folder / f"{number}-edited.png"
    edited = editor.edit(editor.prepare(source), [task.instruction], [number], editor.defaults)
    for image, file in zip((source, edited), files):
        save_image(image, file)
    messages = critique_messages(TEMPLATE, instruction=task.instruction, prompt=task.instruction)
    return ThinkerStep(messages, files, *files, task.instruction, task.instruction)


def sample(numbers, **options):
    return {number: sample_task(number, WIDE, **options) for number in numbers}


def compare(editor, before, after, tasks):
    """{figure: value} of two thinkers over the same held-out tasks."""
    outcomes = [list(think_about(editor, thinker, tasks)) for thinker in (before, after)]
    success = [{str(n): float(outcome.thinking) for n, outcome in enumerate(found)} for found in outcomes]
    figures = {"no_thinker_success": sum(outcome.alone for outcome in outcomes[0]) / len(tasks)}
    for name, found, good in zip(("before", "after"), outcomes, success):
        figures[f"{name}_success"] = sum(good.values()) / len(good)
        figures[f"{name}_turns"] = sum(outcome.turns for outcome in found) / len(found)
        figures[f"{name}_harm"] = sum(outcome.harmed for outcome in found) / len(found)
    figures["grpo_points_over_sft"] = 100 * (figures["after_success"] - figures["before_success"])
    difference = paired_difference(*success[::-1])
    return {**figures, "words": f"{difference.verdict}: {difference.words}"}


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"--steps": 50, "--tasks": 200, "--held-out": 200, "--seed": 0}.items():
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--thinker", type=Path, default=THINKER_FOLDER, help="the thinker before, after SFT")
    parser.add_argument("--work", type=Path, help="checkpoints and the log; default: a folder that is thrown away")
    parser.add_argument("--preset", default="paper")
    for name in TUNED:
        found = option_of(GRPOConfig, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(found.default), default=found.default)
    return parser.parse_args()


def main():
    options = read_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        editor, tasks = load_editor(EDITOR_FOLDER), sample(range(options.tasks), split="train")
        steps = [make_step(editor, task, number, work) for number, task in tasks.items()]
        steps, held_out = hold_out(steps, 24)
        config = GRPOConfig(
            steps=options.steps,
            answer_tokens=TOKENS,
            precision="no",
            checkpointing=False,
            save_every=max(1, options.steps // 5),
            seed=options.seed,
            reward=RewardRules(preset=options.preset),
            **{name: getattr(options, name) for name in TUNED},
        )
        rollouts = Rollouts(editor, Thinker(OracleJudge(tasks.values()), QUESTION), editor.defaults, options.seed)
        chat = load_thinker(options.thinker, dtype="fp32")
        result = train(GRPOTask(chat, TEMPLATE, steps, held_out, rollouts, config, work / "training"))
        chat.module = result.model.eval()
        before = load_thinker(options.thinker, dtype="fp32")
        others = sample(range(10**6, 10**6 + options.held_out), wording="held_out")
        figures = compare(editor, *(Thinker(each, max_tokens=TOKENS) for each in (before, chat)), others)
        best = result.best and result.best.record
        busy = {"busy": sum(result.busy.values()), "busy_shares": result.busy}
        print(json.dumps({"bench": "learn_thinker", "seed": options.seed, "best": best, **busy, **figures}))


if __name__ == "__main__":
    main()
