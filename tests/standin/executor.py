"""A small executor: loads the pack as ComfyUI does, validates an API workflow and runs it, lists mapped as usual."""

import asyncio
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from comfy_api.latest import io, ui
from comfy_execution import graph_utils
from core_nodes import CORE_NODES

Prompt = dict[str, dict[str, Any]]
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"


def load_pack(root: Path, name: str = "custom_nodes_x_rethink") -> ModuleType:
    """The pack at `root`, imported by file location under any name, as ComfyUI imports custom nodes."""
    spec = importlib.util.spec_from_file_location(name, root / "__init__.py", submodule_search_locations=[str(root)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def node_classes(pack: ModuleType) -> dict[str, type]:
    """Node id → class: the pack's nodes and those of ComfyUI that its workflows begin and end with."""

    async def ask():
        extension = await pack.comfy_entrypoint()
        await extension.on_load()
        return await extension.get_node_list()

    ends = [_PreviewImage, _SaveImage, _PreviewAny, _PreviewMask]
    return {cls.define_schema().node_id: cls for cls in [*asyncio.run(ask()), *CORE_NODES, *ends]}


def validate(prompt: Prompt, classes: dict[str, type]) -> dict[str, list[str]]:
    """Node id → what is wrong with its inputs: missing, unknown, of another type, out of limits."""
    errors: dict[str, list[str]] = {}
    for node_id, node in prompt.items():
        if node["class_type"] not in classes:
            errors[node_id] = [f"unknown node {node['class_type']}"]
            continue
        required, optional = expected(classes[node["class_type"]], node["inputs"])
        known = {**required, **optional}
        wrong = [f"{name}: missing" for name in required if name not in node["inputs"]]
        wrong += [f"{name}: unknown" for name in node["inputs"] if name not in known]
        own = _checked_by_itself(classes[node["class_type"]])
        for name in node["inputs"].keys() & known.keys() - own:
            problem = _problem(node["inputs"][name], *known[name], prompt, classes)
            wrong += [f"{name}: {problem}"] if problem else []
        wrong += _refused(classes[node["class_type"]], {name: node["inputs"].get(name) for name in own})
        if wrong:
            errors[node_id] = wrong
    return errors


def _checked_by_itself(cls: type) -> set[str]:
    """The inputs that the node's `validate_inputs` asks for by position too: ComfyUI leaves the check of those to it."""
    check = getattr(cls, "validate_inputs", None)
    return set(inspect.getfullargspec(check).args) - {"cls"} if check else set()


def _refused(cls: type, given: dict[str, Any]) -> list[str]:
    """What the node itself says to its inputs. As in ComfyUI it is passed its choices too, whatever it asks for."""
    given = {name: value for name, value in given.items() if value is not None and not _is_link(value)}
    if not given:
        return []
    if cls.define_schema().is_input_list:
        given = {name: [value] for name, value in given.items()}
    choices = [name for name, (io_type, _) in cls.describe()["input"]["required"].items() if io_type == DYNAMIC]
    said = cls.validate_inputs(**given, **{name: {name: None} for name in choices})
    return [] if said is True else [f"{' '.join(given)} - {said}"]


def expected(cls: type, given: dict[str, Any]) -> tuple[dict, dict]:
    """(required, optional) inputs by name, with those that the choices in `given` bring along as “choice.name”."""
    described = cls.describe()["input"]
    required, optional = {}, dict(described.get("optional", {}))
    for name, (io_type, options) in described["required"].items():
        required[name] = [io_type, options]
        if io_type == DYNAMIC:
            chosen = next((o["inputs"] for o in options["options"] if o["key"] == given.get(name)), {"required": {}})
            required |= {f"{name}.{inner}": described for inner, described in chosen["required"].items()}
            optional |= {f"{name}.{inner}": described for inner, described in chosen.get("optional", {}).items()}
    return required, optional


def run(prompt: Prompt, classes: dict[str, type]) -> dict[str, dict[str, list]]:
    """Runs a valid prompt: {"outputs": node id → list an output, "ui": node id → what the node shows}."""
    assert not (errors := validate(prompt, classes)), errors
    nodes = _Nodes(prompt)
    outputs: dict[str, list[list]] = {}
    shown: dict[str, Any] = {}

    def value_of(link) -> list:
        node_id, slot = link
        if node_id not in outputs:
            compute(node_id)
        return outputs[node_id][slot]

    def compute(node_id: str) -> None:
        cls = classes[nodes.get_node(node_id)["class_type"]]
        schema = cls.define_schema()
        cls = type(cls.__name__, (cls,), {"hidden": nodes.hidden(node_id)})
        given = nodes.get_node(node_id)["inputs"]
        inputs = {name: value_of(v) if _is_link(v) else [v] for name, v in given.items()}
        if schema.is_input_list:
            calls = [inputs]
        else:
            count = max((len(values) for values in inputs.values()), default=1)
            calls = [{k: v[min(i, len(v) - 1)] for k, v in inputs.items()} for i in range(count)]
        results = []
        for call in calls:
            graph_utils.GraphBuilder.prefix = node_id
            result = cls.execute(**_nested(call, cls))
            if result.expand:
                nodes.expanded |= result.expand
                results.append([value_of(link)[0] for link in result.result])
            else:
                results.append(result.result)
        outputs[node_id] = [
            [item for values in results for item in (values[slot] if out.is_output_list else [values[slot]])]
            for slot, out in enumerate(schema.outputs)
        ]
        if result.ui is not None:
            shown[node_id] = result.ui if isinstance(result.ui, dict) else result.ui.as_dict()

    with torch.inference_mode():
        for node_id, node in prompt.items():
            if classes[node["class_type"]].define_schema().is_output_node and node_id not in outputs:
                compute(node_id)
    return {"outputs": outputs, "ui": shown}


class _Nodes:
    """The nodes of a prompt, and those that others expanded into."""

    def __init__(self, prompt: Prompt):
        self.prompt, self.expanded = prompt, {}

    def get_node(self, node_id: str) -> dict:
        return self.prompt.get(node_id) or self.expanded[node_id]

    def hidden(self, node_id: str) -> SimpleNamespace:
        return SimpleNamespace(unique_id=node_id, dynprompt=self, prompt=self.prompt, extra_pnginfo=None)

    def get_display_node_id(self, node_id: str) -> str:
        return self.expanded.get(node_id, {}).get("override_display_id", node_id)


def _nested(inputs: dict[str, Any], cls: type) -> dict[str, Any]:
    """“choice.name” and “choice” become one dictionary; what was left out of it is None."""
    described = cls.describe()["input"]["required"]
    choices = {name: {} for name, (io_type, _) in described.items() if io_type == DYNAMIC}
    first = {name: value[0] if isinstance(value, list) else value for name, value in inputs.items()}
    for group in expected(cls, first):
        for name in (name for name in group if name.partition(".")[0] in choices):
            choice, _, inner = name.partition(".")
            choices[choice][inner or choice] = inputs.get(name)
    return {name: value for name, value in inputs.items() if name.partition(".")[0] not in choices} | choices


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _problem(value, io_type, options, prompt, classes) -> str | None:
    if _is_link(value):
        source = prompt.get(value[0])
        if source is None:
            return f"links to node {value[0]}, which is not there"
        given = [out.io_type for out in classes[source["class_type"]].define_schema().outputs]
        if value[1] >= len(given) or io_type not in (given[value[1]], "*"):
            return f"links to output {value[1]} of {source['class_type']}, not {io_type}"
        return None
    if io_type == DYNAMIC:
        keys = [option["key"] for option in options["options"]]
        return None if value in keys else f"{value!r} is not in {keys}"
    if io_type == "COMBO":
        return None if value in options["options"] else f"{value!r} is not in {options['options']}"
    types = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}
    if io_type == "IMAGECOMPARE":  # a widget without a value
        return None
    if io_type not in types:
        return f"{io_type} needs a link"
    if not isinstance(value, types[io_type]):
        return f"{value!r} is no {io_type}"
    if value < options.get("min", value) or value > options.get("max", value):
        return f"{value!r} is outside {options.get('min')}…{options.get('max')}"
    return None


class _PreviewImage(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        images = io.Image.Input("images")
        return io.Schema("PreviewImage", "Preview Image", "image", inputs=[images], is_output_node=True)

    @classmethod
    def execute(cls, images):
        return io.NodeOutput(ui=ui.PreviewImage(images))


class _SaveImage(_PreviewImage):
    @classmethod
    def define_schema(cls):
        inputs = [io.Image.Input("images"), io.String.Input("filename_prefix", default="ComfyUI")]
        return io.Schema("SaveImage", "Save Image", "image", inputs=inputs, is_output_node=True)

    @classmethod
    def execute(cls, images, filename_prefix):
        return io.NodeOutput(ui=ui.PreviewImage(images))


class _PreviewAny(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        source = io.Custom("*").Input("source")
        return io.Schema("PreviewAny", "Preview as Text", "utilities", inputs=[source], is_output_node=True)

    @classmethod
    def execute(cls, source):
        return io.NodeOutput(ui={"text": [str(source)]})


class _PreviewMask(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        mask = io.Mask.Input("mask")
        outputs = [io.Mask.Output(display_name="mask")]
        return io.Schema("MaskPreview", "Preview Mask", "mask", inputs=[mask], outputs=outputs, is_output_node=True)

    @classmethod
    def execute(cls, mask):
        return io.NodeOutput(mask, ui=ui.PreviewImage(mask))
