"""Compare editors side by side, and vote blind between their edits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io
from torch import Tensor

from ..rethink.benchmarking.editing import EditSetup, Thinking
from ..rethink.editors.protocol import Editor
from ..rethink.editors.settings import Settings
from ..rethink.errors import RethinkError
from ..rethink.pairs.store import PairStore
from ..rethink.scoring.further import FurtherMeasures
from ..rethink.scoring.job import ScoreJob
from ..rethink.think_loop import LoopConfig
from . import comparisons_api, feedback, sockets
from .comfy import folders, memory, model_folders, progress
from .datasets import clip_source
from .inputs import NONE, AnyOption, field_input, seed_input, settings_inputs, single_values, validate_with

if TYPE_CHECKING:
    from ..rethink.comparison.tasks import CompareTask
    from ..rethink.comparison.variants import LoraChoice, Variant

MORE = ("editor_2", "editor_3", "editor_4", "editor_5", "editor_6")
ADVICE = "only editors, image, instruction and captions may be lists"


class CompareEditors(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        editor_help = "Another editor, or a list: a list of strengths in Edit LoRA Loader makes a list of editors."
        return io.Schema(
            node_id="RethinkCompareEditors",
            display_name="Compare Editors",
            category="Rethink/Evaluate",
            description="Edits the same images with every editor, measures the edits, and makes a page for viewing "
            "and blind voting.",
            search_aliases=[
                "ab test",
                "a/b",
                "blind test",
                "vote",
                "compare loras",
                "xy plot",
                "x/y/z plot",
                "grid",
                "best checkpoint",
                "lora strength",
                "elo",
                "bradley terry",
                "arena",
            ],
            is_output_node=True,
            is_input_list=True,
            inputs=[
                sockets.Editor.Input(
                    "editor", tooltip="From Load Editor, Editor From Model or Edit LoRA Loader: one, or a list."
                ),
                io.String.Input(
                    "name",
                    default="my-comparison",
                    tooltip="Name of the folder in output/rethink/comparisons. Existing edits are not made again, "
                    "and votes are kept.",
                ),
                seed_input("Every editor makes every edit with this seed.", "fixed"),
                io.String.Input(
                    "instruction",
                    multiline=True,
                    optional=True,
                    default="",
                    placeholder="make it snow",
                    tooltip="What to change: one instruction, or a list. Ignored when pairs are connected.",
                ),
                io.Boolean.Input(
                    "one_each",
                    optional=True,
                    default=False,
                    tooltip="On: the first image with the first instruction, and so on. Off: every image with every instruction.",
                ),
                io.Combo.Input(
                    "training",
                    optional=True,
                    options=AnyOption([NONE, *folders.trainings()]),
                    default=NONE,
                    tooltip="Also compare every save of this training, applied to the first editor, to see which "
                    "step was best.",
                ),
                io.Combo.Input(
                    "clip",
                    optional=True,
                    options=[NONE, *model_folders.clip_names()],
                    default=NONE,
                    tooltip="Compares images with each other and with captions: a transformers folder of a CLIPModel in "
                    "models/clip_vision. The built-in CLIP is only for the built-in scenes. none: skip this "
                    "measure.",
                ),
                io.String.Input(
                    "names",
                    multiline=True,
                    optional=True,
                    default="",
                    tooltip="Names for the editors, one per line, in order. Empty: the names of their files and LoRAs.",
                    advanced=True,
                ),
                *settings_inputs(),
                field_input(LoopConfig, "turns", optional=True, advanced=True),
                io.String.Input(
                    "source_caption",
                    optional=True,
                    default="",
                    tooltip="With one_each: a list of what each image shows, for CLIP's direction.",
                    advanced=True,
                ),
                io.String.Input(
                    "edited_caption",
                    optional=True,
                    default="",
                    tooltip="With one_each: a list of what each edited image should show.",
                    advanced=True,
                ),
                field_input(ScoreJob, "further", optional=True),
                io.Image.Input("image", optional=True, tooltip="The images to edit: a batch or a list."),
                sockets.Pairs.Input(
                    "pairs",
                    optional=True,
                    tooltip="Used in place of images: the pairs' inputs and instructions, with known targets.",
                ),
                *(sockets.Editor.Input(name, optional=True, tooltip=editor_help) for name in MORE),
                sockets.Thinker.Input(
                    "judge",
                    optional=True,
                    tooltip="Scores every edit once. Use a different model than the thinker.",
                ),
                sockets.Thinker.Input(
                    "thinker", optional=True, tooltip="Every editor takes part a second time, with this thinker."
                ),
            ],
            outputs=[
                io.String.Output("report", tooltip="The table, and a summary of which editor is better than which."),
                io.String.Output(
                    "best",
                    tooltip="The name of the best editor by votes, otherwise by the judge, CLIP's direction or the "
                    "targets; otherwise empty.",
                ),
                io.String.Output("page", tooltip="The path of the page, a single file that opens anywhere."),
            ],
        )

    @classmethod
    def validate_inputs(cls, clip: str | list[str] | None = None) -> str | bool:
        name = clip[0] if isinstance(clip, list) else clip
        return name == NONE or validate_with(model_folders.clip_path, name)

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> Any:
        return comparisons_api.vote_count()  # votes outrank every measure

    @classmethod
    def execute(
        cls,
        editor: list[Editor],
        name: list[str],
        seed: list[int],
        image: Sequence[Tensor | None] = (),
        instruction: Sequence[str] = (),
        source_caption: Sequence[str] = ("",),
        edited_caption: Sequence[str] = ("",),
        **others: Sequence[Any],
    ) -> io.NodeOutput:
        from ..rethink.comparison.job import CompareJob

        connected = [*editor, *(each for more in MORE for each in others.pop(more, ()) if each is not None)]
        one = {
            "pairs": None,
            "one_each": False,
            "training": NONE,
            "clip": NONE,
            "names": "",
            "further": "none",
            "judge": None,
            "thinker": None,
        }
        one |= single_values({"name": name, "seed": seed, **others}, ADVICE)
        job = CompareJob(
            _tasks(one, image, instruction, list(zip(source_caption, edited_caption))),
            list(_variants(connected, one)),
            folders.comparison_folder(one["name"]),
            None if one["clip"] == NONE else clip_source(one["clip"]),
            one["judge"],
            FurtherMeasures(one["further"], model_folders.measures_folder(), str(memory.compute_device())),
            one["name"],
        )
        try:
            report = job.run(progress.job_progress(), lambda *_: progress.stop_if_cancelled())
        finally:
            for model in (one["judge"], one["thinker"]):
                memory.release_caches(model)
        shown = {"key": comparisons_api.publish(job.output), "name": one["name"], "best": report.best}
        text = str(report)
        return io.NodeOutput(
            text, report.best, str(report.page), ui=feedback.show_text(text) | {"rethink_comparison": [shown]}
        )


def _tasks(
    one: Mapping[str, Any], image: Sequence[Tensor | None], instruction: Sequence[str], captions: list[tuple[str, str]]
) -> list[CompareTask]:
    from ..rethink.comparison.tasks import image_batches, tasks_from_images, tasks_from_pairs

    pairs: PairStore | None = one["pairs"]
    if pairs is not None:
        return tasks_from_pairs(pairs)
    images = list(image_batches(each for each in image if each is not None))
    if not images:
        raise RethinkError("image: connect images with an instruction, or pairs.")
    given = captions if any(any(both) for both in captions) else []
    return tasks_from_images(images, [text for text in instruction if text.strip()], one["one_each"], given)


def _variants(editors: Sequence[Editor], one: dict[str, Any]) -> Iterator[Variant]:
    """Yield every editor, with a thinker each a second time, then the first editor with each save of the training."""
    from ..rethink.comparison.variants import variant_of

    names = [line.strip() for line in one["names"].splitlines() if line.strip()]
    if names and len(names) != len(editors):
        raise RethinkError(f"names: expected one for each editor ({len(editors)}), got {len(names)}.")
    fields = [name for name in Settings().as_inputs() if name in one]
    settings = Settings.from_inputs({name: one[name] for name in fields})
    ways: list[Thinking | None] = [None]
    if one["thinker"] is not None:
        turns = {"turns": one["turns"]} if "turns" in one else {}
        ways.append(Thinking(one["thinker"], LoopConfig(seed=one["seed"], **turns)))
    for number, editor in enumerate(editors):
        for thinking in ways:
            setup = EditSetup(memory.ManagedEditor(editor), settings, one["seed"], thinking)
            chosen = names[number] if names else ""
            yield variant_of(setup, f"{chosen} + thinking" if chosen and thinking else chosen)
    if one["training"] != NONE:
        yield from _saves(editors[0], one["training"], settings, one["seed"])


def _saves(editor: Editor, training: str, settings: Settings, seed: int) -> Iterator[Variant]:
    from ..rethink.comparison.variants import saves_of

    folder = folders.trainings().get(training)
    if folder is None:
        raise RethinkError(f"training: there is no “{training}” with saves; choose one from the list.")
    for save in saves_of(folder):
        yield _save_variant(editor, save, training, settings, seed)


def _save_variant(editor: Editor, save: LoraChoice, training: str, settings: Settings, seed: int) -> Variant:
    from ..rethink.comparison.variants import variant_of

    changed, _ = memory.add_lora_of(editor, save.file, save.strength)
    return variant_of(
        EditSetup(memory.ManagedEditor(changed), settings, seed), f"{editor.name} + {training} {save.name}"
    )
