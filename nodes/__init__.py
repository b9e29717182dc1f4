"""The nodes of the pack: schema, widgets, one call into rethink/."""

from comfy_api.latest import ComfyExtension

from . import hosts, live, review, trajectory
from .boundary import adapt
from .caption_pairs import CaptionToEdit, PromptToPromptPairs
from .datasets import FilterEditPairs, LoadEditDataset, PreviewPairs, SaveEditDataset
from .editor import EditChain, LoadEditor, SampleEdit, Scene
from .keep import KeepUnchangedPixels
from .lora import EditLoraLoader
from .native_editor import EditorFromModel
from .synthesis import InverseEditSynthesizer
from .think import ThinkWhileEdit
from .think_loop import ThinkLoopClose, ThinkLoopOpen
from .thinker import CritiqueEdit, LoadThinker
from .trajectory import LoadTrajectory, SaveTrajectory, TrajectoryViewer

NODES = [
    LoadEditor, EditorFromModel, EditLoraLoader, SampleEdit, EditChain, KeepUnchangedPixels, Scene,
    LoadThinker, CritiqueEdit, ThinkWhileEdit, ThinkLoopOpen, ThinkLoopClose,
    TrajectoryViewer, SaveTrajectory, LoadTrajectory,
    InverseEditSynthesizer, CaptionToEdit, PromptToPromptPairs,
    FilterEditPairs, PreviewPairs, SaveEditDataset, LoadEditDataset,
]  # fmt: skip
for node in NODES:
    adapt(node)


class RethinkExtension(ComfyExtension):
    async def on_load(self):
        for room in (hosts, live, trajectory, review):
            room.serve()

    async def get_node_list(self):
        return list(NODES)


async def comfy_entrypoint() -> RethinkExtension:
    return RethinkExtension()
