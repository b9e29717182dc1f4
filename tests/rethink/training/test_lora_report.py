"""A training as a page: what strangers have said stands in it as text, and it fetches nothing."""

from dataclasses import replace

import pytest
import torch

from rethink.images import save_image
from rethink.training.best_save import Save
from rethink.training.lora_report import Axes, round_values, value_range, write_report
from rethink.training.lora_run import LoraRecord, LoraRun, PreviewPair

RECORD = LoraRecord("<b>it", {"rank": 2}, "built-in", "instruct_pix2pix", 8, ("a",), "0123")
SCORES = {"changed": 0.42, "kept": 0.9, "thinker": 7.0, "note": "<i>fine"}


def test_the_page_shows_losses_saves_and_previews(tmp_path):
    run = LoraRun(tmp_path)
    images = [run.side_path(side, "0") for side in ("input", "target", "image2")] + [
        run.preview_path(step, "0") for step in (0, 20)
    ]
    for path in images:
        path.parent.mkdir(exist_ok=True)
        save_image(torch.rand(1, 8, 8, 3), path)
    files = [run.relative(path) for path in images]
    scores = {"changed": 0.05, "kept": 1.0}
    pair = PreviewPair("<script>alert(1)</script>", *files[:2], files[3], scores, references=(files[2],))
    losses = tuple(1 / step for step in range(1, 2001))
    saves = (Save(10, "saves/10", 0.2, 0.3), Save(20, "saves/20", 0.1, 0.2, (files[4],), (SCORES,)))
    record = replace(
        *(RECORD,), losses=losses, step=2000, saves=saves, preview_pairs=(pair,), rates=((1, 1e-4),), seconds=10.0
    )
    write_report(run, record.choose_best())
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page and "<title>&lt;b&gt;it" in page and "<i>fine" not in page
    assert (
        page.count("<img ") == 5
        and page.index("image 2") < page.index('alt="target"')
        and "20 ★" in page
        and page.count("<circle") == 2
    )
    assert "42%" in page and "7.0" in page and "editor alone<td>–<td>–<td>5%" in page
    assert page.count("<polyline") == 4 and 'class="rate"' in page and "0.0001" in page
    assert len(page) < 40_000  # of a long run some points are enough


def test_a_run_that_has_just_begun_has_a_page_too(tmp_path):
    write_report(LoraRun(tmp_path), RECORD)
    assert (tmp_path / "report.html").is_file()


def test_a_plot_has_all_values_within_and_one_step_is_enough():
    low, high = value_range([0.2, 0.4])
    assert low < 0.2 and high > 0.4 and value_range([0.3, 0.3])[0] < 0.3 < value_range([0.3, 0.3])[1]
    axes = Axes(1, low, high, 0, 100)
    assert axes.places([(1, high), (1, low), (1, 9.0)]) == [(64, 0), (64, 100), (64, 0)]
    assert round_values(0.19, 0.81) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert round_values(0.2981, 0.3019) == pytest.approx([0.299, 0.3, 0.301])
