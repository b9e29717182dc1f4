"""Edits are made once, and one that fails ends nothing."""

import json
from dataclasses import replace
from types import SimpleNamespace

from rethink.comparison.edits import LOG, MOST_FAILURES, make_edits, read_edits
from rethink.comparison.tasks import tasks_from_pairs
from rethink.editors.settings import Settings
from rethink.images import load_image
from tests.support.comparisons import Brush, broken, tasks, variant
from tests.support.lora_training import write_pairs


def test_edits_are_made_once(tmp_path):
    one, two = Brush("one"), Brush("two")
    done = []
    make_edits(tasks(), [variant("one", one)], tmp_path)
    found = make_edits(
        tasks(3), [variant("one", one), variant("two", two)], tmp_path, lambda *step: done.append(step[:2])
    )
    assert len(one.calls) == len(two.calls) == 6 and len(found.found) == 12
    assert done == [(number, 8) for number in range(1, 9)], "what is left to make"
    assert {edit.file for edit in found.found.values()} == {
        f"edits/{file.name}" for file in (tmp_path / "edits").iterdir()
    }
    edit = next(iter(found.found.values()))
    assert edit.size == (16, 16) and edit.memory is None and edit.seconds >= 0


def test_every_editor_works_at_its_own_defaults_unless_it_is_told_otherwise(tmp_path):
    quick, slow = Brush("quick"), Brush("slow")
    quick.defaults, slow.defaults = Settings(steps=1, text_guidance=2.5), Settings(steps=28, text_guidance=4.0)
    told = variant("told", slow, Settings(steps=8))
    edits = make_edits(tasks(1), [variant("quick", quick), variant("slow", slow), told], tmp_path).found
    assert list(dict.fromkeys(edit.settings for edit in edits.values())) == [
        "1 step · text guidance 2.5",
        "28 steps · text guidance 4",
        "8 steps · text guidance 4",
    ]
    assert read_edits(tmp_path) == edits


def test_what_an_edit_left_out_is_not_said_of_it(tmp_path):
    picky = Brush("picky")
    picky.sent_settings = lambda settings: replace(settings, steps=0 if picky.calls else settings.steps)
    edits = make_edits(tasks(1), [variant("picky", picky, Settings(steps=8))], tmp_path).found
    assert {edit.settings for edit in edits.values()} == {"the server's own number of steps · text guidance 7.5"}


def test_a_file_that_is_gone_is_made_again(tmp_path):
    one = Brush("one")
    edits = make_edits(tasks(), [variant("one", one)], tmp_path)
    (tmp_path / next(iter(edits.found.values())).file).unlink()
    (tmp_path / LOG).open("a").write('{"task": "torn')
    make_edits(tasks(), [variant("one", one)], tmp_path)
    assert len(one.calls) == 5 and len(read_edits(tmp_path)) == 4


def test_broken_files_of_an_earlier_run_are_made_again(tmp_path):
    one = Brush("one")
    whole = make_edits(tasks(), [variant("one", one)], tmp_path).found
    broken_edit = tmp_path / next(iter(whole.values())).file
    sources = sorted((tmp_path / "sources").iterdir())
    for file in (broken_edit, sources[0]):
        file.write_bytes(file.read_bytes()[:40])
    sources[1].write_bytes(b"")
    assert len(read_edits(tmp_path)) == 3
    again = make_edits(tasks(), [variant("one", one)], tmp_path).found
    assert len(one.calls) == 5 and {edit.digest for edit in again.values()} == {edit.digest for edit in whole.values()}
    assert all(load_image(file).shape == (1, 16, 16, 3) for file in (broken_edit, *sources))


def test_what_fails_is_left_out_with_its_reason(tmp_path):
    many = tasks(4)
    edits = make_edits(many, [broken(), variant("dry", Brush("dry", fails=1)), variant("one")], tmp_path)
    assert list(edits.absent.values()) == ["lora: it was made for another model."]
    assert len(edits.found) == 1 + len(many)
    assert list(edits.failed.values()) == ["dry is out of paint"] * MOST_FAILURES, "then it is given up"


def test_a_line_that_leads_elsewhere_is_no_edit(tmp_path):
    record = {"task": "a", "variant": "b", "file": "../secret.png", "digest": "", "seconds": 1, "size": [1, 1]}
    (tmp_path / LOG).write_text(json.dumps({"id": "a-b", **record}) + "\n")
    (tmp_path.parent / "secret.png").write_bytes(b"")
    assert read_edits(tmp_path) == {}


def test_what_was_loaded_is_let_go(tmp_path):
    gone = []
    mine = replace(variant("one"), release=lambda: gone.append("one"))
    make_edits(tasks(1), [mine, broken()], tmp_path)
    assert gone == ["one"]


def test_an_editor_is_shown_as_many_references_as_it_can_look_at(tmp_path):
    seen = []

    class Looker(Brush):
        family = SimpleNamespace(guides_by_image=False, references=1)

        def prepare(self, images, references=()):
            seen.append([image.shape[2] for image in references])
            return super().prepare(images, references)

    dressed = tasks_from_pairs(write_pairs(tmp_path / "pairs", 2, references=(0, 2)))
    make_edits(dressed, [variant("blind"), variant("one", Looker("one"))], tmp_path / "out")
    assert seen == [[], [32]]
