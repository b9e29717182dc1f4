"""Learning from pairs: a LoRA over an editor."""

from typing import Any

from comfy_api.latest import io

from ..rethink.editors.protocol import Editor
from ..rethink.pairs.store import PairStore
from ..rethink.training.edit_lora_job import TrainEditLoraJob
from ..rethink.training.lora_settings import LoraSettings
from . import feedback, sockets
from .comfy import folders, memory, model_folders
from .comfy.progress import job_progress
from .inputs import field_input

PIXELS = 2**20  # of an image in training, at most: larger ones are scaled down
PASSES = 4  # as much memory as an edit takes, for what is kept to go back through the model


class TrainEditLora(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkTrainEditLora",
            display_name="Train Edit LoRA",
            category="Rethink/Teach",
            description="Teaches an editor an edit from pairs, as a LoRA that other nodes load too. The editor stays as it is.",
            search_aliases=[
                "lora",
                "train lora",
                "lora training",
                "fine-tune",
                "finetune",
                "kontext lora",
                "qwen edit lora",
            ],
            inputs=[
                sockets.Editor.Input("editor", tooltip="From Load Editor: the model that learns."),
                sockets.Pairs.Input(
                    "pairs",
                    tooltip="What is learned, from Inverse Edit Synthesizer, Filter Edit Pairs or Load Edit Dataset. Most guides "
                    "for LoRAs of one edit ask for 20 to 50 pairs.",
                ),
                io.String.Input(
                    "name",
                    default="my-edit",
                    tooltip="Name of the LoRA in models/loras. A LoRA of this name that Rethink has trained is replaced.",
                ),
                field_input(LoraSettings, "steps"),
                field_input(LoraSettings, "rank"),
                field_input(LoraSettings, "seed", control_after_generate="fixed"),
                *_optional("layers", "learning_rate", "optimizer", "batch", "accumulate", "keep"),
                io.String.Input(
                    "keep_instructions",
                    optional=True,
                    multiline=True,
                    default="",
                    placeholder="make it winter\nadd a hat",
                    tooltip="Other edits that must not be forgotten, one a line. Empty: common ones.",
                    advanced=True,
                ),
                *_optional("replay", "keep_identity", "change_weight", "hold_outside", "dropout", "drop_instruction"),
                *_optional("timesteps", "shift", "hold_out", "save_every", "previews"),
            ],
            outputs=[
                sockets.Editor.Output(
                    "editor_out", display_name="editor", tooltip="The editor with what it has learned."
                ),
                io.String.Output("lora", tooltip="The LoRA's name, as loaders list it."),
                io.String.Output(
                    "report", tooltip="How many layers fit, which save was chosen and why, where all lies."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, editor: Editor, pairs: PairStore, name: str, keep_instructions: str = "", **options: Any
    ) -> io.NodeOutput:
        path = model_folders.new_lora_path(name, "name")
        lines = tuple(line.strip() for line in keep_instructions.splitlines() if line.strip())
        settings = LoraSettings(**options, keep_instructions=lines)
        job = TrainEditLoraJob(pairs, path, folders.training_folder(), settings)
        with memory.loaded_on_device(editor, settings.batch * PIXELS * PASSES * memory.BYTES_PER_PIXEL):
            report = job.run(editor, job_progress())
        changed, _ = memory.add_lora(editor, model_folders.lora_name(path), 1.0)
        return io.NodeOutput(changed, model_folders.lora_name(path), str(report), ui=feedback.show_text(str(report)))


def _optional(*names: str) -> list[io.Input]:
    return [field_input(LoraSettings, name, optional=True) for name in names]
