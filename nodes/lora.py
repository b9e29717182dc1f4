"""Apply LoRAs to an editor."""

from typing import Any

from comfy_api.latest import io

from ..rethink.editors.protocol import Editor
from . import sockets
from .comfy import memory, model_folders
from .inputs import validate_with


class EditLoraLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        names = model_folders.lora_names()
        return io.Schema(
            node_id="RethinkEditLoraLoader",
            display_name="Edit LoRA Loader",
            category="Rethink/Edit",
            description="Applies a LoRA to an editor. The editor itself stays unchanged and is in memory only once.",
            search_aliases=["lora", "edit lora", "load lora", "kontext lora", "qwen edit lora"],
            inputs=[
                sockets.Editor.Input("editor", tooltip="From Load Editor, Editor From Model or another LoRA loader."),
                io.Combo.Input(
                    "lora",
                    options=names,
                    default=names[0] if names else None,
                    tooltip="A .safetensors file in models/loras, of any common kind and from any common trainer, "
                    "made for the editor's family.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-20.0,
                    max=20.0,
                    step=0.05,
                    round=0.001,
                    tooltip="Strength of the LoRA. 0 is off; a negative strength does the opposite of what it learned.",
                ),
            ],
            outputs=[
                sockets.Editor.Output("editor_out", display_name="editor", tooltip="The editor with the LoRA."),
                io.String.Output("report", tooltip="How many of the file's layers fit, and which do not."),
            ],
        )

    @classmethod
    def validate_inputs(cls, lora: str | None = None) -> str | bool:
        return validate_with(model_folders.lora_path, lora)

    @classmethod
    def fingerprint_inputs(cls, lora: str, **_: Any) -> Any:
        return model_folders.files_fingerprint(model_folders.lora_path(lora))  # a retrained LoRA is loaded again

    @classmethod
    def execute(cls, editor: Editor, lora: str, strength: float) -> io.NodeOutput:
        changed, report = memory.add_lora(editor, lora, strength)
        return io.NodeOutput(changed, str(report))
