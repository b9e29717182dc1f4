"""What a node says beside its outputs: text on itself, settings in the saved images, a warning."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from .comfy.model_folders import BUILT_IN

METADATA_INPUTS = [io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo]  # what `annotate_images` needs


def show_text(*lines: str) -> dict[str, list[str]]:
    """What a node shows in words when it has run, also after a reload: a part of its `ui`. Empty lines say nothing."""
    return {"rethink_text": ["\n".join(filter(None, lines))]}


def annotate_images(hidden, used: Any) -> None:
    """Have what a node has used written into every PNG that the run still saves, under “rethink” and the node's id.

    A prompt from a program brings no such notes: there it stands with the node, in what ComfyUI writes of the prompt.
    hidden: of a node that asked for the hidden unique_id, prompt and extra_pnginfo.
    """
    if isinstance(hidden.extra_pnginfo, dict):
        notes = hidden.extra_pnginfo.get("rethink") or {}
        hidden.extra_pnginfo["rethink"] = notes | {hidden.unique_id: used}
    elif hidden.unique_id in (hidden.prompt or {}):
        node = hidden.prompt[hidden.unique_id]
        node["_meta"] = node.get("_meta", {}) | {"rethink": used}


def warn_if_unfamiliar(kind: str, name: str, images: Tensor) -> str:
    """What to say before a model works on pictures that it does not know; "" where there is nothing to say.

    kind: "editor" or "thinker". name: the model's, as it was chosen. Only the built-in ones know so little.
    """
    if name.split(" + ")[0] != BUILT_IN:  # a LoRA over it stands behind
        return ""
    from ..rethink.tiny.strangers import warn_of_strangers as about

    return about(kind, images)
