"""Train a thinker from runs, to judge and rewrite better."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..rethink.errors import RethinkError
from ..rethink.options import options_of
from ..rethink.progress import JobProgress
from ..rethink.thinkers.critique import Thinker
from ..rethink.thinkers.loading import ThinkerConfig, find_backend
from ..rethink.training.thinker_rewards import RewardRules
from ..rethink.training.thinker_settings import GRPOConfig, SFTConfig
from ..rethink.trajectory import RECORD_FILE
from . import feedback, sockets
from .collect import runs_fingerprint
from .comfy import folders, memory, model_folders, progress
from .inputs import AnyOption, field_input

if TYPE_CHECKING:
    from ..rethink.training.thinker_grpo_job import GRPOJob
    from ..rethink.training.thinker_sft import SFTJob

COLLECTED = "trl-*.jsonl"  # of a dataset that Trajectories To Dataset has made
DATASETS = "datasets/"  # prefix of their names in the list
LINES = {"log_every": 1}  # lines on a node are short-lived
OF_A_NODE: dict[str, dict[str, Any]] = {
    "sft": LINES | {"workers": 0},  # worker processes would be copies of ComfyUI
    "grpo": LINES | {"vllm": "off", "vllm_server": ""},  # it needs the GPU, and a server, for itself
}


class TrainThinker(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkTrainThinker",
            display_name="Train Thinker",
            category="Rethink/Teach",
            description="Trains a thinker from thinking runs: on the answers of good runs, or by reinforcement on "
            "the results of its own answers. For small models, since it trains inside ComfyUI; the train-thinker "
            "command does the same on several GPUs.",
            search_aliases=[
                "grpo",
                "sft",
                "reinforcement learning",
                "rlhf",
                "train vlm",
                "fine-tune vlm",
                "editthinker",
                "train critic",
                "train judge",
            ],
            is_output_node=True,
            inputs=[
                sockets.Thinker.Input(
                    "thinker",
                    tooltip="From Load Thinker, built-in or local folder: the model to train. The original is not "
                    "changed.",
                ),
                io.String.Input(
                    "name",
                    default="my-thinker",
                    tooltip="Name of the trained thinker in models/LLM. A thinker of this name that Rethink has "
                    "trained is overwritten.",
                ),
                _folder_input(),
                io.DynamicCombo.Input(
                    "method",
                    options=[
                        io.DynamicCombo.Option("sft", _fields("sft", SFTConfig)),
                        io.DynamicCombo.Option("grpo", [*_referees(), *_fields("grpo", GRPOConfig, RewardRules)]),
                    ],
                    tooltip="How it learns. sft: from the answers of good runs. grpo: it answers on its own, an "
                    "editor carries out its prompts, and a judge scores the edits; best after sft.",
                ),
            ],
            outputs=[
                sockets.Thinker.Output(
                    "thinker_out", display_name="thinker", tooltip="The trained thinker, as Load Thinker opens it."
                ),
                io.String.Output("report", tooltip="What it learned from, how well it does, and where it is."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: Any = None, **_: Any) -> Any:
        found = _data_folders().get(folder)
        if found is None:
            return None
        return *runs_fingerprint(found), *(file.stat().st_mtime_ns for file in sorted(found.glob(COLLECTED)))

    @classmethod
    def execute(cls, thinker: Thinker, name: str, folder: str, method: dict[str, Any]) -> io.NodeOutput:
        output = model_folders.new_thinker_path(name, "name")
        job = make_job(thinker, output, folder, method)
        with memory.device_to_itself():
            report = str(_run(job, method))
        trained = Thinker(_load(output), thinker.template, thinker.max_tokens, thinker.temperature)
        return io.NodeOutput(trained, report, ui=feedback.show_text(report))


def make_job(thinker: Thinker, output: Path, folder: str, method: dict[str, Any]) -> SFTJob | GRPOJob:
    """The job that the inputs describe."""
    from ..rethink.training.thinker_grpo_job import GRPOJob
    from ..rethink.training.thinker_sft import SFTJob

    shared: dict[str, Any] = {
        "thinker": _folder_of(thinker),
        "data": (_data_folder(folder),),
        "output": output,
        "template": thinker.template,
        "folder": folders.training_folder(),
    }
    kind = method["method"]
    chosen = {name: value for name, value in method.items() if name not in ("method", "editor", "judge")}
    if kind == "sft":
        return SFTJob(config=SFTConfig(**chosen, **OF_A_NODE[kind]), **shared)
    rules = {each.name: chosen.pop(each.name) for each in options_of(RewardRules) if each.name in chosen}
    return GRPOJob(config=GRPOConfig(**chosen, **OF_A_NODE[kind], reward=RewardRules(**rules)), **shared)


def _run(job: SFTJob | GRPOJob, method: dict[str, Any]) -> Any:
    """Run the job and return its report, with status lines, the bar on the node, and Cancel."""
    from ..rethink.training.thinker_sft import SFTJob

    count = progress.silent_progress()

    def on_progress(now: JobProgress) -> None:
        count(now.done, now.total)

    if isinstance(job, SFTJob):
        return job.run(progress.show_status, on_progress)
    editor, judge = memory.ManagedEditor(method["editor"]), method["judge"]
    try:
        return job.run(editor, judge, progress.show_status, on_progress=on_progress)
    finally:
        memory.release_caches(judge)


def _load(folder: Path) -> Any:
    """The Chat of a folder in models/LLM."""
    name = model_folders.thinker_name(folder)
    return memory.load_chat(find_backend(str(folder)), ThinkerConfig(where=str(folder)), name, folder)


def _folder_of(thinker: Thinker) -> Path:
    folder = getattr(thinker.chat, "folder", None)
    if folder is None:
        raise RethinkError(
            f"thinker: {thinker.chat.name} is not a folder of weights, so it cannot be trained here; choose “built-in” or "
            "“local folder” in Load Thinker."
        )
    return folder


def _fields(method: str, *configs: type) -> list[io.Input]:
    """One input for every field that can be chosen on a node, advanced ones last."""
    found = [(config, each) for config in configs for each in options_of(config) if each.name not in OF_A_NODE[method]]
    found.sort(key=lambda row: row[1].advanced)
    return [field_input(config, each.name, optional=True, **_widget(each.name)) for config, each in found]


def _widget(name: str) -> dict[str, Any]:
    return {"control_after_generate": "fixed"} if name == "seed" else {}


def _referees() -> list[io.Input]:
    return [
        sockets.Editor.Input("editor", tooltip="Carries out the prompts that the thinker proposes."),
        sockets.Thinker.Input(
            "judge", tooltip="Scores the edits. Use a different model than the thinker, or it learns to please itself."
        ),
    ]


def _folder_input() -> io.Input:
    names = list(_data_folders())
    return io.Combo.Input(
        "folder",
        options=AnyOption(names),
        default=names[0],
        tooltip="The training data: all runs in this folder and its subfolders, in ComfyUI's output or input folder; "
        "or a dataset that Trajectories To Dataset has made in trl's layout.",
    )


def _data_folders() -> dict[str, Path]:
    """Name → folder of everything there is to learn from."""
    collected = {DATASETS + name: folders.dataset_path(name, "folder") for name in folders.dataset_names(COLLECTED)}
    return folders.folders_above(RECORD_FILE) | collected


def _data_folder(name: str) -> Path:
    found = _data_folders().get(name)
    if found is None:
        raise RethinkError(f"folder: there is no “{name}” with runs or a dataset in it; choose one from the list.")
    return found
