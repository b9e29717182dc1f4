"""Scoring an edit in every way that is at hand: what Score Edit and `rethink score` do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..benchmarking.cached_chat import with_replies_in
from ..errors import RethinkError, describe_error
from ..evaluation import learned_measures
from ..evaluation.preservation import measure as measure_preservation
from ..evaluation.unchanged_part import UnchangedPart, find_unchanged_part
from ..images import Fit, as_edit_mask, as_image, fit, to_pixels
from ..options import MAX_SEED, check_limits, option
from ..progress import JobProgress, OnProgress, format_count, ignore_progress
from .judge import judge_edit, without_judge
from .record import EditScores, Group, Measurement

if TYPE_CHECKING:
    from torch import Tensor

    from ..evaluation.clip_similarity import Clip
    from ..thinkers.critique import Thinker
    from ..thinkers.protocol import OnToken

FURTHER = ("none", "perceptual", "all")
IMAGE_SIMILARITY, DIRECTION = "image similarity", "direction similarity"


@dataclass(frozen=True)
class ScoringModels:
    """What measures, each None where it is not there. replies: the folder that keeps what the judge says, so that it is asked nothing
    twice. load_clip: opens the encoder of the CLIP measures. further: folder with a folder for each of `learned_measures`."""

    judge: Thinker | None = None
    replies: Path | None = None
    load_clip: Callable[[], Clip] | None = None
    further: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class ScoreJob:
    """How edits are scored."""

    passes: int = option(
        1,
        "How often the judge is asked about an edit: its scores are the means, and their spread says how sure it is.",
        low=1,
        high=32,
    )
    seed: int = option(0, "Another one asks the judge again.", low=0, high=MAX_SEED)
    source_caption: str = option(
        "", "What the source shows, in a sentence. With both captions CLIP measures whether the change goes their way."
    )
    edited_caption: str = option("", "What the edited image should show, in a sentence like the source's.")
    further: str = option(
        "none",
        "Measures that need packages and models of their own. perceptual: LPIPS, DINO, DreamSim. all: these and the reward models "
        "EditScore and EditReward. The help says where their files belong; nothing is downloaded.",
        choices=FURTHER,
        advanced=True,
    )

    def __post_init__(self):
        check_limits(self)
        if bool(self.source_caption.strip()) != bool(self.edited_caption.strip()):
            missing = "edited_caption" if self.source_caption.strip() else "source_caption"
            raise RethinkError(f"{missing}: is empty; give both captions, or neither.")

    def run(
        self,
        source: Tensor,
        edited: Tensor,
        instruction: str,
        models: ScoringModels,
        mask: Tensor | None = None,
        progress: OnProgress = ignore_progress,
        on_token: OnToken | None = None,
        announce: Callable[[str], None] = lambda text: None,
    ) -> list[EditScores]:
        """The scores of every edit of `edited`, IMAGE [B, H, W, 3], of the source [1, H, W, 3], which may have another size.

        mask: [1, H, W] at the source's size, 1 where it may change. announce: is told how many of the judge's answers were there
        already. What cannot be measured is no error: it says so.
        """
        source, edited = as_image(source, "source"), as_image(edited, "edited")
        if len(source) != 1:
            raise RethinkError(f"source: takes one image, got {len(source)}; score the edits of each by itself.")
        if not instruction.strip():
            raise RethinkError("instruction: is empty; say what the edit was asked to change.")
        mask = as_edit_mask(mask, source)
        judge, cache = models.judge, None
        if judge is not None and models.replies is not None:
            judge, cache = with_replies_in(judge, models.replies)
        clip = models.load_clip() if models.load_clip else None  # before the first call of the judge: it may be no CLIP
        rows = [row for row in learned_measures.MEASURES if self.further == "all" or row.kind == self.further]
        total = len(edited) * (3 + len(rows))
        report = _counter(total, progress)
        judged = []
        for image in edited.split(1):
            judged.append(self._judge(source, image, instruction, judge, on_token))
            report("judge")
        if cache is not None and cache.known:
            answers = format_count(cache.known + cache.asked, "answer")
            announce(f"{cache.known} of the judge's {answers} were there already, in {models.replies}.")
        parts = [_Part.of(source, image, mask) for image in edited.split(1)]
        columns = [[each.measurements for each in judged], self._clip(source, parts, clip, report)]
        columns.append([list(_outside(part)) for part in parts])
        for _ in parts:
            report("pixels")
        columns += [_learned(row, source, parts, instruction, models, report) for row in rows]
        return [
            EditScores(
                tuple(found for column in columns for found in column[n]),
                judged[n].reasoning,
                (*judged[n].notes, *part.notes),
            )
            for n, part in enumerate(parts)
        ]

    def _judge(
        self, source: Tensor, image: Tensor, instruction: str, judge: Thinker | None, on_token: OnToken | None
    ) -> EditScores:
        if judge is None:
            return EditScores(without_judge())
        return judge_edit(judge, source, image, instruction, self.passes, self.seed, on_token)

    def _clip(
        self, source: Tensor, parts: list[_Part], clip: Clip | None, report: Callable[[str], None]
    ) -> list[list[Measurement]]:
        """Image similarity, and with captions direction similarity, of every edit."""
        why = "there is no CLIP" if clip is None else "it needs both captions"
        found = [{} for _ in parts] if clip is None else self._similarities(source, parts, clip)
        for _ in parts:
            report("CLIP")
        return [
            [
                _cosine(IMAGE_SIMILARITY, row.get("clip_sim_image"), why),
                _no_direction() if part.edited.equal(source) else _cosine(DIRECTION, row.get("clip_sim_dir"), why),
            ]
            for row, part in zip(found, parts)
        ]

    def _similarities(self, source: Tensor, parts: list[_Part], clip: Clip) -> list[dict[str, float]]:
        from ..evaluation.clip_similarity import similarities

        images = clip.images([to_pixels(source)[0], *(to_pixels(part.edited)[0] for part in parts)])
        pairs = images[:1].expand(len(parts), -1), images[1:]
        texts = None
        if self.source_caption.strip():
            both = clip.texts([self.source_caption, self.edited_caption])
            texts = _stack(both[:1].expand(len(parts), -1), both[1:].expand(len(parts), -1))
        return similarities(_stack(*pairs), texts)


def _cosine(name: str, value: float | None, why: str) -> Measurement:
    return Measurement("CLIP", name, value, "1 is the most", why="" if value is not None else why)


def _no_direction() -> Measurement:
    return _cosine(DIRECTION, None, "nothing has changed, so that there is no direction")


@dataclass(frozen=True, eq=False)
class _Part:
    """One edit at the source's size, and its part that should not have changed; None with the reason in `why`."""

    edited: Tensor
    changed: float
    part: UnchangedPart | None
    why: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Tensor, image: Tensor, mask: Tensor | None) -> _Part:
        size, own = ((each.shape[1], each.shape[2]) for each in (source, image))
        notes = ()
        if own != size:
            image = fit(image, Fit(own, size, size))
            shown = " × ".join(map(str, (own[1], own[0]))), " × ".join(map(str, (size[1], size[0])))
            notes = (f"The edit has {shown[0]} pixels: it was compared at the source's {shown[1]}.",)
        (found,) = measure_preservation(source, image, mask)
        if found.unchanged:
            notes = (*notes, "Nothing that anyone would see has changed.")
        try:
            return cls(image, found.changed, find_unchanged_part(source, image, mask), notes=notes)
        except RethinkError as error:
            return cls(image, found.changed, None, str(error), notes)


