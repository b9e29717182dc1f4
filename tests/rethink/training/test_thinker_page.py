"""The page of a thinker's reinforcement."""

import json
import re

from rethink.training.thinker_page import PAGE, write_page

SAMPLE = {
    "instruction": "make <b>it</b> red",
    "last_prompt": "red & bright",
    "answer": "<script>alert(1)</script>\n\ud800",
    "next_prompt": "paint it red",
    "before": [3.0, 8.0],
    "after": None,
    "reward": None,
}


def step(number, reward, samples=(), **parts):
    counts = {"groups": 4, "groups_skipped": 1, "answers_without_reward": 2}
    busy = {"editor": 0.2, "judge": 0.1, "policy": 0.3, "servers": 0.25}
    record = {"step": number, "reward": reward, "parts": parts, "samples": list(samples)}
    return record | counts | {"busy": busy, "seconds": 2.0}


def measured(number, success, best):
    held_out = {"step": number, "success": success, "turns": 2.5, "tasks": 8, "failed": 0, "reward": None}
    return {"step": number, "held_out": held_out, "best": best, "warning": ""}


def page_of(folder, *records):
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    write_page(folder, 2)
    return (folder / PAGE).read_text(encoding="utf-8")


def rows_of(page):
    table = page.partition('class="steps">')[2].partition("</table>")[0]
    return [re.split("<t[hd]>", row)[1:] for row in re.split("<tr[^>]*>", table)[1:]]


def test_a_row_says_what_its_steps_brought_and_what_was_measured_after_them(tmp_path):
    page = page_of(
        tmp_path,
        measured(0, 0.5, True),
        step(1, 0.2, format=0.5, improvement=0.4),
        step(2, 0.6, format=1.0, improvement=0.6),
        measured(2, 0.75, True),
        step(3, None),
        measured(3, 0.25, False),
    )
    assert rows_of(page) == [
        ["steps", "reward", "format", "improvement", "questions skipped", "answers without reward", "held-out success", "turns"],
        ["0", "–", "–", "–", "–", "–", "50% of 8", "2.5"],
        ["1–2", "0.400", "0.750", "0.500", "2 of 8", "4", "75% of 8 ★", "2.5"],
        ["3", "–", "–", "–", "1 of 4", "2", "25% of 8", "2.5"],
    ]  # fmt: skip
    assert "busy 60% of " in page and "waiting for servers 25% of the time" in page


def test_samples_are_shown_the_newest_first_and_as_text_alone(tmp_path):
    page = page_of(tmp_path, step(1, 0.5, [SAMPLE]), step(2, 0.5, [SAMPLE | {"instruction": "later", "reward": 0.5}]))
    assert page.index("Step 2: later") < page.index("Step 1: make &lt;b&gt;it&lt;/b&gt; red")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\n�" in page and "<script" not in page
    for text in ("red &amp; bright", "paint it red", "semantic 3, quality 8", "<th>judge after<td><pre>–", "0.500"):
        assert text in page


def test_a_run_without_held_out_tasks_or_of_an_older_log_has_a_page_too(tmp_path):
    old = step(1, 0.5) | {"busy": {"editor": 0.9, "judge": 0.1, "policy": 0.0}}
    page = page_of(tmp_path, old)
    assert rows_of(page)[1] == ["1", "0.500", "1 of 4", "2", "–", "–"] and "busy" not in page
