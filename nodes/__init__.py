"""The nodes of the pack: schema, widgets, one call into rethink/."""

from comfy_api.latest import ComfyExtension

from .caption_pairs import CaptionToEdit, PromptToPromptPairs
from .datasets import FilterEditPairs, LoadEditDataset, PreviewPairs, SaveEditDataset
from .editor import EditChain, LoadEditor, SampleEdit, Scene
from .synthesis import InverseEditSynthesizer

NODES = [
    LoadEditor, SampleEdit, EditChain, Scene,
    InverseEditSynthesizer, CaptionToEdit, PromptToPromptPairs,
    FilterEditPairs, PreviewPairs, SaveEditDataset, LoadEditDataset,
]  # fmt: skip


class RethinkExtension(ComfyExtension):
    async def get_node_list(self):
        return list(NODES)


async def comfy_entrypoint() -> RethinkExtension:
    return RethinkExtension()
