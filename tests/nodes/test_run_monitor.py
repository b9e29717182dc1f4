"""A running loop and those who watch it: what the front end is told, what a person may do, which run goes on."""

import io as io_module
import json
import time
from dataclasses import replace

import pytest
import server
import torch
from comfy import model_management
from PIL import Image

from tests.support.think_nodes import BOTH, Person, Polite, events
from tests.support.thinking import SOURCE, Looks, Painter, Says, said


@BOTH
def test_the_front_end_is_told_of_everything_in_order(think, make_thinker, live, monkeypatch, loop):
    monkeypatch.setattr(live, "PREVIEW_SECONDS", float("inf"))  # on a busy machine any edit takes long enough for one
    think(make_thinker(said(2, 5, "b"), said(9, 9, "c")), loop)
    kinds = [name.removeprefix("rethink.") for name, _ in server.sent]
    one = ["thinking", "step"] if loop else ["editing", "thinking", "step"]
    phases = iter(data["phase"] for data in events("phase"))
    assert [next(phases) if kind == "phase" else kind for kind in kinds] == ["began", *one, "next", *one, "ended"]
    assert {data["node"] for _, data in server.sent} == {"6"}
    assert {data["run"]["subfolder"] for _, data in server.sent} == {"rethink/thinking_00001_"}
    assert events("began")[0]["record"]["steps"] == [] and events("began")[0]["next"] is None
    assert events("began")[0]["workflow"] == "workflow" and events("began")[0]["prompt"] == "prompt"
    looked_at = [data["images"] for data in events("phase") if data["phase"] == "thinking"]
    assert looked_at == [["turn-0001-00.png"], ["turn-0002-00.png"]], "they can be seen while the thinker looks"
    assert all(data["images"] == [] for data in events("phase") if data["phase"] == "editing")
    assert [data["index"] for data in events("step")] == [0, 1] and events("step")[1]["step"]["prompt"] == "b"
    assert {k: events("next")[0][k] for k in ("turn", "prompt", "prompt_by", "waiting")} == {
        "turn": 2,
        "prompt": "b",
        "prompt_by": "thinker",
        "waiting": False,
    }
    assert events("ended")[0]["stopped"] == "accepted" and events("ended")[0]["best"] == 1


@pytest.mark.parametrize(
    ("workflow", "listening", "told"),
    [("workflow", True, "client"), ("workflow", False, None), ("", True, "client"), ("", False, "client")],
)
def test_the_page_that_queued_a_run_is_told_and_every_page_where_it_is_closed(
    think, make_thinker, live, monkeypatch, workflow, listening, told
):
    seen_by = []

    def do(event, data):
        if event == "began":
            seen_by.extend((live.running("client"), live.running("another"), live.running()))

    monkeypatch.setitem(server.workflow["extra_pnginfo"], "workflow", {"id": workflow})
    if not listening:
        monkeypatch.delitem(server.sockets, "client")

    class Waits(Painter):
        def prepare(self, images, references=()):
            person.catch_up()
            return super().prepare(images, references)

    with Person(live, do) as person:
        think(make_thinker(said(9, 9)), editor=Waits())
    assert set(server.addressees) == {told}
    assert [len(runs) for runs in seen_by] == [1, 0 if listening else 1, 1], "nobody but its page may steer it"


@BOTH
def test_a_cancelled_run_goes_on_where_it_was_and_ends_the_same(think, make_thinker, part, loop):
    whole = think(make_thinker(chat=Looks()), loop, turns=5, prefix="rethink/whole")

    class Cancelling(Looks):
        def chat_all(self, requests, **options):
            if len(self.batches) == 3:
                model_management.interrupt_current_processing()
            options["on_token"](0, 9)
            return super().chat_all(requests, **options)

    with pytest.raises(model_management.InterruptProcessingException):
        think(make_thinker(chat=Cancelling()), loop, turns=5, prefix="rethink/cut")
    assert events("ended")[-1]["stopped"] == ""
    cut = think(make_thinker(chat=Looks()), loop, turns=5, prefix="rethink/cut")
    assert cut.trajectory.folder.name == "cut_00001_"
    assert events("began")[-1]["record"]["steps"]
    assert torch.equal(cut.images, whole.images) and cut.prompt == whole.prompt
    again = part("rethink.trajectory").load_trajectory(cut.trajectory.folder)
    assert [step.score for step in again.steps] == [step.score for step in whole.trajectory.steps]
    other = think(make_thinker(chat=Looks()), loop, turns=5, prefix="rethink/cut")
    assert other.trajectory.folder.name == "cut_00002_"  # what has ended is left alone


@BOTH
@pytest.mark.parametrize("file", ["trajectory.json", "source.png", "turn-0001-00.png"])
def test_a_damaged_record_is_left_alone(think, make_thinker, results, loop, file):
    chat = Says(said(2, 2, "b"), model_management.InterruptProcessingException())
    with pytest.raises(model_management.InterruptProcessingException):
        think(make_thinker(chat=chat), loop)
    damaged = results.output / "rethink" / "thinking_00001_" / file
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert think(make_thinker(said(9, 9)), loop).trajectory.folder.name == "thinking_00002_"


