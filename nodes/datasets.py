"""The nodes for existing pairs: filter, preview, save, load."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from comfy_api.latest import io

from ..rethink.errors import RethinkError
from ..rethink.pairs.contact_sheet import contact_sheet
from ..rethink.pairs.exporting import add_to_store, count_references, describe_references, describe_store, export
from ..rethink.pairs.formats import FORMATS
from ..rethink.pairs.jsonl_log import LatestIndex
from ..rethink.pairs.models import ModelSource, model_id
from ..rethink.pairs.pixels import from_pixels
from ..rethink.pairs.review.filters import Thresholds, histogram
from ..rethink.pairs.store import MANIFEST, PairStore
from ..rethink.pairs.whole_folder import finish_exports
from ..rethink.progress import format_count, progress_with_eta
from ..rethink.text_files import show_name
from ..rethink.thinkers.critique import Thinker
from . import feedback, pairs_api, sockets
from .comfy import folders, memory, model_folders, progress
from .inputs import NONE, AnyOption, field_input, validate_with
from .thinker import chat_session

STORE = "pair store"
BINS = 48
REASONS, REASON = 8, 240  # in a report, and characters of each

# What the plots show: threshold, the score it is compared with, and whether the score has to be above it.
PLOTS = (
    ("image", "clip_sim_image", True),
    ("direction", "clip_sim_dir", True),
    ("caption", "caption", True),
    ("changed", "changed", True),
    ("outside", "outside", False),
    ("shift", "shift", False),
    ("smallest_region", "region", True),
    ("largest_region", "region", False),
    ("side", "side", True),
    ("aspect", "aspect", False),
    ("critic", "critic", True),
)


class FilterEditPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkFilterEditPairs",
            display_name="Filter Edit Pairs",
            category="Rethink/Teach",
            description="Measures pairs once, and keeps those that pass every threshold. Every rejected pair gets "
            "its reasons.",
            search_aliases=[
                "clip filter",
                "directional similarity",
                "dataset cleaning",
                "deduplicate",
                "quality filter",
                "critic",
            ],
            is_output_node=True,
            inputs=[
                sockets.Pairs.Input("pairs", tooltip="The pairs to filter."),
                io.Combo.Input(
                    "clip",
                    options=[NONE, *model_folders.clip_names()],
                    default=NONE,
                    tooltip="Compares images with each other and with captions: a transformers folder of a CLIPModel in "
                    "models/clip_vision. The built-in CLIP is only for the built-in scenes. none: skip this "
                    "measure.",
                ),
                *(field_input(Thresholds, field.name) for field in fields(Thresholds)),
                sockets.Thinker.Input(
                    "thinker",
                    optional=True,
                    tooltip="A vision-language model as critic: it scores every pair once, from 0 to 10, with a reason.",
                ),
            ],
            outputs=[
                sockets.Pairs.Output("accepted", tooltip="The pairs that are kept."),
                sockets.Pairs.Output("rejected", tooltip="The others, each with its reasons."),
                io.String.Output("report", tooltip="How many were kept and rejected, and for which reasons."),
            ],
        )

    @classmethod
    def validate_inputs(cls, clip: str | None = None) -> str | bool:
        return clip == NONE or validate_with(model_folders.clip_path, clip)

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> Any:
        return pairs_api.verdict_count()  # a person's verdict outranks every threshold

    @classmethod
    def execute(cls, pairs: PairStore, clip: str, thinker: Thinker | None = None, **thresholds: Any) -> io.NodeOutput:
        from ..rethink.pairs.review.job import FilterJob

        limits = Thresholds(**thresholds)
        with chat_session(thinker) as source:
            job = FilterJob(pairs, limits, None if clip == NONE else clip_source(clip), source)
            report = job.run(progress.job_progress())
        shown = {"key": pairs_api.publish(pairs), "plots": list(_plots(pairs)), "limits": asdict(limits)}
        return io.NodeOutput(report.accepted, report.rejected, str(report), ui={"rethink_filter": [shown]})


class PreviewPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkPreviewPairs",
            display_name="Preview Pairs",
            category="Rethink/Teach",
            description="Shows pairs with their instructions, and opens a page to accept or reject them by keyboard.",
            search_aliases=["contact sheet", "review pairs", "curate", "label", "accept reject"],
            is_output_node=True,
            inputs=[
                sockets.Pairs.Input("pairs", tooltip="The pairs to show."),
                io.Int.Input("count", default=12, min=1, max=60, tooltip="How many to show, evenly spaced."),
            ],
            outputs=[
                io.Image.Output(
                    "sheet", tooltip="The contact sheet as an image: input, target and instruction of each."
                ),
                sockets.Pairs.Output("accepted", tooltip="The pairs that were not rejected."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> Any:
        return pairs_api.verdict_count()

    @classmethod
    def execute(cls, pairs: PairStore, count: int) -> io.NodeOutput:
        ids = [pair.id for pair in pairs]
        if not ids:
            raise RethinkError("pairs: there are none; see the report of the previous node.")
        some = {ids[int(place)] for place in np.linspace(0, len(ids) - 1, min(count, len(ids))).round()}
        sheet = contact_sheet(pairs, (pair for pair in pairs if pair.id in some))
        accepted = PairStore(pairs.folder, (pair.id for pair in pairs.accepted()))
        few = PairStore(pairs.folder, some)
        shown = {
            "key": pairs_api.publish(pairs),
            "sheet": pairs_api.publish(few),
            "name": pairs.folder.name,
            "count": len(ids),
        }
        return io.NodeOutput(from_pixels(np.asarray(sheet)), accepted, ui={"rethink_pairs": [shown]})


class SaveEditDataset(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        replace = io.Boolean.Input(
            "replace",
            optional=True,
            default=False,
            tooltip="Overwrite a dataset of this name, unless something in it was changed or added manually. Off: an "
            "existing one is never touched.",
        )
        return io.Schema(
            node_id="RethinkSaveEditDataset",
            display_name="Save Edit Dataset",
            category="Rethink/Teach",
            description="Saves the accepted pairs in a trainer's layout, with a README that says which image is the "
            "target.",
            search_aliases=[
                "export dataset",
                "dataset for lora",
                "training pairs",
                "ai-toolkit",
                "musubi",
                "diffsynth",
                "simpletuner",
                "fal",
                "webdataset",
            ],
            is_output_node=True,
            inputs=[
                sockets.Pairs.Input("pairs", tooltip="The pairs to save. Rejected ones are left out."),
                io.String.Input(
                    "name", default="my-edits", tooltip="Name of the folder within ComfyUI's datasets folder."
                ),
                io.DynamicCombo.Input(
                    "format",
                    options=[
                        io.DynamicCombo.Option(STORE, []),
                        *(io.DynamicCombo.Option(name, [replace]) for name in FORMATS),
                    ],
                    tooltip="The layout. pair store: Rethink's own, with scores and verdicts; saving again adds new "
                    "pairs and new verdicts.",
                ),
            ],
            outputs=[
                io.String.Output("folder", tooltip="The path of the dataset."),
                io.String.Output("report", tooltip="How many pairs it has, and which side is the target."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> Any:
        return pairs_api.verdict_count()

    @classmethod
    def execute(cls, pairs: PairStore, name: str, format: dict[str, Any]) -> io.NodeOutput:
        folder, chosen = folders.dataset_path(name, "name"), format["format"]
        if chosen == STORE:
            report = f"{format_count(add_to_store(pairs, folder), 'new pair')} in {folder}."
        else:
            written = progress_with_eta("pairs written", progress.job_progress())
            count = export(pairs, chosen, folder, written, bool(format.get("replace")))
            target = f"The target: {FORMATS[chosen].target}"
            references = describe_references(pairs, chosen)
            report = "\n".join(filter(None, [f"{format_count(count, 'pair')} in {folder}.", target, references]))
        return io.NodeOutput(str(folder), report, ui=feedback.show_text(report))


class LoadEditDataset(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        for root in folders.dataset_roots():
            finish_exports(root)  # offers again what a killed process left hidden
        into = io.String.Input(
            "into",
            optional=True,
            default="imported",
            tooltip="Name of the pair store, within ComfyUI's datasets folder, that the dataset is read into, once.",
        )
        instruction = io.String.Input(
            "instruction",
            optional=True,
            default="",
            placeholder="remove the black square",
            tooltip="The instruction for pairs without one of their own, such as most before/after images.",
        )
        return io.Schema(
            node_id="RethinkLoadEditDataset",
            display_name="Load Edit Dataset",
            category="Rethink/Teach",
            description="Opens a pair store, or reads a dataset in another tool's layout into one.",
            search_aliases=["import dataset", "open pairs", "load pairs", "training pairs", "dataset for lora"],
            has_intermediate_output=True,
            inputs=[
                io.DynamicCombo.Input(
                    "format",
                    options=[
                        io.DynamicCombo.Option(STORE, [_dataset_input(MANIFEST)]),
                        *(io.DynamicCombo.Option(name, [_dataset_input("*"), into, instruction]) for name in FORMATS),
                    ],
                    tooltip="The layout of the dataset. pair store: Rethink's own.",
                ),
            ],
            outputs=[
                sockets.Pairs.Output("pairs", tooltip="All pairs of the dataset."),
                io.String.Output("report", tooltip="How many pairs were read, and why others were skipped."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, format: dict) -> Any:
        folder = folders.dataset_path(format["dataset"], "dataset")
        return model_folders.files_fingerprint(folder / MANIFEST if format["format"] == STORE else folder)

    @classmethod
    def execute(cls, format: dict) -> io.NodeOutput:
        folder = folders.dataset_path(format["dataset"], "dataset")
        store, report = _opened(folder) if format["format"] == STORE else _imported(folder, format)
        return io.NodeOutput(store, report, ui=feedback.show_text(report))


def _opened(folder: Path) -> tuple[PairStore, str]:
    store = PairStore.open_existing(folder)
    count = sum(1 for _ in store)
    if not count:
        raise RethinkError(
            f"dataset: {folder} is a pair store without pairs; {_skips(_reasons(store)) or 'none has been made yet'}."
        )
    lines = [f"{format_count(count, 'pair')} in {folder}.", *filter(None, [count_references(store)])]
    return store, "\n".join([*lines, *map(partial(show_name, longest=REASON), store.manifest.damage())])


def _reasons(store: PairStore) -> list[tuple[str, str]]:
    return [(record["source"], record["why"]) for record in store.skipped]


def _imported(folder: Path, format: dict) -> tuple[PairStore, str]:
    """Read a dataset into a store. Returns its pairs there and a report."""
    from ..rethink.pairs.importing import import_dataset

    skipped: list[tuple[str, str]] = []
    with PairStore(folders.dataset_path(format["into"], "into")).writing() as store:
        text = format.get("instruction") or ""
        found = import_dataset(store, format["format"], folder, lambda *skip: skipped.append(skip), text)
        describe_store(store)
    if not found.ids:
        raise RethinkError(f"dataset: no pair of {folder} could be read: {_skips(skipped)}.")
    pairs = found.only(store)
    report = f"{format_count(found.new, 'pair')} read into {store.folder}, {len(skipped)} skipped."
    return pairs, "\n".join([report, *filter(None, [count_references(pairs)]), *_skips(skipped, "\n").splitlines()])


def _skips(skipped: list[tuple[str, str]], between: str = "; ") -> str:
    """The most common reasons, each with its count and where it first occurred. None of it can be markup."""
    kinds = {why: name for name, why in reversed(skipped)}
    counts = Counter(why for _, why in skipped).most_common()
    lines = [f"{count} × {show_name(why, REASON)} (first: {show_name(kinds[why])})" for why, count in counts[:REASONS]]
    more = len(counts) - len(lines)
    return between.join([*lines, *([f"{more} more reasons, in the store's skipped.jsonl"] if more > 0 else [])])


def _dataset_input(holding: str) -> io.Input:
    names = folders.dataset_names(holding) or [NONE]
    return io.Combo.Input(
        "dataset",
        optional=True,
        options=AnyOption(names),
        default=names[0],
        tooltip="A folder in ComfyUI's datasets folder, or in one listed under “datasets” in extra_model_paths.yaml.",
    )


def clip_source(name: str) -> ModelSource:
    """The CLIP chosen under this name."""
    folder = model_folders.clip_path(name)

    def load():
        from ..rethink.evaluation.clip_similarity import Clip

        return Clip(folder, str(memory.compute_device()))

    return ModelSource(model_id(name), load)


def _plots(store: PairStore) -> Iterator[dict]:
    """What the node plots: {"threshold", "above", "bins": [[lower edge, count], …]} of every score that varies."""
    scores, columns = LatestIndex(store.scores), {}
    for record in scores.records(pair.id for pair in store if pair.id in scores):
        for name, value in _values(record):
            columns.setdefault(name, []).append(value)
    for threshold, name, above in PLOTS:
        if len(set(columns.get(name, ()))) > 1:
            yield {"threshold": threshold, "above": above, "bins": histogram(columns[name], BINS)}


def _values(record: dict) -> Iterator[tuple[str, float]]:
    for name in ("clip_sim_image", "clip_sim_dir", "changed", "outside", "shift", "region", "critic"):
        if name in record:
            yield name, record[name]
    if "clip_sim_0" in record:
        yield "caption", min(record["clip_sim_0"], record["clip_sim_1"])
    if "height" in record:
        sides = sorted((record["height"], record["width"]))
        yield "side", sides[0]
        yield "aspect", sides[1] / sides[0]
