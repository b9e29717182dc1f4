"""The nodes for the record of a run: view it, save it, load it."""

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from comfy_api.latest import io
from torch import Tensor

from ..rethink.errors import RethinkError
from ..rethink.trajectory import RECORD_FILE, SOURCE_FILE, Trajectory, load_trajectory
from ..rethink.trajectory_html import page_name, write_html
from . import sockets
from .comfy import folders, model_folders, server
from .inputs import validate_with


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
    def execute(cls, trajectory: Trajectory) -> io.NodeOutput:
        return io.NodeOutput(ui=viewer_ui(trajectory))


class SaveTrajectory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkSaveTrajectory",
            display_name="Save Trajectory",
            category="Rethink/Think",
            description="Saves a copy of a run under its own name: the record and every image.",
            search_aliases=["keep", "export run", "archive"],
            is_output_node=True,
            inputs=[
                _trajectory_input("The run to save."),
                io.String.Input(
                    "prefix",
                    default="rethink/trajectory",
                    tooltip="The copy's folder in ComfyUI's output folder; a number is appended.",
                ),
                io.Boolean.Input(
                    "html",
                    optional=True,
                    default=True,
                    tooltip="Also write the whole view as a single HTML file, named after the run, that opens "
                    "anywhere.",
                ),
            ],
            outputs=[sockets.Trajectory.Output("saved", display_name="trajectory", tooltip="The copy.")],
        )

    @classmethod
    def execute(cls, trajectory: Trajectory, prefix: str, html: bool = True) -> io.NodeOutput:
        saved = trajectory.copy_to(folders.next_output_folder(prefix))
        if html:
            write_html(saved, saved.folder / page_name(saved))
        return io.NodeOutput(saved, ui=run_ui(saved))


class LoadTrajectory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        names = run_names()
        return io.Schema(
            node_id="RethinkLoadTrajectory",
            display_name="Load Trajectory",
            category="Rethink/Think",
            description="Opens the record of a run, finished or not.",
            search_aliases=["open run", "history", "restore"],
            inputs=[
                io.Combo.Input(
                    "run",
                    options=names,
                    default=names[0] if names else None,
                    tooltip="A run in ComfyUI's output folder, or one that was copied into its input folder. The "
                    "newest is first.",
                ),
            ],
            outputs=[
                sockets.Trajectory.Output(
                    "trajectory", tooltip="For Trajectory Viewer, Save Trajectory and the nodes that learn from runs."
                ),
                io.Image.Output("best", display_name="image", tooltip="The best edit; the source if there is none."),
                io.Image.Output("images", tooltip="Every edit, by turn, then by candidate, as one batch."),
                io.Image.Output("source", tooltip="The image before the edits."),
                io.String.Output("instruction", tooltip="The instruction of the run."),
                io.String.Output("prompt", tooltip="The prompt that made the best edit."),
            ],
        )

    @classmethod
    def validate_inputs(cls, run: str | None = None) -> str | bool:
        return validate_with(_folder, run)

    @classmethod
    def fingerprint_inputs(cls, run: str) -> Any:
        return model_folders.files_fingerprint(_folder(run))  # a run that was continued is read again

    @classmethod
    def execute(cls, run: str) -> io.NodeOutput:
        trajectory = load_trajectory(_folder(run))
        best, images, prompt = results(trajectory)
        return io.NodeOutput(
            trajectory, best, images, trajectory.source, trajectory.instruction, prompt, ui=run_ui(trajectory)
        )


def results(trajectory: Trajectory) -> tuple[Tensor, Tensor, str]:
    """Return (the best edit, all edits as one batch, the prompt of the best); the source itself if there is no edit.

    A graph may make images of several sizes; in the batch all have the size of the best. Images whose files are gone are
    missing from it.
    """
    if trajectory.best is None:
        return trajectory.source, trajectory.source, trajectory.instruction
    step = trajectory.steps[trajectory.best]
    best = trajectory.image(step)
    left = [other for other in trajectory.steps if trajectory.has_image(other)]
    images = best.new_empty(len(left), *best.shape[1:])
    for row, other in zip(images, left):  # one at a time: there may be hundreds
        image = trajectory.image(other).movedim(-1, 1)
        if image.shape[2:] != best.shape[1:3]:
            image = F.interpolate(image, best.shape[1:3], mode="bilinear", antialias=True)
        row.copy_(image[0].movedim(0, -1))
    return best, images, step.prompt


def run_ui(trajectory: Trajectory) -> dict:
    """What a node that makes or opens a run shows: the run, and its best edit for the queue and the assets."""
    best = [] if trajectory.best is None else [trajectory.folder / trajectory.steps[trajectory.best].file]
    return {"images": [folders.to_view_params(file) for file in best if file.is_file()], **viewer_ui(trajectory)}


def viewer_ui(trajectory: Trajectory) -> dict:
    """What the film strip on a node shows: the run, as Load Trajectory names it.

    Only a name: the front end lists whatever looks like a reference to a file among the assets.
    """
    place = folders.to_view_params(trajectory.folder / RECORD_FILE)
    return {"rethink_run": [f"{place['type']}/{place['subfolder']}"]}


def run_names() -> list[str]:
    """The runs that Load Trajectory offers, the newest first."""
    found = folders.folders_with(RECORD_FILE)
    return sorted(found, key=lambda name: (_date(found[name]), name), reverse=True)


def list_runs() -> list[dict]:
    """The runs of `run_names`, each with its instruction, date (seconds since 1970), score and image."""
    found = folders.folders_with(RECORD_FILE)
    return [_summary(name, found[name]) for name in run_names() if name in found]


def _date(folder: Path) -> float:
    """When a run was last written to; 0 for one that has just gone."""
    try:
        return (folder / RECORD_FILE).stat().st_mtime
    except OSError:
        return 0.0


def _summary(name: str, folder: Path) -> dict:
    about = {"run": name, "date": _date(folder)}
    try:
        trajectory = load_trajectory(folder)
    except RethinkError as error:
        return {**about, "error": str(error)}
    best = None if trajectory.best is None else trajectory.steps[trajectory.best]
    thumbnail = folders.to_view_params(folder / (best.file if best else SOURCE_FILE))
    turns = trajectory.steps[-1].turn if trajectory.steps else 0
    score = best.score if best else None
    return {**about, "instruction": trajectory.instruction, "turns": turns, "score": score, "picture": thumbnail}


def export(run: dict[str, str]) -> dict[str, str]:
    """Write the view of a run next to its record, as one file. Both are given and returned as /view parameters."""
    trajectory = load_trajectory(folders.from_view_params(run).parent)
    page = trajectory.folder / page_name(trajectory)
    write_html(trajectory, page)
    return folders.to_view_params(page)


def serve() -> None:
    """Let the front end list the runs, and have one exported: {run}."""
    server.add_route("GET", "/rethink/runs", list_runs)
    server.add_route("POST", "/rethink/export", export)


def _trajectory_input(tooltip: str) -> io.Input:
    return sockets.Trajectory.Input("trajectory", tooltip=tooltip)


def _folder(run: str) -> Path:
    folder = folders.folders_with(RECORD_FILE).get(run)
    if folder is None:
        raise RethinkError(
            f"run: there is no “{run}”; copy the run's folder into ComfyUI's input folder, then choose it from the list."
        )
    return folder
