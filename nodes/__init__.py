"""The nodes of the pack: schema, widgets, one call into rethink/."""

from comfy_api.latest import ComfyExtension

from .editor import EditChain, LoadEditor, SampleEdit, Scene
from .keep import KeepUnchangedPixels
from .lora import EditLoraLoader
from .native_editor import EditorFromModel

NODES = [LoadEditor, EditorFromModel, EditLoraLoader, SampleEdit, EditChain, KeepUnchangedPixels, Scene]


class RethinkExtension(ComfyExtension):
    async def get_node_list(self):
        return list(NODES)


async def comfy_entrypoint() -> RethinkExtension:
    return RethinkExtension()
