"""A training as a page: what strangers have said stands in it as text, and it fetches nothing."""

from dataclasses import replace

import torch

from rethink.images import save_image
from rethink.training.lora_pairs import LoraPair
from rethink.training.lora_report import write_report
from rethink.training.lora_run import LoraRecord, LoraRun, Save

RECORD = LoraRecord("<b>it", {"rank": 2}, "built-in", "instruct_pix2pix", 8, ("a",), "0123")


def test_the_page_shows_losses_saves_and_previews(tmp_path):
    run = LoraRun(tmp_path)
    for path in (tmp_path / "in.png", tmp_path / "out.png", run.preview_path(0, 0), run.preview_path(20, 0)):
        path.parent.mkdir(exist_ok=True)
        save_image(torch.rand(1, 8, 8, 3), path)
    pair = LoraPair("a", tmp_path / "in.png", tmp_path / "out.png", "<script>alert(1)</script>", "", "")
    losses = tuple(1 / step for step in range(1, 2001))
    saves = (Save(10, "saves/10", 0.2, 0.3), Save(20, "saves/20", 0.1, 0.2, ("previews/0",)))
    write_report(run, replace(RECORD, losses=losses, saves=saves).choose_best(), [pair])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page and "<title>&lt;b&gt;it" in page
    assert page.count("<img ") == 4 and "20 ★" in page and page.count("<circle") == 2
    assert len(page) < 40_000  # of a long run some points are enough


def test_a_run_that_has_just_begun_has_a_page_too(tmp_path):
    write_report(LoraRun(tmp_path), RECORD, [])
    assert (tmp_path / "report.html").is_file()