@BOTH
def test_what_differs_is_not_gone_on_with(think, make_thinker, loop):
    def cut(**inputs):
        chat = Says(said(2, 2, "b"), model_management.InterruptProcessingException())
        with pytest.raises(model_management.InterruptProcessingException):
            think(make_thinker(chat=chat), loop, **inputs)

    cut()
    for number, inputs in enumerate(({"seed": 1}, {"instruction": "else"}, {"checklist": True}, {"resume": False}), 2):
        done = think(make_thinker(said(9, 9)), loop, **inputs)
        assert done.trajectory.folder.name == f"thinking_0000{number}_", inputs


@BOTH
def test_a_thinker_that_is_asked_otherwise_does_not_go_on(think, make_thinker, loop):
    chat = Says(said(2, 2, "b"), model_management.InterruptProcessingException())
    with pytest.raises(model_management.InterruptProcessingException):
        think(make_thinker(chat=chat), loop)
    for number, how in enumerate(
        ({"temperature": 0.5}, {"max_tokens": 99}, {"template": "{source}{instruction}{edited}"}), 2
    ):
        done = think(replace(make_thinker(said(9, 9)), **how), loop)
        assert done.trajectory.folder.name == f"thinking_0000{number}_", how


def test_a_slow_edit_is_seen_while_it_is_made(think, make_thinker, live, RethinkError):
    seen = []

    class Slow(Painter):
        def edit(self, prepared, instructions, seeds, *arguments, on_step, **options):
            for step in (1, 2, 3):
                time.sleep(live.PREVIEW_SECONDS + 0.05)
                on_step(step, 3, lambda: prepared.images.repeat(len(seeds), 1, 1, 1))
                person.catch_up()
            return super().edit(prepared, instructions, seeds, *arguments, **options)

    def do(event, data):
        if event == "preview":
            seen.append(live.preview(data["run"]["subfolder"], str(data["preview"])))

    with Person(live, do) as person:
        done = think(make_thinker(said(9, 9)), editor=Slow(), candidates=3)
    assert [data["preview"] for data in events("preview")] == [1, 2, 3] and len(seen) == 3
    with Image.open(io_module.BytesIO(seen[0])) as picture:
        assert picture.format == "WEBP" and picture.size == (32, 32), "the candidates side by side"
    assert max(len(json.dumps(data)) for _, data in server.sent) < 3000
    with pytest.raises(RethinkError, match="no loop is running"):
        live.preview(events("ended")[0]["run"]["subfolder"])
    assert done.trajectory.steps


@BOTH
def test_a_person_goes_on_and_changes_the_prompt_and_accepts(think, make_thinker, live, loop):
    def do(event, data):
        if event == "next" and data["waiting"]:
            assert live.running()[0]["waiting"]
            return {
                2: {"action": "prompt", "prompt": " paint it blue "},
                3: {"action": "go_on"},
                4: {"action": "accept", "step": 0},
            }[data["turn"]]

    with Person(live, do) as person:
        done = think(make_thinker(said(2, 2, "b"), said(3, 3, "c"), said(4, 4, "d")), loop, pause=True, turns=9)
    assert [(s.prompt, s.prompt_by) for s in done.trajectory.steps] == [
        ("make it red", "user"),
        ("paint it blue", "human"),
        ("c", "thinker"),
    ]
    assert done.trajectory.stopped == "human" and done.trajectory.best == 0 and torch.equal(done.image, done.images[:1])
    assert live.running() == [] and not person.errors
    assert [(data["turn"], data["prompt"], data["waiting"]) for data in events("next")] == [
        (2, "b", True),
        (2, "paint it blue", False),
        (3, "c", True),
        (3, "c", False),
        (4, "d", True),
    ], "the viewer shows by which prompt a turn is made"


@BOTH
@pytest.mark.parametrize("pause", [False, True])
def test_who_holds_the_run_is_asked_although_the_thinker_is_content(think, make_thinker, live, loop, pause):
    def do(event, data):
        if event == "phase" and data["turn"] == 1 and not pause:
            return {"action": "hold"}
        if event == "next" and data["waiting"]:
            return {"action": "prompt", "prompt": "no, blue"} if data["turn"] == 2 else {"action": "go_on"}

    with Person(live, do) as person:
        done = think(make_thinker(chat=Polite(person, said(9, 9, "b"))), loop, turns=3, pause=pause)
    prompts = ["make it red", "no, blue", "b"]
    assert [step.prompt for step in done.trajectory.steps] == prompts[: 3 if pause else 2], "turns are a limit"
    assert done.trajectory.stopped == "accepted"
    assert [data["ends"] for data in events("next") if data["waiting"]] == ["accepted"] * (2 if pause else 1)


@BOTH
def test_a_hold_lasts_one_turn(think, make_thinker, live, loop):
    def do(event, data):
        if event == "step" and data["index"] == 0:
            return {"action": "hold"}
        if event == "next" and data["waiting"]:
            return {"action": "go_on"}

    with Person(live, do) as person:
        done = think(make_thinker(chat=Polite(person, said(2, 2, "b"))), loop, turns=4)
    assert len(done.images) == 4 and [data["waiting"] for data in events("next")].count(True) == 1