def _outside(part: _Part) -> Iterator[Measurement]:
    """What changed, and how the rest compares."""
    group: Group = "outside the change"
    yield Measurement(group, "changed", part.changed, "share of the image that visibly changed")
    for name, scale in (("PSNR", "dB, 99 is equal"), ("SSIM", "1 is equal")):
        value = None if part.part is None else getattr(part.part, name.lower())
        yield Measurement(group, name, value, scale, why=part.why)


def _learned(
    row: learned_measures.LearnedMeasure,
    source: Tensor,
    parts: list[_Part],
    instruction: str,
    models: ScoringModels,
    report: Callable[[str], None],
) -> list[list[Measurement]]:
    """One of the learned measures for every edit; its model is given back at the end."""
    group: Group = "outside the change" if row.kind == "perceptual" else "reward models"
    found, compare, failure = [], None, ""
    try:
        compare = learned_measures.open_measure(row, models.further, models.device)
    except RethinkError as error:
        failure = describe_error(error)
    for part in parts:
        value, why = None, failure
        try:
            if compare is not None:
                value = learned_measures.measure(compare, source, _seen(row, part), instruction)
        except RethinkError as error:
            why = describe_error(error)
        found.append([Measurement(group, row.name, value, row.scale, why=why)])
        report(row.name)
    return found


def _seen(row: learned_measures.LearnedMeasure, part: _Part) -> Tensor:
    """What a measure looks at beside the source."""
    if row.kind == "reward":
        return part.edited
    if part.part is None:
        raise RethinkError(part.why)
    return part.part.edited


def _stack(first: Tensor, second: Tensor) -> Tensor:
    import torch

    return torch.stack([first, second])


def _counter(total: int, progress: OnProgress) -> Callable[[str], None]:
    done = 0

    def report(what: str) -> None:
        nonlocal done
        done += 1
        progress(JobProgress(done, total, f"{what} · {done} of {total}"))

    return report
