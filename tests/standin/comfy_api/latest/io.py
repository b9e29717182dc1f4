"""Stand-in for the V3 node schema: the types the pack uses, and their description in the form that /object_info has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType, SimpleNamespace

_SPELLING = {"dynamic_prompts": "dynamicPrompts"}


class _Input:
    io_type = ""
    options: tuple[str, ...] = ()  # what an input of this type may say beside the common ones
    constants: Mapping = MappingProxyType({})

    def __init__(
        self, id, *, display_name=None, optional=False, tooltip=None, advanced=None, extra_dict=None, **options
    ):
        unknown = set(options) - set(self.options)
        assert not unknown, f"{id}: {self.io_type} inputs know nothing of {unknown}"
        self.id, self.optional, self.default = id, optional, options.get("default")
        common = {"display_name": display_name, "tooltip": tooltip, "advanced": advanced}
        said = {
            _SPELLING.get(k, k): v for k, v in {**common, **self.constants, **options, **(extra_dict or {})}.items()
        }
        self.described = {key: value for key, value in said.items() if value is not None}


class _Output:
    io_type = ""

    def __init__(self, id=None, *, display_name=None, tooltip=None, is_output_list=False):
        self.id, self.tooltip, self.is_output_list = id, tooltip, is_output_list
        self.display_name = display_name or id or self.io_type


def _type(io_type, *options, **constants):
    made = {"io_type": io_type}
    input_type = type("Input", (_Input,), {**made, "options": options, "constants": constants})
    return type(io_type, (), {**made, "Input": input_type, "Output": type("Output", (_Output,), made)})


def Custom(io_type):
    return _type(io_type)


_NUMBER = ("default", "min", "max", "step")
Image = _type("IMAGE")
Mask = _type("MASK")
Model = _type("MODEL")
Clip = _type("CLIP")
Vae = _type("VAE")
Boolean = _type("BOOLEAN", "default", "label_on", "label_off")
Int = _type("INT", *_NUMBER, "control_after_generate")
Float = _type("FLOAT", *_NUMBER, "round")
String = _type("STRING", "default", "multiline", "placeholder", "dynamic_prompts", multiline=False)
Combo = _type("COMBO", "default", "options", multiselect=False)
Input, Output = _Input, _Output


class DynamicCombo:
    io_type = "COMFY_DYNAMICCOMBO_V3"

    class Option:
        def __init__(self, key, inputs):
            self.key, self.inputs = key, inputs
            self.described = {"key": key, "inputs": _described(inputs)}

    class Input(_Input):
        io_type = "COMFY_DYNAMICCOMBO_V3"
        options = ("options",)

        def __init__(self, id, *, options, **common):
            super().__init__(id, options=[option.described for option in options], **common)
            self.options = options


class Hidden(Enum):
    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"


def _described(inputs):
    described = {"required": {}}
    for item in inputs:
        kind = "optional" if item.optional else "required"
        described.setdefault(kind, {})[item.id] = [item.io_type, item.described]
    return described


@dataclass
class Schema:
    node_id: str
    display_name: str
    category: str
    description: str = ""
    search_aliases: list = field(default_factory=list)
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    is_input_list: bool = False
    is_output_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False
    accept_all_inputs: bool = False
    has_intermediate_output: bool = False
    hidden: list = field(default_factory=list)


class NodeOutput:
    def __init__(self, *result, ui=None, expand=None):
        self.result, self.ui, self.expand = result, ui, expand


class ComfyNode:
    hidden = SimpleNamespace(
        unique_id=None, prompt=None, extra_pnginfo=None, dynprompt=None
    )  # of a node that is called directly

    @classmethod
    def describe(cls):
        """What /object_info says about the node, as far as the tests look at it."""
        schema = cls.define_schema()
        return {
            "name": schema.node_id,
            "display_name": schema.display_name,
            "category": schema.category,
            "description": schema.description,
            "search_aliases": schema.search_aliases,
            "input": _described(schema.inputs),
            "is_input_list": schema.is_input_list,
            "output": [item.io_type for item in schema.outputs],
            "output_name": [item.display_name for item in schema.outputs],
            "output_tooltips": [item.tooltip for item in schema.outputs],
            "output_is_list": [item.is_output_list for item in schema.outputs],
            "output_node": schema.is_output_node,
        }
