"""Trade-Off Curve makes the same job as the command."""

import json
import shutil
from pathlib import Path

import pytest

from rethink.editors.loading import load_editor

CAPTIONS = {"source_caption": ["a street"], "edited_caption": ["a street in the snow"]}


@pytest.fixture
def curve(classes, models, results, clip_folder, photo):
    shutil.copytree(clip_folder, models.clip_vision / "mini")

    def call(editor, **inputs):
        values = {"image": [photo], "instruction": ["snow"], **CAPTIONS, "clip": ["mini"], "steps": [2], **inputs}
        return classes["RethinkTradeOffCurve"].execute(editor=[editor], **values)

    return call


def test_a_plot_a_table_and_a_page(curve, miniature, results):
    done = curve(load_editor(miniature), image_guidance=["1 2"])
    plot, report, numbers, page = done.result
    assert plot.ndim == 4 and json.loads(numbers)["curves"][0]["points"][1]["scale"] == 2
    assert done.ui["rethink_text"] == [report] and report.startswith("editor ")
    assert Path(page).parent == results.output / "rethink" / "curve_00001_" and Path(page).is_file()


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"edited_caption": [""]}, "edited_caption: is empty"),
        ({"instruction": ["a", "b"]}, "instruction: expected one for each image \\(1\\), got 2"),
        ({"steps": [1, 2]}, "steps: takes one value"),
        ({"image_guidance": ["x"]}, "image_guidance: expected numbers"),
    ],
)
def test_a_wrong_input_is_one_sentence(curve, miniature, RethinkError, inputs, why):
    with pytest.raises(RethinkError, match=f"^{why}"):
        curve(load_editor(miniature), **inputs)
