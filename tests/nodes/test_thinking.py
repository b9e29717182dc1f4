"""The nodes that think, on the stand-in: runs, records, what the front end is told, and what a person may do."""

import copy
import functools
import gc
import io as io_module
import json
import operator
import os
import shutil
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import server
import torch
from comfy import model_management
from comfy_api.latest import io
from PIL import Image

from rethink.thinkers.protocol import resize_for_vlm
from tests.standin.executor import run, validate
from tests.support.thinking import SOURCE, Looks, Painter, Says, said


class Given(io.ComfyNode):
    """A node that gives out a thing of the test."""

    thing = None

    @classmethod
    def define_schema(cls):
        return io.Schema("Given", "Given", "test", outputs=[io.Custom("*").Output()])

    @classmethod
    def execute(cls):
        return io.NodeOutput(cls.thing)


class Paint(io.ComfyNode):
    """Any graph that edits: picture, prompt and seed in, as many pictures out as asked for."""

    painter, rows = Painter(), [1]

    @classmethod
    def define_schema(cls):
        inputs = [io.Image.Input("image"), io.String.Input("prompt"), io.Int.Input("seed")]
        return io.Schema("Paint", "Paint", "test", inputs=inputs, outputs=[io.Image.Output("painted")])

    @classmethod
    def execute(cls, image, prompt, seed):
        rows = cls.rows[min(len(cls.painter.calls), len(cls.rows) - 1)]
        seeds = [seed + 100 * row for row in range(rows)]
        return io.NodeOutput(cls.painter.edit(SimpleNamespace(images=image), [prompt] * rows, seeds))


