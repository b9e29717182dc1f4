"""From an image to drafts of pairs: damaged by an operation or an editor, on disk, and still without an instruction.

A maker can run in any process, beside others: everything it draws follows from the config, the source's name and the
number of the pair.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EditorUnavailable, RethinkError, describe_error
from ...evaluation.pixel_metrics import visibly_differ
from ...image_files import read_file
from ...names import name_anywhere
from ...options import MAX_SEED, check_limits, option
from ..jsonl_log import DiskFull
from ..models import ModelSource
from ..pixels import from_pixels, read_mask, read_pixels
from ..store import PairStore
from .instructions import UNDESCRIBED, Description
from .operations import (
    OPERATIONS,
    Operation,
    OperationResult,
    Region,
    apply_operation,
    bounding_box,
    get_operation,
    sample_region,
    whole_image,
)

if TYPE_CHECKING:
    from ...editors.protocol import Editor
    from ...editors.settings import Settings
    from .sources import NamedBox, Source

# Operations that need no mask or box.
MASK_FREE = tuple(id for id, op in OPERATIONS.items() if op.where in ("region", "image", "own"))
PROCESS_DIED = "the process that worked on it died"
MIN_SIDE = 16  # pixels; a smaller image has nothing to hide


@dataclass(frozen=True)
class SynthesisConfig:
    """What is made from every image.

    operations: ids of `OPERATIONS`, equally likely. ranges: {operation: {parameter: value, [low, high] or [choices]}}.
    wording: what else the instructions depend on, so that pairs that differ only in that get different ids.
    """

    operations: tuple[str, ...] = MASK_FREE
    ranges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pairs: int = option(1, "Pairs per image.", low=1, high=1000)
    seed: int = option(
        0,
        "Determines places, strengths and wording. The same seed makes the same pairs and resumes a run that was "
        "stopped; another seed adds other pairs.",
        low=0,
        high=MAX_SEED,
    )
    longest_side: int = option(
        2048,
        "Scale larger images down to this many pixels on the longest side. 0: never.",
        low=0,
        high=16384,
        advanced=True,
    )
    area: tuple[float, float] = option(
        (0.03, 0.2),
        "Fraction of the image to damage where the place is drawn from the seed.",
        low=0.001,
        high=0.8,
        step=0.01,
        advanced=True,
    )
    wording: str = ""

    def __post_init__(self):
        if not self.operations:
            raise RethinkError("operation: choose at least one.")
        for id in (*self.operations, *self.ranges):
            get_operation(id).narrow(self.ranges.get(id, {}))
        check_limits(self)

    def key(self) -> str:
        """What the pairs depend on, except their number: asking for more leaves the existing ones as they are."""
        return self.image_key() + self.wording

    def image_key(self) -> str:
        """What the images depend on: other instructions leave them as they are."""
        ranges = {id: narrowed for id in sorted(self.ranges) if (narrowed := _canonical_ranges(id, self.ranges[id]))}
        return json.dumps([sorted(self.operations), ranges, self.seed, self.longest_side, list(self.area)])

    def pair_seed(self, source: Source, number: int) -> int:
        """The 32-bit seed of one pair of a source; everything in it is drawn from that."""
        return int(_digest(self.image_key(), source.name, number)[:8], 16)


def _canonical_ranges(id: str, ranges: Mapping[str, Any]) -> dict[str, Any]:
    """The ranges of an operation in one form, however written: 0.5 for [0.5, 0.5], 1 for 1.0, nothing for a default."""
    whole, narrowed = get_operation(id).ranges, get_operation(id).narrow(ranges)
    return {name: _canonical_value(ranges[name]) for name in whole if name in ranges and narrowed[name] != whole[name]}


def _canonical_value(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        values = [_canonical_value(each) for each in value]
        return values[0] if all(each == values[0] for each in values) else values
    return int(value) if isinstance(value, float) and value.is_integer() else value


def pair_id(key: str, source: Source, number: int) -> str:
    """The id of one pair of a source. It depends on the config's key, whether there is a mask, and the boxes."""
    where = [bool(source.mask), [asdict(named) for named in source.boxes]]
    return _digest(key, source.name, number, *(where if any(where) else ()))


