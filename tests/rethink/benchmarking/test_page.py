"""The page of a run holds everything in one file, and runs nothing."""

import re

from rethink.benchmarking.editing import EditSetup, Thinking
from rethink.benchmarking.job import BenchmarkJob
from rethink.benchmarking.page import PAGE
from rethink.evaluation.benchmarks import BENCHMARKS
from rethink.think_loop import LoopConfig
from rethink.thinkers.critique import Thinker
from tests.support.benchmark_miniatures import put, write_gedit, write_imgedit
from tests.support.benchmark_runs import Painter


class Critic:
    name, placement = "critic", "elsewhere"

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        return '{"semantic": 5, "quality": 5, "reasoning": "more", "prompt": "make it red & R&D-like"}'


def test_figures_cases_and_the_turns_of_thinking(tmp_path, judge):
    data = write_imgedit(tmp_path / "data")
    job = BenchmarkJob(BENCHMARKS["imgedit"], data, tmp_path / "out", data / "code")
    thinking = Thinking(Thinker(Critic()), LoopConfig(turns=2))
    report = job.run(EditSetup(Painter(), thinking=thinking), judge)
    page = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert "rewritten by thinking" in page and "Scores for 3 of 3 items" in page
    assert page.count("<div class=case>") == 3 and page.count("2 turns of thinking") == 3
    assert page.count("data:image/jpeg") == 3 * (1 + 1 + 2) and "make it red &amp; R&amp;D-like" in page
    assert "FLUX.1 Kontext" in page and "leaderboard" in page and str(tmp_path) not in page
    assert not re.search(r"<script|https?://", page)
    assert "<h2>All edits, worst first</h2>" in page and "<h2>Best" not in page
    assert "<th>thinking<td>thinker critic, turns 2, candidates 1, accept 8" in page and "checklist no" in page
    assert report.record["thinking"]["thinker"] == "critic" and report.record["thinking"]["turns"] == 2


def test_nothing_judged_and_broken_images(tmp_path):
    data = write_gedit(tmp_path / "data")
    out = tmp_path / "out"
    out.mkdir()
    job = BenchmarkJob(BENCHMARKS["gedit"], data, out)
    job.run()
    assert "not measured" in (out / PAGE).read_text(encoding="utf-8")
    columns = (
        "source_image,edited_image,instruction,sementics_score,quality_score,intersection_exist,instruction_language"
    )
    rows = [f"s,/fullset/color_alter/en/k{n}.png,x,{n},{n},True,en" for n in (1, 2)]
    put(out / "gpt4o" / "m_color_alter_gpt_score.csv", "\n".join([columns, *rows]))
    put(out / "fullset/color_alter/en/k1.png", b"no image")
    job.run()
    page = (out / PAGE).read_text(encoding="utf-8")
    assert "edit: not readable" in page and page.index("Make the car red") < page.index("Make the sky")
