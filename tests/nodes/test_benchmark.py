"""Run Benchmark makes the same job as the command."""

import math
from pathlib import Path

import pytest

from tests.support.benchmark_miniatures import judge_reply, png, put, write_imgedit
from tests.support.benchmark_runs import Painter
from tests.support.servers import completion, openai_server


@pytest.fixture
def bench(classes, models, results):
    def call(benchmark, name="mine", count=0, seed=0, **inputs):
        chosen = benchmark if isinstance(benchmark, dict) else {"benchmark": benchmark}
        return classes["RethinkRunBenchmark"].execute(chosen, name, count=count, seed=seed, **inputs)

    return call


@pytest.fixture
def imgedit(part, results, monkeypatch):
    """A miniature among the data sets."""
    root = part("nodes.comfy.folders").dataset_roots()[0]
    write_imgedit(root / "imgedit")
    return {"benchmark": "ImgEdit-Bench", "data": "imgedit", "code": "imgedit/code"}


def test_the_built_in_world_needs_no_files_and_no_judge(bench, results):
    done = bench("Built-in world", count=3, editor=Painter())
    score, report, table, page, name = done.result
    assert name == "mine"
    assert 0 <= score <= 100 and report.startswith("Built-in world\n") and table.startswith("## Built-in world")
    assert Path(page).parent == results.output / "rethink" / "benchmarks" / "mine" and Path(page).is_file()
    assert len(list(Path(page).parent.glob("*.png"))) == 3
    assert done.ui["rethink_text"][0].startswith(f"Built-in world · all, success: {score:.3f}\nScores for 3 of 3 items")


def test_a_published_one_is_judged_after_its_price_was_said(bench, imgedit, make_thinker, results):
    with openai_server() as server:
        server.replies = [lambda body: (200, completion(judge_reply(body["messages"][0]["content"][0]["text"])), {})]
        from rethink.thinkers.openai_chat import OpenAIChat

        judge = make_thinker(chat=OpenAIChat(server.url, "m"))
        done = bench(imgedit, editor=Painter(), judge=judge, calls=2)
        assert len(server.requests) == 2 and "3 calls to m" in done.ui["rethink_text"][0]
        assert bench(imgedit, judge=judge).result[0] == 4.0 and len(server.requests) == 3, "the rest is asked"


def test_without_a_judge_what_lies_there_is_summed_up(bench, imgedit, results):
    put(results.output / "rethink" / "benchmarks" / "mine" / "1.png", png())
    score, report, *_ = bench(imgedit).result
    assert math.isnan(score) and "not measured" in report


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"name": "../x", "editor": Painter()}, "name: “../x” is not a valid name"),
        ({"against": "/x", "editor": Painter()}, "against: “/x” is not a valid name"),
        ({"thinker": object()}, "editor: is not connected"),
        ({"editor": None}, "name: there are no results with this name"),
        ({"benchmark": {"benchmark": "RISEBench"}, "editor": Painter(), "judge": object()}, "code: choose your copy"),
        ({"benchmark": {"benchmark": "RISEBench"}, "editor": Painter()}, "data: .*give the folder"),
    ],
)
def test_a_wrong_input_is_one_sentence(bench, RethinkError, inputs, why):
    with pytest.raises(RethinkError, match=f"^{why}"):
        bench(**{"benchmark": "Built-in world", **inputs})


def test_the_built_in_world_takes_no_judge(bench, make_thinker, RethinkError):
    with pytest.raises(RethinkError, match="^judge: Built-in world has its own exact judge"):
        bench("Built-in world", editor=Painter(), judge=make_thinker("x"))


def test_the_node_runs_again_when_an_image_or_a_reply_comes(classes, results):
    """As after a run whose budget of judge calls was used up: the next one goes on."""
    node, folder = classes["RethinkRunBenchmark"], results.output / "rethink" / "benchmarks" / "mine"
    seen = [node.fingerprint_inputs(name="mine")]
    assert seen[0] == node.fingerprint_inputs(name="../gone")
    files = (("color/1.jpg", png()), ("judge-replies.jsonl", "{}\n"), ("judge-replies.jsonl", "{}\n{}\n"))
    for name, data in files:
        put(folder / name, data)
        found = node.fingerprint_inputs(name="mine")
        assert found not in seen, name
        seen.append(found)
    put(folder / "rethink-summary.json", "{}")
    assert node.fingerprint_inputs(name="mine") == seen[-1], "a run does not wake itself"
