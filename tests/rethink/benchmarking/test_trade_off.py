"""The trade-off curve: its scales, its means, and a run that was cut off."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from rethink.benchmarking.trade_off import MEASURED, CurveItem, TradeOffJob, read_items, read_numbers
from rethink.editors.settings import DEFAULT_SETTINGS, Settings
from rethink.errors import RethinkError
from rethink.images import save_image
from rethink.pairs.models import ModelSource
from rethink.pairs.store import PairStore
from tests.support.pairs import make_pair


class Mixer:
    """An editor that mixes its source with red, the less the more image guidance, or the more strength, it has."""

    def __init__(self, guides=True, strength=0.0, fails=()):
        self.family = SimpleNamespace(guides_by_image=guides)
        self.defaults = Settings(steps=2, text_guidance=7.5, image_guidance=1.5, strength=strength)
        self.edits, self.fails = [], fails

    def prepare(self, image):
        return image

    def edit(self, prepared, prompts, seeds, settings=DEFAULT_SETTINGS, *, mask=None, on_step=None):
        self.edits.append((prompts[0], seeds[0], settings))
        if prompts[0] in self.fails:
            raise RethinkError("it is out of paint")
        share = settings.strength or 1 / (1 + settings.image_guidance)
        return prepared + share * (torch.tensor([1.0, 0, 0]) - prepared)


class Eye:
    """A CLIP whose features are the mean color, and those of two captions gray and red."""

    def images(self, images):
        means = torch.stack([torch.tensor(image).float().mean((0, 1)) / 255 for image in images])
        return torch.nn.functional.normalize(means, dim=-1)

    def texts(self, captions):
        known = {"gray": [1.0, 1, 1], "red": [1.0, 0, 0]}
        return torch.nn.functional.normalize(torch.tensor([known[text] for text in captions]), dim=-1)


EYE = ModelSource("eye", Eye)


def items(count):
    images = [torch.full((1, 4, 4, 3), 0.4 + number / 100) for number in range(count)]
    return [CurveItem(lambda i=i: i, f"item {n}", "gray", "red") for n, i in enumerate(images)]


def source(editor, name="mixer"):
    return ModelSource(name, lambda: editor)


def test_a_curve_goes_over_its_scales_with_the_same_noise():
    editor = Mixer()
    found = TradeOffJob(image_guidance="1 2, 4", seed=5).run([source(editor)], items(9), EYE)
    (curve,) = found.curves
    assert [point.scale for point in curve.points] == [1, 2, 4] and curve.knob == "image_guidance"
    similarities = [point.similarity.mean for point in curve.points]
    assert similarities == sorted(similarities) and all(p.direction.mean > 0.9 for p in curve.points)
    assert {p.similarity.items for p in curve.points} == {9} and curve.points[0].similarity.low is not None
    assert {(prompt, seed) for prompt, seed, _ in editor.edits} == {(f"item {n}", 5 + n) for n in range(9)}
    assert curve.settings == {"steps": 2, "sampler": "default", "text_guidance": 7.5}


def test_several_text_guidances_are_a_curve_each():
    found = TradeOffJob(image_guidance="1", text_guidance="3,7.5").run([source(Mixer())], items(1), EYE)
    assert [curve.editor for curve in found.curves] == ["mixer, text guidance 3", "mixer, text guidance 7.5"]


def test_sdedit_goes_over_its_strength_by_the_edited_caption_and_others_have_one_point():
    redraws, edits = Mixer(guides=False, strength=0.6), Mixer(guides=False)
    job = TradeOffJob(strength="0.2 0.8")
    first, second = job.run([source(redraws, "a"), source(edits, "b")], items(1), EYE).curves
    assert [point.scale for point in first.points] == [0.2, 0.8] and {p for p, *_ in redraws.edits} == {"red"}
    assert [point.scale for point in second.points] == [None] and second.knob == ""


def test_a_run_that_was_cut_off_goes_on(tmp_path):
    job, killed = TradeOffJob(image_guidance="1 2"), Mixer()

    def kill(step):
        if step.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.run([source(killed)], items(3), EYE, tmp_path, kill)
    editor = Mixer()
    found = job.run([source(editor)], items(3), EYE, tmp_path)
    assert len(editor.edits) == 6 - 3 and found.curves == job.run([source(Mixer())], items(3), EYE).curves
    assert len((tmp_path / MEASURED).read_text().splitlines()) == 6
    third = Mixer()
    assert job.run([source(third)], items(3), EYE, tmp_path).curves == found.curves and not third.edits
    TradeOffJob(image_guidance="1 2", seed=1).run([source(third)], items(3), EYE, tmp_path)
    assert len(third.edits) == 6, "another seed is another edit"


class Deaf(Mixer):
    """An editor that finds out in its first edit that some settings have no effect."""

    def sent_settings(self, settings):
        return replace(settings, steps=0, text_guidance=0.0) if self.edits else settings


def test_what_was_not_sent_is_in_no_curve(tmp_path):
    deaf = Deaf(guides=False)
    with pytest.raises(
        RethinkError, match="^text_guidance: has no effect on mixer, which does not take it; leave it at 0"
    ):
        TradeOffJob(text_guidance="2 7").run([source(deaf)], items(9), EYE, tmp_path)
    assert len(deaf.edits) == 1 and not (tmp_path / MEASURED).exists()
    job = TradeOffJob(steps=8)
    for editor in (Deaf(guides=False), Deaf(guides=False)):
        editor.defaults = replace(editor.defaults, text_guidance=0.0)
        (curve,) = job.run([source(editor)], items(1), EYE, tmp_path).curves
        assert curve.settings == {"sampler": "default"}
    assert editor.edits == [], "the second run knows it from the first one's record"


def test_an_item_that_fails_is_in_no_point_and_said():
    found = TradeOffJob(image_guidance="1 2").run([source(Mixer(fails=("item 1",)))], items(3), EYE)
    assert {p.similarity.items for p in found.curves[0].points} == {2}
    assert found.failures == (("mixer, item 2", "it is out of paint"),)
    assert "Not edited: mixer, item 2: it is out of paint" in str(found)


def test_an_editor_that_always_fails_ends_the_run():
    with pytest.raises(RethinkError, match=r"mixer: it is out of paint \(3 items in a row failed\)"):
        TradeOffJob().run([source(Mixer(fails=[f"item {n}" for n in range(3)]))], items(3), EYE)


def test_an_edit_that_changes_nothing_has_no_direction():
    editor = Mixer()
    editor.edit = lambda prepared, *_, **__: prepared
    (curve,) = TradeOffJob(image_guidance="1").run([source(editor)], items(2), EYE).curves
    assert curve.points[0].direction is None and curve.points[0].similarity.mean == pytest.approx(1)


def test_as_a_table_and_as_json():
    found = TradeOffJob(image_guidance="1 1.5").run([source(Mixer())], items(9), EYE)
    head, first, *_ = str(found).splitlines()
    assert found.sentences == ["9 items, measured by the CLIP eye, with 95% intervals."]
    few = TradeOffJob(image_guidance="1").run([source(Mixer())], items(2), EYE)
    assert few.sentences == ["2 items, measured by the CLIP eye, too few sources for intervals."]
    assert head.split() == ["editor", "scale", "image", "similarity", "direction", "items"]
    assert first.startswith("mixer   image guidance 1 ") and first.endswith(" 9")
    record = json.loads(json.dumps(found.as_dict()))
    assert record["curves"][0]["points"][1]["scale"] == 1.5


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"image_guidance": "1, two"}, "image_guidance: expected numbers like"),
        ({"image_guidance": ""}, "image_guidance: expected 1 to 40 numbers"),
        ({"strength": "0.5 1.5"}, "strength: expected numbers above 0 to 1"),
        ({"image_guidance": "0"}, "image_guidance: expected numbers above 0"),
        ({"text_guidance": "nan"}, "text_guidance: expected numbers from 0"),
        ({"steps": -1}, "steps: expected 0 to 1000"),
    ],
)
def test_wrong_scales_are_one_sentence(options, why):
    with pytest.raises(RethinkError, match=f"^{why}"):
        TradeOffJob(**options)


def test_scales_are_sorted_and_each_there_once():
    assert read_numbers("x", " 2, 1.5 2;".replace(";", ""), 9) == [1.5, 2]


@pytest.mark.parametrize(
    ("editors", "count", "why"),
    [
        ([], 1, "editor: there is none"),
        (["a", "a"], 1, "editor: “a” is given twice"),
        (["a"], 0, "items: there are none"),
    ],
)
def test_wrong_inputs_are_one_sentence(editors, count, why):
    with pytest.raises(RethinkError, match=f"^{why}"):
        TradeOffJob().run([source(Mixer(), name) for name in editors], items(count), EYE)


def test_items_of_a_file(tmp_path):
    save_image(torch.rand(1, 8, 8, 3), tmp_path / "a.png")
    line = {"image": "a.png", "instruction": "redden", "source_caption": "gray", "edited_caption": "red"}
    (tmp_path / "edits.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    (item,) = read_items(tmp_path / "edits.jsonl")
    assert (item.instruction, item.edited_caption, item.load().shape) == ("redden", "red", (1, 8, 8, 3))
    (tmp_path / "edits.jsonl").write_text(json.dumps(line | {"edited_caption": ""}) + "\n", encoding="utf-8")
    with pytest.raises(RethinkError, match="^items: line 1 of .* has no “edited_caption”"):
        read_items(tmp_path / "edits.jsonl")


def test_items_of_pairs_are_those_with_captions(tmp_path):
    with pytest.raises(RethinkError, match="^items: no pair in .* has captions"):
        read_items(tmp_path)


def test_items_of_pairs_are_those_without_references(tmp_path):
    pairs = [make_pair(number, input_caption="a cat", target_caption="a dog") for number in (1, 2)]
    with PairStore(tmp_path).writing() as store:
        store.add(pairs[0])
        store.add(replace(pairs[1], instruction="with references", references=("images/00/hat.png",)))
    assert [item.instruction for item in read_items(tmp_path)] == [pairs[0].instruction]
