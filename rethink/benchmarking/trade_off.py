"""How editors trade doing what is asked against keeping the image (InstructPix2Pix, arXiv 2211.09800, figure 8).

For every image guidance scale: how well the edits follow the direction of the captions, against how similar they are to their sources,
both by CLIP, over the same items with the same noise. Editors without image guidance that redraw from noise (SDEdit) vary their strength
instead and get the caption of the edited image, since they do not follow instructions; other editors have one point.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..editors.settings import Settings, used_settings
from ..errors import RethinkError
from ..evaluation.statistics import NOT_MEASURED, Interval, mean_interval
from ..images import load_image, to_pixels
from ..options import MAX_SEED, check_limits, option
from ..pairs.jsonl_log import DiskFull, JsonlLog, LatestIndex, fields_are
from ..pairs.store import PairStore
from ..progress import OnProgress, format_count, ignore_progress, progress_with_eta
from ..text_files import check_text, read_jsonl
from .reply_log import hold_folder

if TYPE_CHECKING:
    from torch import Tensor

    from ..editors.protocol import Editor, OnStep
    from ..evaluation.clip_similarity import Clip
    from ..pairs.models import ModelSource

Knob = Literal["image_guidance", "strength", ""]
MEASURED = "rethink-measured.jsonl"
MOST_SCALES = 40
MOST_FAILURES = 5  # failed items in a row after which the run gives up
TEXTS = ("instruction", "source_caption", "edited_caption")


@dataclass(frozen=True, eq=False)
class CurveItem:
    """An edit to make at every scale. load: its source, IMAGE [1, H, W, 3]. The captions say what the source and the edit show."""

    load: Callable[[], Tensor] = field(repr=False)
    instruction: str
    source_caption: str
    edited_caption: str


@dataclass(frozen=True)
class CurvePoint:
    """A point of a curve. scale: value of the knob, None without a knob. similarity: of the images; direction: None if no edit has one."""

    scale: float | None
    similarity: Interval
    direction: Interval | None


@dataclass(frozen=True)
class Curve:
    """One editor at one text guidance. knob: the setting that varies between its points. settings: the others its edits used."""

    editor: str
    knob: Knob
    settings: Mapping[str, Any]
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class TradeOff:
    """The measured curves. failures: (editor and item, reason)."""

    curves: tuple[Curve, ...]
    items: int
    clip: str
    failures: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        table = (HEAD, *self.rows)
        widths = [max(len(cell) for cell in column) for column in zip(*table)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]
        return "\n".join([*lines, *self.sentences])

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """One row per point, under HEAD."""
        return [_row(curve, point) for curve in self.curves for point in curve.points]

    @property
    def sentences(self) -> list[str]:
        """Sentences on the items, the measure, and what went wrong."""
        sure = any(point.similarity.low is not None for curve in self.curves for point in curve.points)
        how = "with 95% intervals" if sure else "too few sources for intervals"
        lines = [f"{format_count(self.items, 'item')}, measured by the CLIP {self.clip}, {how}."]
        if any(curve.knob == "strength" for curve in self.curves):
            lines.append("SDEdit got the captions of the edited images, since it does not follow instructions.")
        lines += [f"Not edited: {where}: {why}" for where, why in self.failures[:10]]
        return lines + ([f"Not edited: {len(self.failures) - 10} more."] if len(self.failures) > 10 else [])

    def as_dict(self) -> dict[str, Any]:
        """The curves as JSON values."""
        curves = [
            {
                "editor": curve.editor,
                "knob": curve.knob,
                "settings": dict(curve.settings),
                "points": [asdict(point) for point in curve.points],
            }
            for curve in self.curves
        ]
        return {"items": self.items, "clip": self.clip, "curves": curves, "failures": [list(f) for f in self.failures]}


HEAD = ("editor", "scale", "image similarity", "direction", "items")


def _row(curve: Curve, point: CurvePoint) -> tuple[str, ...]:
    scale = "" if point.scale is None else f"{curve.knob.replace('_', ' ')} {point.scale:g}"
    direction = NOT_MEASURED if point.direction is None else _words(point.direction)
    return curve.editor, scale, _words(point.similarity), direction, str(point.similarity.items)


def _words(found: Interval) -> str:
    reach = "" if found.low is None or found.high is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.mean:.3f}{reach}"


@dataclass(frozen=True)
class TradeOffJob:
    """The scales to measure."""

    image_guidance: str = option(
        "1, 1.2, 1.4, 1.6, 1.8, 2, 2.2",
        "Scales for editors with image guidance: how closely they keep the source.",
    )
    strength: str = option("0.3, 0.5, 0.7, 0.9", "Strengths for SDEdit: how much it redraws, above 0 and up to 1.")
    text_guidance: str = option(
        "0", "How closely to follow the text; 0: the editor's default. Several numbers give one curve each."
    )
    steps: int = option(0, "Denoising steps. 0: the editor's default.", low=0, high=1000)
    seed: int = option(
        0, "Seed of the first item's noise; the others count up from it. Same at every scale.", low=0, high=MAX_SEED
    )

    def __post_init__(self):
        check_limits(self)
        for name, limit in (("image_guidance", 100.0), ("strength", 1.0), ("text_guidance", 100.0)):
            read_numbers(name, getattr(self, name), limit, may_be_zero=name == "text_guidance")

    def run(
        self,
        editors: Sequence[ModelSource[Editor]],
        items: Sequence[CurveItem],
        clip: ModelSource[Clip],
        folder: Path | None = None,
        progress: OnProgress = ignore_progress,
        on_step: OnStep | None = None,
    ) -> TradeOff:
        """Edit every item with every editor at every scale, and measure. Each editor is loaded when its turn comes.

        folder: keeps every number, so that an interrupted run resumes. on_step: as in `Editor.edit`.
        """
        if not items:
            raise RethinkError("items: there are none with an instruction and both captions; choose others.")
        _check_names(editors)
        with hold_folder(folder) if folder else nullcontext():
            run = _Run(self, items, clip.name, clip.load(), _Log(folder), progress, on_step)
            curves = [curve for source in editors for curve in run.go_over(source)]
        return TradeOff(tuple(curves), len(items), clip.name, tuple(run.failures))

    def plan(self, editor: Editor) -> list[tuple[Knob, list[Settings]]]:
        """The settings of every point of every curve of an editor."""
        knob: Knob = (
            "image_guidance" if editor.family.guides_by_image else "strength" if editor.defaults.strength else ""
        )
        limit = 1.0 if knob == "strength" else 100.0
        scales = read_numbers(knob, getattr(self, knob), limit) if knob else []
        curves = []
        for text in read_numbers("text_guidance", self.text_guidance, 100.0, may_be_zero=True):
            plain = Settings(steps=self.steps, text_guidance=text)
            curves.append((knob, [replace(plain, **{knob: scale}) for scale in scales] or [plain]))
        return curves


def read_numbers(name: str, text: str, limit: float, may_be_zero: bool = False) -> list[float]:
    """Parse numbers separated by commas or spaces, sorted, without duplicates. Raises RethinkError naming `name` for anything else."""
    try:
        numbers = sorted({float(part) for part in text.replace(",", " ").split()})
    except ValueError as error:
        raise RethinkError(f"{name}: expected numbers like “1, 1.5, 2”, got “{text[:60]}”.") from error
    if not 0 < len(numbers) <= MOST_SCALES:
        raise RethinkError(f"{name}: expected 1 to {MOST_SCALES} numbers like “1, 1.5, 2”, got {len(numbers)}.")
    if not all(math.isfinite(n) and (0 <= n <= limit if may_be_zero else 0 < n <= limit) for n in numbers):
        raise RethinkError(
            f"{name}: expected numbers {'from' if may_be_zero else 'above'} 0 to {limit:g}, got “{text[:60]}”."
        )
    return numbers


# ── items ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_items(place: Path) -> list[CurveItem]:
    """The items of a pair store (its pairs with captions), or of a JSONL file with image, instruction, source_caption and edited_caption.

    Raises RethinkError if there are none, or for an incomplete line.
    """
    if place.is_dir():
        store = PairStore(place)
        captioned = (pair for pair in store if pair.input_caption.strip() and pair.target_caption.strip())
        pairs = [pair for pair in captioned if not pair.references]  # a curve edits single images
        if not pairs:
            raise RethinkError(
                f"items: no pair in {place} has captions and a single input; use pairs made by prompt-to-prompt."
            )
        return [
            CurveItem(_Load(store.folder / pair.input), pair.instruction, pair.input_caption, pair.target_caption)
            for pair in pairs
        ]
    items = []
    for number, record in enumerate(read_jsonl(place, "items"), 1):
        texts = [check_text(record.get(name) or "", f"items: line {number}: its “{name}”").strip() for name in TEXTS]
        image = record.get("image")
        missing = [name for name, text in zip(("image", *TEXTS), (image, *texts)) if not text]
        if missing or not isinstance(image, str):
            raise RethinkError(f"items: line {number} of {place} has no “{(missing or ['image'])[0]}”.")
        items.append(CurveItem(_Load(place.parent / image), *texts))
    return items


@dataclass(frozen=True)
class _Load:
    file: Path

    def __call__(self) -> Tensor:
        return load_image(self.file, "items")


# ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Log:
    """What has been measured, in an append-only file; without a folder, nothing is kept."""

    def __init__(self, folder: Path | None):
        self._log = None
        if folder is not None:
            self._log = JsonlLog(folder / MEASURED, fields_are(id=str, similarity=(int, float)))
            self._log.repair()
            self._index = LatestIndex(self._log)

    def find(self, key: str) -> dict[str, Any] | None:
        if self._log is None or key not in self._index:
            return None
        return next(self._index.records([key]))

    def add(self, record: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.append(record)
            self._index.refresh()


class _NotGuided(RethinkError):
    """No point of a curve can be measured: the editor does not take the text guidance in which its curves differ."""


@dataclass(frozen=True)
class _Measured:
    """One measured edit. source: the same for items that edit the same image. used: its settings, as recorded."""

    similarity: float
    direction: float | None
    source: str
    used: Mapping[str, Any]


@dataclass
class _Run:
    """Everything that is the same for all editors, and the failures so far."""

    job: TradeOffJob
    items: Sequence[CurveItem]
    clip_name: str
    clip: Clip
    log: _Log
    progress: OnProgress
    on_step: OnStep | None
    failures: list[tuple[str, str]] = field(default_factory=list)

    def go_over(self, source: ModelSource[Editor]) -> Iterator[Curve]:
        """The curves of one editor."""
        editor = source.load()
        plan = self.job.plan(editor)
        rows = self._measure_all(editor, source.name, [settings for _, points in plan for settings in points])
        columns = iter(list(zip(*rows)))
        for knob, points in plan:
            edits = [next(columns) for _ in points]
            name = source.name + (f", text guidance {points[0].text_guidance:g}" if len(plan) > 1 else "")
            scales = [used_settings(editor, each)[knob] if knob else None for each in points]
            others = {key: value for key, value in edits[0][0].used.items() if key != knob}
            yield Curve(name, knob, others, tuple(map(_point, scales, edits)))

    def _measure_all(self, editor: Editor, name: str, settings: Sequence[Settings]) -> list[list[_Measured]]:
        """The edits at all settings for every item that could be edited, so that all points cover the same items."""
        report = progress_with_eta(f"edits by {name}", self.progress)
        found, in_a_row = [], 0
        for number, item in enumerate(self.items):
            try:
                row = []
                for measured in self._measure(editor, name, number, item, settings):
                    row.append(measured)
                    report(number * len(settings) + len(row), len(self.items) * len(settings))
                found.append(row)
                in_a_row = 0
            except (DiskFull, _NotGuided):
                raise
            except RethinkError as error:
                in_a_row += 1
                self.failures.append((f"{name}, item {number + 1}", str(error)))
                if in_a_row in (MOST_FAILURES, len(self.items)):
                    raise RethinkError(f"{name}: {error} ({in_a_row} items in a row failed)") from error
        if not found:
            raise RethinkError(f"{name}: no item could be edited: {self.failures[-1][1]}")
        return found

    def _measure(
        self, editor: Editor, name: str, number: int, item: CurveItem, settings: Sequence[Settings]
    ) -> Iterator[_Measured]:
        """One item at all settings; known results are not edited again."""
        image = item.load()
        digest = hashlib.sha256(to_pixels(image).tobytes()).hexdigest()
        seed = (self.job.seed + number) % (MAX_SEED + 1)
        prompt = item.edited_caption if editor.defaults.strength else item.instruction
        compare = cache(lambda: _Comparison(self.clip, image, item))
        for each in settings:
            key = self._key(name, digest, item, seed, each)
            if (known := self.log.find(key)) is None:
                edited = editor.edit(editor.prepare(image), [prompt], [seed], each, on_step=self.on_step)
                used = used_settings(editor, each)
                if each.text_guidance and "text_guidance" not in used:
                    raise _NotGuided(f"text_guidance: has no effect on {name}, which does not take it; leave it at 0.")
                known = {"id": key, "editor": name, "item": number, **used, **compare().with_edit(edited)}
                self.log.add(known)
            used = {setting: known[setting] for setting in used_settings(editor, each) if setting in known}
            yield _Measured(known["similarity"], known["direction"], digest, used)

    def _key(self, name: str, digest: str, item: CurveItem, seed: int, settings: Settings) -> str:
        texts = [getattr(item, text) for text in TEXTS]
        parts = (name, self.clip_name, digest, texts, seed, settings.as_inputs())
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


class _Comparison:
    """The source and the captions of an item, embedded once."""

    def __init__(self, clip: Clip, image: Tensor, item: CurveItem):
        self._clip, self._image = clip, image
        self._before = clip.images([to_pixels(image)[0]])
        self._texts = clip.texts([item.source_caption, item.edited_caption])[:, None]

    def with_edit(self, edited: Tensor) -> dict[str, Any]:
        """Both similarities; no direction if nothing changed."""
        import torch

        from ..evaluation.clip_similarity import similarities

        after = self._clip.images([to_pixels(edited)[0]])
        (row,) = similarities(torch.stack([self._before, after]), self._texts)
        direction = None if edited.equal(self._image) else row["clip_sim_dir"]
        return {"similarity": row["clip_sim_image"], "direction": direction}


def _point(scale: float | None, edits: Sequence[_Measured]) -> CurvePoint:
    directed = [each for each in edits if each.direction is not None]
    similarity = _mean([each.similarity for each in edits], edits)
    return CurvePoint(
        scale, similarity, _mean([each.direction or 0.0 for each in directed], directed) if directed else None
    )


def _mean(cosines: Sequence[float], edits: Sequence[_Measured]) -> Interval:
    """The mean, with an interval clipped to the range of cosines."""
    found = mean_interval(cosines, [each.source for each in edits])
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))


def _check_names(editors: Sequence[ModelSource[Editor]]) -> None:
    names = [source.name for source in editors]
    if not names:
        raise RethinkError("editor: there is none; connect or name at least one.")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RethinkError(f"editor: “{twice}” is given twice; remove one, or its curve would be drawn twice.")
