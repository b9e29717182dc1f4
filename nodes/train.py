"""Train a LoRA for an editor from pairs."""

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..rethink.editors.protocol import Editor
from ..rethink.pairs.store import PairStore
from ..rethink.thinkers.critique import Thinker
from ..rethink.training.lora_settings import LoraSettings
from . import feedback, sockets
from .comfy import folders, memory, model_folders, server
from .inputs import field_input
from .training_monitor import LiveTraining

PIXELS = 2**20  # most pixels of an image in training: larger ones are scaled down
PASSES = 4  # times the memory of an edit, for what is kept for the backward pass


class TrainEditLora(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkTrainEditLora",
            display_name="Train Edit LoRA",
            category="Rethink/Teach",
            description="Trains a LoRA that teaches an editor an edit from pairs. Other nodes can load it too. The "
            "editor itself is unchanged.",
            search_aliases=[
                "lora",
                "train lora",
                "lora training",
                "fine-tune",
                "finetune",
                "kontext lora",
                "qwen edit lora",
            ],
            is_output_node=True,
            inputs=[
                sockets.Editor.Input("editor", tooltip="From Load Editor or Editor From Model: the model to train."),
                sockets.Pairs.Input(
                    "pairs",
                    tooltip="The training data, from Inverse Edit Synthesizer, Filter Edit Pairs or Load Edit "
                    "Dataset. Most guides recommend 20 to 50 pairs for a LoRA of one edit.",
                ),
                io.String.Input(
                    "name",
                    default="my-edit",
                    tooltip="Name of the LoRA in models/loras. A LoRA of this name that Rethink has trained is "
                    "overwritten.",
                ),
                field_input(LoraSettings, "steps"),
                field_input(LoraSettings, "rank"),
                field_input(LoraSettings, "seed", control_after_generate="fixed"),
                *_optional("layers", "learning_rate", "batch", "accumulate", "keep"),
                io.String.Input(
                    "keep_instructions",
                    optional=True,
                    multiline=True,
                    default="",
                    placeholder="make it winter\nadd a hat",
                    tooltip="Other edits that must not be forgotten, one per line. Empty: common ones.",
                    advanced=True,
                ),
                *_optional("replay", "hold_out", "save_every", "previews"),
                # in the order in which they were added, since saved workflows store values by position
                *_optional(
                    "optimizer", "keep_identity", "change_weight", "hold_outside", "dropout", "drop_instruction"
                ),
                *_optional("timesteps", "shift"),
                field_input(LoraSettings, "preview_instruction", optional=True, placeholder="remove the black square"),
                sockets.Thinker.Input(
                    "thinker",
                    optional=True,
                    tooltip="Also scores the previews of every save, and decides when the losses are too close to "
                    "choose by.",
                ),
                *_optional("megapixels"),
                sockets.Editor.Input(
                    "preview_editor",
                    optional=True,
                    tooltip="Makes the previews in place of the editor being trained: for example, the distilled "
                    "version of a base model that you will edit with. The two are never in video memory at once.",
                ),
                *_optional("text_encoder"),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            outputs=[
                sockets.Editor.Output("editor_out", display_name="editor", tooltip="The editor with the trained LoRA."),
                io.String.Output("lora", tooltip="The LoRA's name, as loaders list it."),
                io.String.Output(
                    "report",
                    tooltip="How many layers fit, which save was chosen and why, and where all files are.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        editor: Editor,
        pairs: PairStore,
        name: str,
        keep_instructions: str = "",
        thinker: Thinker | None = None,
        preview_editor: Editor | None = None,
        **options: Any,
    ) -> io.NodeOutput:
        from ..rethink.training.edit_lora_job import TrainEditLoraJob
        from ..rethink.training.lora_run import RECORD

        path = model_folders.new_lora_path(name, "name")
        lines = tuple(line.strip() for line in keep_instructions.splitlines() if line.strip())
        settings = LoraSettings(**options, keep_instructions=lines)
        references = max((len(pair.references) for pair in pairs.accepted()), default=0)
        room = _pixels_at_once(settings, references) * memory.BYTES_PER_PIXEL
        judge = thinker and replace(thinker, chat=memory.ChatBesides(thinker.chat, editor, room))
        other = None if preview_editor in (None, editor) else memory.ManagedEditor(preview_editor)
        job = TrainEditLoraJob(
            *(pairs, path, folders.training_folder(), settings, judge, other),
            making_room=lambda: memory.device_lent(editor, room),
        )
        with memory.loaded_on_device(editor, room), LiveTraining(server.display_id(cls.hidden)) as live:
            report = job.run(editor, live.on_progress)
        changed, _ = memory.add_lora(editor, model_folders.lora_name(path), 1.0)
        shown = {"rethink_training": [folders.to_view_params(report.folder / RECORD)]}
        return io.NodeOutput(
            changed, model_folders.lora_name(path), str(report), ui=feedback.show_text(str(report)) | shown
        )


def _pixels_at_once(settings: LoraSettings, references: int) -> int:
    """The pixels of an edit that takes as much memory as training, or as a preview at full size. references: the most
    of any pair; a model looks at them as it does at the result and the input."""
    trained = round(settings.megapixels * 2**20) or PIXELS
    pixels = max(PIXELS, (settings.batch or 1) * trained * PASSES)
    return pixels * (2 + references) // 2


def _optional(*names: str) -> list[io.Input]:
    return [field_input(LoraSettings, name, optional=True) for name in names]
