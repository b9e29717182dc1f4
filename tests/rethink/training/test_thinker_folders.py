"""What a training may write over, and where it keeps what it needs to go on."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from rethink.builtin import THINKER_FOLDER
from rethink.errors import RethinkError
from rethink.thinkers.backends.local_folder import MARK, knows_critiques_alone
from rethink.training.thinker_folders import (
    check_layout,
    check_output,
    checkpoints_of,
    find_last_checkpoint,
    full_disk_as_error,
    mark_trained,
    save,
    save_trained,
    step_of,
    work_folder,
)
from tests.support.trajectories import write_trajectory


@pytest.fixture
def thinker(tmp_path):
    (tmp_path / "thinker").mkdir()
    (tmp_path / "thinker" / "config.json").write_text("{}", encoding="utf-8")
    return tmp_path / "thinker"


def test_no_model_is_written_over_that_was_not_trained_here(thinker, tmp_path):
    check_output(tmp_path / "new", thinker)
    with pytest.raises(RethinkError, match="is the thinker to start from"):
        check_output(thinker, thinker)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RethinkError, match="^output: .*not trained by Rethink; choose another folder"):
        check_output(other, thinker)
    mark_trained(other, thinker)
    check_output(other, thinker)
    runs = tmp_path / "runs"
    runs.mkdir()
    for name in (".hidden", "desktop.ini"):  # of a file manager, which has looked at the empty folder
        (runs / name).touch()
    check_output(runs, thinker)
    (runs / "a").mkdir()
    with pytest.raises(
        RethinkError, match="^output: .*runs contains files that are not a thinker's; choose a new folder"
    ):
        check_output(runs, thinker)
    assert json.loads((other / MARK).read_text(encoding="utf-8")) == {
        "trained_from": "thinker",
        "only_critiques": False,
    }


def test_what_the_built_in_thinker_knows_those_trained_from_it_know_and_no_more(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for out, like in ((first, THINKER_FOLDER), (second, first)):
        out.mkdir()
        mark_trained(out, like)
    assert knows_critiques_alone(THINKER_FOLDER) and knows_critiques_alone(first) and knows_critiques_alone(second)
    assert not knows_critiques_alone(tmp_path)


def test_one_of_before_there_were_marks_is_known_by_its_checkpoints(thinker, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_text("{}", encoding="utf-8")
    checkpoints_of(old).mkdir()
    check_output(old, thinker)


@pytest.mark.parametrize("given", [True, False])
def test_the_same_training_has_the_same_folder(tmp_path, given):
    folder = tmp_path / "trainings" if given else None
    first, same, other = (work_folder(tmp_path / "out", folder, {"data": data}) for data in ([1], [1], [2]))
    assert first == same != other and first.name.startswith("out-")
    assert first.parent == (folder or tmp_path / "out-checkpoints")


def write_checkpoints(work, *names):
    for name in names:
        (work / name).mkdir(parents=True)
        (work / name / "trainer_state.json").write_text("{}", encoding="utf-8")


def test_the_newest_whole_checkpoint_is_found(tmp_path):
    assert find_last_checkpoint(tmp_path / "work", {"lora": 0}) is None
    write_checkpoints(
        tmp_path / "work", "checkpoint-2", "checkpoint-10", "checkpoint-12-good"
    )  # the last is a user's copy
    (tmp_path / "work" / "checkpoint-11").mkdir()
    last = find_last_checkpoint(tmp_path / "work", {"lora": 0})
    assert last.name == "checkpoint-10" and (step_of(last), step_of(None)) == (10, 0)
    with pytest.raises(RethinkError, match=r"of another training \(lora: 0, not 4; see: None, not True\)"):
        find_last_checkpoint(tmp_path / "work", {"lora": 4, "see": True})


def test_a_torn_marker_is_that_of_another_training(tmp_path):
    write_checkpoints(tmp_path, "checkpoint-2")
    for torn in ("", '{"lora": ', "[]"):
        (tmp_path / "trained.json").write_text(torn, encoding="utf-8")
        with pytest.raises(RethinkError, match=r"trained.json cannot be read\); remove it"):
            find_last_checkpoint(tmp_path, {"lora": 0})


def test_what_was_cut_off_while_it_was_saved_can_be_written_over(thinker, tmp_path):
    class Model:
        def save_pretrained(self, out):
            (out / "config.json").write_text("new", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_trained(Model(), thinker, tmp_path / "out")
    check_output(tmp_path / "out", thinker)


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Access is denied"),
        SafetensorError("Error while serializing: I/O error: The requested operation cannot … (os error 1224)"),
    ],
)
def test_a_thinker_that_is_in_use_on_windows_is_said(thinker, tmp_path, error):
    class Model:
        def save_pretrained(self, out):
            raise error

    with pytest.raises(RethinkError, match="^output: .*out cannot be replaced .*; close the program that has it open"):
        save_trained(Model(), thinker, tmp_path / "out")


def test_what_is_saved_can_be_written_over(thinker, tmp_path):
    class Model:
        def save_pretrained(self, out):
            out.mkdir(exist_ok=True)

    (thinker / "tokenizer.json").write_text("{}", encoding="utf-8")
    (thinker / "tokenizer.json").chmod(0o444)
    save(Model(), thinker, tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").stat().st_mode & 0o200


def test_data_for_other_trainers_are_named(tmp_path):
    def layout(folder, *files):
        folder.mkdir(parents=True)
        for name in files:
            (folder / name).touch()
        return folder

    check_layout([layout(tmp_path / "ours", "trl-sft.jsonl", "trl-rl.jsonl")], "trl-sft.jsonl")
    write_trajectory(tmp_path / "runs" / "below" / "run", (2, 5))
    check_layout([layout(tmp_path / "runs" / "more", "trl-rl.jsonl").parent, tmp_path / "none"], "trl-sft.jsonl")
    other = layout(tmp_path / "other", "llama-factory-sft.jsonl")
    with pytest.raises(RethinkError, match=r"^data: .*other has llama-factory-sft.jsonl, but no trl-sft.jsonl"):
        check_layout([other], "trl-sft.jsonl")


def fill_with_torch():
    torch.save({"a": torch.zeros(10**6)}, "/dev/full")


def fill_with_python():
    Path("/dev/full").write_text("full", encoding="utf-8")


def fill_with_safetensors():
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("fill", [fill_with_torch, fill_with_python, fill_with_safetensors])
def test_a_full_disk_is_said(fill, tmp_path):
    with pytest.raises(RethinkError, match="^output: no room left"), full_disk_as_error(tmp_path, tmp_path):
        fill()


def test_a_full_disk_of_windows_is_said_whatever_its_language(tmp_path):
    error = SafetensorError(
        "Error while serializing: I/O error: Es steht nicht genug Speicherplatz zur Verfügung. (os error 112)"
    )
    with pytest.raises(RethinkError, match="^output: no room left"), full_disk_as_error(tmp_path, tmp_path):
        raise error


def test_what_is_no_full_disk_stays_what_it_is(tmp_path):
    for error in (FileNotFoundError(2, "it is gone"), RuntimeError("it is gone"), RethinkError("it is gone")):
        with pytest.raises(type(error), match="it is gone"), full_disk_as_error(tmp_path, tmp_path):
            raise error


def test_a_folder_that_is_replaced_keeps_nothing_of_another_thinker(thinker, tmp_path):
    class Model:
        def save_pretrained(self, out):
            (out / "config.json").write_text("new", encoding="utf-8")

    (thinker / "tokenizer.json").write_text("of this one", encoding="utf-8")
    (thinker / "model.safetensors").write_text("old weights", encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    (out / "tokenizer.json").write_text("of another one", encoding="utf-8")
    save(Model(), thinker, out)
    assert {file.name: file.read_text(encoding="utf-8") for file in out.iterdir()} == {
        "config.json": "new",
        "tokenizer.json": "of this one",
    }
