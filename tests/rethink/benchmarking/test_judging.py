"""Every question is asked once, what cannot be read is asked again, and no failure becomes a score."""

import io
import random
import time
from base64 import b64decode, b64encode

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rethink.benchmarking.budget import NO_LIMITS, Budget
from rethink.benchmarking.judging import MOST_FAILURES, Judge, estimate, find_edits, judge_edits
from rethink.benchmarking.reply_log import ReplyLog
from rethink.errors import RethinkError
from rethink.evaluation.benchmarks import BENCHMARKS
from rethink.thinkers.openai_chat import OpenAIChat
from tests.support.benchmark_miniatures import png, put
from tests.support.benchmark_runs import edited
from tests.support.servers import completion
from tests.support.waiting import wait_until


def run(name, folder, judge, budget=NO_LIMITS, attempts=3, count=None):
    row, items, out = edited(name, folder, count)
    prompts = row.read_prompts(folder / "code")
    return judge_edits(row, items, find_edits(row, items, out), prompts, Judge(judge, attempts), ReplyLog(out), budget)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_all_questions_are_asked_once_and_never_again(name, tmp_path, server, judge):
    found = run(name, tmp_path, judge)
    row, items, out = edited(name, tmp_path)
    prompts = row.read_prompts(tmp_path / "code")
    questions = sum(len(row.questions(item, prompts)) for item in items)
    assert found.calls == questions == len(server.requests) and not found.unreadable and not found.failures
    assert set(found.judged) == {item.id for item in items} and all(found.judged.values())
    assert row.summarize(items, found.judged).coverage == 1
    again = run(name, tmp_path, judge)
    assert again.calls == 0 and len(server.requests) == questions and again.judged == found.judged
    plan = estimate(row, items, find_edits(row, items, out), prompts, Judge(judge), ReplyLog(out))
    assert (plan.calls, plan.known) == (0, questions)
    assert estimate(row, items, find_edits(row, items, out), prompts, Judge(judge, seed=1), ReplyLog(out)).known == 0


def test_texts_and_images_come_in_their_order_and_at_the_source_s_size(tmp_path, server, judge):
    row, items, out = edited("gedit", tmp_path, 1)
    put(out / row.result_names(items[0])[0], png(99, size=40))  # an editor that works at its own size
    run_of = judge_edits(
        row,
        items,
        find_edits(row, items, out),
        row.read_prompts(tmp_path / "code"),
        Judge(judge),
        ReplyLog(out),
        NO_LIMITS,
    )
    assert run_of.judged == {items[0].id: {"semantics": 8, "quality": 7}}
    by_kind = {len(request.body["messages"][0]["content"]): request.body for request in server.requests}
    text, source, edit = by_kind[3]["messages"][0]["content"]
    assert text["text"].endswith("Make the car red") and source["type"] == edit["type"] == "image_url"
    sizes = [
        Image.open(io.BytesIO(b64decode(part["image_url"]["url"].partition(",")[2]))).size for part in (source, edit)
    ]
    assert sizes[0] == sizes[1]
    assert by_kind[3]["max_tokens"] == 500 and by_kind[3]["temperature"] == 0


def test_what_cannot_be_read_is_asked_again_and_then_said(tmp_path, server, judge):
    replies = iter(["八分", "Sorry, I can't.", "Compliance: 4"])
    server.replies = [lambda body: (200, completion(next(replies, "no number")), {})]
    judge.chat.concurrency = 1
    found = run("imgedit", tmp_path, judge, count=2)
    assert found.judged == {"1": {"score": 4.0}, "2": None}
    assert [where for where, _ in found.unreadable] == ["2, score"] and found.calls == 6
    assert [request.body["seed"] for request in server.requests] == [0, 1, 2, 0, 1, 2]
    assert run("imgedit", tmp_path, judge, count=2).calls == 0
    assert run("imgedit", tmp_path, judge, attempts=4, count=2).calls == 1


def test_one_unreadable_reply_leaves_kris_its_other_scores(tmp_path, server, judge):
    answer = server.replies[0]
    server.replies = [lambda body: (200, completion("?"), {}) if "quality_score" in str(body) else answer(body)]
    found = run("kris", tmp_path, judge, attempts=1, count=1)
    assert list(found.judged.values()) == [{"consistency_score": 5, "instruction_score": 5}]
    rise = run("rise", tmp_path / "rise", judge, attempts=1, count=1)
    assert rise.judged == {"temporal_1": {"reasoning": 5, "plausibility": 5}}


