"""Pairs from captions, as InstructPix2Pix made its own: captions to edits, edits to two pictures that belong together."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

import torch
from comfy_api.latest import io

from ..rethink.editors.samplers import SAMPLERS
from ..rethink.errors import RethinkError
from ..rethink.pairs.formats import describe_store
from ..rethink.pairs.from_captions.caption_edits import (
    CaptionEdit,
    built_in_triples,
    captions_to_edits,
    edit_ledgers,
    write_fine_tuning_file,
)
from ..rethink.pairs.from_captions.prompt_to_prompt import P2PConfig
from ..rethink.pairs.from_captions.selection import (
    CandidateSampler,
    SampledPairs,
    Selection,
    SelectionStats,
    draw_pairs,
)
from ..rethink.pairs.review.filters import count_reasons
from ..rethink.pairs.seeds import earlier_seeds, strays
from ..rethink.pairs.store import PairStore
from . import feedback, sockets
from .comfy import folders, memory, model_folders
from .comfy.progress import count_progress
from .datasets import LazyClip
from .inputs import seed_input, single_value, validate_with
from .thinker import asked, map_fn_for

RECORDS, FINE_TUNING = "edits.jsonl", "fine-tuning.jsonl"
METHODS = {"self-attention": "self", "replace": "replace", "refine": "refine"}
DEFAULTS = {
    "steps": P2PConfig.steps,
    "sampler": P2PConfig.sampler,
    "lowest_sharing": P2PConfig.threshold[0],
    "highest_sharing": P2PConfig.threshold[1],
    "lowest_guidance": P2PConfig.guidance[0],
    "highest_guidance": P2PConfig.guidance[1],
    "image": Selection.image,
    "caption_fit": Selection.caption,
    "direction": Selection.direction,
    "drop_early": True,
}


class CaptionToEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkCaptionToEdit",
            display_name="Caption To Edit",
            category="Rethink/Teach",
            description="A thinker invents an edit for every caption: an instruction, and the caption after the edit.",
            search_aliases=[
                "instructpix2pix",
                "generate instructions",
                "triples",
                "caption to instruction",
                "training pairs",
            ],
            has_intermediate_output=True,
            inputs=[
                sockets.Thinker.Input("thinker", tooltip="What writes; it needs no eyes."),
                io.String.Input(
                    "captions",
                    multiline=True,
                    default="",
                    placeholder="photograph of a girl riding a horse",
                    tooltip="One caption a line.",
                ),
                io.String.Input(
                    "dataset",
                    default="caption-edits",
                    tooltip="Name of the folder, within ComfyUI's datasets folder, that the edits are kept in. A caption "
                    "that is there already is not asked again: a run that was stopped goes on.",
                ),
                seed_input("Examples and answers are drawn from it.", "fixed"),
                io.String.Input(
                    "examples",
                    optional=True,
                    multiline=True,
                    default="",
                    placeholder="a quiet street | make it snow | a quiet street in the snow",
                    tooltip="Your own examples in place of the built-in ones, one a line: caption | instruction | edited "
                    "caption. They are also written as a file to fine-tune a language model with.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.String.Output("caption", is_output_list=True, tooltip="The captions that got an edit."),
                io.String.Output("instruction", is_output_list=True, tooltip="The edit of each, in the imperative."),
                io.String.Output("edited_caption", is_output_list=True, tooltip="The caption of each after the edit."),
                io.String.Output("report", tooltip="How many were written, and what was rejected for which reason."),
            ],
        )

    @classmethod
    def execute(cls, thinker, captions: str, dataset: str, seed: int, examples: str = "") -> io.NodeOutput:
        wanted = list(dict.fromkeys(line.strip() for line in captions.splitlines() if line.strip()))
        if not wanted:
            raise RethinkError("captions: is empty; write one caption a line, for example “a dog on a beach”.")
        records = folders.dataset_path(dataset, "dataset") / RECORDS
        count = count_progress()

        def progress(run) -> None:
            count(
                run.seen,
                len(wanted),
                f"{run.seen} of {len(wanted)} captions · {run.made} edits · {run.rejected} rejected",
            )

        own = _triples(examples)
        jobs = ((text, "") for text in wanted)
        with asked(thinker) as chat:
            captions_to_edits(chat, jobs, records, own or built_in_triples(), seed, progress, each=map_fn_for(thinker))
        if own:
            write_fine_tuning_file(own, records.with_name(FINE_TUNING))
        made, rejected = edit_ledgers(records)
        found = {record["caption"]: record for record in made if record["caption"] in set(wanted)}
        missing = set(wanted) - set(found)
        reasons = count_reasons({r["caption"]: r["why"] for r in rejected if r["caption"] in missing}.values())
        report = "\n".join(
            [f"{len(found)} of {len(wanted)} captions got an edit.", *(f"{n} × {why}" for why, n in reasons)]
        )
        if not found:
            raise RethinkError(f"captions: not one got an edit. {report}")
        columns = ([r[name] for r in found.values()] for name in ("caption", "edit", "output"))
        return io.NodeOutput(*columns, report, ui=feedback.show_text(report))


class PromptToPromptPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        weights = io.String.Input(
            "weights",
            optional=True,
            default="",
            placeholder="snowy: 1.5, street: 0.8",
            tooltip="Words of the edited caption that should count more or less, with their factors.",
            advanced=True,
        )
        return io.Schema(
            node_id="RethinkPromptToPromptPairs",
            display_name="Prompt-To-Prompt Pairs",
            category="Rethink/Teach",
            description="Draws pairs of pictures for pairs of captions, the same but for the edit, and keeps the best.",
            search_aliases=[
                "prompt2prompt",
                "p2p",
                "instructpix2pix",
                "paired images",
                "attention sharing",
                "training pairs",
            ],
            is_input_list=True,
            has_intermediate_output=True,
            inputs=[
                sockets.Editor.Input(
                    "editor",
                    tooltip="From Load Editor: a Stable Diffusion or Stable Diffusion XL model that draws from text. LoRAs "
                    "over it take part.",
                ),
                _line("caption", "a quiet street", "What the first picture shows; the input of the pair."),
                _line("instruction", "make it snow", "The edit in the imperative."),
                _line("edited_caption", "a quiet street in the snow", "What the second picture shows; the target."),
                io.DynamicCombo.Input(
                    "method",
                    options=[
                        io.DynamicCombo.Option("self-attention", []),
                        io.DynamicCombo.Option("replace", [weights]),
                        io.DynamicCombo.Option("refine", [weights]),
                    ],
                    tooltip="What the second picture takes from the first. self-attention: which pixels belong together, as "
                    "InstructPix2Pix did. replace: where words act, for exchanged words. refine: the same, for added words.",
                ),
                io.Combo.Input(
                    "clip",
                    options=model_folders.clip_names(),
                    default=model_folders.BUILT_IN,
                    tooltip="What chooses among the candidates: a transformers folder of a CLIPModel in models/clip_vision. "
                    "The built-in one knows the built-in scenes alone.",
                ),
                io.Int.Input(
                    "candidates",
                    default=Selection.candidates,
                    min=1,
                    max=10000,
                    tooltip="Pairs drawn for every pair of captions, to choose the best from. The paper: 100.",
                ),
                io.Int.Input(
                    "best",
                    default=Selection.best,
                    min=1,
                    max=1000,
                    tooltip="This many are kept of every pair of captions, those of the best direction. The paper: 4.",
                ),
                io.Int.Input(
                    "batch",
                    default=Selection.batch,
                    min=1,
                    max=64,
                    tooltip="Candidates drawn at once. Lower it if memory runs out.",
                ),
                io.String.Input(
                    "dataset",
                    default="prompt-pairs",
                    tooltip="Name of the folder, within ComfyUI's datasets folder, that the pairs are added to. Captions "
                    "that were drawn for are not drawn for again: a run that was stopped goes on.",
                ),
                seed_input(
                    "Every candidate has a 32-bit seed of its own, drawn from this. The same seed goes on with a run that "
                    "was stopped; another one draws others beside its pairs.",
                    "fixed",
                ),
                io.Int.Input(
                    "steps", optional=True, default=P2PConfig.steps, min=1, max=1000, tooltip="Denoising steps."
                ),
                io.Combo.Input(
                    "sampler",
                    optional=True,
                    options=list(SAMPLERS),
                    default=P2PConfig.sampler,
                    tooltip="How the steps are taken. The paper's is euler_ancestral.",
                    advanced=True,
                ),
                *_range("sharing", P2PConfig.threshold, 1.0, "Share of the steps in which attention is shared"),
                *_range("guidance", P2PConfig.guidance, 100.0, "How strongly the captions are followed"),
                _least("image", "Input and target of a kept pair are at least this alike, by CLIP."),
                _least("caption_fit", "Both pictures of a kept pair fit their captions at least this well, by CLIP."),
                _least("direction", "The pictures change at least this far along the change of the captions, by CLIP."),
                io.Boolean.Input(
                    "drop_early",
                    optional=True,
                    default=True,
                    tooltip="Sketch every candidate in ten steps first, and draw only those that look promising. The "
                    "report says what that may have cost.",
                    advanced=True,
                ),
            ],
            outputs=[
                sockets.Pairs.Output("pairs", tooltip="The best candidates of every pair of captions."),
                io.String.Output("report", tooltip="How many were drawn, given up early, and kept."),
            ],
        )

    @classmethod
    def validate_inputs(cls, clip: str | list[str] | None = None, *, method: Any = None) -> str | bool:
        """ComfyUI passes every choice, asked for or not; one that is asked for by keyword alone it goes on checking itself."""
        return validate_with(model_folders.clip_path, clip[0] if isinstance(clip, list) else clip)

    @classmethod
    def execute(cls, editor, caption, instruction, edited_caption, method, **inputs) -> io.NodeOutput:
        triples, editor = _zipped(caption, instruction, edited_caption), single_value("editor", editor)
        given = DEFAULTS | {name: single_value(name, values) for name, values in inputs.items()}
        recipe = P2PConfig(
            METHODS[single_value("method", method["method"])],
            given["steps"],
            given["sampler"],
            (given["lowest_sharing"], given["highest_sharing"]),
            (given["lowest_guidance"], given["highest_guidance"]),
            _weights(single_value("weights", method.get("weights") or [""])),
        )
        chosen = {name: given[name] for name in ("candidates", "batch", "best", "image", "direction")}
        looks = Selection.looks if given["drop_early"] else ()
        selection = Selection(**chosen, caption=given["caption_fit"], looks=looks)
        folder = folders.dataset_path(given["dataset"], "dataset")
        with _text_to_image(editor) as pipeline, PairStore(folder).writing() as store:
            draw = PreviewingSampler(
                store,
                pipeline,
                LazyClip(given["clip"]),
                recipe,
                selection,
                given["seed"],
                model=editor.name,
                triples=triples,
                count=count_progress(),
            )
            side = pipeline.unet.config.sample_size * 8
            with memory.editor_on_device(editor, torch.empty(1, side, side, 3), 2 * selection.batch):
                earlier = earlier_seeds(store, draw.recipes, draw.seed)
                tally = draw_pairs(store, triples, draw)
            groups_of = {seed: replace(draw, seed=seed).groups for seed in earlier}
            others = strays(store, earlier, lambda pair, seed: pair.source in groups_of[seed])
            describe_store(store)
        groups = draw.groups
        made = PairStore(store.folder, (pair.id for pair in store if pair.source in groups))
        report = "\n".join([_told(tally, [r["why"] for r in store.skipped if r["source"] in groups]), *others])
        if not made.only:
            raise RethinkError(f"candidates: not one was kept; lower the thresholds, or draw more. {report}")
        return io.NodeOutput(made, report, ui=feedback.show_text(report))


@dataclass(frozen=True, kw_only=True)
class PreviewingSampler(CandidateSampler):
    """A drawer whose steps are counted over all pairs of captions, and that can be cancelled.

    model: who draws; with another one, or another LoRA over it, the same captions are drawn for anew.
    """

    model: str
    triples: Sequence[CaptionEdit]
    count: Callable[..., None]

    @property
    def recipes(self) -> str:
        """All that the pairs follow from but the captions and the seed."""
        return json.dumps([self.model, asdict(self.recipe), asdict(self.selection)])

    @property
    def groups(self) -> set[str]:
        return {self.id(triple) for triple in self.triples}

    def id(self, triple: CaptionEdit) -> str:
        return sha256(f"{self.model} {super().id(triple)}".encode()).hexdigest()[:16]

    def __call__(self, triple: CaptionEdit) -> SampledPairs:
        number, of = self.triples.index(triple), len(self.triples)
        line = f"{number + 1} of {of} pairs of captions · {triple.edit}"
        return super().__call__(triple, lambda step, total: self.count(number * total + step, of * total, line))


def _told(tally: SelectionStats, skipped: list[str]) -> str:
    lines = [f"{tally.kept} pairs kept now, of {tally.drawn} candidates; {tally.dropped} were given up early."]
    if tally.audited:
        lines.append(f"Of the good candidates about {tally.lost:.0%} were lost by that.")
    return "\n".join([*lines, *(f"{count} × {reason}" for reason, count in count_reasons(skipped))])


@contextmanager
def _text_to_image(editor) -> Iterator[Any]:
    """The text-to-image pipeline that an editor is made of, with the LoRAs over it."""
    with getattr(editor, "pipeline", nullcontext)() as pipeline:
        unet = getattr(pipeline, "unet", None)
        if unet is None or unet.config.in_channels != pipeline.vae.config.latent_channels:
            raise RethinkError(
                f"editor: {editor.name} does not draw from text alone; load a Stable Diffusion or Stable Diffusion XL "
                "model that was not made for editing."
            )
        yield pipeline


def _zipped(captions, instructions, edited) -> list[CaptionEdit]:
    lists = {"caption": captions, "instruction": instructions, "edited_caption": edited}
    for name, values in lists.items():
        if len(values) != len(captions):
            raise RethinkError(f"{name}: {len(captions)} captions need as many, got {len(values)}.")
        if not all(text.strip() for text in values):
            raise RethinkError(f"{name}: is empty.")
    return [CaptionEdit(*(text.strip() for text in texts)) for texts in zip(captions, instructions, edited)]


def _triples(text: str) -> list[CaptionEdit]:
    triples = []
    for line in filter(str.strip, text.splitlines()):
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3 or not all(parts):
            raise RethinkError(
                f"examples: expected caption | instruction | edited caption in a line, got “{line.strip()}”."
            )
        triples.append(CaptionEdit(*parts))
    return triples


def _weights(text: str) -> tuple[tuple[str, float], ...]:
    weights = []
    for part in filter(str.strip, text.split(",")):
        word, _, factor = part.rpartition(":")
        try:
            weights.append((word.strip(), float(factor)))
        except ValueError:
            word = ""
        if not word.strip():
            raise RethinkError(f"weights: expected word: factor, separated by commas, got “{part.strip()}”.")
    return tuple(weights)


def _line(name: str, placeholder: str, tooltip: str) -> io.Input:
    return io.String.Input(
        name, multiline=True, default="", placeholder=placeholder, tooltip=f"{tooltip} Lists go together."
    )


def _least(name: str, tooltip: str) -> io.Input:
    return io.Float.Input(
        name,
        optional=True,
        default=DEFAULTS[name],
        min=-1.0,
        max=1.0,
        step=0.01,
        round=0.001,
        tooltip=tooltip,
        advanced=True,
    )


def _range(name: str, span: tuple[float, float], most: float, what: str) -> list[io.Input]:
    return [
        io.Float.Input(
            f"{end}_{name}",
            optional=True,
            display_name=f"{end} {name}",
            default=default,
            min=0.0,
            max=most,
            step=0.05,
            round=0.01,
            tooltip=f"{what}: drawn for every candidate, {word} this.",
            advanced=True,
        )
        for end, default, word in (("lowest", span[0], "not below"), ("highest", span[1], "not above"))
    ]