class Spread(io.ComfyNode):
    """A batch as a list."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            "Spread",
            "Spread",
            "test",
            inputs=[io.Image.Input("image")],
            outputs=[io.Image.Output("one", is_output_list=True)],
        )

    @classmethod
    def execute(cls, image):
        return io.NodeOutput(list(image.split(1)))


def given(thing, io_type="*"):
    """A node class that gives out `thing`."""
    name = f"Given{id(thing)}"
    schema = io.Schema(name, name, "test", outputs=[io.Custom(io_type).Output()])
    return type(name, (Given,), {"thing": thing, "define_schema": classmethod(lambda cls: schema)})


@pytest.fixture
def live(part):
    return part("nodes.run_monitor")


@pytest.fixture
def make_thinker(part):
    return lambda *answers, chat=None: part("rethink.thinkers.critique").Thinker(chat or Says(*answers))


@pytest.fixture
def think(classes, results):
    """Runs Think While Edit (or, with `loop`, Open, Paint and Close) on things of the test."""

    def think(thinker, loop=False, editor=None, source=SOURCE, extra=(), also=Given, **inputs):
        things = {
            "1": (editor or Painter(), "RETHINK_EDITOR"),
            "2": (thinker, "RETHINK_THINKER"),
            "3": (source, "IMAGE"),
        }
        nodes = {node: given(*thing) for node, thing in things.items()}
        known = {**classes, "Paint": Paint, "Spread": Spread, **{cls.__name__: cls for cls in [*nodes.values(), also]}}
        prompt = {node: {"class_type": cls.__name__, "inputs": {}} for node, cls in nodes.items()}
        common = {"thinker": ["2", 0], "image": ["3", 0], "instruction": "make it red", "seed": 0, **inputs}
        if loop:
            prompt["4"] = {"class_type": "RethinkThinkLoopOpen", "inputs": common}
            body = {"image": ["4", 1], "prompt": ["4", 2], "seed": ["4", 3]}
            prompt["5"] = {"class_type": "Paint", "inputs": body}
            prompt["6"] = {"class_type": "RethinkThinkLoopClose", "inputs": {"loop": ["4", 0], "edited": ["5", 0]}}
        else:
            prompt["6"] = {"class_type": "RethinkThinkWhileEdit", "inputs": {"editor": ["1", 0], **common}}
        prompt["7"] = {"class_type": "RethinkTrajectoryViewer", "inputs": {"trajectory": ["6", 3]}}
        prompt |= dict(extra)
        done = run(prompt, known)
        return SimpleNamespace(
            **dict(
                zip(
                    ("image", "images", "prompt", "trajectory"),
                    functools.reduce(operator.iadd, done["outputs"]["6"], []),
                )
            ),
            **done,
        )

    return think


@pytest.fixture(autouse=True)
def fresh_paint(monkeypatch):
    monkeypatch.setattr(Paint, "painter", Painter())
    monkeypatch.setattr(Paint, "rows", [1])


def told(event):
    return [data for name, data in server.sent if name == f"rethink.{event}"]


BOTH = pytest.mark.parametrize("loop", [False, True], ids=["node", "loop"])


@BOTH
def test_a_run_gives_the_best_edit_and_its_record(think, make_thinker, results, loop):
    done = think(make_thinker(said(2, 5, "b"), said(6, 6, "c"), said(4, 4, "d")), loop, turns=3)
    assert done.images.shape == (3, 16, 16, 3) and torch.equal(done.image, done.images[1:2]) and done.prompt == "b"
    folder = results.output / "rethink" / "thinking_00001_"
    assert done.trajectory.folder == folder and done.trajectory.stopped == "turns"
    assert {file.name for file in folder.iterdir()} - {".lock"} == {
        "trajectory.json",
        "source.png",
        "turn-0001-00.png",
        "turn-0002-00.png",
        "turn-0003-00.png",
    }
    run = {"rethink_run": ["output/rethink/thinking_00001_"]}
    best = {"filename": "turn-0002-00.png", "subfolder": "rethink/thinking_00001_", "type": "output"}
    (made,) = [ui for node, ui in done.ui.items() if node.endswith("6") and ui]
    made.pop("rethink_text", None)  # nothing to warn of
    assert made == {"images": [best], **run} and done.ui["7"] == run, "one picture in the queue, not one a node"


@BOTH
def test_the_front_end_is_told_of_everything_in_order(think, make_thinker, loop):
    think(make_thinker(said(2, 5, "b"), said(9, 9, "c")), loop)
    kinds = [name.removeprefix("rethink.") for name, _ in server.sent]
    one = ["thinking", "step"] if loop else ["editing", "thinking", "step"]
    phases = iter(data["phase"] for data in told("phase"))
    assert [next(phases) if kind == "phase" else kind for kind in kinds] == ["began", *one, "next", *one, "ended"]
    assert {data["node"] for _, data in server.sent} == {"6"}
    assert {data["run"]["subfolder"] for _, data in server.sent} == {"rethink/thinking_00001_"}
    assert told("began")[0]["record"]["steps"] == [] and told("began")[0]["next"] is None
    assert told("began")[0]["workflow"] == "workflow" and told("began")[0]["prompt"] == "prompt"
    looked_at = [data["images"] for data in told("phase") if data["phase"] == "thinking"]
    assert looked_at == [["turn-0001-00.png"], ["turn-0002-00.png"]], "they can be seen while the thinker looks"
    assert all(data["images"] == [] for data in told("phase") if data["phase"] == "editing")
    assert [data["index"] for data in told("step")] == [0, 1] and told("step")[1]["step"]["prompt"] == "b"
    assert {k: told("next")[0][k] for k in ("turn", "prompt", "prompt_by", "waiting")} == {
        "turn": 2,
        "prompt": "b",
        "prompt_by": "thinker",
        "waiting": False,
    }
    assert told("ended")[0]["stopped"] == "accepted" and told("ended")[0]["best"] == 1


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
            time.sleep(0.2)
            return super().prepare(images, references)

    person = Person(live, do)
    person.start()
    think(make_thinker(said(9, 9)), editor=Waits())
    person.join(5)
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
    assert told("ended")[-1]["stopped"] == ""
    cut = think(make_thinker(chat=Looks()), loop, turns=5, prefix="rethink/cut")
    assert cut.trajectory.folder.name == "cut_00001_"
    assert told("began")[-1]["record"]["steps"]
    assert torch.equal(cut.images, whole.images) and cut.prompt == whole.prompt
    again = part("rethink.trajectory").load_trajectory(cut.trajectory.folder)
    assert [step.score for step in again.steps] == [step.score for step in whole.trajectory.steps]
    other = think(make_thinker(chat=Looks()), loop, turns=5, prefix="rethink/cut")
    assert other.trajectory.folder.name == "cut_00002_"  # what has ended is left alone


def test_the_seed_of_a_new_node_stays_so_that_queueing_again_goes_on(classes):
    for node in ("RethinkThinkWhileEdit", "RethinkThinkLoopOpen"):
        assert classes[node].describe()["input"]["required"]["seed"][1]["control_after_generate"] == "fixed"


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


def test_a_loop_goes_on_only_around_the_same_graph(think, make_thinker):
    def body(image, **more):
        paint = {"class_type": "Paint", "inputs": {"image": image, "prompt": ["4", 2], "seed": ["4", 3], **more}}
        return {
            "10": paint,
            "6": {"class_type": "RethinkThinkLoopClose", "inputs": {"loop": ["4", 0], "edited": ["10", 0]}},
        }

    chat = Says(said(2, 2, "b"), model_management.InterruptProcessingException())
    with pytest.raises(model_management.InterruptProcessingException):
        think(make_thinker(chat=chat), loop=True)
    folders = [
        think(make_thinker(said(2, 2, "b")), loop=True, turns=2, extra=extra).trajectory.folder.name
        for extra in (body(["4", 1], seed=7), body(["3", 0]), body(["5", 0]), body(["4", 1]))
    ]
    assert folders == ["thinking_00002_", "thinking_00003_", "thinking_00004_", "thinking_00001_"]  # ids do not count


@BOTH
def test_a_thinker_that_goes_leaves_the_best_so_far_and_the_next_run_goes_on(think, make_thinker, part, classes, loop):
    gone = part("rethink.thinkers.protocol").ThinkerError("thinker: it is gone.")
    cls = classes["RethinkThinkLoopClose" if loop else "RethinkThinkWhileEdit"]
    asking = type(cls.__name__, (cls,), {"hidden": SimpleNamespace(unique_id="6.0.0.6" if loop else "6")})
    before = asking.fingerprint_inputs()
    done = think(make_thinker(said(6, 6, "b"), gone), loop)
    assert done.trajectory.stopped == "failed" and done.trajectory.message == "thinker: it is gone."
    assert torch.equal(done.image, done.images[:1])
    assert done.trajectory.best == 0 and done.trajectory.best_judged, "what was judged is the result"
    assert asking.fingerprint_inputs() == before + 1  # ComfyUI does not remember this as the result
    again = think(make_thinker(said(9, 9)), loop)
    assert again.trajectory.folder == done.trajectory.folder and again.trajectory.stopped == "accepted"
    assert [step.prompt for step in again.trajectory.steps] == ["make it red", "b"]


@BOTH
@pytest.mark.parametrize("rules", [{}, {"checklist": True}])
def test_a_thinker_that_cannot_be_reached_is_an_error_and_the_edit_is_kept(
    think, make_thinker, part, results, RethinkError, loop, rules
):
    gone = part("rethink.thinkers.protocol").ThinkerError("thinker: it is gone.")
    made = loop or not rules  # without its checklist a run does not begin to edit
    with pytest.raises(RethinkError, match=r"^thinker: it is gone\.") as error:
        think(make_thinker(gone), loop, **rules)
    folder = results.output / "rethink" / "thinking_00001_"
    assert (folder / "turn-0001-00.png").is_file() == made
    assert (str(error.value) == f"thinker: it is gone. No edit was judged; what was made is kept in {folder}.") == made
    record = json.loads((folder / "trajectory.json").read_text(encoding="utf-8"))
    assert record["stopped"] == "failed" and not record["best_judged"]
    assert told("ended")[-1]["stopped"] == "failed"
    again = think(make_thinker(said(9, 9)), loop)
    assert (again.trajectory.folder == folder) == (not rules) and again.trajectory.best_judged


@BOTH
def test_answers_without_scores_leave_a_result_that_says_it_was_not_judged(think, make_thinker, loop):
    done = think(make_thinker("I like it."), loop, turns=2)
    record = json.loads((done.trajectory.folder / "trajectory.json").read_text(encoding="utf-8"))
    assert record["stopped"] == "turns" and record["best"] == 0 and record["best_judged"] is False


def test_what_an_edit_was_really_made_with_stands_in_the_record_and_in_its_picture(think, make_thinker, part):
    settings = part("rethink.editors.settings").Settings

    class Says20(Painter):
        defaults = settings(steps=20, text_guidance=7.5)

        def effective_settings(self, prepared, seeds, chosen):
            return [replace(chosen.resolved(self.defaults), text_guidance=7.5 + seed / 3) for seed in seeds]

    done = think(make_thinker(said(9, 9)), editor=Says20(), seed=1, candidates=2, image_guidance=1.5)
    record = json.loads((done.trajectory.folder / "trajectory.json").read_text(encoding="utf-8"))
    used = [{"steps": 20, "sampler": "default", "text_guidance": guidance} for guidance in (7.8333, 8.1667)]
    assert [step["settings"] for step in record["steps"]] == used, "an image guidance it does not have is not used"
    for step in record["steps"]:
        with Image.open(done.trajectory.folder / step["file"]) as picture:
            note = json.loads(picture.text["rethink"])
        assert note == {name: step[name] for name in ("prompt", "seed", "settings")}
    assert part("rethink.trajectory").load_trajectory(done.trajectory.folder).steps[1].settings == used[1]


def test_an_editor_that_cannot_say_and_a_graph_leave_it_open(think, make_thinker):
    for loop in (False, True):
        assert think(make_thinker(said(9, 9)), loop).trajectory.steps[0].settings is None


def test_a_slow_edit_is_seen_while_it_is_made(think, make_thinker, live, RethinkError):
    seen = []

    class Slow(Painter):
        def edit(self, prepared, instructions, seeds, *arguments, on_step, **options):
            for step in (1, 2, 3):
                time.sleep(live.PREVIEW_SECONDS + 0.05)
                on_step(step, 3, lambda: prepared.images.repeat(len(seeds), 1, 1, 1))
            return super().edit(prepared, instructions, seeds, *arguments, **options)

    def do(event, data):
        if event == "preview":
            seen.append(live.preview(data["run"]["subfolder"], str(data["preview"])))

    person = Person(live, do)
    person.start()
    done = think(make_thinker(said(9, 9)), editor=Slow(), candidates=3)
    person.join(5)
    assert [data["preview"] for data in told("preview")] == [1, 2, 3] and len(seen) >= 2
    with Image.open(io_module.BytesIO(seen[0])) as picture:
        assert picture.format == "WEBP" and picture.size == (32, 32), "the candidates side by side"
    assert max(len(json.dumps(data)) for _, data in server.sent) < 3000
    with pytest.raises(RethinkError, match="no loop is running"):
        live.preview(told("ended")[0]["run"]["subfolder"])
    assert done.trajectory.steps


@BOTH
def test_a_first_prompt_that_cannot_be_polished_is_an_error(think, make_thinker, part, RethinkError, loop):
    gone = part("rethink.thinkers.protocol").ThinkerError("thinker: it is gone.")
    with pytest.raises(RethinkError, match="it is gone"):
        think(make_thinker(gone), loop, start="polished")


class Person(threading.Thread):
    """Somebody who watches what is sent, and gives orders by it: do(event, data) → order or None."""

    def __init__(self, live, do):
        super().__init__(daemon=True)
        self.live, self.do, self.seen, self.errors = live, do, 0, []

    def run(self):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for name, data in server.sent[self.seen :]:
                self.seen += 1
                wanted = self.do(name.removeprefix("rethink."), data)
                if wanted:
                    try:
                        self.live.order(data["run"]["subfolder"], **wanted)
                    except ValueError as error:
                        self.errors.append(str(error))
                if name == "rethink.ended":
                    return
            time.sleep(0.01)


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

    person = Person(live, do)
    person.start()
    done = think(make_thinker(said(2, 2, "b"), said(3, 3, "c"), said(4, 4, "d")), loop, pause=True, turns=9)
    person.join(5)
    assert [(s.prompt, s.prompt_by) for s in done.trajectory.steps] == [
        ("make it red", "user"),
        ("paint it blue", "human"),
        ("c", "thinker"),
    ]
    assert done.trajectory.stopped == "human" and done.trajectory.best == 0 and torch.equal(done.image, done.images[:1])
    assert live.running() == [] and not person.errors
    assert [(data["turn"], data["prompt"], data["waiting"]) for data in told("next")] == [
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

    slow = Says(said(9, 9, "b"))
    answer = slow.chat
    slow.chat = lambda *arguments, **options: (answer(*arguments, **options), time.sleep(0.1))[0]
    person = Person(live, do)
    person.start()
    done = think(make_thinker(chat=slow), loop, turns=3, pause=pause)
    prompts = ["make it red", "no, blue", "b"]
    assert [step.prompt for step in done.trajectory.steps] == prompts[: 3 if pause else 2], "turns are a limit"
    assert done.trajectory.stopped == "accepted"
    assert [data["ends"] for data in told("next") if data["waiting"]] == ["accepted"] * (2 if pause else 1)


@BOTH
def test_a_hold_lasts_one_turn(think, make_thinker, live, loop):
    def do(event, data):
        if event == "step" and data["index"] == 0:
            return {"action": "hold"}
        if event == "next" and data["waiting"]:
            return {"action": "go_on"}

    slow = Says(said(2, 2, "b"))
    answer = slow.chat
    slow.chat = lambda *arguments, **options: time.sleep(0.1) or answer(*arguments, **options)
    person = Person(live, do)
    person.start()
    done = think(make_thinker(chat=slow), loop, turns=4)
    assert len(done.images) == 4 and [data["waiting"] for data in told("next")].count(True) == 1


@pytest.mark.parametrize("phase", ["editing", "thinking"])
def test_stop_takes_effect_in_the_middle_of_a_turn(think, make_thinker, live, phase):
    class Slow(Painter):
        def edit(self, prepared, instructions, seeds, *arguments, on_step, **options):
            for _ in range(200):
                on_step(1, 2, lambda: prepared.images)
                time.sleep(0.01 if len(self.calls) else 0)
            return super().edit(prepared, instructions, seeds, *arguments, on_step=on_step, **options)

    class Thinks(Says):
        def chat(self, *arguments, on_token, **options):
            for _ in range(200):
                on_token(0, 9)
                time.sleep(0.01 if len(self.asked) else 0)
            return super().chat(*arguments, on_token=on_token, **options)

    def do(event, data):
        if event == "phase" and data["turn"] == 2 and data["phase"] == phase:
            return {"action": "stop"}

    person = Person(live, do)
    person.start()
    done = think(
        make_thinker(chat=Thinks(said(2, 2, "b"))), editor=Slow() if phase == "editing" else Painter(), turns=9
    )
    assert len(done.trajectory.steps) == 1 and done.trajectory.stopped == "human" and done.trajectory.best == 0


def test_stop_before_the_first_edit_gives_the_source(think, make_thinker, live):
    def do(event, data):
        if event == "began":
            return {"action": "stop"}

    class Waits(Painter):
        def prepare(self, images, references=()):
            time.sleep(0.2)
            return super().prepare(images, references)

    person = Person(live, do)
    person.start()
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
    person = Person(live, lambda event, data: order if event == "step" else None)
    person.start()
    slow = Says(said(2, 2, "b"))
    answer = slow.chat
    slow.chat = lambda *arguments, **options: time.sleep(0.1) or answer(*arguments, **options)
    assert len(think(make_thinker(chat=slow), turns=2).images) == 2
    person.join(5)
    assert any(sentence in error for error in person.errors)


def test_a_run_that_is_over_takes_no_orders(think, make_thinker, live, RethinkError):
    think(make_thinker(said(9, 9)))
    with pytest.raises(RethinkError, match="no loop is running in rethink/thinking_00001_"):
        live.order("rethink/thinking_00001_", action="stop")


@BOTH
def test_candidates(think, make_thinker, monkeypatch, loop):
    looks = Looks()
    monkeypatch.setattr(Paint, "rows", [3])
    done = think(make_thinker(chat=looks), loop, turns=2, **({} if loop else {"candidates": 3}))
    assert done.images.shape[0] == 6 and looks.batches == [3, 3]
    assert [(s.turn, s.candidate) for s in done.trajectory.steps] == [(t, c) for t in (1, 2) for c in range(3)]


def test_a_graph_must_make_the_same_number_every_turn(think, make_thinker, monkeypatch, RethinkError):
    monkeypatch.setattr(Paint, "rows", [2, 1])
    with pytest.raises(RethinkError, match="edited: every turn"):
        think(make_thinker(chat=Looks()), loop=True)


def test_only_what_depends_on_open_is_done_again(think, make_thinker, classes, results):
    done = think(make_thinker(said(2, 2, "b"), said(3, 3, "c")), loop=True, turns=4, base="previous", seed=5)
    calls = Paint.painter.calls
    assert [call.prompts for call in calls] == [["make it red"], ["b"], ["c"], ["c"]]
    assert [call.seeds for call in calls] == [[5], [6], [7], [8]]
    assert all(torch.equal(call.base, done.images[i : i + 1]) for i, call in enumerate(calls[1:]))
    assert all(node.split(".")[-1] in ("4", "5", "6") for node in done.outputs if "." in node)


def test_a_list_of_edits_is_as_many_candidates(think, make_thinker, monkeypatch, part, RethinkError):
    def body(image):
        return {
            "10": {"class_type": "Spread", "inputs": {"image": image}},
            "6": {"class_type": "RethinkThinkLoopClose", "inputs": {"loop": ["4", 0], "edited": ["10", 0]}},
        }

    monkeypatch.setattr(Paint, "rows", [3])
    done = think(make_thinker(said(2, 2, "b")), loop=True, turns=2, extra=body(["5", 0]))
    assert [(step.turn, step.candidate) for step in done.trajectory.steps] == [(t, c) for t in (1, 2) for c in range(3)]
    with pytest.raises(RethinkError, match="edited: the images of one turn must have the same size"):
        part("nodes.think_loop")._candidates([SOURCE, SOURCE[:, 4:]])


def test_a_loop_edits_one_picture_and_says_so(think, make_thinker, RethinkError):
    spread = {"3": {"class_type": "Spread", "inputs": {"image": ["10", 0]}}}
    many = given(SOURCE.repeat(2, 1, 1, 1), "IMAGE")
    with pytest.raises(
        RethinkError, match="^image: takes one value, got a list of 2; Think While Edit makes a run of each"
    ):
        think(
            make_thinker(said(2, 2, "b")),
            loop=True,
            extra=spread | {"10": {"class_type": many.__name__, "inputs": {}}},
            also=many,
        )


def test_a_graph_may_make_pictures_of_other_sizes(think, make_thinker, monkeypatch):
    class Grows(Painter):
        def edit(self, prepared, *arguments, **options):
            return super().edit(prepared, *arguments, **options).repeat(1, 1 + len(self.calls) % 2, 1, 1)

    monkeypatch.setattr(Paint, "painter", Grows())
    done = think(make_thinker(said(2, 2, "b"), said(6, 6, "c")), loop=True, turns=3)
    assert done.image.shape == (1, 16, 16, 3) and done.images.shape == (3, 16, 16, 3)
    assert torch.equal(done.images[1:2], done.image)


def test_what_was_remembered_of_a_run_is_given_back(load, think, models, vision_folder):
    shutil.copytree(vision_folder, models.LLM / "vision")
    backend = {"backend": "local folder", "folder": "vision", "dtype": "fp32", "quantization": "none"}
    for loop in (False, True):
        thinker = load(backend=backend | {"template": "Rethink's own"}, max_tokens=16)
        think(thinker, loop, turns=2)
        assert thinker.chat._chat._remembered is None


@BOTH
def test_two_hundred_turns_keep_no_pictures_and_send_none(think, make_thinker, loop):
    held = {}

    class Counting(Looks):
        def chat_all(self, requests, **options):
            if len(self.batches) + 1 in (20, 200):
                gc.collect()
                tensors = (thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor))
                held[len(self.batches) + 1] = len({t.data_ptr() for t in tensors if t.shape == source.shape})
            return super().chat_all(requests, **options)

    source = torch.rand(1, 48, 41 + loop, 3)  # of a size of its own: what other runs let go of is not counted
    done = think(make_thinker(chat=Counting()), loop, source=source, turns=200)
    assert len(done.trajectory.steps) == 200 and max(map(len, done.outputs)) < 200 * 8
    of_the_graph = 180 if loop else 0  # ComfyUI keeps what the nodes in between make
    # The best one is held, which may be the last one or not, and a few may still be on their way into their files.
    assert abs(held[200] - held[20] - of_the_graph) <= 8
    assert max(len(json.dumps(data)) for _, data in server.sent) < 2000


@BOTH
@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"instruction": "  "}, "instruction: is empty"),
        ({"source": SOURCE.repeat(2, 1, 1, 1)}, "image: one image"),
        ({"prefix": "../outside/x"}, "prefix: “../outside/x” leads out"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing_behind(
    think, make_thinker, results, RethinkError, loop, inputs, sentence
):
    with pytest.raises(RethinkError, match=sentence):
        think(make_thinker(said(2, 2)), loop, **inputs)
    assert not list(results.output.rglob("trajectory.json")) and not (results.output.parent / "outside").exists()


def test_what_goes_around_a_loop_cannot_name_files_elsewhere(
    classes, part, make_thinker, results, RethinkError, tmp_path
):
    carried = {"run": {"filename": "trajectory.json", "subfolder": "../secret", "type": "output"}, "prompt": "p"}
    for reference in (carried, copy.deepcopy(carried) | {"run": carried["run"] | {"type": "models"}}):
        with pytest.raises(RethinkError, match="not in ComfyUI's folders"):
            inputs = {
                "thinker": make_thinker(""),
                "image": SOURCE,
                "instruction": "do",
                "seed": 0,
                "carried": reference,
            }
            classes["RethinkThinkLoopOpen"].execute(**{name: [value] for name, value in inputs.items()})


# Critique Edit


@pytest.fixture
def critique(classes):
    def critique(thinker, edited, prompt="", **inputs):
        return (
            classes["RethinkCritiqueEdit"].execute(thinker, SOURCE, edited, "make it red", 0, prompt, **inputs).result
        )

    return critique


def test_critique_says_everything_once_for_every_picture(critique, make_thinker):
    edited = torch.cat([SOURCE, torch.zeros_like(SOURCE)])
    answers = critique(make_thinker(said(9, 8, "a", "Why."), said(9, 8.5, "")), edited, "told")
    assert answers == ([9, 9], [8, 8.5], ["Why.", "I see."], ["a", "told"], [False, True])  # the first changed nothing


def test_critique_shows_its_scores_and_words_on_itself_and_asks_again_for_another_seed_alone(classes, make_thinker):
    edited = torch.cat([SOURCE, torch.zeros_like(SOURCE)])
    node = classes["RethinkCritiqueEdit"].execute(
        make_thinker(said(9, 8, "a", "Why."), said(9, 8.5, "")), SOURCE, edited, "make it red", 0
    )
    assert node.ui["rethink_text"] == [
        "1: semantic 9 · quality 8 · not accepted\nWhy.\nNext: a\n2: semantic 9 · quality 8.5 · accepted\nI see."
    ]
    seed = classes["RethinkCritiqueEdit"].describe()["input"]["required"]["seed"][1]
    assert seed["control_after_generate"] == "fixed"


def test_a_critique_without_scores_is_an_error_and_no_score(critique, make_thinker, part, RethinkError):
    with pytest.raises(RethinkError, match="^thinker: gave no scores, asked twice; try .* The answer: "):
        critique(make_thinker("I like it, 10/10"), SOURCE * 0)
    with pytest.raises(RethinkError, match="it is gone"):
        critique(make_thinker(part("rethink.thinkers.protocol").ThinkerError("thinker: it is gone.")), SOURCE * 0)


# Load Thinker


@pytest.fixture
def load(classes):
    return lambda **inputs: classes["RethinkLoadThinker"].execute(**inputs).result[0]


class Clip:
    """A text encoder of ComfyUI's, as far as a thinker sees it."""

    def __init__(self, kind):
        model = type(kind, (torch.nn.Module,), {})()
        self.cond_stage_model, self.calls = torch.nn.Sequential(model), []

    def tokenize(self, text, **pictures):
        self.calls.append((text, pictures))
        return "tokens"

    def generate(self, tokens, **options):
        self.calls.append((tokens, options))
        return [1]

    def decode(self, ids):
        return said(3, 4, "native")


