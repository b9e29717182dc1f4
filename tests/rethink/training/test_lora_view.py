"""A training as JSON: few points, what was measured, how fast it is."""

import json
from dataclasses import replace

from rethink.training.best_save import Save
from rethink.training.lora_curves import MOST_POINTS
from rethink.training.lora_run import LoraRecord, PreviewPair
from rethink.training.lora_view import samples_per_second, thin, view_of

RECORD = LoraRecord("it", {"batch": 2, "accumulate": 4}, "built-in", "f", 8, ("a", "b"), "0123", steps=4)


def test_a_view_says_all_that_is_shown():
    save = Save(2, "saves/2", 0.2, 0.3, ("p",), ({"changed": 0.5, "kept": None, "note": "n"},))
    pair = PreviewPair("red", "i", "t", "b", {"changed": 0.1})
    record = replace(RECORD, step=2, seconds=4.0, losses=(0.5, 0.4), saves=(save,), preview_pairs=(pair,), best=2)
    view = view_of(record)
    assert json.loads(json.dumps(view, allow_nan=False))["curves"]["raw"] == [[1, 0.5], [2, 0.4]]
    assert view["samples_per_second"] == 4 and view["seconds_left"] == 4 and view["held_out"] == 2
    assert view["saves"][0]["means"] == {"changed": 0.5} and view["saves"][0]["scores"][0]["note"] == "n"
    assert view["preview_editor"] == ""
    by_another = replace(record, saves=(replace(save, preview_editor="distilled"),))
    assert view_of(by_another)["preview_editor"] == "distilled"
    assert view["shown"][0]["instruction"] == "red" and view["shown"][0]["means"] == {"changed": 0.1}


def test_losses_since_the_newest_save_are_shown_too():
    assert len(view_of(RECORD, [0.5, 0.4, 0.3])["curves"]["raw"]) == 3


def test_before_the_first_step_nothing_is_known():
    view = view_of(RECORD)
    assert view["samples_per_second"] == 0 and view["seconds_left"] is None and samples_per_second(RECORD) == 0


def test_a_rate_that_changes_all_the_time_is_thinned_and_ends_where_it_ends():
    rates = [(step, 1 / step) for step in range(1, 1002)]
    assert len(thin(rates)) <= MOST_POINTS and thin(rates)[-1] == rates[-1] and thin([]) == []
