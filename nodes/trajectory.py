"""The nodes around the record of a run: look at it, keep it, open it again."""

from pathlib import Path

import torch.nn.functional as F
from comfy_api.latest import io
from torch import Tensor

from ..rethink.errors import RethinkError
from ..rethink.trajectory import FILE, Trajectory, load_trajectory
from ..rethink.trajectory_html import page_name, write_html
from . import folders, host, sockets


class TrajectoryViewer(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkTrajectoryViewer",
            display_name="Trajectory Viewer",
            category="Rethink/Think",
            description="Shows a thinking run turn by turn, live while it runs, and lets you steer it.",
            search_aliases=["film strip", "compare", "history", "trajectory", "steer"],
            is_output_node=True,
            inputs=[_trajectory_input("The run to show, from Think While Edit, Think Loop Close or Load Trajectory.")],
            outputs=[],
        )

    @classmethod
    def execute(cls, trajectory) -> io.NodeOutput:
        return io.NodeOutput(ui=shown(trajectory))


class SaveTrajectory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkSaveTrajectory",
            display_name="Save Trajectory",
            category="Rethink/Think",
            description="Keeps a copy of a run under a name of its own: the record and every picture.",
            search_aliases=["keep", "export run", "archive"],
            is_output_node=True,
            inputs=[
                _trajectory_input("The run to keep."),
                io.String.Input(
                    "prefix",
                    default="rethink/trajectory",
                    tooltip="Its folder in ComfyUI's output folder; a number is added.",
                ),
                io.Boolean.Input(
                    "html",
                    optional=True,
                    default=True,
                    tooltip="Also write the whole view as one HTML file, named after the run, that opens anywhere.",
                ),
            ],
            outputs=[sockets.Trajectory.Output("saved", display_name="trajectory", tooltip="The copy.")],
        )

    @classmethod
    def execute(cls, trajectory, prefix: str, html: bool = True) -> io.NodeOutput:
        saved = trajectory.copied(folders.new_folder(prefix))
        if html:
            write_html(saved, saved.folder / page_name(saved))
        return io.NodeOutput(saved, ui=shown(saved))


class LoadTrajectory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        names = sorted(folders.result_folders(FILE))
        return io.Schema(
            node_id="RethinkLoadTrajectory",
            display_name="Load Trajectory",
            category="Rethink/Think",
            description="Opens the record of a run again, finished or not.",
            search_aliases=["open run", "history", "restore"],
            inputs=[
                io.Combo.Input(
                    "run",
                    options=names,
                    default=names[-1] if names else None,
                    tooltip="A run in ComfyUI's output folder, or one that was copied into its input folder.",
                ),
            ],
            outputs=[
                sockets.Trajectory.Output("trajectory", tooltip="For the viewer, and to keep."),
                io.Image.Output("best", display_name="image", tooltip="The best edit; the source where there is none."),
                io.Image.Output("images", tooltip="Every edit, by turn, then by candidate, as one batch."),
                io.Image.Output("source", tooltip="The picture before the edits."),
                io.String.Output("instruction", tooltip="What was asked for."),
                io.String.Output("prompt", tooltip="The prompt that made the best edit."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, run: str):
        return host.stamp(_folder(run))  # a run that went on is read anew

    @classmethod
    def execute(cls, run: str) -> io.NodeOutput:
        trajectory = load_trajectory(_folder(run))
        best, images, prompt = results(trajectory)
        return io.NodeOutput(
            trajectory, best, images, trajectory.source, trajectory.instruction, prompt, ui=shown(trajectory)
        )


def results(trajectory: Trajectory) -> tuple[Tensor, Tensor, str]:
    """(the best edit, all edits as one batch, the prompt of the best): the source itself where there is no edit.

    A graph may make pictures of several sizes; in the batch all have the size of the best. Where the folder of the run is
    gone, those are in it that are left.
    """
    if not trajectory.steps:
        return trajectory.source, trajectory.source, trajectory.instruction
    step = trajectory.steps[trajectory.best]
    best = trajectory.image(step)
    left = [other for other in trajectory.steps if trajectory.has_image(other)]
    images = best.new_empty(len(left), *best.shape[1:])
    for row, other in zip(images, left):  # one at a time: there may be hundreds
        picture = trajectory.image(other).movedim(-1, 1)
        if picture.shape[2:] != best.shape[1:3]:
            picture = F.interpolate(picture, best.shape[1:3], mode="bilinear", antialias=True)
        row.copy_(picture[0].movedim(0, -1))
    return best, images, step.prompt


def shown(trajectory: Trajectory) -> dict:
    """What the viewer on a node shows: the name of the record."""
    return {"rethink_run": [folders.reference(trajectory.folder / FILE)]}


def export(run: dict[str, str]) -> dict[str, str]:
    """Write the view of a run beside its record, as one file. Both are named as the front end names files."""
    trajectory = load_trajectory(folders.referred(run).parent)
    page = trajectory.folder / page_name(trajectory)
    write_html(trajectory, page)
    return folders.reference(page)


def serve() -> None:
    """Let the front end have a run exported: {run}."""
    host.serve("POST", "/rethink/export", export)


def _trajectory_input(tooltip: str) -> io.Input:
    return sockets.Trajectory.Input("trajectory", tooltip=tooltip)


def _folder(run: str) -> Path:
    folder = folders.result_folders(FILE).get(run)
    if folder is None:
        raise RethinkError(f"run: there is no “{run}”; choose one from the list.")
    return folder