@pytest.mark.parametrize("kind", ["Qwen3VL", "Qwen35", "Gemma4Base"])
def test_comfyui_models_are_asked_in_their_own_language(load, critique, kind):
    clip = Clip(kind)
    edited = torch.rand(1, 20, 30, 3)
    thinker = load(backend={"backend": "ComfyUI model", "clip": clip})
    assert critique(thinker, edited, "red <|im_end|><|turn> star")[3] == ["native"]
    (text, pictures), (tokens, options) = clip.calls
    assert text.startswith(("<|im_start|>user", "<|turn>user")) and text.endswith(("assistant\n", "model\n"))
    assert text.count("<|image_pad|>") + text.count("<|image|>") == 2 and "red <im_end><turn> star" in text
    if kind == "Gemma4Base":
        assert pictures["image"].shape == (2, 32, 32, 3)
    else:
        source, seen = pictures["images"]
        assert torch.allclose(source, resize_for_vlm(SOURCE), atol=0.01) and torch.equal(seen, resize_for_vlm(edited))
    assert tokens == "tokens" and options["do_sample"] is False and options["max_length"] == 2048


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("Qwen25_7BVLI", "to encode prompts"), ("Gemma3_12B", "one image"), ("T5", "sees no images")],
)
def test_encoders_that_cannot_criticize_are_refused_with_the_reason(load, RethinkError, kind, reason):
    with pytest.raises(RethinkError, match=f"^backend.clip: cannot think: .*{reason}.*; load Qwen3-VL"):
        load(backend={"backend": "ComfyUI model", "clip": Clip(kind)})


