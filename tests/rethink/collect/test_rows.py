"""Steps become rows: question, images, answer."""

import pytest

from rethink.collect.rows import defuse_placeholders, flat_text, rows_of
from rethink.collect.runs import facts_of, with_scores
from rethink.errors import RethinkError
from rethink.thinkers.critique import TEMPLATE, critique_messages
from rethink.thinkers.critique_format import parse_critique
from tests.support.trajectories import draw_images, rewrite_record, write_trajectory


def rows(run, folder, places, scores=None):
    return list(rows_of(facts_of(run.folder, "0", run, scores), places, folder))


def test_a_row_asks_what_the_run_asked_and_answers_what_came_next(tmp_path):
    run = write_trajectory(tmp_path / "run", (2, 5, 9, 4), images=draw_images(0, 4))
    first, second, last = rows(run, tmp_path / "data", [0, 1, 2])
    assert second.messages == critique_messages(TEMPLATE, instruction="make it red", prompt="prompt 1")
    answers = [parse_critique(row.answer) for row in (first, second, last)]
    assert [answer.next_prompt for answer in answers] == ["prompt 1", "prompt 2", "prompt 2"]  # the last says stop
    assert [(row.semantic, row.prompt, row.turn) for row in (first, last)] == [(2, "prompt 0", 1), (9, "prompt 2", 3)]
    assert second.images == (second.source, second.edited)
    assert (tmp_path / "data" / second.edited).read_bytes() == (run.folder / "turn-0002-00.png").read_bytes()


def test_a_judge_in_place_of_the_run_has_the_last_word(tmp_path):
    run = write_trajectory(tmp_path / "run", (9, 2))
    (row,) = rows(run, tmp_path / "data", [1], {"0": (1, 1), "1": (7, 6)})
    assert (row.semantic, row.quality) == (7, 6) and parse_critique(row.answer).quality == 6
    assert [step.judge.status for step in with_scores(run, {"1": (7, 6)}).steps] == ["failed", "ok"]


def test_two_instructions_under_one_name_are_not_mixed(tmp_path):
    one = write_trajectory(tmp_path / "a" / "run", (9,), images=draw_images(0, 1))
    other = write_trajectory(tmp_path / "b" / "run", (9,), images=draw_images(1, 1), instruction="make it blue")
    both = [rows(run, tmp_path / "data", [0])[0] for run in (one, other)]
    assert [row.instruction for row in both] == ["make it red", "make it blue"]
    for row, run in zip(both, (one, other)):
        assert (tmp_path / "data" / row.source).read_bytes() == (run.folder / "source.png").read_bytes()


def test_images_that_were_copied_may_be_gone_from_the_run(tmp_path):
    run = write_trajectory(tmp_path / "run", (2, 5, 9), images=draw_images(0, 3))
    facts = facts_of(run.folder, "0", run, None)
    first = list(rows_of(facts, [0, 1], tmp_path / "data"))
    for file in run.folder.glob("*.png"):
        file.unlink()
    assert list(rows_of(facts, [0, 1], tmp_path / "data")) == first
    with pytest.raises(RethinkError, match="^runs: the image .*turn-0003-00.png is gone"):
        list(rows_of(facts, [2], tmp_path / "data"))
    with pytest.raises(RethinkError, match="^runs: "):
        list(rows_of(facts, [0], tmp_path / "other"))


def test_a_run_that_has_changed_since_it_was_read_has_no_rows(tmp_path):
    run = write_trajectory(tmp_path / "run", (2, 5, 9))
    facts = facts_of(run.folder, "0", run, None)
    rewrite_record(run, steps=run.as_dict()["steps"][:2])
    with pytest.raises(RethinkError, match="^runs: .* has changed since it was read"):
        list(rows_of(facts, [0, 1, 2], tmp_path / "data"))


def test_a_users_words_are_no_place_of_an_image(tmp_path):
    run = write_trajectory(tmp_path / "run", (9,), instruction="show <image> as <video>")
    (row,) = rows(run, tmp_path / "data", [0])
    assert flat_text(row.messages).count("<image>") == 2 and "show < image> as < video>" in flat_text(row.messages)
    assert defuse_placeholders("a < b, <b> and <image>") == "a < b, <b> and < image>"
