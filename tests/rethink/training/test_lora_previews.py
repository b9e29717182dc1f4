"""Held-out pairs at every save: edited once a save and once without, measured, and kept where pages find them."""

from dataclasses import replace

import pytest
import torch

from rethink.images import load_image
from rethink.training.lora_pairs import read_pairs
from rethink.training.lora_previews import LONGEST_SIDE, Previewer, _shrink
from tests.support import editor_miniatures
from tests.support.lora_training import make_job, open_training, write_pairs
from tests.support.thinking import said, thinker


@pytest.fixture
def training(tmp_path):
    editor = editor_miniatures.opened("instruct_pix2pix", tmp_path)
    editor.defaults = replace(editor.defaults, steps=1)
    return open_training(editor, make_job(tmp_path, write_pairs(tmp_path / "pairs", 8), previews=2))


def save(training, step):
    """The editor with the LoRA of that step, as its file has it."""
    path = training.saves.write_lora(replace(training.record, step=step), training.examples.training)
    return training.model.editor.with_lora(path, 1.0)[0]


def test_held_out_pairs_are_edited_by_every_save_and_once_without(training):
    previewer, told = training.previewer, []
    assert previewer.newest is None
    first = previewer.edit(save(training, 3), 3, told.append)
    assert first.files == ("previews/0-step-000003.png", "previews/1-step-000003.png") and told == [1, 2]
    assert previewer.newest.shape == (1, 32, 64, 3)
    assert [pair.target for pair in first.pairs] == ["previews/0-target.png", "previews/1-target.png"]
    assert all(load_image(training.run_folder.folder / pair.input).shape == (1, 32, 32, 3) for pair in first.pairs)
    alone = training.run_folder.preview_path(0, "1")
    before = alone.stat().st_mtime_ns
    second = previewer.edit(save(training, 6), 6)
    assert second.files != first.files and second.pairs == first.pairs
    assert len(list((training.run_folder.folder / "previews").iterdir())) == 2 * 5
    assert alone.stat().st_mtime_ns == before


def test_the_users_own_edit_is_made_by_every_save_and_has_no_score(training):
    shown = training.examples.held_out[:1]
    own = Previewer(training.run_folder, training.model.editor, shown, instruction=" add a hat ")
    first = own.edit(save(training, 3), 3)
    pair, mine = first.pairs
    assert (pair.instruction, mine.instruction) == ("make it red", "add a hat")
    assert mine.target == "" and first.scores[0] and not first.scores[1] and not mine.scores
    files = [training.run_folder.folder / each for each in (mine.input, mine.base, first.files[1])]
    assert all(file.is_file() for file in files)
    other = Previewer(training.run_folder, training.model.editor, shown, instruction="add a dog")
    assert other.edit(save(training, 6), 6).pairs[1].base != mine.base, "what was made of other words stays theirs"
    assert len(Previewer(training.run_folder, training.model.editor, (), instruction="x").edit(None, 3).files) == 0


def test_pairs_that_are_learned_from_are_shown_where_none_are_held_out(tmp_path):
    editor = editor_miniatures.opened("instruct_pix2pix", tmp_path)
    editor.defaults = replace(editor.defaults, steps=1)
    training = open_training(editor, make_job(tmp_path, write_pairs(tmp_path / "pairs", 3), previews=1))
    assert not training.examples.held_out
    assert len(training.previewer.edit(save(training, 3), 3).files) == 1


def test_edits_are_measured_against_their_targets(training):
    previews = training.previewer.edit(save(training, 3), 3)
    assert len(previews.scores) == 2
    for scores in (*previews.scores, *(pair.scores for pair in previews.pairs)):
        assert set(scores) == {"changed", "kept"} and 0 <= scores["changed"] <= 1


def test_a_thinker_scores_them_and_one_that_fails_takes_nothing_with_it(training):
    judge = thinker(said(4, 9, reasoning="Half."), said(4, 9), "no scores at all")
    shown = training.examples.held_out[:1]
    previewer = Previewer(training.run_folder, training.model.editor, shown, judge)
    first = previewer.edit(save(training, 3), 3)
    assert first.scores[0]["thinker"] == pytest.approx(6) and first.pairs[0].scores["note"] == "Half."
    second = previewer.edit(save(training, 6), 6)
    assert second.scores[0]["thinker"] is None and second.scores[0]["note"]
    assert "make it red" in judge.chat.asked[0].text


def test_large_images_are_kept_smaller():
    import torch

    assert _shrink(torch.zeros(1, 3000, 1500, 3)).shape == (1, LONGEST_SIDE, LONGEST_SIDE // 2, 3)
    assert _shrink(torch.zeros(1, 64, 32, 3)).shape == (1, 64, 32, 3)


def test_previews_of_pairs_with_references_are_edited_with_them(training, tmp_path, monkeypatch):
    pairs = read_pairs(write_pairs(tmp_path / "dressed", 2, references=(2, 0)))
    editor, seen = training.model.editor, []
    previewer, prepare = Previewer(training.run_folder, editor, pairs, instruction="x"), editor.prepare
    monkeypatch.setattr(editor, "prepare", lambda image, others=(): seen.append(others) or prepare(image))
    kept = previewer.edit(editor, 3)
    assert [len(others) for others in seen] == [2, 2, 0, 0, 2, 2], (
        "by both editors; the user's own words may speak of them too"
    )
    assert torch.equal(seen[0][1], pairs[0].load_references()[1])
    assert kept.pairs[0].references == ("previews/0-image2.png", "previews/0-image3.png")
    assert (training.run_folder.folder / kept.pairs[0].references[1]).is_file() and kept.pairs[1].references == ()