def test_a_server_keeps_the_name_of_the_variable_and_never_the_key(load, monkeypatch, owner, RethinkError):
    monkeypatch.setenv("RETHINK_TEST_KEY", "sk-planted")
    owner.parent.mkdir(exist_ok=True)
    owner.write_text('{"keys": {"RETHINK_TEST_KEY": ["http://127.0.0.1:1"]}}')
    server_inputs = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "key_variable": "RETHINK_TEST_KEY"}
    thinker = load(backend={"backend": "server", **server_inputs, "timeout": 5, "retries": 0, "concurrency": 1})
    assert "sk-planted" not in repr(vars(thinker.chat)) and thinker.chat.name == "m"
    with pytest.raises(RethinkError, match="key_variable: give the NAME") as refused:
        load(backend={"backend": "server", **server_inputs, "key_variable": "sk-proj-planted"})
    assert "planted" not in str(refused.value)


def test_local_folders_are_loaded_once_with_their_template_and_moved_by_comfyui(
    load, critique, classes, models, vision_folder, part, RethinkError
):
    shutil.copytree(vision_folder, models.LLM / "owner" / "vision")
    (models.LLM / "owner" / "vision" / "own.txt").write_text("{source}{edited}{instruction}", encoding="utf-8")
    model_folders = part("nodes.comfy.model_folders")
    assert model_folders.thinker_names() == ["owner/vision"] and model_folders.template_names() == [
        "owner/vision/own.txt"
    ]
    backend = {"backend": "local folder", "folder": "owner/vision", "dtype": "fp32", "quantization": "none"}
    first = load(backend=backend | {"template": "owner/vision/own.txt"}, max_tokens=16)
    second = load(backend=backend | {"template": "Rethink's own"})
    assert first.chat.name == "owner/vision", "as it was chosen"
    assert first.chat is second.chat and first.template == "{source}{edited}{instruction}" != second.template
    with pytest.raises(RethinkError, match="The answer: "):
        critique(first, SOURCE * 0)
    (patcher,) = [ref() for ref in model_management.loaded]
    assert patcher.model[0] is first.chat.module
    before = classes["RethinkLoadThinker"].fingerprint_inputs(backend=backend)
    (models.LLM / "owner" / "vision" / "config.json").touch()
    assert classes["RethinkLoadThinker"].fingerprint_inputs(backend=backend) != before
    for wrong in ("../vision", "/etc", "", "vision"):
        with pytest.raises(RethinkError, match="folder: there is no"):
            load(backend=backend | {"folder": wrong})
    with pytest.raises(RethinkError, match="template: there is no"):
        load(backend=backend | {"template": "owner/vision/../../../secret.txt"})