def _digest(*parts) -> str:
    text = json.dumps(parts)  # escapes make any file name ASCII
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Draft:
    """A pair without its instruction. skipped: why there is no pair, or "". failed: no thinker or editor answered."""

    id: str
    number: int
    source: str
    seed: int = 0
    skipped: str = ""
    failed: bool = False
    input: str = ""
    target: str = ""
    region: str = ""
    operation: str = ""
    hidden_what: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    template_vars: dict[str, str] = field(default_factory=dict)
    place: str = ""
    hidden: str = ""


class LoadedSource:
    """A source in memory: image uint8 [H, W, 3], mask bool [H, W] or None, and the path of its target in the store."""

    def __init__(self, store: PairStore, source: Source, longest_side: int):
        try:
            data = read_file(source.path)
        except OSError as error:
            raise RethinkError(f"cannot be read: {error.strerror}") from error
        self.image = read_pixels(io.BytesIO(data), longest_side)
        if min(self.image.shape[:2]) < MIN_SIDE:
            raise RethinkError(f"{self.image.shape[1]}×{self.image.shape[0]} pixels are too few")
        self.mask = None
        if source.mask:
            try:
                self.mask = read_mask(source.mask, self.image.shape[:2])
            except RethinkError as error:
                raise RethinkError(f"its mask {error}") from error
            if not self.mask.any():
                raise RethinkError("its mask is empty")
        content = hashlib.sha256(data + str(longest_side).encode()).hexdigest()[:16]
        self.target = store.image_path(content, "target")

    def region_of(self, named: NamedBox) -> Region:
        """A named box in pixels, at least one."""
        height, width = self.image.shape[:2]
        left, top = int(named.box[0] * width), int(named.box[1] * height)
        right, bottom = int(np.ceil(named.box[2] * width)), int(np.ceil(named.box[3] * height))
        return Region((left, top, max(right, left + 1), max(bottom, top + 1)))


@dataclass(frozen=True)
class DraftMaker:
    """Make the drafts of a source. Only a full disk ends a run: any other error skips the image and gives the reason.

    key: everything the pairs depend on. make_draft: (source in memory, source, number, id) → one draft.
    """

    key: str
    store: PairStore
    longest_side: int
    make_draft: Callable[[LoadedSource, Source, int, str], Draft]

    def __call__(self, source: Source, numbers: Sequence[int]) -> Iterator[Draft]:
        """One draft per number. A fault of the image itself is reported once per number, as of number 0."""
        try:
            loaded = LoadedSource(self.store, source, self.longest_side)
        except Exception as error:  # whatever a decoder raises
            for number in numbers:
                yield Draft(pair_id(self.key, source, number), 0, source.name, skipped=describe_error(error))
            return
        for number in numbers:
            id = pair_id(self.key, source, number)
            try:
                draft = self.make_draft(loaded, source, number, id)
            except DiskFull:
                raise
            except Exception as error:  # whatever an editor raises
                gone = isinstance(error, EditorUnavailable)
                draft = Draft(id, number, source.name, skipped=describe_error(error), failed=gone)
            yield draft


def operation_maker(store: PairStore, config: SynthesisConfig) -> DraftMaker:
    """The maker that applies procedural operations."""

    def make_draft(loaded: LoadedSource, source: Source, number: int, id: str) -> Draft:
        applicable = [id for id in config.operations if _is_applicable(get_operation(id), source)]
        if not applicable:
            raise RethinkError(f"{' and '.join(config.operations)} need a mask or a box of it")
        seed = config.pair_seed(source, number)
        rng = np.random.default_rng(seed)
        operation = get_operation(applicable[int(rng.integers(len(applicable)))])
        values = operation.draw(rng, config.ranges.get(operation.id, {}))
        region, description = _choose_region(operation, loaded, source, config, rng)
        result = apply_operation(operation, loaded.image, region, values, rng)
        draft = Draft(
            id,
            number,
            source.name,
            seed,
            operation=operation.id,
            hidden_what=operation.hidden_what,
            parameters=values,
            template_vars=result.template_vars,
            place=description.place,
            hidden=description.hidden,
        )
        return _write_images(store, loaded, result, draft)

    return DraftMaker(config.key(), store, config.longest_side, make_draft)


