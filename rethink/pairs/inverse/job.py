"""The job of making pairs by inverse edits, which the node and the command share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import RethinkError
from ...options import check_limits, option
from ...progress import JobProgress, OnProgress, format_count, ignore_progress
from ...thinkers.asking import ChatFn, MapFn, thread_map
from ..engine import LOCAL, Engine, ExecutorFor
from ..exporting import describe_store
from ..models import ModelSource
from ..pixels import from_pixels
from ..ray_cluster import Executor
from ..review.filters import count_reasons
from ..seeds import describe_stray_seeds, record_seed
from ..store import EditPair, PairStore
from .drafts import Draft, DraftMaker, SynthesisConfig, editor_maker, failed_drafts, operation_maker, pair_id
from .instructions import Description, InstructionWriter

if TYPE_CHECKING:
    from torch import Tensor

    from ...editors.protocol import Editor
    from .sources import Coverage, ImageFolder, Source, Sources
    from .synthesis import SynthesisProgress

MAX_REASONS = 12  # in a report


@dataclass(frozen=True)
class SynthesisJob:
    """Damage real images, so that a model learns to undo the damage.

    images: a folder, or single sources. store: the folder of the pairs, new or existing; its pairs are not made again.
    config: what is drawn; this job sets its wording. editor: makes the edit `inverse` instead of an operation.
    thinker: a vision-language model that finds places, describes them and paraphrases.
    templates: {operation: [template, …]}, which replace the built-in ones.
    """

    images: ImageFolder | Sequence[Source]
    store: Path
    config: SynthesisConfig = field(default_factory=SynthesisConfig)
    editor: ModelSource[Editor] | None = None
    thinker: ModelSource[ChatFn] | None = None
    inverse: str = option(
        "",
        "The easy edit that the editor makes to the real image, e.g. “remove the hat”. The pair teaches to undo it.",
    )
    find: str = option(
        "",
        "What the thinker should find in the images to damage, e.g. “a face”. Empty: the mask, boxes or seed decide.",
    )
    place: str = option(
        "",
        "The place in your own words, e.g. “the man's face”. Empty: the thinker names it, if there is one.",
    )
    description: str = option(
        "",
        "What is hidden there in every pair, in your own words, e.g. “A red woolen hat.” Empty: the thinker "
        "describes it, if there is one.",
    )
    paraphrase: bool = option(False, "Have the thinker reword every instruction.", advanced=True)
    templates: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("inverse", "find", "place", "description"):
            object.__setattr__(self, name, getattr(self, name).strip())
        check_limits(self)
        if self.editor and not self.inverse:
            raise RethinkError("inverse: is empty; tell the editor what to take away, for example “remove the hat”.")
        if self.inverse and not self.editor:
            raise RethinkError("inverse: needs an editor that makes this edit.")
        for name in ("find", "paraphrase"):
            if getattr(self, name) and self.thinker is None:
                raise RethinkError(f"{name}: needs a thinker.")
        self._writer(None)

    @cached_property
    def coverage(self) -> Coverage | None:
        """Which images have a mask or boxes; None where there are neither."""
        from .sources import ImageFolder, coverage_of

        if isinstance(self.images, ImageFolder):
            return self.images.coverage()
        found = coverage_of(self.images)
        return found if found.masked or found.boxed else None

    def run(self, on_progress: OnProgress = ignore_progress, engine: Engine = LOCAL) -> SynthesisReport:
        """Make the pairs that are not in the store yet; a run that was stopped resumes."""
        from .synthesis import synthesize

        map_fn = thread_map(self.thinker.concurrency) if self.thinker else map
        # Models on other machines are opened there. Those on this one are opened first, to report their errors.
        job = replace(self, editor=self.editor.load_now()) if self.editor and engine.is_local else self
        chat = self.thinker.load() if self.thinker and (self.find or engine.is_local) else None
        with engine.started() as executor_for, PairStore(self.store).writing() as store:
            maker = job._maker(store)
            earlier = record_seed(store, job._maker(store, seed=0).key, self.config.seed)
            sources = self._locate(store, chat, map_fn)
            describe = self._describe(store, executor_for)
            done = synthesize(
                store,
                sources,
                maker,
                self.config.pairs,
                self._writer(None if describe else chat, map_fn),
                executor=job._executor(store, maker, executor_for, engine),
                describe=describe,
                on_progress=lambda progress: on_progress(_job_progress(store, progress)),
            )
            others = describe_stray_seeds(store, earlier, job._is_from(store, sources, earlier)) if earlier else []
            describe_store(store)
        return SynthesisReport(PairStore(self.store, done.ids), done, self.coverage, tuple(others))

    @property
    def _config(self) -> SynthesisConfig:
        return replace(self.config, wording=self._wording)

    @property
    def _wording(self) -> str:
        """What the instructions depend on besides the config. Not the thinker: it may have moved to another server."""
        words = (self.thinker is not None, self.paraphrase, self.find or None, self.place, self.description)
        templates = {id: list(templates) for id, templates in self.templates.items()}
        return str((*words, templates)) if any((*words, templates)) else ""

    @property
    def _description(self) -> Description:
        return Description(self.place, self.description)

    def _writer(self, chat: ChatFn | None, map_fn: MapFn = map) -> InstructionWriter:
        paraphrase = self.paraphrase and chat is not None
        return InstructionWriter(chat, paraphrase, self.templates, self._description, map_fn)

    def _maker(self, store: PairStore, seed: int | None = None) -> DraftMaker:
        config = self._config if seed is None else replace(self._config, seed=seed)
        if self.editor is None:
            return operation_maker(store, config)
        from ...editors.settings import Settings

        return editor_maker(store, config, self.editor, self.inverse, Settings(), self._description)

    def _executor(
        self, store: PairStore, maker: DraftMaker, executor_for: ExecutorFor, engine: Engine
    ) -> Executor | None:
        """The executor that makes drafts on other machines or in other processes; None: they are made here."""
        from .processes import process_executor
        from .sources import ImageFolder

        stage = "edit" if self.editor else "damage"
        if executor := executor_for(stage, partial(_open_maker, self, store.folder), partial(failed_drafts, maker.key)):
            return executor
        # A few connected images are done before a process has started; an editor is one model on one device.
        in_processes = isinstance(self.images, ImageFolder) and self.editor is None and engine.processes > 1
        return process_executor(engine.processes, store, self._config) if in_processes else None

    def _describe(self, store: PairStore, executor_for: ExecutorFor) -> Executor | None:
        """The executor that describes drafts on other machines; None: they are described here."""
        if self.thinker is None:
            return None
        return executor_for("describe", partial(_open_writer, self, store.folder), _not_described)

    def _locate(self, store: PairStore, chat: ChatFn | None, map_fn: MapFn) -> Sources:
        from .locate import LocatedSources

        if not self.find:
            return self.images
        assert chat is not None, "checked in __post_init__"
        return LocatedSources(self.images, chat, self.find, store.spots, self.config.longest_side, map_fn)

    def _is_from(self, store: PairStore, sources: Sources, seeds: Iterable[int]) -> Callable[[EditPair, int], bool]:
        """A function that tells whether this job makes a pair from its sources with another seed."""
        from .sources import Source

        by_name = {source.name: source for source in sources if isinstance(source, Source)}
        keys = {seed: self._maker(store, seed).key for seed in seeds}

        def is_from(pair: EditPair, seed: int) -> bool:
            source = by_name.get(pair.source)
            return source is not None and pair.id == pair_id(keys[seed], source, pair.number)

        return is_from


@dataclass(frozen=True)
class SynthesisReport:
    """The result of a job. pairs: the store, limited to the pairs the job asked for, made now or before.
    stray_seeds: a line for every other seed that left pairs of the same kind."""

    pairs: PairStore
    progress: SynthesisProgress
    coverage: Coverage | None
    stray_seeds: tuple[str, ...]

    @property
    def reasons(self) -> list[str]:
        """Why images or pairs were skipped, the most common reason first."""
        return [f"{count} × {reason}" for reason, count in count_reasons(self.progress.reasons)[:MAX_REASONS]]

    def __str__(self) -> str:
        done = self.progress
        line = f"{format_count(len(done.ids), 'pair')}, {done.made} made now; {done.skipped} skipped."
        return "\n".join([line, *([str(self.coverage)] if self.coverage else []), *self.stray_seeds, *self.reasons])


def _job_progress(store: PairStore, progress: SynthesisProgress) -> JobProgress:
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
    from .synthesis import finish_pair

    assert job.thinker is not None, "only a job with a thinker describes elsewhere"
    store, writer = PairStore(folder), job._writer(job.thinker.load())
    return lambda drafts: [finish_pair(store, writer, draft) for draft in drafts]


def _not_described(drafts: list[Draft], why: str) -> list[Draft]:
    return [replace(draft, skipped=draft.skipped or why) for draft in drafts]
