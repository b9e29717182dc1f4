"""What a training may write over, and where it keeps what it needs to go on."""

import json

import pytest

from rethink.builtin import THINKER_FOLDER
from rethink.errors import RethinkError
from rethink.thinkers.backends.local_folder import MARK, knows_critiques_alone
from rethink.training.thinker_folders import (
    check_output,
    checkpoints_of,
    find_last_checkpoint,
    mark_trained,
    save,
    work_folder,
)


@pytest.fixture
def thinker(tmp_path):
    (tmp_path / "thinker").mkdir()
    (tmp_path / "thinker" / "config.json").write_text("{}", encoding="utf-8")
    return tmp_path / "thinker"


def test_no_model_is_written_over_that_was_not_trained_here(thinker, tmp_path):
    check_output(tmp_path / "new", thinker)
    with pytest.raises(RethinkError, match="is the thinker that is trained"):
        check_output(thinker, thinker)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RethinkError, match="^output: .*not trained by Rethink; choose another place"):
        check_output(other, thinker)
    mark_trained(other, thinker)
    check_output(other, thinker)
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


def test_the_same_training_has_the_same_folder(tmp_path):
    first, same, other = (work_folder(tmp_path / "out", tmp_path, {"data": data}) for data in ([1], [1], [2]))
    assert first == same != other and first.parent == tmp_path and first.name.startswith("out-")
    assert work_folder(tmp_path / "out", None, {}) == tmp_path / "out-checkpoints"


def test_the_newest_whole_checkpoint_is_found(tmp_path):
    assert find_last_checkpoint(tmp_path / "work", {"lora": 0}) is None
    for step in (2, 10):
        (tmp_path / "work" / f"checkpoint-{step}").mkdir()
        (tmp_path / "work" / f"checkpoint-{step}" / "trainer_state.json").write_text("{}", encoding="utf-8")
    (tmp_path / "work" / "checkpoint-11").mkdir()
    assert find_last_checkpoint(tmp_path / "work", {"lora": 0}).name == "checkpoint-10"
    with pytest.raises(RethinkError, match="holds the checkpoints of a run with"):
        find_last_checkpoint(tmp_path / "work", {"lora": 4})


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
