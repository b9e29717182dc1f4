"""Turn recorded runs into datasets for thinkers and pairs for editors, and compare runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from comfy_api.latest import io

from ..rethink.collect.dataset_job import CollectJob
from ..rethink.collect.pairs_job import RunPairRules, RunPairsJob
from ..rethink.collect.rules import CollectRules
from ..rethink.errors import RethinkError
from ..rethink.options import options_of
from ..rethink.pairs.pixels import from_pixels
from ..rethink.thinkers.critique import Thinker
from ..rethink.trajectory import RECORD_FILE, Trajectory
from . import feedback, sockets
from .comfy import folders, memory, progress
from .inputs import AnyOption, field_input, single_values

RULES_ADVICE = "the node takes many runs, but one value for each setting"


class TrajectoriesToDataset(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkTrajectoriesToDataset",
            display_name="Trajectories To Dataset",
            category="Rethink/Teach",
            description="Builds a dataset from thinking runs, by ThinkEdit's rules, that teaches a thinker to judge "
            "and rewrite.",
            search_aliases=[
                "collect",
                "sft",
                "grpo",
                "thinkedit",
                "llama-factory",
                "easyr1",
                "verl",
                "trl",
                "train thinker",
                "export runs",
            ],
            is_output_node=True,
            is_input_list=True,
            inputs=[
                _folder_input(),
                io.String.Input(
                    "name",
                    default="my-thinking",
                    tooltip="Name of the dataset in ComfyUI's datasets folder, new or existing. Runs already read "
                    "are not read again.",
                ),
                field_input(CollectJob, "format"),
                *_rule_inputs(CollectRules, "sft_share", "balance"),
                field_input(CollectRules, "seed", optional=True, control_after_generate="fixed"),
                _trajectories_input(),
                sockets.Thinker.Input(
                    "judge",
                    optional=True,
                    tooltip="Scores every edit again, replacing the runs' own scores. Preferably a different model "
                    "than the thinker.",
                ),
            ],
            outputs=[
                io.String.Output("path", display_name="folder", tooltip="The path of the dataset."),
                io.String.Output("report", tooltip="How many runs were kept, and how many each rule dropped."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: Any = None, **_: Any) -> Any:
        return _fingerprint(folder)

    @classmethod
    def execute(
        cls,
        folder: list[str],
        name: list[str],
        format: list[str],
        trajectories: Sequence[Trajectory | None] = (),
        judge: Sequence[Thinker | None] = (None,),
        **rules: list[Any],
    ) -> io.NodeOutput:
        one = single_values({"folder": folder, "name": name, "format": format, "judge": judge, **rules}, RULES_ADVICE)
        job = CollectJob(
            _runs(one["folder"], trajectories),
            folders.dataset_path(one["name"], "name"),
            CollectRules(**{rule: one[rule] for rule in rules}),
            one["judge"],
            format=one["format"],
        )
        report = str(_run(job, one["judge"]))
        return io.NodeOutput(str(job.output), report, ui=feedback.show_text(report))


class TrajectoriesToPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkTrajectoriesToPairs",
            display_name="Trajectories To Pairs",
            category="Rethink/Teach",
            description="Makes a pair from every run that ended well: your instruction and the source, with the best "
            "edit as the target. An editor trained on them needs less thinking.",
            search_aliases=[
                "distill",
                "distillation",
                "self-improvement",
                "rejection sampling",
                "preference pairs",
                "dpo",
                "training pairs",
                "collect runs",
            ],
            is_output_node=True,
            is_input_list=True,
            inputs=[
                _folder_input(),
                io.String.Input(
                    "name",
                    default="my-runs",
                    tooltip="Name of the pair store in ComfyUI's datasets folder, new or existing. Existing pairs "
                    "are not made again.",
                ),
                *_rule_inputs(RunPairRules),
                io.Boolean.Input(
                    "preferences",
                    optional=True,
                    default=False,
                    tooltip="Also write the best and the worst edit of every such run to the folder "
                    "NAME-preferences, for preference training (DPO).",
                    advanced=True,
                ),
                _trajectories_input(),
                sockets.Thinker.Input(
                    "judge",
                    optional=True,
                    tooltip="Gives a second opinion on the best edit of every run. Preferably a different model than "
                    "the thinker.",
                ),
            ],
            outputs=[
                sockets.Pairs.Output("pairs", tooltip="For Preview Pairs, Filter Edit Pairs and Train Edit LoRA."),
                io.String.Output("report", tooltip="How many runs became pairs, and how many each rule dropped."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: Any = None, **_: Any) -> Any:
        return _fingerprint(folder)

    @classmethod
    def execute(
        cls,
        folder: list[str],
        name: list[str],
        preferences: Sequence[bool] = (False,),
        trajectories: Sequence[Trajectory | None] = (),
        judge: Sequence[Thinker | None] = (None,),
        **rules: list[Any],
    ) -> io.NodeOutput:
        asked = {"folder": folder, "name": name, "preferences": preferences, "judge": judge, **rules}
        one = single_values(asked, RULES_ADVICE)
        runs, store = _runs(one["folder"], trajectories), folders.dataset_path(one["name"], "name")
        job = RunPairsJob(
            runs,
            store,
            RunPairRules(**{rule: one[rule] for rule in rules}),
            one["judge"],
            store.with_name(f"{store.name}-preferences") if one["preferences"] else None,
        )
        report = _run(job, one["judge"])
        return io.NodeOutput(report.pairs, str(report), ui=feedback.show_text(str(report)))


class CompareRuns(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkCompareRuns",
            display_name="Compare Runs",
            category="Rethink/Teach",
            description="Compares turns and success on the same tasks before and after training, side by side.",
            search_aliases=["before after", "compare trajectories", "side by side", "fewer turns", "ablation"],
            is_output_node=True,
            is_input_list=True,
            inputs=[
                sockets.Trajectory.Input("before", tooltip="The runs before training, as a list."),
                sockets.Trajectory.Input(
                    "after", tooltip="The runs of the same images and instructions after training, as a list."
                ),
                sockets.Thinker.Input(
                    "judge",
                    optional=True,
                    tooltip="Scores the first and the winning edit of every run again, which reveals harm. "
                    "Preferably a different model than the thinker. Without a judge, the runs' own scores count.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "sheet", tooltip="The first tasks, one or two per row: source, result before, result after."
                ),
                io.String.Output("report", tooltip="Mean turns, success rate, and how every task went."),
            ],
        )

    @classmethod
    def execute(
        cls, before: Sequence[Trajectory], after: Sequence[Trajectory], judge: Sequence[Thinker | None] = (None,)
    ) -> io.NodeOutput:
        from ..rethink.collect.comparison import CompareRunsJob, comparison_sheet

        one = single_values({"judge": judge}, "the node takes many runs, but one judge")
        job = CompareRunsJob(
            tuple(run.folder for run in before),
            tuple(run.folder for run in after),
            one["judge"],
            folders.scores_folder(),
        )
        comparison = _run(job, one["judge"])
        sheet, report = from_pixels(np.asarray(comparison_sheet(comparison))), str(comparison)
        return io.NodeOutput(sheet, report, ui=feedback.show_text(report))


def _run(job: Any, judge: Thinker | None) -> Any:
    """Run a job and return its report, with progress on the node; Cancel takes effect within one token of the judge."""
    try:
        return job.run(progress.job_progress(), lambda *_: progress.stop_if_cancelled())
    finally:
        memory.release_caches(judge)


def _folder_input() -> io.Input:
    names = list(folders.folders_above(RECORD_FILE))
    return io.Combo.Input(
        "folder",
        options=AnyOption(names),
        default=names[0],
        tooltip="All runs in this folder and its subfolders, in ComfyUI's output or input folder. Ignored when "
        "trajectories are connected.",
    )


def _trajectories_input() -> io.Input:
    return sockets.Trajectory.Input(
        "trajectories", optional=True, tooltip="A run or a list of runs to use in place of the folder's."
    )


def _rule_inputs(rules: type, *names: str) -> list[io.Input]:
    """One input per rule: for the named rules, or for all."""
    found = names or tuple(each.name for each in options_of(rules))
    return [field_input(rules, name, optional=True) for name in found]


def _runs(folder: str, trajectories: Sequence[Trajectory | None]) -> tuple[Path, ...]:
    """The folders of the selected runs."""
    connected = [trajectory for trajectory in trajectories if trajectory is not None]
    return tuple(trajectory.folder for trajectory in connected) or (_path(folder),)


def _path(folder: str) -> Path:
    found = folders.folders_above(RECORD_FILE).get(folder)
    if found is None:
        raise RethinkError(f"folder: there is no “{folder}” with runs in it; choose one from the list.")
    return found


def _fingerprint(folder: Any) -> Any:
    """Changes when a run of the folder does, so that the node runs again."""
    name = folder[0] if isinstance(folder, (list, tuple)) else folder
    found = folders.folders_above(RECORD_FILE).get(name)
    return None if found is None else runs_fingerprint(found)


def runs_fingerprint(folder: Path) -> tuple[int, int]:
    """Changes when a run in a folder or below does."""
    from ..rethink.collect.runs import find_runs

    stats = [os.stat(run / RECORD_FILE) for run in find_runs([folder])]
    return len(stats), max((stat.st_mtime_ns for stat in stats), default=0)
