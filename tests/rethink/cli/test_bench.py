"""`rethink bench`: the published benchmarks from the command line."""

import json

import pytest

from rethink.images import load_image
from rethink.thinkers.openai_chat import OpenAIChat
from tests.support.benchmark_miniatures import judge_reply, png, put, write_imgedit
from tests.support.benchmark_runs import Painter
from tests.support.commands import run_here
from tests.support.fake_editor import read_rows
from tests.support.servers import completion, openai_server


def answer(body):
    return 200, completion(judge_reply(body["messages"][0]["content"][0]["text"])), {}


def test_edits_that_lie_there_are_judged_and_summed_up(tmp_path, capfd):
    data, out = write_imgedit(tmp_path / "data"), tmp_path / "out"
    for key in "123":
        put(out / f"{key}.png", png())
    with openai_server() as server:
        server.replies = [answer]
        judge = ["--judge", server.url, "--judge-model", "m", "--judge-temperature", "0.5"]
        code, lines, told = run_here(
            capfd, "bench", "imgedit", data, "-o", out, *judge, "--benchmark-code", data / "code"
        )
        assert code == 0 and "3 calls to m (0 answers are known)" in told[0]
        body = server.requests[0].body
        assert (body["temperature"], body["max_tokens"]) == (0.5, 4096)
    record = json.loads(lines[-1])
    assert record["bench"] == "imgedit" and record["headline"]["value"] == 4.0 and record["coverage"] == 1
    code, lines, _ = run_here(capfd, "bench", "imgedit", data, "-o", out)
    assert code == 0 and json.loads(lines[-1])["figures"] == record["figures"]
    (out / "rethink-report.html").unlink()
    code, lines, _ = run_here(capfd, "report", out)
    assert (
        code == 0 and json.loads(lines[-1])["figures"] == record["figures"] and (out / "rethink-report.html").is_file()
    )


def test_an_editor_makes_what_is_missing(tmp_path, capfd, monkeypatch):
    opened, data = [], write_imgedit(tmp_path / "data")
    monkeypatch.setattr("rethink.cli.bench.open_editor", lambda options: opened.append(options.editor) or Painter())
    chosen = ["--editor", "models/kontext", "--seed", 4, "--limit", 1]
    code, lines, _ = run_here(capfd, "bench", "imgedit", data, "-o", tmp_path / "out", *chosen)
    record = json.loads(lines[-1])
    assert code == 0 and opened == ["models/kontext"] and record["coverage"] == 0 and record["run"]["seed"] == 4
    assert read_rows(load_image(tmp_path / "out" / "1.png"))[0][2] == 4


def test_mistakes_are_said(tmp_path, capfd, monkeypatch):
    data = write_imgedit(tmp_path / "data")
    with pytest.raises(SystemExit):  # its wording is the benchmark's
        run_here(capfd, "bench", "imgedit", data, "-o", data, "--judge-template", data)
    assert "unrecognized arguments: --judge-template" in capfd.readouterr().err
    for arguments, why in (
        (["imgedit", data, "-o", tmp_path / "nowhere"], "not a results folder"),
        (["tiny", "--cases", 0], "--cases: expected 1 or more, got 0."),
        (["tiny", "--against", tmp_path, "--think"], "--against: works only with -o FOLDER"),
    ):
        code, _, told = run_here(capfd, "bench", *arguments)
        assert code == 2 and why in told[0]
    code, _, told = run_here(capfd, "bench", "gedit", data / "code", "-o", data)
    assert code == 2 and "stepfun-ai/GEdit-Bench" in told[0]
    code, _, told = run_here(capfd, "report", data)
    assert code == 2 and "report: " in told[0] and "rethink bench" in told[0]
    opened = []
    monkeypatch.setattr(OpenAIChat, "__init__", lambda self, *a, **k: opened.append(a))
    code, _, told = run_here(
        capfd, "bench", "imgedit", data, "-o", data, "--judge", "http://127.0.0.1:1/v1", "--judge-model", "m"
    )
    assert code == 2 and "--benchmark-code" in told[0] and opened