def test_a_budget_leaves_a_valid_part(tmp_path, server, judge):
    judge.chat.concurrency = 1
    part = run("gedit", tmp_path, judge, Budget(calls=3))
    assert part.calls == 3 and part.left_out == 3 and part.stopped == "3 calls"
    assert list(part.judged) == ["color_alter/en/k1"]  # the second lacks its quality
    rest = run("gedit", tmp_path, judge)
    assert rest.calls == 3 and len(rest.judged) == 3 and len(server.requests) == 6


def test_a_judge_that_fails_is_no_score_and_one_that_is_gone_ends_it(tmp_path, server, judge):
    answer, calls = server.replies[0], []

    def now_and_then(body):
        calls.append(1)
        return (400, '{"error": {"message": "filtered"}}', {}) if len(calls) == 2 else answer(body)

    server.replies = [now_and_then]
    judge.chat.concurrency = 1
    found = run("imgedit", tmp_path, judge)
    assert (
        sorted(found.judged) == ["1", "3"] and found.failures[0][0] == "2, score" and "filtered" in found.failures[0][1]
    )
    assert sorted(run("imgedit", tmp_path, judge).judged) == ["1", "2", "3"]  # asked again
    server.replies = [(400, '{"error": {"message": "no such model"}}', {})]
    row, items, out = edited("imgedit", tmp_path / "gone")
    with pytest.raises(RethinkError, match="no such model.*it answered nothing.*it resumes"):
        run("imgedit", tmp_path / "none", judge)
    many = [items[0]] * MOST_FAILURES
    with pytest.raises(RethinkError, match="no such model.*it resumes"):
        judge_edits(
            row,
            many,
            find_edits(row, items, out),
            row.read_prompts(tmp_path / "code"),
            Judge(judge),
            ReplyLog(out),
            NO_LIMITS,
        )


def test_what_a_judge_thinks_aloud_is_no_score(tmp_path, server, judge):
    server.replies = [(200, completion("<think>Compliance: 1\nor so</think>Compliance: 4\nFidelity: 5"), {})]
    found = run("imgedit", tmp_path, judge, count=1)
    assert found.judged == {"1": {"score": 4.5}} and found.replies["1"]["score"] == "Compliance: 4\nFidelity: 5"


def test_whatever_a_backend_raises_costs_one_question(tmp_path, server, judge, monkeypatch):
    answer, calls = judge.chat.chat, []

    def chat(messages, images, **options):
        calls.append(1)
        return 1 / 0 if len(calls) == 2 else answer(messages, images, **options)

    monkeypatch.setattr(judge.chat, "chat", chat)
    judge.chat.concurrency = 1
    found = run("imgedit", tmp_path, judge)
    assert sorted(found.judged) == ["1", "3"] and len(found.failures) == 1
    assert "ZeroDivisionError: division by zero" in found.failures[0][1]


def test_no_more_calls_at_once_than_the_judge_takes(tmp_path, server, judge):
    answer = server.replies[0]

    def slow(body):
        wait_until(lambda: server.most_at_once == judge.chat.concurrency)
        return answer(body)

    server.replies = [slow]
    run("kris", tmp_path, judge)
    assert server.most_at_once == judge.chat.concurrency


def test_results_do_not_depend_on_timing(tmp_path, server, judge):
    answer, rng = server.replies[0], random.Random(0)

    def late(body):
        time.sleep(rng.random() / 50)
        return answer(body)

    first = run("kris", tmp_path / "a", judge)
    server.replies = [late]
    assert run("kris", tmp_path / "b", judge).judged == first.judged


def test_a_plain_png_is_sent_as_it_is_and_any_other_file_by_its_pixels():
    image, pixels, notes = torch.full((1, 40, 40, 3), 128 / 255), Image.new("RGB", (40, 40), (128, 128, 128)), PngInfo()
    notes.add_text("prompt", "a secret")
    files = [io.BytesIO() for _ in range(3)]
    for file, kind, more in zip(files, ("PNG", "PNG", "JPEG"), ({}, {"pnginfo": notes}, {})):
        pixels.save(file, kind, **more)
    encode = OpenAIChat("http://127.0.0.1/v1", "m").encode_images
    (by_pixels,), *sent = (encode([image], [file and file.getvalue()]).urls for file in (None, *files))
    own = "data:image/png;base64," + b64encode(files[0].getvalue()).decode()
    assert sent == [[own], [own], [by_pixels]] and by_pixels != own, "without its notes"
