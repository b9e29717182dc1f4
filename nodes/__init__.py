"""The nodes of the pack: schema, widgets, one call into rethink/."""

from comfy_api.latest import ComfyExtension

from .editor import EditChain, LoadEditor, SampleEdit, Scene
from .think import ThinkWhileEdit
from .think_loop import ThinkLoopClose, ThinkLoopOpen
from .thinker import CritiqueEdit, LoadThinker
from .trajectory import LoadTrajectory, SaveTrajectory, TrajectoryViewer

NODES = [
    LoadEditor, SampleEdit, EditChain, Scene, LoadThinker, CritiqueEdit, ThinkWhileEdit, ThinkLoopOpen, ThinkLoopClose,
    TrajectoryViewer, SaveTrajectory, LoadTrajectory,
]  # fmt: skip


class RethinkExtension(ComfyExtension):
    async def get_node_list(self):
        return list(NODES)


async def comfy_entrypoint() -> RethinkExtension:
    return RethinkExtension()