def test_choices_are_validated(classes, models):
    def errors(**inputs):
        return validate({"1": {"class_type": "RethinkLoadThinker", "inputs": inputs}}, classes).get("1", [])

    assert errors(backend="built-in") == []
    assert errors(backend="telepathy")
    assert errors(backend="ComfyUI model") == ["backend.clip: missing"] and errors(backend="server") == []
    assert errors(**{"backend": "built-in", "backend.base_url": "http://x"})


# Save and load


def test_a_run_is_kept_and_opened_again(think, make_thinker, classes, results, part, RethinkError):
    done = think(make_thinker(said(2, 5, "b"), said(6, 6, "c")), turns=2)
    saved = classes["RethinkSaveTrajectory"].execute(done.trajectory, "keep/this")
    best = {"filename": "turn-0002-00.png", "subfolder": "keep/this_00001_", "type": "output"}
    assert saved.ui == {"images": [best], "rethink_run": ["output/keep/this_00001_"]}
    shutil.copytree(results.output / "keep" / "this_00001_", results.input / "brought")
    for run_name in ("output/keep/this_00001_", "input/brought", "output/rethink/thinking_00001_"):
        assert run_name in classes["RethinkLoadTrajectory"].describe()["input"]["required"]["run"][1]["options"]
        _trajectory, best, images, source, instruction, prompt = (
            classes["RethinkLoadTrajectory"].execute(run_name).result
        )
        assert torch.equal(best, done.image) and torch.equal(images, done.images) and prompt == "b"
        assert instruction == "make it red" and torch.allclose(source, SOURCE, atol=0.01)
    for wrong in ("output/../../etc", "nowhere", ""):
        with pytest.raises(RethinkError, match="run: there is no"):
            classes["RethinkLoadTrajectory"].execute(wrong)
    page = results.output / "keep" / "this_00001_" / "this_00001 make it red.html"
    assert "data:image/png;base64," in page.read_text(encoding="utf-8")
    record = {"filename": "trajectory.json", "subfolder": "rethink/thinking_00001_", "type": "output"}
    exported = part("nodes.trajectory").export(record)
    assert exported["filename"] == "thinking_00001 make it red.html", "downloads of several runs lie beside each other"
    assert (results.output / exported["subfolder"] / exported["filename"]).is_file()
    with pytest.raises(RethinkError):
        part("nodes.trajectory").export({"filename": "passwd", "subfolder": "../../etc", "type": "output"})
    shutil.rmtree(results.output / "keep")
    with pytest.raises(RethinkError, match="leads out"):
        classes["RethinkSaveTrajectory"].execute(done.trajectory, "../keep")


