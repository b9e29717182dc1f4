"""Train Thinker: the job of the command, a thinker that Load Thinker lists, and Cancel that keeps what was learned."""

import json
import shutil

import pytest
import torch
from comfy import model_management

from rethink import builtin
from tests.support.thinking import Painter, said, thinker
from tests.support.trajectories import draw_images, write_trajectory

NODE = "RethinkTrainThinker"
QUICK = {"batch": 1, "accumulate": 1, "learning_rate": 0.01, "checkpointing": False, "precision": "no", "lora_rank": 2}
SHARED = {"lora_rank": 4, "train_vision": True, "learning_rate": 1e-4, "batch": 2, "seed": 7, "precision": "no"}
SFT = SHARED | {"epochs": 2.0, "minutes": 3.0, "accumulate": 2, "warmup": 0.2, "pack": True, "checkpointing": False}
GRPO = SHARED | {
    "steps": 9,
    "prompts": 2,
    "rollouts": 4,
    "kl": 0.5,
    "temperature": 0.7,
    "answer_tokens": 99,
    "save_every": 3,
    "hold_out": 5,
    "turns": 2,
    "editor_steps": 3,
    "time_limit": 7.0,
    "checkpointing": False,
    "preset": "code",
    "format_weight": 2.0,
    "agreement_weight": 1.0,
    "improvement_weight": 3.0,
}


@pytest.fixture
def recorded(results):
    """Runs in the output folder."""
    for number in range(2):
        folder = results.output / "rethink" / f"thinking_{number:05d}_"
        write_trajectory(folder, (4, 9), images=draw_images(number, 2, 16))
    return results.output / "rethink"


@pytest.fixture
def train(classes, part, models, recorded, vision_folder):
    """train(method, **options): what the node puts out, run as ComfyUI runs nodes."""
    shutil.copytree(vision_folder, models.LLM / "owner" / "mini")
    memory, loading = part("nodes.comfy.memory"), part("rethink.thinkers.loading")
    path = part("nodes.comfy.model_folders").thinker_path("owner/mini")
    config = loading.ThinkerConfig(where=str(path))

    @torch.inference_mode()
    def call(method="sft", name="taught/mine", folder="output/rethink", learner=None, **options):
        chat = memory.load_chat(loading.find_backend(str(path)), config, "owner/mini", path)
        model = learner or part("rethink.thinkers.critique").Thinker(chat, max_tokens=16)
        done = classes[NODE].execute(model, name, folder, {"method": method, **options})
        call.ui = done.ui
        return done.result

    return call


def test_a_trained_thinker_comes_out_and_is_listed(train, part, models, results):
    trained, report = train(**QUICK)
    assert part("nodes.comfy.model_folders").thinker_names() == ["owner/mini", "taught/mine"]
    assert report.splitlines()[0] == f"thinker → {models.LLM / 'taught' / 'mine'}" and train.ui["rethink_text"] == [
        report
    ]
    assert trained.chat.name == "taught/mine" and trained.chat.folder == models.LLM / "taught" / "mine"
    assert trained.max_tokens == 16
    assert [file.name[:5] for file in (results.output / "rethink" / "training").iterdir()] == ["mine-"]
    again, _ = train(learner=trained, name="taught/again", **QUICK)  # one training after the other
    assert again.chat.folder.name == "again"


def test_cancel_keeps_what_was_learned_and_the_same_inputs_go_on(train, part, monkeypatch, results):
    node = part("nodes.train_thinker")
    status, lines = node.progress.show_status, []

    def cancel_at_first(line):
        lines.append(line)
        if line.startswith("step 1 "):
            model_management.interrupt_current_processing(True)

    monkeypatch.setattr(node.progress, "show_status", cancel_at_first)
    with pytest.raises(model_management.InterruptProcessingException):
        train(**QUICK)
    model_management.interrupt_current_processing(False)
    (work,) = (results.output / "rethink" / "training").iterdir()
    assert [file.parent.name for file in work.glob("*/trainer_state.json")] == ["checkpoint-2"]
    lines.clear()
    monkeypatch.setattr(node.progress, "show_status", lambda line: (lines.append(line), status(line)))
    train(**QUICK)
    assert [line.split(" · ")[0] for line in lines if line.startswith("step ")] == ["step 3 of 4", "step 4 of 4"]


def test_reinforcement_edits_and_judges_on_the_node(train, part, monkeypatch, results):
    """A miniature babbles: what it says is taken for a prompt that differs with its bytes."""
    steps = part("rethink.steps")
    monkeypatch.setattr(
        part("rethink.training.thinker_grpo"),
        "parse_critique",
        lambda text: steps.Critique("ok", 5, 5, "I see.", f"prompt {sum(text.encode()) % 11}"),
    )
    editor, judge = Painter(), thinker(said(2, 2), said(9, 9))
    few = {"steps": 1, "prompts": 1, "rollouts": 2, "batch": 2, "answer_tokens": 2, "hold_out": 0, "time_limit": 60.0}
    trained, report = train("grpo", editor=editor, judge=judge, **{**few, "lora_rank": 2, "precision": "no"})
    assert editor.calls and judge.chat.asked and trained.chat.name == "taught/mine"
    assert "over all steps: busy " in report and "policy " in report
    (work,) = (results.output / "rethink" / "training").iterdir()
    record = json.loads((work / "log.jsonl").read_text(encoding="utf-8"))
    assert record["failed_edits"] == record["failed_judgments"] == 0 and record["reward"] is not None


