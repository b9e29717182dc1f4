"""The node that opens an editor on a server."""

from typing import Any

from comfy_api.latest import io

from ..rethink.editors.settings import ServerSettings
from ..rethink.options import options_of
from . import permissions, sockets
from .inputs import field_input

PLACEHOLDERS = {"model": "qwen-image-edit", "key_variable": "OPENAI_API_KEY"}
HELP = {
    "base_url": "The server's address up to /v1: vLLM-Omni, SGLang, LocalAI, OpenAI (https://api.openai.com/v1). You "
    "are asked before your images go to another machine for the first time.",
    "key_variable": "The NAME of the environment variable with the key, never the key itself. Empty for a server "
    "that needs none. A provider's own variable is sent only to that provider; the help page of Load Thinker says how "
    "to pair others.",
}


class LoadEditorFromServer(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkLoadEditorFromServer",
            display_name="Load Editor From Server",
            category="Rethink/Edit",
            description="Connects to a model that edits images by instruction, on a local or remote server with an "
            "OpenAI-compatible API for image edits.",
            search_aliases=[
                "remote editor",
                "editor api",
                "openai image edit",
                "gpt-image",
                "vllm-omni",
                "sglang",
                "localai",
            ],
            inputs=[_input_of(found.name) for found in options_of(ServerSettings)],
            outputs=[sockets.Editor.Output("editor", tooltip="For the editing nodes.")],
        )

    @classmethod
    def fingerprint_inputs(cls, base_url: str | None = None, key_variable: str | None = None, **_: Any) -> Any:
        return permissions.stamp(base_url or "", key_variable or "")  # empty if it comes from a link

    @classmethod
    def execute(
        cls,
        base_url: str,
        model: str,
        key_variable: str = "",
        timeout: int = 300,
        retries: int = 4,
        concurrency: int = 4,
    ) -> io.NodeOutput:
        from ..rethink.editors.server_editor import ServerEditor

        limits = {"timeout": timeout, "retries": retries, "concurrency": concurrency}
        return io.NodeOutput(
            permissions.open_remote(
                base_url, lambda trust: ServerEditor(base_url, model, key_variable, **limits, trust=trust)
            )
        )


def _input_of(name: str) -> io.Input:
    more: dict[str, Any] = {"placeholder": PLACEHOLDERS[name]} if name in PLACEHOLDERS else {}
    if name in HELP:
        more["tooltip"] = HELP[name]
    return field_input(ServerSettings, name, optional=name not in ("base_url", "model"), **more)