# One at a time, on a disk that may fail


@BOTH
def test_a_run_that_goes_on_elsewhere_is_not_gone_on_with(think, make_thinker, part, results, RethinkError, loop):
    chat = Says(said(2, 2, "b"), model_management.InterruptProcessingException())
    with pytest.raises(model_management.InterruptProcessingException):
        think(make_thinker(chat=chat), loop)
    folder = results.output / "rethink" / "thinking_00001_"
    before = (folder / "trajectory.json").read_bytes()
    with part("rethink.trajectory").writing(folder):
        with pytest.raises(RethinkError, match="thinking_00001_ is going on already, here or in another process"):
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
    assert len(seen) == 3 and all("is going on already" in line for line in seen)
    with part("rethink.trajectory").writing(results.output / "rethink" / "thinking_00001_"):
        pass


@BOTH
@pytest.mark.parametrize("trouble", ["full", "gone"])
def test_a_disk_that_fails_costs_no_picture(think, make_thinker, part, results, monkeypatch, loop, trouble):
    trajectory, real = part("rethink.trajectory"), part("rethink.trajectory").atomic_write

    def atomic_write(path):
        if path.name == "turn-0003-00.png":
            if trouble == "full":
                raise OSError(28, "No space left on device")
            shutil.rmtree(path.parent)
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(trajectory, "atomic_write", atomic_write)
        done = think(make_thinker(said(2, 2, "b"), said(6, 6, "c"), said(4, 4, "d")), loop, turns=5)
    assert done.trajectory.stopped == "failed" and "cannot be written" in done.trajectory.message
    assert done.prompt == "b" and torch.equal(done.image, done.trajectory.image(done.trajectory.steps[1]))
    assert len(done.images) == (3 if trouble == "full" else 2), "those that are still to be had"
    assert told("ended")[-1]["stopped"] == "failed" and told("ended")[-1]["best"] == 1 and len(told("step")) == 3
    if trouble == "full":
        again = think(make_thinker(said(9, 9)), loop, turns=5)
        assert again.trajectory.folder == done.trajectory.folder and len(again.trajectory.steps) == 3


