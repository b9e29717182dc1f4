"""Think While Edit on the stand-in, and what it has in common with the loop: outputs, the record, what fails."""

import gc
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import server
import torch
from PIL import Image

from tests.support.think_nodes import BOTH, Paint, events
from tests.support.thinking import SOURCE, Looks, Painter, said

MANY = 50  # turns


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


def test_the_seed_of_a_new_node_stays_so_that_queueing_again_goes_on(classes):
    for node in ("RethinkThinkWhileEdit", "RethinkThinkLoopOpen"):
        assert classes[node].describe()["input"]["required"]["seed"][1]["control_after_generate"] == "fixed"


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
    assert (
        str(error.value) == f"thinker: it is gone. No edit was judged; the edits made so far are kept in {folder}."
    ) == made
    record = json.loads((folder / "trajectory.json").read_text(encoding="utf-8"))
    assert record["stopped"] == "failed" and not record["best_judged"]
    assert events("ended")[-1]["stopped"] == "failed"
    again = think(make_thinker(said(9, 9)), loop)
    assert (again.trajectory.folder == folder) == (not rules) and again.trajectory.best_judged


@BOTH
def test_close_edits_are_compared_in_both_orders_and_the_scores_of_several_answers_are_means(think, make_thinker, loop):
    scores = said(6, 6, "b"), said(6.2, 6.2, "b"), said(6.4, 6.4, "c"), said(6.2, 6.2, "c")
    rules = {"turns": 2, "draws": 2, "side_by_side": True, "margin": 0.3}
    done = think(make_thinker(*scores, "<answer>A</answer>"), loop, **rules)
    record = json.loads((done.trajectory.folder / "trajectory.json").read_text(encoding="utf-8"))
    first, second = record["steps"]
    assert first["critique"]["draws"] == [[6, 6], [6.2, 6.2]] and first["critique"]["semantic"] == pytest.approx(6.1)
    assert second["comparison"]["answers"] == ["earlier", "later"] and second["comparison"]["kept"] == "earlier"
    assert record["best"] == 0 and torch.equal(done.image, done.images[:1]), "the scores alone would take the second"
    assert record["options"]["rules"]["margin"] == 0.3


def test_what_the_thinker_points_at_is_recorded_and_holds_the_next_turn(think, make_thinker):
    pointed = said(3, 3, "b") + '<boxes>[{"bbox_2d": [0, 0, 500, 500], "kind": "place", "label": "the star"}]</boxes>'
    masks = []

    class Masked(Painter):
        def edit(self, *arguments, mask=None, **options):
            masks.append(mask)
            return super().edit(*arguments, **options)

    done = think(make_thinker(pointed), editor=Masked(), turns=2, focus=True, focus_margin=0.0)
    record = json.loads((done.trajectory.folder / "trajectory.json").read_text(encoding="utf-8"))
    region = {"kind": "place", "box": [0, 0, 0.5, 0.5], "label": "the star"}
    assert record["steps"][0]["critique"]["regions"] == [region] and record["steps"][1]["focus"] == [region["box"]]
    assert masks[0] is None and masks[1].sum() == 8 * 8
    looped = think(make_thinker(pointed), True, turns=1, regions=True)
    assert len(looped.trajectory.steps[0].critique.regions) == 1


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


@BOTH
def test_a_first_prompt_that_cannot_be_polished_is_an_error(think, make_thinker, part, RethinkError, loop):
    gone = part("rethink.thinkers.protocol").ThinkerError("thinker: it is gone.")
    with pytest.raises(RethinkError, match="it is gone"):
        think(make_thinker(gone), loop, start="polished")


@BOTH
def test_candidates(think, make_thinker, monkeypatch, loop):
    looks = Looks()
    monkeypatch.setattr(Paint, "rows", [3])
    done = think(make_thinker(chat=looks), loop, turns=2, **({} if loop else {"candidates": 3}))
    assert done.images.shape[0] == 6 and looks.batches == [3, 3]
    assert [(s.turn, s.candidate) for s in done.trajectory.steps] == [(t, c) for t in (1, 2) for c in range(3)]


@BOTH
def test_many_turns_keep_no_pictures_and_send_none(think, make_thinker, loop):
    held = {}

    class Counting(Looks):
        def chat_all(self, requests, **options):
            if len(self.batches) + 1 in (10, MANY):
                gc.collect()
                tensors = (thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor))
                held[len(self.batches) + 1] = len({t.data_ptr() for t in tensors if t.shape == source.shape})
            return super().chat_all(requests, **options)

    source = torch.rand(1, 48, 41 + loop, 3)  # of a size of its own: what other runs let go of is not counted
    done = think(make_thinker(chat=Counting()), loop, source=source, turns=MANY)
    assert len(done.trajectory.steps) == MANY and max(map(len, done.outputs)) < MANY * 8
    of_the_graph = MANY - 10 if loop else 0  # ComfyUI keeps what the nodes in between make
    # The best one is held, which may be the last one or not, and a few may still be on their way into their files.
    assert abs(held[MANY] - held[10] - of_the_graph) <= 8
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
    assert events("ended")[-1]["stopped"] == "failed" and events("ended")[-1]["best"] == 1 and len(events("step")) == 3
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
def test_a_node_says_when_its_thinker_is_asked_for_no_boxes(think, make_thinker, loop):
    critic = make_thinker(said(9, 9))
    critic = replace(critic, template="{source}{edited}{instruction}")
    for thinker, words in ((make_thinker(said(9, 9)), ""), (critic, "regions: the thinker has its own template")):
        done = think(thinker, loop, regions=True)
        (shown,) = [ui for node, ui in done.ui.items() if node.endswith("6") and ui]
        assert shown["rethink_text"][0].startswith(words) and bool(shown["rethink_text"][0]) == bool(words)