@pytest.mark.parametrize("phase", ["editing", "thinking"])
def test_stop_takes_effect_in_the_middle_of_a_turn(think, make_thinker, live, phase):
    class Slow(Painter):
        def edit(self, prepared, instructions, seeds, *arguments, on_step, **options):
            for _ in range(2):
                on_step(1, 2, lambda: prepared.images)
                person.catch_up()
            return super().edit(prepared, instructions, seeds, *arguments, on_step=on_step, **options)

    class Thinks(Says):
        def chat(self, *arguments, on_token, **options):
            for _ in range(2):
                on_token(0, 9)
                person.catch_up()
            return super().chat(*arguments, on_token=on_token, **options)

    def do(event, data):
        if event == "phase" and data["turn"] == 2 and data["phase"] == phase:
            return {"action": "stop"}

    with Person(live, do) as person:
        editor = Slow() if phase == "editing" else Painter()
        done = think(make_thinker(chat=Thinks(said(2, 2, "b"))), editor=editor, turns=9)
    assert len(done.trajectory.steps) == 1 and done.trajectory.stopped == "human" and done.trajectory.best == 0


def test_stop_before_the_first_edit_gives_the_source(think, make_thinker, live):
    def do(event, data):
        if event == "began":
            return {"action": "stop"}

    class Waits(Painter):
        def prepare(self, images, references=()):
            person.catch_up()
            return super().prepare(images, references)

    with Person(live, do) as person:
        done = think(make_thinker(said(2, 2, "b")), editor=Waits())
    assert not done.trajectory.steps and done.prompt == "make it red" and torch.allclose(done.image, SOURCE, atol=0.01)


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ({"action": "prompt", "prompt": " "}, "prompt: is empty"),
        ({"action": "prompt", "prompt": 3}, "prompt: is empty"),
        ({"action": "accept", "step": 7}, "step: the run has no step 7"),
        ({"action": "accept", "step": True}, "step: the run has no step"),
        ({"action": "dance"}, "action: “dance” is unknown"),
        ({"action": None}, "action: “None” is unknown"),
    ],
)
def test_orders_that_make_no_sense_are_refused(think, make_thinker, live, order, sentence):
    with Person(live, lambda event, data: order if event == "step" else None) as person:
        done = think(make_thinker(chat=Polite(person, said(2, 2, "b"))), turns=2)
    assert len(done.images) == 2
    assert any(sentence in error for error in person.errors)


def test_a_run_that_is_over_takes_no_orders(think, make_thinker, live, RethinkError):
    think(make_thinker(said(9, 9)))
    with pytest.raises(RethinkError, match="no loop is running in rethink/thinking_00001_"):
        live.order("rethink/thinking_00001_", action="stop")


@BOTH
def test_a_run_that_goes_on_elsewhere_is_not_gone_on_with(think, make_thinker, part, results, RethinkError, loop):
    chat = Says(said(2, 2, "b"), model_management.InterruptProcessingException())
    with pytest.raises(model_management.InterruptProcessingException):
        think(make_thinker(chat=chat), loop)
    folder = results.output / "rethink" / "thinking_00001_"
    before = (folder / "trajectory.json").read_bytes()
    with part("rethink.trajectory").writing(folder):
        with pytest.raises(RethinkError, match="thinking_00001_ is already running, here or in another process"):
            think(make_thinker(said(9, 9)), loop)
        assert (folder / "trajectory.json").read_bytes() == before
        other = think(make_thinker(said(9, 9)), loop, instruction="make it blue")
        assert other.trajectory.folder.name == "thinking_00002_", "another run is none of its business"
    assert think(make_thinker(said(9, 9)), loop).trajectory.folder == folder


@BOTH
def test_a_running_loop_holds_its_run(think, make_thinker, part, results, RethinkError, loop):
    seen = []

    class Tries(Looks):
        def chat_all(self, requests, **options):
            try:
                with part("rethink.trajectory").writing(results.output / "rethink" / "thinking_00001_"):
                    seen.append("got it")
            except RethinkError as error:
                seen.append(str(error))
            return super().chat_all(requests, **options)

    think(make_thinker(chat=Tries()), loop, turns=3)
    assert len(seen) == 3 and all("is already running" in line for line in seen)
    with part("rethink.trajectory").writing(results.output / "rethink" / "thinking_00001_"):
        pass


@BOTH
@pytest.mark.parametrize(
    "text", ["[" * 5000 + "]" * 5000, '{"schema": 1, "options": {"rules": 5}}', '{"schema": 1e400}', "\0"]
)
def test_a_strangers_record_among_the_runs_is_left_alone(think, make_thinker, results, loop, text):
    (results.output / "rethink" / "thinking_00001_").mkdir(parents=True)
    (results.output / "rethink" / "thinking_00001_" / "trajectory.json").write_text(text)
    assert think(make_thinker(said(9, 9)), loop).trajectory.folder.name == "thinking_00002_"