@pytest.fixture
def jobs(part, monkeypatch):
    """The jobs that were run by node and command, with what they were given, and that leave a thinker."""
    ran = []

    def run(self, *given, **named):
        ran.append((self, given, named))
        self.output.mkdir(parents=True, exist_ok=True)
        for file in self.thinker.iterdir():
            if file.is_file():
                shutil.copy(file, self.output)
        return "the report"

    for module, job in (("thinker_sft", "SFTJob"), ("thinker_grpo_job", "GRPOJob")):
        monkeypatch.setattr(getattr(part(f"rethink.training.{module}"), job), "run", run)
    return ran


@pytest.mark.parametrize(("method", "values"), [("sft", {}), ("sft", SFT), ("grpo", {}), ("grpo", GRPO)])
def test_the_job_is_that_of_the_command(method, values, train, jobs, part, models, recorded, tmp_path):
    editor, judge = Painter(), thinker(said(9, 9))
    referees = {"editor": editor, "judge": judge} if method == "grpo" else {}
    _, report = train(method, **values, **referees)
    options = [["--" + name.replace("_", "-"), str(value)] for name, value in values.items() if type(value) is not bool]
    options += [
        [f"--{'' if value else 'no-'}{name.replace('_', '-')}"] for name, value in values.items() if type(value) is bool
    ]
    options += [["--editor", "built-in", "--judge", "built-in"]] if referees else []
    folders = [models.LLM / "owner" / "mini", recorded, "-o", models.LLM / "taught" / "other"]
    command = [
        "train-thinker",
        *map(str, folders),
        "--method",
        method,
        *(each for option in options for each in option),
    ]
    assert part("rethink.cli.main").main(command) == 0
    (mine, given, _), (other, _, _) = jobs
    free = ("log_every", "workers")
    assert {**vars(mine.config), **dict.fromkeys(free)} == {**vars(other.config), **dict.fromkeys(free)}
    assert (mine.thinker, mine.data, mine.template) == (other.thinker, other.data, other.template)
    assert report == "the report"
    if referees:
        assert given[0].name == editor.name and given[1] is judge


def test_a_thinker_without_weights_here_is_refused(train, RethinkError):
    with pytest.raises(
        RethinkError, match="^thinker: says is not a folder of weights, so it cannot be trained here; choose"
    ):
        train(learner=thinker(said(9, 9)))


def test_mistakes_are_named_by_the_inputs_own_names(train, models, RethinkError):
    for options, why in (
        ({"name": "../mine"}, "^name: .*use, for example, my-thinker"),
        ({"name": "owner/mini"}, "^name: .* is the thinker to start from"),
        ({"folder": "output/gone"}, "^folder: there is no"),
        ({"folder": "input"}, "^folder: there are no recorded runs in .*input or below"),
        ({"batch": 0}, r"^method\.batch: expected 1"),
    ):
        with pytest.raises(RethinkError, match=why):
            train(**{**QUICK, **options})
    (models.LLM / "mine").mkdir()
    (models.LLM / "mine" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RethinkError, match="^name: .*not trained by Rethink"):
        train(name="mine", **QUICK)


def test_a_collected_data_set_is_offered_and_a_new_one_runs_again(classes, part, models, recorded):
    folder = part("nodes.comfy.folders").dataset_path("mine", "name")
    folder.mkdir(parents=True)
    (folder / "trl-sft.jsonl").write_text(json.dumps({}) + "\n", encoding="utf-8")
    options = classes[NODE].describe()["input"]["required"]["folder"][1]["options"]
    assert list(options) == ["output", "input", "output/rethink", "datasets/mine"]
    before = classes[NODE].fingerprint_inputs(folder="datasets/mine")
    (folder / "trl-rl.jsonl").write_text("{}\n", encoding="utf-8")
    assert classes[NODE].fingerprint_inputs(folder="datasets/mine") != before
    assert classes[NODE].fingerprint_inputs(folder="output/rethink")[0] == 2


def test_inputs_are_the_options_of_the_jobs(classes, part, models, results):
    options = part("rethink.options").options_of
    sft, grpo, rewards = (part(f"rethink.training.thinker_{module}") for module in ("sft", "grpo", "rewards"))
    (method,) = (each for each in classes[NODE].define_schema().inputs if each.id == "method")
    for choice, configs, in_sight in zip(
        method.options,
        [(sft.SFTConfig,), (grpo.GRPOConfig, rewards.RewardRules)],
        [["epochs", "minutes", "lora_rank"], ["editor", "judge", "steps", "lora_rank"]],
    ):
        shown = {each.id: each.described for each in choice.inputs}
        assert [name for name, described in shown.items() if not described.get("advanced")] == in_sight
        for found in (each for config in configs for each in options(config) if each.name in shown):
            described = shown[found.name]
            assert described["tooltip"] == found.help and described["default"] == found.default
            assert (described.get("min"), described.get("max")) == (found.low, found.high)
        left = {each.name for config in configs for each in options(config)} - shown.keys()
        assert left <= {"workers", "log_every", "vllm", "vllm_server"}
        assert shown["learning_rate"]["round"] <= 1e-6, "a small one is not rounded away"


@pytest.mark.skipif(not builtin.THINKER_FOLDER.exists(), reason="the built-in models are not trained yet")
def test_the_built_in_thinker_can_be_trained(part, models):
    loading, memory = part("rethink.thinkers.loading"), part("nodes.comfy.memory")
    row = loading.find_backend("built-in")
    chat = memory.load_chat(row, loading.ThinkerConfig(), "built-in", row.folder)
    assert part("nodes.train_thinker")._folder_of(part("rethink.thinkers.critique").Thinker(chat)) == row.folder
