"""Compare Editors makes the same job as the command."""

from pathlib import Path

import pytest

from tests.support.comparisons import Brush
from tests.support.thinking import critic, said, thinker


@pytest.fixture
def compare(classes, models, results, photo):
    def call(*editors, **inputs):
        first, *more = editors
        named = {f"editor_{number}": [editor] for number, editor in enumerate(more, 2)}
        values = {"image": [photo], "instruction": ["snow", "fog"], "name": ["mine"], "seed": [3], **inputs}
        return classes["RethinkCompareEditors"].execute(editor=[first], **named, **values)

    return call


def test_a_table_the_best_and_a_page(compare, results):
    one, two = Brush("one"), Brush("two")
    done = compare(one, two, judge=[critic(said(9, 9))], steps=[7])
    report, best, page = done.result
    assert report.startswith("mine\n") and best in ("one", "two") and done.ui["rethink_text"] == [report]
    assert Path(page) == results.output / "rethink/comparisons/mine/comparison.html" and Path(page).is_file()
    assert done.ui["rethink_comparison"][0]["best"] == best
    assert [call.seeds for call in one.calls] == [[3], [3]]
    compare(one, two, steps=[7])
    assert len(one.calls) == 2, "made once"
    compare(one, two, steps=[8])
    assert len(one.calls) == 4, "with other settings they are others"


def test_lists_of_editors_and_one_instruction_each(compare, classes, photo):
    inputs = {
        "image": [photo, 1 - photo],
        "one_each": [True],
        "source_caption": ["a", "b"],
        "edited_caption": ["c", "d"],
    }
    one = Brush("one")
    more = [Brush("two"), Brush("three")]
    report = classes["RethinkCompareEditors"].execute(
        editor=[one], editor_2=more, name=["mine"], seed=[0], instruction=["snow", "fog"], **inputs
    )
    assert len(one.calls) == 2 and "three  2" in report.result[0]


def test_names_and_thinking(compare):
    done = compare(Brush("one"), Brush("one"), names=["fine\nrough"], thinker=[thinker(said(9, 9))], turns=[1])
    lines = done.result[0].splitlines()
    assert [line.split("  ")[0] for line in lines[2:6]] == ["fine", "fine + thinking", "rough", "rough + thinking"]


def test_further_measures_have_a_folder_of_comfyuis(compare, part, monkeypatch):
    rows = part("rethink.evaluation.learned_measures")
    (lpips, *_) = rows.MEASURES
    row = rows.LearnedMeasure(lpips.measure, "perceptual", "", lambda folder, device: lambda a, b, instruction: 0.25)
    monkeypatch.setattr(rows, "MEASURES", (row,))
    assert "LPIPS outside" in compare(Brush("one"), Brush("two"), further=["perceptual"]).result[0]


def test_pairs_take_the_place_of_images(compare, pairs):
    done = compare(Brush("one"), Brush("two"), pairs=[pairs], image=[])
    assert "Target kept" in done.result[0]


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"image": []}, "image: connect images"),
        ({"instruction": [""]}, "instruction: say what to change"),
        ({"names": ["a\nb\nc"]}, "names: expected one for each editor \\(2\\), got 3"),
        ({"name": ["../out"]}, "name: “../out” is not a valid name"),
        ({"training": ["gone"]}, "training: there is no “gone”"),
        ({"seed": [1, 2]}, "seed: takes one value"),
        ({"source_caption": ["x"]}, "source_caption: captions require one instruction"),
    ],
)
def test_a_wrong_input_is_one_sentence(compare, RethinkError, inputs, why):
    with pytest.raises(RethinkError, match=f"^{why}"):
        compare(Brush("one"), Brush("two"), **inputs)


def test_one_editor_alone_is_no_comparison(compare, RethinkError):
    with pytest.raises(RethinkError, match="editors: .*got only “one”"):
        compare(Brush("one"))
    with pytest.raises(RethinkError, match="two are called “one”"):
        compare(Brush("one"), Brush("one"))


def test_the_saves_of_a_training_are_compared(compare, part, results, monkeypatch):
    folder = results.output / "rethink/training/run"
    folder.mkdir(parents=True)
    (folder / "training.json").write_text("{}")
    variants = part("rethink.comparison.variants")
    saves = [variants.LoraChoice(folder / f"{step}.safetensors", 1.0, f"step {step}") for step in (50, 100)]
    monkeypatch.setattr(variants, "saves_of", lambda found: saves if found == folder else [])
    added = lambda editor, path, strength: (Brush(f"{editor.name} {path.stem}"), None)  # noqa: E731
    monkeypatch.setattr(part("nodes.comfy.memory"), "add_lora_of", added)
    report = compare(Brush("one"), training=["run"]).result[0]
    assert "one + run step 50" in report and "one + run step 100" in report