@BOTH
def test_half_a_character_ends_no_run(think, make_thinker, results, part, loop):
    chat = make_thinker(said(2, 2, "b"), said(9, 9))
    done = think(chat, loop, instruction="make \ud83d it red")
    assert done.trajectory.stopped == "accepted" and done.trajectory.steps[0].prompt == "make � it red"
    assert len(part("rethink.trajectory").load_trajectory(done.trajectory.folder).steps) == 2


@BOTH
@pytest.mark.parametrize(
    "text", ["[" * 5000 + "]" * 5000, '{"schema": 1, "options": {"rules": 5}}', '{"schema": 1e400}', "\0"]
)
def test_a_strangers_record_among_the_runs_is_left_alone(think, make_thinker, results, loop, text):
    (results.output / "rethink" / "thinking_00001_").mkdir(parents=True)
    (results.output / "rethink" / "thinking_00001_" / "trajectory.json").write_text(text)
    assert think(make_thinker(said(9, 9)), loop).trajectory.folder.name == "thinking_00002_"


def test_an_export_reaches_no_folder_but_those_of_runs(think, make_thinker, part, results, RethinkError, tmp_path):
    done = think(make_thinker(said(9, 9)))
    export = part("nodes.trajectory").export
    reference = {"filename": "trajectory.json", "subfolder": "rethink/thinking_00001_", "type": "output"}
    shutil.copytree(done.trajectory.folder, tmp_path / "above", dirs_exist_ok=True)
    for file in done.trajectory.folder.iterdir():
        shutil.copy(file, results.output.parent / file.name)  # a run one folder above
    for wrong in (
        {"subfolder": ""},
        {"filename": ".", "subfolder": ""},
        {"subfolder": ".."},
        {"subfolder": "../above"},
    ):
        with pytest.raises(RethinkError, match="^trajectory: "):
            export(reference | wrong)
    assert not list(results.output.parent.glob("*.html")) and not list((tmp_path / "above").glob("*.html"))
    (tmp_path / "secret").write_text("a key")
    (done.trajectory.folder / "source.png").unlink()
    (done.trajectory.folder / "source.png").symlink_to(tmp_path / "secret")
    with pytest.raises(RethinkError, match="source.png.*no PNG file of its own"):
        export(reference)


