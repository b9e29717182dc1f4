"""Pairs by undoing edits: real pictures are damaged, and the damage is what is learnt to undo."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from comfy_api.latest import io
from torch import Tensor

from ..rethink.editors.protocol import Settings
from ..rethink.errors import RethinkError
from ..rethink.pairs.formats import describe_store
from ..rethink.pairs.inverse.drafts import (
    MASK_FREE,
    Draft,
    Maker,
    SynthesisConfig,
    editor_maker,
    operation_maker,
    pair_id,
)
from ..rethink.pairs.inverse.instructions import Description, Writer
from ..rethink.pairs.inverse.locate import LocatedSources
from ..rethink.pairs.inverse.operations import OPERATIONS, Operation, Range
from ..rethink.pairs.inverse.processes import process_executor
from ..rethink.pairs.inverse.sources import Coverage, Folder, Source, coverage_of
from ..rethink.pairs.inverse.synthesis import synthesize
from ..rethink.pairs.pixels import from_pixels
from ..rethink.pairs.review.filters import count_reasons
from ..rethink.pairs.seeds import earlier_seeds, strays
from ..rethink.pairs.store import EditPair, PairStore
from ..rethink.thinkers.critique import Thinker
from . import feedback, sockets
from .comfy import folders, memory, progress
from .inputs import seed_input, single_value
from .sources import pictures_inputs, sources_of, stamp_of
from .thinker import asked, map_fn_for

ANY = "any"
EDITOR = "editor"
DEFAULTS = {
    "thinker": None,
    "find": "",
    "place": "",
    "description": "",
    "paraphrase": False,
    "templates": "",
    "smallest": SynthesisConfig.area[0],
    "largest": SynthesisConfig.area[1],
    "longest_side": SynthesisConfig.longest_side,
}


class InverseEditSynthesizer(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkInverseEditSynthesizer",
            display_name="Inverse Edit Synthesizer",
            category="Rethink/Teach",
            description="Makes training pairs from real pictures: damages them the easy way, so that a model learns the "
            "hard way back. The real picture is always the target.",
            search_aliases=[
                "training data",
                "training pairs",
                "synthetic data",
                "edit pairs",
                "dataset",
                "dataset for lora",
                "inverse edit",
                "degrade",
            ],
            is_input_list=True,
            has_intermediate_output=True,
            inputs=[
                io.DynamicCombo.Input(
                    "operation",
                    options=[
                        io.DynamicCombo.Option(ANY, []),
                        *(io.DynamicCombo.Option(id, _ranges_of(op)) for id, op in OPERATIONS.items()),
                        io.DynamicCombo.Option(EDITOR, _editor_inputs()),
                    ],
                    tooltip="What is done to the pictures; a model learns to undo it. any: another one for every pair, of "
                    "those that need no mask. editor: any editor, with an instruction that takes something away.",
                ),
                *pictures_inputs(),
                io.String.Input(
                    "dataset",
                    default="pairs",
                    tooltip="Name of the folder, within ComfyUI's datasets folder, that the pairs are added to. What is "
                    "there already is not made again: a run that was stopped goes on.",
                ),
                io.Int.Input("pairs", default=1, min=1, max=1000, tooltip="How many of every picture."),
                seed_input(
                    "Places, strengths and wording are drawn from it. The same seed makes the same pairs, and goes on with "
                    "those of a run that was stopped; another one makes others beside them.",
                    "fixed",
                ),
                sockets.Thinker.Input(
                    "thinker",
                    optional=True,
                    tooltip="Looks at what was hidden and says what it is: that goes into the instruction.",
                ),
                io.String.Input(
                    "find",
                    optional=True,
                    default="",
                    placeholder="a face",
                    tooltip="What the thinker should find in the pictures: the place to work on. Empty: by mask, boxes or seed.",
                ),
                io.String.Input(
                    "place",
                    optional=True,
                    default="",
                    placeholder="the man's face",
                    tooltip="What the place is called, in your own words. Empty: the thinker says, or nobody does.",
                ),
                io.String.Input(
                    "description",
                    optional=True,
                    multiline=True,
                    default="",
                    placeholder="He has brown hair and round glasses.",
                    tooltip="What is hidden there, in your own words, for every pair. Empty: the thinker says, or nobody "
                    "does.",
                ),
                io.Boolean.Input(
                    "paraphrase",
                    optional=True,
                    default=False,
                    tooltip="The thinker says every instruction again in other words.",
                    advanced=True,
                ),
                io.String.Input(
                    "templates",
                    optional=True,
                    multiline=True,
                    default="",
                    placeholder="Take the {thing} off {place}.",
                    tooltip="Your own wordings of the chosen operation in place of the built-in ones, one a line. The help "
                    "page says which words in braces there are.",
                    advanced=True,
                ),
                *_share_inputs(),
                io.Int.Input(
                    "longest_side",
                    optional=True,
                    default=DEFAULTS["longest_side"],
                    min=0,
                    max=16384,
                    tooltip="Larger pictures are scaled down to this many pixels. 0: never.",
                    advanced=True,
                ),
            ],
            outputs=[
                sockets.Pairs.Output(
                    "pairs_out", display_name="pairs", tooltip="For the nodes that preview, filter, save."
                ),
                io.String.Output("report", tooltip="How many were made, and what was skipped for which reason."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, pictures, **_) -> Any:
        return stamp_of(pictures)

    @classmethod
    def execute(cls, operation, pictures, image=(), mask=(None,), boxes=(None,), **inputs) -> io.NodeOutput:
        parameters = {name: single_value(name, values) for name, values in operation.items() if values is not None}
        chosen = parameters.pop("operation")
        given = DEFAULTS | {name: single_value(name, values) for name, values in inputs.items()}
        said = Description(given["place"].strip(), given["description"].strip())
        thinker, wanted = given["thinker"], given["find"].strip()
        lines = [line.strip() for line in given["templates"].splitlines() if line.strip()]
        if lines and chosen == ANY:
            raise RethinkError("templates: are for one operation; choose it, or leave this empty.")
        if wanted and thinker is None:
            raise RethinkError("find: needs a thinker, who is to find it.")
        recipe = _recipe(chosen, parameters, given, _wording(said, given["paraphrase"], lines, wanted, thinker))
        sources = sources_of(pictures, image, mask, boxes)
        several = os.cpu_count() if isinstance(sources, Folder) and chosen != EDITOR else 1
        folder, each = folders.dataset_path(given["dataset"], "dataset"), map_fn_for(thinker)
        with PairStore(folder).writing() as store, asked(thinker) as chat:
            writer = Writer(chat, given["paraphrase"], {chosen: lines} if lines else {}, said)
            if chosen == EDITOR:
                editor, inverse = (
                    memory.ManagedEditor(_required("editor", parameters)),
                    _instruction(parameters["inverse"]),
                )
                make_by = partial(editor_maker, store, editor=editor, inverse=inverse, settings=Settings(), what=said)
            else:
                make_by = partial(operation_maker, store)
            make = make_by(recipe)
            earlier = earlier_seeds(store, make_by(replace(recipe, seed=0)).key, recipe.seed)
            if wanted:
                sources = LocatedSources(sources, chat, wanted, store.spots, recipe.longest_side, each)
            spread = process_executor(several, store, recipe) if several > 1 else partial(_here, make)
            view = PreviewingExecutor(store, spread)
            done = synthesize(
                store, sources, make, recipe.pairs, writer, spread=view, each=each, on_progress=view.report
            )
            made = _made(store, sources, make, recipe.pairs)
            keys = {seed: make_by(replace(recipe, seed=seed)).key for seed in earlier}
            others = strays(store, earlier, _is_from(sources, keys) if earlier else None)
            describe_store(store)
        if not made.only:
            raise RethinkError("\n".join(["pictures: not one pair could be made.", *_reasons(made, sources)]))
        report = "\n".join([_summary(made, sources, done), *others, *(_reasons(made, sources) if done.skipped else ())])
        return io.NodeOutput(made, report, ui=feedback.show_text(report))


class PreviewingExecutor:
    """Hands drafts on, and shows the newest of them with the progress of the run."""

    def __init__(self, store: PairStore, spread):
        self.store, self.spread, self.newest = store, spread, None
        self.count = progress.count_progress()

    def __call__(self, jobs) -> Iterator[Iterator[Draft]]:
        for drafts in self.spread(jobs):
            yield map(self._seen, drafts)

    def _seen(self, draft: Draft) -> Draft:
        if draft.input:
            self.newest = draft
        return draft

    def report(self, progress) -> None:
        line = f"{progress.seen} of {progress.total} pictures · {progress.made} pairs · {progress.rate:.1f} a second"
        if progress.done < progress.wanted:
            line += f" · {progress.left} left"
        self.count(progress.done, progress.wanted, line, self.picture)

    def picture(self) -> Tensor | None:
        """Input and target of the newest pair, side by side."""
        if self.newest is None or not (self.store.folder / self.newest.input).exists():
            return None
        sides = [self.store.read_image(path) for path in (self.newest.input, self.newest.target)]
        return from_pixels(np.concatenate(sides, 1))


def _ranges_of(operation: Operation) -> list[io.Input]:
    """The widgets of an operation: a list of choices, or the lowest and the highest value."""
    inputs = []
    for name, span in operation.ranges.items():
        if not isinstance(span, Range):
            tip = "Which kind; any: another one for every pair."
            inputs.append(io.Combo.Input(name, optional=True, options=[ANY, *span.choices], default=ANY, tooltip=tip))
            continue
        whole = isinstance(span.low, int)
        for end, default in (("lowest", span.low), ("highest", span.high)):
            number = io.Int if whole else io.Float
            options = {} if whole else {"step": 0.01, "round": 0.0001}
            tip = f"{span.help}: drawn for every pair, {'not below' if end == 'lowest' else 'not above'} this."
            inputs.append(
                number.Input(
                    f"{end}_{name}",
                    optional=True,
                    display_name=f"{end} {name}",
                    default=default,
                    min=span.least,
                    max=span.most,
                    tooltip=tip,
                    advanced=True,
                    **options,
                )
            )
    return inputs


def _editor_inputs() -> list[io.Input]:
    return [
        sockets.Editor.Input("editor", tooltip="From Load Editor."),
        io.String.Input(
            "inverse",
            optional=True,
            default="",
            multiline=True,
            placeholder="remove the hat",
            tooltip="The easy edit: what the editor does to the real picture. The pair teaches the way back.",
        ),
    ]


def _share_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            name,
            optional=True,
            display_name=f"{name} place",
            default=DEFAULTS[name],
            min=0.001,
            max=0.8,
            step=0.01,
            round=0.001,
            tooltip=f"{name.capitalize()} share of the picture that is worked on, where the place is drawn from the seed.",
            advanced=True,
        )
        for name in ("smallest", "largest")
    ]


def _recipe(chosen: str, parameters: dict[str, Any], given: dict[str, Any], wording: str) -> SynthesisConfig:
    return SynthesisConfig(
        MASK_FREE if chosen in (ANY, EDITOR) else (chosen,),
        {chosen: _ranges(OPERATIONS[chosen], parameters)} if chosen in OPERATIONS else {},
        given["pairs"],
        given["seed"],
        given["longest_side"],
        (given["smallest"], given["largest"]),
        wording,
    )


def _ranges(operation: Operation, given: dict[str, Any]) -> dict[str, Any]:
    """What the widgets of an operation say, as a SynthesisConfig has it: {parameter: [lowest, highest] or choice}."""
    ranges = {}
    for name, span in operation.ranges.items():
        if isinstance(span, Range):
            low, high = given.get(f"lowest_{name}", span.low), given.get(f"highest_{name}", span.high)
            if low > high:
                raise RethinkError(
                    f"lowest_{name}: is {low:g}, above highest_{name}, which is {high:g}; exchange them."
                )
            ranges[name] = [low, high]
        elif given.get(name, ANY) != ANY:
            ranges[name] = given[name]
    return ranges


def _here(make: Maker, jobs) -> Iterator[Iterator[Draft]]:
    return (make(*job) for job in jobs)


def _made(store: PairStore, sources, make: Maker, pairs: int) -> PairStore:
    """The store, narrowed to what this run was to make: made now, or found there from before."""
    ids = (pair_id(make.key, source, n) for source in sources if isinstance(source, Source) for n in range(pairs))
    return PairStore(store.folder, (id for id in ids if id in store))


def _is_from(sources, keys: dict[int, str]) -> Callable[[EditPair, int], bool]:
    """Whether a pair is what a run over these sources makes with a seed, each of which has its maker's key."""
    by_name = {source.name: source for source in sources if isinstance(source, Source)}

    def is_from(pair: EditPair, seed: int) -> bool:
        source = by_name.get(pair.source)
        return source is not None and pair.id == pair_id(keys[seed], source, pair.number)

    return is_from


