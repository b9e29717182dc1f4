"""The nodes of the pack: each is a schema, widgets, and one call into rethink/."""

import logging
from functools import cache
from importlib import import_module

from comfy_api.latest import ComfyExtension

from . import comparisons_api, pairs_api, permissions, run_monitor, training_monitor, trajectory
from .boundary import adapt
from .comfy import server

# Module → its nodes, in the order in which they are listed.
ROOMS = {
    "edit": ("LoadEditor", "SampleEdit", "EditChain", "Scene"),
    "native.editor": ("EditorFromModel",),
    "server_editor": ("LoadEditorFromServer",),
    "lora": ("EditLoraLoader",),
    "sources": ("LoadInstructedImages",),
    "keep": ("KeepUnchangedPixels",),
    "thinker": ("LoadThinker", "CritiqueEdit"),
    "think": ("ThinkWhileEdit",),
    "think_loop": ("ThinkLoopOpen", "ThinkLoopClose"),
    "trajectory": ("TrajectoryViewer", "SaveTrajectory", "LoadTrajectory"),
    "synthesis": ("InverseEditSynthesizer",),
    "caption_pairs": ("CaptionToEdit", "PromptToPromptPairs"),
    "collect": ("TrajectoriesToDataset", "TrajectoriesToPairs", "CompareRuns"),
    "train": ("TrainEditLora",),
    "train_thinker": ("TrainThinker",),
    "score": ("ScoreEdit",),
    "trade_off": ("TradeOffCurve",),
    "compare": ("CompareEditors",),
    "benchmark": ("RunBenchmark",),
    "datasets": ("FilterEditPairs", "PreviewPairs", "SaveEditDataset", "LoadEditDataset"),
}


@cache
def load_nodes() -> list[type]:
    """Return every node that can be loaded here.

    An older ComfyUI may lack something that a node builds on: that node is left out, with a line in the log.
    """
    nodes = []
    for room, names in ROOMS.items():
        try:
            found = [getattr(import_module(f".{room}", __package__), name) for name in names]
            for node in found:
                adapt(node)
                node.define_schema()
        except Exception as error:
            logging.warning(
                "Rethink: left out %s, which cannot be loaded here (is ComfyUI up to date?): %r",
                ", ".join(names),
                error,
            )
            continue
        nodes += found
    return nodes


class RethinkExtension(ComfyExtension):
    async def on_load(self):
        for room in (permissions, run_monitor, training_monitor, trajectory, pairs_api, comparisons_api):
            room.serve()
        server.revalidate_modules()

    async def get_node_list(self):
        return list(load_nodes())


async def comfy_entrypoint() -> RethinkExtension:
    return RethinkExtension()
