"""From trajectories to the conversations that a thinker is trained on, by the data rules of ThinkEdit-140k
(EditThinker, arXiv 2512.05965, section 4)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from random import Random
from statistics import pvariance

from torch import Tensor

from ..errors import RethinkError
from ..images import load_image
from ..pairs.jsonl_log import JsonlLog, fields_are
from ..steps import Critique, Step, best_of
from ..thinkers.critique import TEMPLATE, critique_messages, image_slots, lists_checklist
from ..thinkers.protocol import Messages
from ..trajectory import RECORD_FILE, SOURCE_FILE, Trajectory
from .recorded_runs import read_runs

COLLECTED = "trl-sft.jsonl"  # in a dataset made by `rethink collect`
SFT_SHARE = 140 / 167  # ThinkEdit's share of steps for supervised learning; the rest, with the most variance, is for RL

# The kind of task, by the first word that indicates it; the kinds are those of editing benchmarks.
_TASKS = {
    "add": "add|put|insert|place|give|attach|draw|include",
    "remove": "remove|delete|erase|drop|hide|without|rid",
    "replace": "replace|swap|exchange|substitute|turn|transform|convert",
    "move": "move|shift|rotate|flip|mirror|resize|enlarge|shrink|crop|zoom",
    "color": "(?:re)?colou?r|paint|tint|dye|red|green|blue|yellow|orange|purple|pink|brown|black|white|gr[ae]y",
    "background": "background|backdrop|sky|behind",
    "style": "style|sketch|cartoon|anime|watercolor|painting",
    "light": "bright|brighter|brighten|dark|darker|darken|light|night|day|sunset|winter|summer|snow|rain|fog",
    "text": "text|word|write|letter|title|says",
}
_WORD = "|".join(rf"\b(?P<{task}>{words})\b" for task, words in _TASKS.items())


@dataclass(frozen=True, eq=False)
class Conversation:
    """A question and the answer to learn. images: an IMAGE [1, H, W, 3] or an image file for each image part."""

    messages: Messages
    images: tuple[Tensor | Path, ...]
    answer: str
    group: tuple[str, int] = ("", 0)  # for balancing: the kind of task and the score


def load_images(conversation: Conversation) -> list[Tensor]:
    """Load a conversation's images, IMAGE [1, H, W, 3] each. Raises RethinkError naming a file that is not an image."""
    return [image if isinstance(image, Tensor) else load_image(image) for image in conversation.images]


def from_folders(folders: Iterable[Path], template: str = TEMPLATE, *, seed: int = 0) -> tuple[list[Conversation], int]:
    """(the conversations in all folders, the number of runs left out, see `read_runs`). For a dataset made by `rethink collect`, the
    conversations are those of its supervised learning file; for any other folder, they are balanced conversations from the helpful
    trajectories with the least variance in it and below.

    template: the critique template that the thinker will be prompted with; collected data already contain theirs. Raises RethinkError
    for a folder that does not exist, and if nothing is left.
    """
    found, run_folders, folders = [], set(), tuple(map(Path, folders))
    for folder in folders:
        if not folder.is_dir():
            raise RethinkError(
                f"data: there is no folder {folder}; give one that contains recorded runs, at any depth."
            )
        if (folder / COLLECTED).is_file():
            found += _read_collected(folder / COLLECTED)
        else:
            run_folders |= {file.parent for file in folder.rglob(RECORD_FILE)}
    runs = [run for run in read_runs(sorted(run_folders)) if run is not None]
    chosen, _ = split_by_variance([run for run in runs if did_no_harm(run)])
    found += balance([c for trajectory in chosen for c in unroll(trajectory, template)], Random(seed))
    if not found and not run_folders:
        places = ", ".join(map(str, folders))
        raise RethinkError(
            f"data: there are no recorded runs in {places} or below; record some first, or give another folder."
        )
    if not found:
        raise RethinkError(f"data: none of the {len(run_folders)} trajectories there can be trained on; record more.")
    return found, len(run_folders) - len(runs)


def _read_collected(file: Path) -> Iterator[Conversation]:
    """The rows whose images exist."""
    for row in JsonlLog(file, _check_row):
        images = tuple(file.parent / str(name) for name in row["images"])
        if all(image.is_file() for image in images):
            yield Conversation(row["prompt"], images, _answer_of(row))


def _check_row(row: dict) -> None:
    fields_are(prompt=list, images=list, completion=list)(row)
    try:
        _answer_of(row)
    except (LookupError, TypeError):
        raise RethinkError("its “completion” has no text") from None


def _answer_of(row: dict) -> str:
    return row["completion"][0]["content"][0]["text"]


def did_no_harm(trajectory: Trajectory) -> bool:
    """Whether thinking helped, or at least did no harm: the best later turn is no worse than the first. A run that was accepted at
    once is kept too, since a thinker must also learn when to stop."""
    return scores_did_no_harm([score_of(step) for step in scored_steps(trajectory)], trajectory.stopped)


