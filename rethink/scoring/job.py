"""Score an edit in every available way: what Score Edit and `rethink score` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..images import as_edit_mask, as_image
from ..options import MAX_SEED, check_limits, option
from ..progress import JobProgress, OnProgress, format_count, ignore_progress
from .edited_part import EditedPart, measure_by_clip, without_clip
from .further import FURTHER, FurtherMeasures
from .record import EditScores, Measurement

if TYPE_CHECKING:
    from torch import Tensor

    from ..evaluation.clip_similarity import Clip
    from ..thinkers.critique import Thinker
    from ..thinkers.protocol import OnToken


@dataclass(frozen=True)
class ScoringModels:
    """The models that measure; None for any that is missing. replies: the folder that keeps the judge's answers, so that nothing is
    asked twice. load_clip: opens the encoder of the CLIP measures. further: folder with a subfolder for each of `learned_measures`."""

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
        "How many times the judge is asked about an edit. The scores are means; their spread shows how sure the judge is.",
        low=1,
        high=32,
    )
    seed: int = option(0, "Change the seed to ask the judge again.", low=0, high=MAX_SEED)
    source_caption: str = option(
        "",
        "What the source shows, in one sentence. With both captions, CLIP measures whether the image changes as they do.",
    )
    edited_caption: str = option("", "What the edited image should show, phrased like the source caption.")
    further: str = option(
        "none",
        "Measures that need packages and models of their own. perceptual: LPIPS, DINO, DreamSim. all: these and the reward models "
        "EditScore and EditReward. The help says where to put their files; nothing is downloaded.",
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
        """Score every edit in `edited`, IMAGE [B, H, W, 3], of the source [1, H, W, 3], which may differ in size.

        mask: [1, H, W] at the source's size, 1 where it may change. announce: is told how many of the judge's answers existed
        already. What cannot be measured is not an error; its measurement says why.
        """
        from ..benchmarking.cached_chat import with_replies_in

        source, edited = as_image(source, "source"), as_image(edited, "edited")
        if len(source) != 1:
            raise RethinkError(
                f"source: takes one image, got {len(source)}; score the edits of each source separately."
            )
        if not instruction.strip():
            raise RethinkError("instruction: is empty; say what the edit should have changed.")
        mask = as_edit_mask(mask, source)
        judge, cache = models.judge, None
        if judge is not None and models.replies is not None:
            judge, cache = with_replies_in(judge, models.replies)
        clip = (
            models.load_clip() if models.load_clip else None
        )  # before the first call to the judge, as it may turn out not to be a CLIP
        further = FurtherMeasures(self.further, models.further, models.device)
        rows, images = further.rows(), edited.split(1)
        report = _counter(len(images) * (3 + len(rows)), progress)
        judged = []
        for image in images:
            judged.append(self._judge(source, image, instruction, judge, on_token))
            report("judge")
        if cache is not None and cache.known:
            answers = format_count(cache.known + cache.asked, "answer")
            announce(f"{cache.known} of the judge's {answers} were already in {models.replies}.")
        parts = [EditedPart.of(source, image, mask) for image in images]
        columns: list[Sequence[Sequence[Measurement]]] = [[each.measurements for each in judged]]
        columns += [self._clip(source, parts, clip), [part.measurements() for part in parts]]
        for what in ("CLIP", "pixels"):
            for _ in parts:
                report(what)
        for row in rows:
            measure, found = further.open(row), []
            for part in parts:
                found.append([measure(source, part, instruction)])
                report(row.name)
            columns.append(found)
            del measure  # frees its model before the next one is opened
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
        from .judge import judge_edits, without_judge

        if judge is None:
            return EditScores(without_judge())
        return judge_edits(judge, source, [image], instruction, self.passes, self.seed, on_token)[0]

    def _clip(self, source: Tensor, parts: list[EditedPart], clip: Clip | None) -> list[list[Measurement]]:
        """Image similarity of every edit, and direction similarity with captions."""
        if clip is None:
            return [without_clip("no CLIP model given") for _ in parts]
        captions = (self.source_caption, self.edited_caption) if self.source_caption.strip() else None
        return measure_by_clip(clip, source, [part.edited for part in parts], captions)


def _counter(total: int, progress: OnProgress) -> Callable[[str], None]:
    done = 0

    def report(what: str) -> None:
        nonlocal done
        done += 1
        progress(JobProgress(done, total, f"{what} · {done} of {total}"))

    return report