def editor_maker(
    store: PairStore,
    config: SynthesisConfig,
    editor: ModelSource[Editor],
    inverse: str,
    settings: Settings,
    default: Description = UNDESCRIBED,
) -> DraftMaker:
    """The maker that has an editor make the inverse edit ("remove the hat"); the editor is loaded for the first draft.

    default: what undoing the edit brings back, where the source's box has no description.
    Where the editor changed nothing beyond its autoencoder's blur, and outside the source's mask or box, the pixels are
    the source's own, bit for bit: the model learns the edit, not the editor's artifacts.
    """
    key = json.dumps([inverse, name_anywhere(editor.name), str(settings), config.key()])
    load = cache(editor.load)

    def make_draft(loaded: LoadedSource, source: Source, number: int, id: str) -> Draft:
        import torch

        from ...alignment.compositing import keep_unchanged
        from ...images import to_pixels

        seed = config.pair_seed(source, number)
        area, description = loaded.mask, Description()
        if source.boxes:
            region, description = _choose_named_box(loaded, source, np.random.default_rng(seed))
            area = region.as_mask(loaded.image)
        image = from_pixels(loaded.image)
        mask = None if area is None else torch.from_numpy(area).float()[None]
        edited = load().edit(load().prepare(image), [inverse], [seed], settings, mask=mask)
        (kept,) = keep_unchanged(image, edited.cpu(), mask)
        changed = (kept.mask > 0).numpy() & (True if area is None else area)
        pixels = np.where(changed[..., None], to_pixels(kept.image), loaded.image)
        result = OperationResult(pixels, changed, {"inverse": inverse.rstrip(".")})
        draft = Draft(
            id,
            number,
            source.name,
            seed,
            operation="editor",
            hidden_what="what the edit took away",
            parameters={"inverse": inverse, "editor": editor.name},
            template_vars=result.template_vars,
            place=description.place or default.place,
            hidden=description.hidden or default.hidden,
        )
        return _write_images(store, loaded, result, draft)

    return DraftMaker(key, store, config.longest_side, make_draft)


def _is_applicable(operation: Operation, source: Source) -> bool:
    if operation.where == "subject":
        return bool(source.mask)
    return operation.where != "selection" or bool(source.mask or source.boxes)


def _choose_region(
    operation: Operation, loaded: LoadedSource, source: Source, config: SynthesisConfig, rng
) -> tuple[Region, Description]:
    if operation.where in ("region", "selection") and source.boxes:
        return _choose_named_box(loaded, source, rng)
    if loaded.mask is not None and operation.where != "own":
        return Region(bounding_box(loaded.mask), loaded.mask), Description()
    if operation.where == "region":
        return sample_region(loaded.image, rng, config.area), Description()
    return whole_image(loaded.image), Description()


def _choose_named_box(loaded: LoadedSource, source: Source, rng) -> tuple[Region, Description]:
    """One of the source's named boxes, and its description."""
    named = source.boxes[int(rng.integers(len(source.boxes)))]
    return loaded.region_of(named), Description(named.place, named.hidden)


def _write_images(store: PairStore, loaded: LoadedSource, result: OperationResult, draft: Draft) -> Draft:
    """The draft with its images on disk."""
    if not visibly_differ(result.image, loaded.image):
        raise RethinkError(f"{draft.operation} changed nothing visible")
    paths = {"input": store.image_path(draft.id, "input"), "target": loaded.target, "region": ""}
    if not (store.folder / loaded.target).exists():
        store.write_image(loaded.target, loaded.image)
    store.write_image(paths["input"], result.image)
    if not result.mask.all():
        paths["region"] = store.image_path(draft.id, "region")
        store.write_image(paths["region"], result.mask)
    return replace(draft, **paths)


def failed_drafts(key: str, job: tuple[Source, Sequence[int]], why: str) -> list[Draft]:
    """The drafts of a job that failed as a whole, for example because its process died."""
    source, numbers = job
    return [Draft(pair_id(key, source, number), number, source.name, skipped=why) for number in numbers]
