"""The job of making pairs by inverse edits, as a node and a command start it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import RethinkError
from ...options import check_limits, option
from ...progress import JobProgress, OnProgress, ignore_progress
from ..engine import LOCAL, Engine, ExecutorFor
from ..exporting import describe_store
from ..models import ModelSource
from ..pixels import from_pixels
from ..ray_cluster import Executor
from ..review.filters import count_reasons
from ..seeds import describe_stray_seeds, record_seed
from ..store import EditPair, PairStore
from .drafts import Draft, DraftMaker, SynthesisConfig, editor_maker, failed_drafts, operation_maker, pair_id
from .instructions import Chat, Description, InstructionWriter, MapFn
from .locate import LocatedSources
from .processes import process_executor, thread_map
from .sources import Coverage, ImageFolder, Source, Sources, coverage_of
from .synthesis import SynthesisProgress, finish_pair, synthesize

if TYPE_CHECKING:
    from torch import Tensor

    from ...editors.protocol import Editor

REASONS = 12  # kinds of reasons in a report


@dataclass(frozen=True)
class SynthesisJob:
    """Damage real images, so that a model learns the way back: the damage is what is learnt to undo.

    images: a folder, or sources one by one. store: the folder of the pairs, new or begun; what is there is not made again.
    config: what is drawn; its wording is this job's to say. templates: {operation: [template, …]} in place of the built-in
    ones. editor: does `inverse` in place of an operation. thinker: a Chat with eyes, which finds, describes, paraphrases.
    """

    images: ImageFolder | Sequence[Source]
    store: Path
    config: SynthesisConfig = field(default_factory=SynthesisConfig)
    editor: ModelSource[Editor] | None = None
    thinker: ModelSource[Chat] | None = None
    inverse: str = option(
        "",
        "The easy edit: what the editor does to the real image. The pair teaches the way back, e.g. “remove the hat”.",
    )
    find: str = option(
        "",
        "What the thinker should find in the images, e.g. “a face”: the place to work on. Empty: by mask, boxes or seed.",
    )
    place: str = option(
        "",
        "What the place is called, in your own words, e.g. “the man's face”. Empty: the thinker says, or nobody does.",
    )
    description: str = option(
        "",
        "What is hidden there, in your own words, for every pair, e.g. “A red woolen hat.” Empty: the thinker says, or "
        "nobody does.",
    )
    paraphrase: bool = option(False, "The thinker says every instruction again in other words.", advanced=True)
    templates: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("inverse", "find", "place", "description"):
            object.__setattr__(self, name, getattr(self, name).strip())
        check_limits(self)
        if self.editor and not self.inverse:
            raise RethinkError("inverse: is empty; say what the editor should take away, for example “remove the hat”.")
        if self.inverse and not self.editor:
            raise RethinkError("inverse: needs an editor that does it.")
        for name in ("find", "paraphrase"):
            if getattr(self, name) and self.thinker is None:
                raise RethinkError(f"{name}: needs a thinker.")
        self._writer(None)

    @cached_property
    def coverage(self) -> Coverage | None:
        """Which images have a mask or boxes; None where there are none of either."""
        if isinstance(self.images, ImageFolder):
            return self.images.coverage()
        found = coverage_of(self.images)
        return found if found.masked or found.boxed else None

    def run(self, on_progress: OnProgress = ignore_progress, engine: Engine = LOCAL) -> SynthesisReport:
        """Make the pairs that are not in the store yet; a run that was stopped goes on."""
        ask = thread_map(self.thinker.concurrency) if self.thinker else map
        # Whoever works on other machines is opened there; here it is opened first, so that what is wrong with it is said.
        job = replace(self, editor=self.editor.opened()) if self.editor and engine.is_local else self
        chat = self.thinker.load() if self.thinker and (self.find or engine.is_local) else None
        with engine.started() as executor_for, PairStore(self.store).writing() as store:
            maker = job._maker(store)
            earlier = record_seed(store, job._maker(store, seed=0).key, self.config.seed)
            sources = self._located(store, chat, ask)
            describe = self._describe(store, executor_for)
            done = synthesize(
                store,
                sources,
                maker,
                self.config.pairs,
                self._writer(None if describe else chat),
                executor=job._executor(store, maker, executor_for, engine),
                describe=describe,
                map_fn=ask,
                on_progress=lambda progress: on_progress(_watched(store, progress)),
            )
            others = describe_stray_seeds(store, earlier, job._is_from(store, sources, earlier)) if earlier else []
            describe_store(store)
        return SynthesisReport(PairStore(self.store, done.ids), done, self.coverage, tuple(others))

    @property
    def _config(self) -> SynthesisConfig:
        return replace(self.config, wording=self._wording)

    @property
    def _wording(self) -> str:
        """What the instructions depend on beside the config. Not who the thinker is: it may have moved to another server."""
        words = (self.thinker is not None, self.paraphrase, self.find or None, self.place, self.description)
        templates = {id: list(templates) for id, templates in self.templates.items()}
        return str((*words, templates)) if any((*words, templates)) else ""

    @property
    def _description(self) -> Description:
        return Description(self.place, self.description)

    def _writer(self, chat: Chat | None) -> InstructionWriter:
        return InstructionWriter(chat, self.paraphrase and chat is not None, self.templates, self._description)

    def _maker(self, store: PairStore, seed: int | None = None) -> DraftMaker:
        config = self._config if seed is None else replace(self._config, seed=seed)
        if self.editor is None:
            return operation_maker(store, config)
        from ...editors.settings import Settings

        return editor_maker(store, config, self.editor, self.inverse, Settings(), self._description)

    def _executor(
        self, store: PairStore, maker: DraftMaker, executor_for: ExecutorFor, engine: Engine
    ) -> Executor | None:
        """What brings the drafts to be made to other machines or processes; None where they are made here."""
        stage = "edit" if self.editor else "damage"
        if executor := executor_for(stage, partial(_open_maker, self, store.folder), partial(failed_drafts, maker.key)):
            return executor
        # A few connected images are made sooner than a process starts; an editor is one model on one device.
        spreads = isinstance(self.images, ImageFolder) and self.editor is None and engine.processes > 1
        return process_executor(engine.processes, store, self._config) if spreads else None

    def _describe(self, store: PairStore, executor_for: ExecutorFor) -> Executor | None:
        """What brings drafts to machines that describe them; None where they are described here."""
        if self.thinker is None:
            return None
        return executor_for("describe", partial(_open_writer, self, store.folder), _not_described)

    def _located(self, store: PairStore, chat: Chat | None, ask: MapFn) -> Sources:
        if not self.find:
            return self.images
        assert chat is not None, "what finds is a thinker"
        return LocatedSources(self.images, chat, self.find, store.spots, self.config.longest_side, ask)

    def _is_from(self, store: PairStore, sources: Sources, seeds: Iterable[int]) -> Callable[[EditPair, int], bool]:
        """Whether a pair is what this job makes of its sources with another seed."""
        by_name = {source.name: source for source in sources if isinstance(source, Source)}
        keys = {seed: self._maker(store, seed).key for seed in seeds}

        def is_from(pair: EditPair, seed: int) -> bool:
            source = by_name.get(pair.source)
            return source is not None and pair.id == pair_id(keys[seed], source, pair.number)

        return is_from


@dataclass(frozen=True)
class SynthesisReport:
    """What a job has made. pairs: the store, narrowed to what the job was to make, made now or found there from before.
    stray_seeds: a line about every other seed that has left pairs of the same kind."""

    pairs: PairStore
    progress: SynthesisProgress
    coverage: Coverage | None
    stray_seeds: tuple[str, ...]

    @property
    def reasons(self) -> list[str]:
        """Why images or pairs were skipped, the commonest first."""
        return [f"{count} × {reason}" for reason, count in count_reasons(self.progress.reasons)[:REASONS]]

    def __str__(self) -> str:
        done = self.progress
        line = f"{len(done.ids)} pairs, {done.made} of them made now; {done.skipped} skipped."
        return "\n".join([line, *([str(self.coverage)] if self.coverage else []), *self.stray_seeds, *self.reasons])


def _watched(store: PairStore, progress: SynthesisProgress) -> JobProgress:
    return JobProgress(progress.done, progress.wanted, str(progress), partial(_preview, store, progress.newest))


def _preview(store: PairStore, pair: EditPair | None) -> Tensor | None:
    """Input and target of a pair, side by side, as IMAGE [1, H, W, 3]."""
    if pair is None:
        return None
    return from_pixels(np.concatenate([store.read_image(path) for path in (pair.input, pair.target)], 1))


def _open_maker(job: SynthesisJob, folder: Path) -> Callable[[Any], list[Draft]]:
    maker = job._maker(PairStore(folder))
    return lambda work: list(maker(*work))


def _open_writer(job: SynthesisJob, folder: Path) -> Callable[[Iterable[Draft]], list[EditPair | Draft]]:
    assert job.thinker is not None, "what describes is a thinker"
    store, writer = PairStore(folder), job._writer(job.thinker.load())
    return lambda drafts: [finish_pair(store, draft, writer) for draft in drafts]


def _not_described(drafts: list[Draft], why: str) -> list[Draft]:
    return [replace(draft, skipped=draft.skipped or why) for draft in drafts]
