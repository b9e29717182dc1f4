"""What a node reports besides its outputs: text on the node, settings in saved images, a warning."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from .comfy.model_folders import BUILT_IN

METADATA_INPUTS = [io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo]  # what `annotate_images` needs


def show_text(*lines: str) -> dict[str, list[str]]:
    """Return the part of a node's `ui` that shows text after a run, and after a reload. Empty lines are dropped."""
    return {"rethink_text": ["\n".join(filter(None, lines))]}


def annotate_images(hidden, used: Any) -> None:
    """Have the settings that a node used written into every PNG that the run saves from now on, under “rethink” and the
    node's id.

    A prompt from a program has no such metadata: there the settings go into the node's entry in the prompt that ComfyUI
    writes. hidden: of a node with the hidden inputs unique_id, prompt and extra_pnginfo.
    """
    if isinstance(hidden.extra_pnginfo, dict):
        notes = hidden.extra_pnginfo.get("rethink") or {}
        hidden.extra_pnginfo["rethink"] = notes | {hidden.unique_id: used}
    elif hidden.unique_id in (hidden.prompt or {}):
        node = hidden.prompt[hidden.unique_id]
        node["_meta"] = node.get("_meta", {}) | {"rethink": used}


def warn_if_unfamiliar(kind: str, name: str, images: Tensor) -> str:
    """Return a warning for images unlike those that a model was trained on; "" if there is nothing to warn about.

    kind: "editor" or "thinker". name: the model's, as it was chosen. Only the built-in models are this limited.
    """
    if name.split(" + ")[0] != BUILT_IN:  # the names of LoRAs follow it
        return ""
    from ..rethink.tiny.strangers import warn_of_strangers as about

    return about(kind, images)
