"""What happens around every call of a node: omitted inputs of a choice get their defaults, errors name inputs as they
were sent, and Cancel applies only to the current call.

The library names its own arguments, and the inputs of a choice are sent as “choice.input”. Users should find the name
in an error on the node, and in the prompt that a program sends.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any

from comfy_api.latest import io

from ..rethink.errors import RethinkError
from .comfy.progress import node_call

# Node → {what the library calls an argument: the input that it comes from}
NAMES: dict[str, dict[str, str]] = {
    "RethinkEditChain": {"instruction": "instructions"},
    "RethinkLoadThinker": {"thinker": "folder"},
    "RethinkThinkWhileEdit": {
        "source": "image",
        "trajectory": "prefix",
        "accept": "accept_semantic and accept_quality",
    },
    "RethinkThinkLoopOpen": {"source": "image", "trajectory": "prefix", "accept": "accept_semantic and accept_quality"},
    "RethinkCritiqueEdit": {"accept": "accept_semantic and accept_quality"},
    "RethinkLoadTrajectory": {"trajectory": "run"},
    "RethinkInverseEditSynthesizer": {"area": "smallest and largest", "pairs": "dataset", "images": "folder"},
    "RethinkLoadInstructedImages": {"images": "folder", "instruction": "folder"},
    "RethinkCaptionToEdit": {"pairs": "dataset", "triples": "examples", "fine-tuning": "dataset"},
    "RethinkPromptToPromptPairs": {
        "threshold": "lowest_sharing and highest_sharing",
        "guidance": "lowest_guidance and highest_guidance",
        "model": "editor",
        "pairs": "dataset",
        "looks": "drop_early",
        "p2p": "batch",
    },
    "RethinkTrainThinker": {"data": "folder", "output": "name"},
    "RethinkSaveEditDataset": {"export": "name"},
    "RethinkLoadEditDataset": {"import": "dataset", "pairs": "dataset"},
}


class NodeError(RethinkError):
    """A RethinkError as ComfyUI shows it: the full name of its class is the title."""

    __module__ = "builtins"  # ComfyUI shows the names of built-ins without their module
    __qualname__ = "RethinkError"


def adapt(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """Wrap the node's `execute` and `fingerprint_inputs`: they get complete choices and raise NodeErrors."""
    for name in ("execute", "fingerprint_inputs"):
        if name in vars(node):
            setattr(node, name, classmethod(_adapt_call(vars(node)[name].__func__)))
    return node


def _adapt_call(call: Callable[..., Any]) -> Callable[..., Any]:
    parameters = list(signature(call).parameters.values())[1:]
    required = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]

    @wraps(call)
    def adapted(cls, *args, **inputs):
        inputs = dict(zip((parameter.name for parameter in parameters), args)) | inputs
        try:
            with node_call():
                return call(cls, **_complete_choices(cls, inputs, [name for name in required if name not in inputs]))
        except RethinkError as error:
            sentence = _name_inputs(cls.define_schema().node_id, str(error), inputs)
            raise NodeError(sentence).with_traceback(error.__traceback__) from error.__cause__

    return adapted


def is_choice(name: str, value: Any) -> bool:
    """Whether a value is that of a DynamicCombo: the chosen key under the input's name, and that choice's inputs."""
    return isinstance(value, dict) and name in value


def _complete_choices(cls: type[io.ComfyNode], inputs: dict[str, Any], missing: list[str]) -> dict[str, Any]:
    """Return the inputs with defaults in place of the Nones that ComfyUI puts for a choice's inputs that were not sent.

    Raises RethinkError for a choice that was not made: ComfyUI drops it together with its inputs.
    """
    if not missing and not any(is_choice(name, value) and None in value.values() for name, value in inputs.items()):
        return inputs
    choices = {each.id: each for each in cls.define_schema().inputs if isinstance(each, io.DynamicCombo.Input)}
    for name in missing:
        if name in choices:
            keys = ", ".join(option.key for option in choices[name].options)
            raise RethinkError(f"{name}: is missing or not one of its choices; send one of {keys}.")
    return {name: _fill_choice(choices[name], inputs[name]) if name in choices else inputs[name] for name in inputs}


def _fill_choice(choice: io.DynamicCombo.Input, sent: Mapping[str, Any]) -> dict[str, Any]:
    key = sent[choice.id]
    in_list = isinstance(key, list)  # a node that takes lists gets every value in one
    option = next(option for option in choice.options if option.key == (key[0] if in_list else key))
    defaults = {each.id: getattr(each, "default", None) for each in option.inputs}
    defaults = {name: [value] if in_list else value for name, value in defaults.items() if value is not None}
    return {name: defaults.get(name) if value is None else value for name, value in sent.items()}


def _name_inputs(node: str, sentence: str, inputs: Mapping[str, Any]) -> str:
    """Return the sentence with its first word replaced by the name under which the input is sent."""
    name, colon, rest = sentence.partition(":")
    name = NAMES.get(node, {}).get(name, name)
    for choice, value in inputs.items():
        if is_choice(choice, value) and name in value and name not in inputs:
            name = f"{choice}.{name}"
    return name + colon + rest