def scores_did_no_harm(scores: Sequence[float], stopped: str) -> bool:
    """`did_no_harm`, from the scores of a run's turns and the reason it stopped."""
    if len(scores) < 2:
        return bool(scores) and stopped == "accepted"
    return max(scores[1:]) >= scores[0]


def split_by_variance(trajectories: Sequence[Trajectory]) -> tuple[list[Trajectory], list[Trajectory]]:
    """(the trajectories whose scores vary least over their turns, for supervised learning; the others, for RL)."""
    ordered = sorted(
        trajectories, key=lambda trajectory: pvariance([score_of(step) for step in scored_steps(trajectory)])
    )
    count = round(SFT_SHARE * len(ordered)) if len(ordered) > 1 else 1
    return ordered[:count], ordered[count:]


def unroll(trajectory: Trajectory, template: str = TEMPLATE) -> list[Conversation]:
    """The steps up to the best one, each as a separate conversation: the earlier ones answer with the prompt that came next, the
    best with its own prompt, which is how a thinker says stop."""
    steps = scored_steps(trajectory)
    best = max(range(len(steps)), key=lambda index: score_of(steps[index]))  # ties to the earlier
    steps = steps[: best + 1]
    prompts = [*(step.prompt for step in steps[1:]), steps[-1].prompt]
    return [_conversation(trajectory, step, prompt, template) for step, prompt in zip(steps, prompts)]


def balance(conversations: Sequence[Conversation], rng: Random) -> list[Conversation]:
    """The conversations, shuffled, with no group (kind of task and score) larger than twice the median group."""
    groups = defaultdict(list)
    for conversation in conversations:
        groups[conversation.group].append(conversation)
    most = 2 * sorted(map(len, groups.values()))[len(groups) // 2] if groups else 0
    left = [c for members in groups.values() for c in rng.sample(members, min(most, len(members)))]
    rng.shuffle(left)
    return left


def scored_steps(trajectory: Trajectory) -> list[Step]:
    """The candidate that the run continued from in every turn, up to the first turn where it has nothing to teach.

    It is the one that the run itself ranked first, whatever the scores are now: the next prompt was written after seeing it. A run
    continues only if nothing was accepted, so any acceptance recorded since then counts only in the last turn.
    """
    turns: dict[int, list[Step]] = defaultdict(list)
    for step in trajectory.steps:
        turns[step.turn].append(step)
    last = max(turns, default=0)
    leads = (_lead(turns[turn], ended=turn == last) for turn in sorted(turns))
    return list(takewhile(_teaches, leads))


def _lead(candidates: Sequence[Step], *, ended: bool) -> Step:
    """The candidate of a turn that the run ended at or continued from."""
    ranked = candidates if ended else [replace(step, accepted=False) for step in candidates]
    return candidates[best_of(ranked)]


def _teaches(step: Step) -> bool:
    """Whether a step has scores and reasoning to learn from."""
    return bool(step.critique.reasoning) and scores_to_learn(step).overall is not None and not _overlooks(step)


def _overlooks(step: Step) -> bool:
    """Whether the critic liked an edit that changed nothing, which is a bad example."""
    return step.preservation.unchanged and (scores_to_learn(step).semantic or 0) >= 5


def scores_to_learn(step: Step) -> Critique:
    """The scores to learn: the judge's if there was one, else the thinker's."""
    return step.judge or step.critique


def score_of(step: Step) -> float:
    """The overall score to learn, 0…10, of a step that has one."""
    overall = scores_to_learn(step).overall
    assert overall is not None, "steps without scores are left out before"
    return overall


def kind_of(trajectory: Trajectory) -> str:
    """The kind of task, for balancing: from the run's options, else from the first word of the instruction that indicates it."""
    kind = trajectory.options.get("kind")
    if isinstance(kind, str) and kind:
        return kind[:80]
    found = re.search(_WORD, trajectory.instruction, re.IGNORECASE)
    return found.lastgroup if found and found.lastgroup else "other"


def _conversation(trajectory: Trajectory, step: Step, next_prompt: str, template: str) -> Conversation:
    from ..thinkers.critique_format import format_critique

    verdict = scores_to_learn(step)
    items = step.critique.checklist if lists_checklist(template) else ()  # only answer what is asked
    scores = {"semantic": verdict.semantic, "quality": verdict.quality}
    critique = replace(step.critique, **scores, next_prompt=next_prompt, checklist=items)
    checklist = [item.text for item in items]
    messages = critique_messages(template, instruction=trajectory.instruction, prompt=step.prompt, checklist=checklist)
    images = {"source": trajectory.folder / SOURCE_FILE, "edited": trajectory.folder / step.file}
    group = kind_of(trajectory), round(score_of(step))
    return Conversation(
        messages, tuple(images[slot] for slot in image_slots(template)), format_critique(critique), group
    )
