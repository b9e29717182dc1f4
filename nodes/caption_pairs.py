"""Pairs from captions, as InstructPix2Pix made its own: captions to edits, edits to two pictures that belong together."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from comfy_api.latest import io

from ..rethink.editors.samplers import SAMPLERS
from ..rethink.errors import RethinkError
from ..rethink.pairs.captions import Triple, built_in_triples, captions_to_edits
from ..rethink.pairs.filters import kinds_of
from ..rethink.pairs.formats import describe_store
from ..rethink.pairs.prompt_to_prompt import Recipe, generate
from ..rethink.pairs.store import EditPair, Ledger, PairStore
from ..rethink.pairs.synthesis import pair_id
from . import folders, host, sockets
from .editor import MAX_SEED
from .sources import single
from .synthesis import chat_of

RECORDS = "edits.jsonl"
METHODS = {"self-attention": "self", "replace": "replace", "refine": "refine"}


class CaptionToEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkCaptionToEdit",
            display_name="Caption To Edit",
            category="Rethink/Teach",
            description="A thinker invents an edit for every caption: an instruction, and the caption after the edit.",
            search_aliases=["instructpix2pix", "generate instructions", "triples", "caption to instruction"],
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
                _seed("Examples and answers are drawn from it."),
                io.String.Input(
                    "examples",
                    optional=True,
                    multiline=True,
                    default="",
                    placeholder="a quiet street | make it snow | a quiet street in the snow",
                    tooltip="Your own examples in place of the built-in ones, one a line: caption | instruction | edited "
                    "caption.",
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
        count = host.on_count()

        def progress(run) -> None:
            count(run.seen, len(wanted), f"{run.seen} of {len(wanted)} captions · {run.made} edits · {run.rejected} rejected")

        shown = _triples(examples) or built_in_triples()
        captions_to_edits(chat_of(thinker), ((text, "") for text in wanted), records, shown, seed, progress)
        found = {record["caption"]: record for record in Ledger(records) if record["caption"] in set(wanted)}
        rejected = Ledger(records.with_name(f"{RECORDS}.rejected"))
        reasons = kinds_of(record["why"] for record in rejected if record["caption"] in set(wanted))
        report = "\n".join([f"{len(found)} of {len(wanted)} captions got an edit.", *(f"{n} × {why}" for why, n in reasons)])
        if not found:
            raise RethinkError(f"captions: not one got an edit. {report}")
        host.say(report)
        return io.NodeOutput(*([r[name] for r in found.values()] for name in ("caption", "edit", "output")), report)


class PromptToPromptPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        weights = io.String.Input(
            "weights",
            default="",
            placeholder="snowy: 1.5, street: 0.8",
            tooltip="Words of the edited caption that shall count more or less, with their factors.",
            advanced=True,
        )
        return io.Schema(
            node_id="RethinkPromptToPromptPairs",
            display_name="Prompt-To-Prompt Pairs",
            category="Rethink/Teach",
            description="Draws pairs of pictures for pairs of captions, the same but for the edit. Filter them afterwards.",
            search_aliases=["prompt2prompt", "p2p", "instructpix2pix", "paired images", "attention sharing"],
            is_input_list=True,
            inputs=[
                sockets.Editor.Input(
                    "editor", tooltip="From Load Editor: a Stable Diffusion or Stable Diffusion XL model that draws from text."
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
                io.Int.Input(
                    "candidates",
                    default=16,
                    min=1,
                    max=10000,
                    tooltip="Pairs drawn for every pair of captions, to filter the best from. The paper drew 100.",
                ),
                io.Int.Input("at_once", default=4, min=1, max=64, tooltip="Drawn as one batch. Lower it if memory runs out."),
                io.String.Input(
                    "dataset",
                    default="prompt-pairs",
                    tooltip="Name of the folder, within ComfyUI's datasets folder, that the pairs are added to. What is "
                    "there already is not drawn again: a run that was stopped goes on.",
                ),
                _seed("Every candidate has a 32-bit seed of its own, drawn from this."),
                io.Int.Input("steps", optional=True, default=100, min=1, max=1000, tooltip="Denoising steps."),
                io.Combo.Input(
                    "sampler",
                    optional=True,
                    options=list(SAMPLERS),
                    default=Recipe.sampler,
                    tooltip="How the steps are taken. The paper's is euler_ancestral.",
                    advanced=True,
                ),
                *_range("sharing", Recipe.threshold, 1.0, "Share of the steps in which attention is shared"),
                *_range("guidance", Recipe.guidance, 100.0, "How strongly the captions are followed"),
            ],
            outputs=[
                sockets.Pairs.Output("pairs", tooltip="All candidates: for Filter Edit Pairs, with a CLIP and a best number."),
                io.String.Output("report", tooltip="How many there are."),
            ],
        )

    @classmethod
    def execute(
        cls, editor, caption, instruction, edited_caption, method, candidates, at_once, dataset, seed, steps=(100,),
        sampler=(Recipe.sampler,), lowest_sharing=(0.1,), highest_sharing=(0.9,), lowest_guidance=(7.5,),
        highest_guidance=(15.0,),
    ) -> io.NodeOutput:  # fmt: skip
        recipe = Recipe(
            METHODS[single("method", method["method"])],
            single("steps", steps),
            single("sampler", sampler),
            (single("lowest_sharing", lowest_sharing), single("highest_sharing", highest_sharing)),
            (single("lowest_guidance", lowest_guidance), single("highest_guidance", highest_guidance)),
            _weights(single("weights", method.get("weights") or [""])),
        )
        triples, model = _zipped(caption, instruction, edited_caption), single("editor", editor)
        drawn = {triple: _drawn(recipe, triple, single("seed", seed), single("candidates", candidates)) for triple in triples}
        folder = folders.dataset_path(single("dataset", dataset), "dataset")
        with PairStore(folder).writing() as store:
            batches = list(_batches(store, drawn, single("at_once", at_once)))
            count = host.on_count()
            for index, (triple, batch) in enumerate(batches):
                line = f"batch {index + 1} of {len(batches)} · {triple.edit}"
                for pair in _made(
                    store, model, recipe, triple, batch,
                    lambda step, total: count(index * total + step, len(batches) * total, line),
                ):  # fmt: skip
                    store.add(pair)
            describe_store(store)
        made = PairStore(folder, (candidate.id for candidates in drawn.values() for candidate in candidates))
        report = f"{len(made.only)} pairs of {len(drawn)} pairs of captions."
        host.say(report)
        return io.NodeOutput(made, report)


class Candidate(NamedTuple):
    """One pair to be drawn; seed: of 32 bits, everything about it follows from."""

    id: str
    number: int
    seed: int


def _drawn(recipe: Recipe, triple: Triple, seed: int, candidates: int) -> list[Candidate]:
    """The candidates of a pair of captions. More of them leave those that are there as they are."""
    key, texts = f"{recipe} {seed}", "\n".join((triple.input, triple.edit, triple.output))
    first = int(hashlib.sha256(f"{seed} {texts}".encode()).hexdigest()[:8], 16)
    return [Candidate(pair_id(key, texts, number), number, (first + number) % 2**32) for number in range(candidates)]


def _batches(store: PairStore, drawn: dict[Triple, list[Candidate]], size: int) -> Iterator[tuple[Triple, list[Candidate]]]:
    """What is not in the store yet, `size` candidates of one pair of captions at a time."""
    for triple, candidates in drawn.items():
        missing = [candidate for candidate in candidates if candidate.id not in store]
        for first in range(0, len(missing), size):
            yield triple, missing[first : first + size]


def _made(
    store: PairStore, editor, recipe: Recipe, triple: Triple, batch: list[Candidate], on_step
) -> Iterator[EditPair]:
    """The candidates of a batch as pairs whose pictures are written."""
    pipeline = _pipeline(editor)
    side = pipeline.unet.config.sample_size * 8
    with host.on_device(editor, torch.empty(1, side, side, 3), 2 * len(batch)):
        made = generate(pipeline, triple.input, triple.output, [candidate.seed for candidate in batch], recipe, on_step)
    for row, (id, number, seed) in enumerate(batch):
        paths = {name: store.image_path(id, name) for name in ("input", "target")}
        for path, picture in zip(paths.values(), (made.before[row], made.after[row])):
            store.write_image(path, (picture * 255).round().to(torch.uint8).numpy())
        parameters = {"method": recipe.method, "threshold": made.thresholds[row], "guidance": made.guidances[row]}
        yield EditPair(
            id, **paths, instruction=triple.edit, operation="prompt_to_prompt", parameters=parameters, seed=seed,
            number=number, input_caption=triple.input, target_caption=triple.output,
        )  # fmt: skip


def _pipeline(editor):
    """The text-to-image pipeline that an editor is made of."""
    pipeline = getattr(editor, "_pipeline", None)
    unet = getattr(pipeline, "unet", None)
    if unet is None or unet.config.in_channels != pipeline.vae.config.latent_channels:
        raise RethinkError(
            f"editor: {editor.name} does not draw from text alone; load a Stable Diffusion or Stable Diffusion XL model "
            "that was not made for editing."
        )
    return pipeline


def _zipped(captions, instructions, edited) -> list[Triple]:
    lists = {"caption": captions, "instruction": instructions, "edited_caption": edited}
    for name, values in lists.items():
        if len(values) != len(captions):
            raise RethinkError(f"{name}: {len(captions)} captions need as many, got {len(values)}.")
        if not all(text.strip() for text in values):
            raise RethinkError(f"{name}: is empty.")
    return [Triple(*(text.strip() for text in texts)) for texts in zip(captions, instructions, edited)]


def _triples(text: str) -> list[Triple]:
    triples = []
    for line in filter(str.strip, text.splitlines()):
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3 or not all(parts):
            raise RethinkError(f"examples: expected caption | instruction | edited caption in a line, got “{line.strip()}”.")
        triples.append(Triple(*parts))
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


def _seed(tooltip: str) -> io.Input:
    return io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=True, tooltip=tooltip)


def _line(name: str, placeholder: str, tooltip: str) -> io.Input:
    return io.String.Input(name, multiline=True, default="", placeholder=placeholder, tooltip=f"{tooltip} Lists go together.")


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
