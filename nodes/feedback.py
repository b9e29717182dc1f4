"""What a node reports besides its outputs: text on the node, settings in saved images, a warning."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from .comfy.model_folders import BUILT_IN

METADATA_INPUTS = [io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo]  # what `annotate_images` needs


def show_text(*lines: str) -> dict[str, list[str]]:
    """What a node shows in words when it has run, also after a reload: a part of its `ui`. Empty lines say nothing."""
    return {"rethink_text": ["\n".join(filter(None, lines))]}


def annotate_images(hidden, used: Any) -> None:
    """Have the settings that a node used written into every PNG that the run saves from now on, under “rethink” and the
    node's id.

    A prompt from a program has no such metadata: there they go into the node, in the prompt that ComfyUI writes.
    hidden: of a node with the hidden inputs unique_id, prompt and extra_pnginfo.
    """
    if isinstance(hidden.extra_pnginfo, dict):
        notes = hidden.extra_pnginfo.get("rethink") or {}
        hidden.extra_pnginfo["rethink"] = notes | {hidden.unique_id: used}
    elif hidden.unique_id in (hidden.prompt or {}):
        node = hidden.prompt[hidden.unique_id]
        node["_meta"] = node.get("_meta", {}) | {"rethink": used}


def warn_if_unfamiliar(kind: str, name: str, images: Tensor) -> str:
    """What to say before a model works on images that it does not know; "" where there is nothing to say.

    kind: "editor" or "thinker". name: the model's, as it was chosen. Only the built-in ones know so little.
    """
    if name.split(" + ")[0] != BUILT_IN:  # a LoRA over it stands behind
        return ""
    from ..rethink.tiny.strangers import warn_of_strangers as about

    return about(kind, images)