def _summary(store: PairStore, sources, done) -> str:
    line = f"{len(store.only)} pairs, {done.made} of them made now; {done.skipped} skipped."
    coverage = _coverage(sources)
    return f"{line}\n{coverage}" if coverage else line


def _reasons(store: PairStore, sources) -> list[str]:
    names = {source.name if isinstance(source, Source) else source[0] for source in sources}
    reasons = count_reasons(record["why"] for record in store.skipped if record["source"] in names)
    return [f"{count} × {reason}" for reason, count in reasons[:12]]


def _coverage(sources) -> Coverage | None:
    """Which pictures had a mask or boxes; None where none were given."""
    if isinstance(sources, LocatedSources):
        sources = sources.folder
    if isinstance(sources, Folder):
        return sources.coverage()
    found = coverage_of(sources)
    return found if found.masked or found.boxed else None


def _wording(said: Description, reworded: bool, lines: list[str], wanted: str, thinker: Thinker | None) -> str:
    """What the instructions depend on beside the recipe; "" where nothing was said, as on the command line."""
    if said == Description() and not (reworded or lines or wanted or thinker):
        return ""
    return str((said, reworded, lines, wanted, thinker.chat.name if thinker else ""))


def _required(name: str, given: dict[str, Any]) -> Any:
    if given.get(name) is None:
        raise RethinkError(f"{name}: is not connected.")
    return given[name]


def _instruction(text: str) -> str:
    if not text.strip():
        raise RethinkError("inverse: is empty; say what the editor should take away, for example “remove the hat”.")
    return text.strip()