def test_what_a_node_says_is_no_markup(part, monkeypatch):
    progress = part("nodes.comfy.progress")
    monkeypatch.setattr(progress, "get_executing_context", lambda: SimpleNamespace(node_id="1"))
    progress.show_status("2 × <img src=x onerror=alert(1)>.png: [[click|https://evil.test]]")
    assert server.texts == ["2 × ‹img src=x onerror=alert(1)›.png: [ [click|https://evil.test]]"]


def test_the_runs_to_choose_from_are_told_apart_and_the_newest_comes_first(think, make_thinker, classes, results, part):
    first = think(make_thinker(said(2, 5, "b"), said(6, 6, "c")), turns=2).trajectory
    second = think(make_thinker("I like it."), instruction="make it blue", turns=1).trajectory
    os.utime(first.folder / "trajectory.json", (1000, 1000))
    torn = results.output / "torn"
    torn.mkdir()
    (torn / "trajectory.json").write_text("{")
    os.utime(torn / "trajectory.json", (500, 500))
    runs = part("nodes.trajectory").list_runs()
    names = [f"output/rethink/{run.folder.name}" for run in (second, first)] + ["output/torn"]
    assert [run["run"] for run in runs] == names
    options = classes["RethinkLoadTrajectory"].describe()["input"]["required"]["run"][1]
    assert options["options"] == names and options["default"] == names[0]
    assert [run.get("instruction") for run in runs] == ["make it blue", "make it red", None]
    assert runs[0]["score"] is None and runs[1]["score"] == first.steps[1].score and runs[1]["date"] == 1000
    assert runs[1]["picture"]["filename"] == "turn-0002-00.png" and runs[1]["turns"] == 2
    assert "cannot be read" in runs[2]["error"]
