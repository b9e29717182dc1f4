"""What Inverse Edit Synthesizer makes of its inputs."""

import shutil
import threading
import time

import numpy as np
import pytest
import torch
from comfy import model_management

from tests.support.chats import FACE, Seer
from tests.support.fake_editor import flat_image
from tests.support.servers import completion, openai_server
from tests.support.waiting import LATE, SOON, wait_until

CONNECTED = "connected pictures"


def instructions(pairs):
    return [pair.instruction for pair in pairs]


def test_the_picture_is_the_target_and_only_the_touched_pixels_differ(synthesize, photo, models):
    pairs, report = synthesize()
    assert str(pairs.folder) == str(models.datasets / "pairs") and report == "2 pairs, 2 made now; 0 skipped."
    for pair in pairs:
        before, after = pairs.read_image(pair.input), pairs.read_image(pair.target)
        assert (after == (photo[0] * 255).round().numpy()).all()
        region = pairs.read_image(pair.region)[..., 0] > 127
        assert (before[~region] == after[~region]).all() and (before[region] != after[region]).any()


def test_the_mission_s_own_example_by_a_thinker_on_a_server(synthesize, classes):
    with openai_server() as server:
        server.replies = [(200, completion(FACE), {})]
        at = {"base_url": server.url, "model": "m", "key_variable": "", "timeout": 120, "retries": 0, "concurrency": 1}
        (thinker,) = classes["RethinkLoadThinker"].execute({"backend": "server", **at}, max_tokens=777).result
        pairs, _ = synthesize(options={"shape": "square", "fill": "black"}, thinker=thinker, pairs=12)
    assert "Remove the black square from the man's face. He has brown hair and round glasses." in instructions(pairs)
    body = server.requests[0].body
    assert body["max_tokens"] == 777, "as long as it may answer"
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "image_url", "text"]


def test_a_server_is_asked_as_often_at_once_as_its_node_says_and_cancel_ends_all(synthesize, classes):
    def answer(body):
        wait_until(lambda: server.most_at_once == 3)
        return 200, completion(FACE), {}

    def cancel(body):
        model_management.interrupt_current_processing()
        hang(body)

    def hang(body):
        time.sleep(LATE)

    with openai_server() as server:
        server.replies = [*[answer] * 12, cancel, hang]
        at = {"base_url": server.url, "model": "m", "key_variable": "", "timeout": 300, "retries": 0, "concurrency": 3}
        (thinker,) = classes["RethinkLoadThinker"].execute({"backend": "server", **at}, max_tokens=777).result
        pairs, _ = synthesize(thinker=thinker, pairs=9)
        assert server.most_at_once == 3 and len(server.requests) == len(instructions(pairs)) == 9
        started, before = time.monotonic(), set(threading.enumerate())
        with pytest.raises(model_management.InterruptProcessingException):
            synthesize(thinker=thinker, pairs=20)
        assert time.monotonic() - started < SOON, "no answer was waited for"
        wait_until(lambda: not [t for t in set(threading.enumerate()) - before if t.name == "rethink-thread"])


def test_a_thinker_in_a_folder_is_asked_and_its_babble_is_no_description(
    synthesize, classes, models, vision_folder, RethinkError
):
    shutil.copytree(vision_folder, models.LLM / "mini")
    at = {"folder": "mini", "dtype": "auto", "quantization": "none", "template": "Rethink's own"}
    (thinker,) = classes["RethinkLoadThinker"].execute({"backend": "local folder", **at}, max_tokens=16).result
    with pytest.raises(
        RethinkError, match="(?s)no pair could be made.*1 × the thinker's answer contains no JSON object$"
    ):
        synthesize(thinker=thinker, pairs=1)


def test_the_thinker_finds_the_place(synthesize):
    seer = Seer('{"places": [{"box": [0, 0, 250, 500], "place": "the sign"}]}')
    pairs, _ = synthesize("text_erase", thinker=seer, find="signs", description="It says STOP.", pairs=3)
    assert any("the sign" in text for text in instructions(pairs)) and len(seer.asked) == 1
    for pair in pairs:
        region = pairs.read_image(pair.region)[..., 0] > 127
        assert region[:24, :16].any() and not region[25:].any() and not region[:, 17:].any()


def test_own_words_need_no_thinker_and_other_words_make_other_pairs_of_the_same_pictures(synthesize):
    first, _ = synthesize(place="the dog", description="It is asleep.")
    again, _ = synthesize(place="the dog", description="It is awake.")
    assert all("the dog" in text and text.endswith("It is asleep.") for text in instructions(first))
    assert all(text.endswith("It is awake.") for text in instructions(again))
    assert first.subset.isdisjoint(again.subset)
    assert [pair.parameters for pair in first] == [pair.parameters for pair in again]


def test_nothing_is_made_twice_and_more_pairs_are_added(synthesize):
    first, _ = synthesize(pairs=2)
    again, report = synthesize(pairs=5)
    assert report.startswith("5 pairs, 3 made now") and first.subset < again.subset and len(again.subset) == 5


def test_each_operation_has_the_widgets_of_its_parameters_within_limits(classes, part, models, results):
    described = classes["RethinkInverseEditSynthesizer"].describe()["input"]["required"]["operation"][1]["options"]
    shown = {option["key"]: option["inputs"].get("optional", {}) for option in described}
    operations = part("rethink.pairs.inverse.operations").OPERATIONS
    assert set(shown) == {"any", "editor", *operations} and len(operations) >= 16
    for id, operation in operations.items():
        for name in operation.ranges:
            assert name in shown[id] or {f"lowest_{name}", f"highest_{name}"} <= set(shown[id])


def test_ranges_and_choices_reach_the_operation(synthesize):
    pairs, _ = synthesize("pixelate", options={"lowest_blocks": 9, "highest_blocks": 9}, pairs=3)
    assert {pair.parameters["blocks"] for pair in pairs} == {9}
    pairs, _ = synthesize("weather", options={"kind": "snow", "lowest_strength": 0.5, "highest_strength": 0.6})
    assert {pair.parameters["kind"] for pair in pairs} == {"snow"}


def test_any_draws_among_those_that_need_no_mask(synthesize):
    pairs, _ = synthesize("any", pairs=12)
    assert len({pair.operation for pair in pairs}) > 4


def test_a_mask_says_where_and_boxes_say_what_it_is_called(synthesize):
    mask = torch.zeros(1, 48, 64)
    mask[:, 10:20, 30:50] = 1
    pairs, _ = synthesize("blur", mask=mask, pairs=1)
    (pair,) = pairs
    assert (pairs.read_image(pair.region)[..., 0] > 127).sum() <= 200
    boxes = [{"x": 8, "y": 8, "width": 16, "height": 16, "label": "cup"}]
    pairs, _ = synthesize("remove_object", boxes=[boxes], pairs=4)
    assert any("the cup" in text for text in instructions(pairs))


def test_an_editor_does_the_inverse_edit_and_pixels_outside_the_mask_stay(synthesize, fake, photo):
    mask = torch.zeros(1, 48, 64)
    mask[:, :24] = 1
    options = {"editor": fake, "inverse": "remove the hat"}
    pairs, _ = synthesize("editor", options, mask=mask, pairs=1, description="A red woollen hat.")
    (pair,) = pairs
    before, after = pairs.read_image(pair.input), pairs.read_image(pair.target)
    assert (before[24:] == after[24:]).all() and (before[:24] != after[:24]).any()
    assert fake.calls[0].instructions == ["remove the hat"] and pair.instruction.endswith("A red woollen hat.")


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"image": []}, "image: connect images"),
        ({"dataset": "../../x"}, "dataset: “../../x” is not a valid name"),
        ({"dataset": "a\nb"}, "dataset: “a b” is not a valid name"),
        ({"dataset": ""}, "dataset: “” is not a valid name"),
        ({"operation": "remove_object"}, "pictures: no pair could be made"),
        ({"operation": "editor", "options": {"editor": None, "inverse": "x"}}, "operation.editor: is not connected"),
        ({"operation": "editor", "options": {"editor": "fake", "inverse": " "}}, "operation.inverse: is empty"),
        ({"operation": "any", "templates": "Do it."}, "templates: apply to a single operation"),
        ({"templates": "Take the {hat} off."}, "templates: "),
        ({"paraphrase": True}, "paraphrase: needs a thinker"),
        ({"find": "a face"}, "find: needs a thinker"),
        (
            {"operation": "blur", "options": {"lowest_strength": 0.5, "highest_strength": 0.1}},
            "operation.lowest_strength: is 0.5, above highest_strength",
        ),
        ({"mask": [torch.ones(1, 4, 4)] * 3}, "mask: a list of 1 images needs 1"),
        ({"mask": torch.zeros(1, 64, 64)}, "mask: is empty"),
        ({"folder": "../.."}, "pictures.folder: there is no"),
        ({"thinker": Seer("I cannot help with that.")}, "pictures: no pair could be made"),
        ({"image": flat_image(size=4)}, "pictures: no pair could be made"),
    ],
)
def test_a_mistake_is_said_in_one_sentence(synthesize, fake, RethinkError, inputs, sentence):
    if inputs.get("options", {}).get("editor") == "fake":
        inputs["options"]["editor"] = fake
    with pytest.raises(RethinkError, match=f"^{sentence}"):
        synthesize(**inputs)


def test_cancel_ends_a_run_and_the_next_one_goes_on(synthesize, part, monkeypatch, photo):
    pictures = [photo.roll(shift, 2) for shift in range(6)]
    show_status = part("nodes.comfy.progress").show_status

    def stop_after_two(line):
        show_status(line)
        if line.startswith("2 of 6"):
            model_management.interrupt_current_processing()

    monkeypatch.setattr(part("nodes.comfy.progress"), "show_status", stop_after_two)
    monkeypatch.setattr(part("nodes.comfy.progress"), "LINE_SECONDS", 0)
    with pytest.raises(model_management.InterruptProcessingException):
        synthesize(image=pictures, pairs=1)
    model_management.interrupt_current_processing(False)
    monkeypatch.setattr(part("nodes.comfy.progress"), "show_status", show_status)
    assert synthesize(image=pictures, pairs=1)[1].startswith("6 pairs, 3 made now")  # the third was under way


def test_previews_are_input_and_target_side_by_side(synthesize, part, monkeypatch):
    from comfy import utils

    monkeypatch.setattr(part("nodes.comfy.progress"), "LINE_SECONDS", 0)
    synthesize(pairs=1)
    ((kind, preview, _),) = [report[2] for report in utils.reports if report[2]]
    assert kind == "JPEG" and np.asarray(preview).shape == (48, 128, 3)


def cut_off(synthesize, monkeypatch, part, after, **inputs):
    """A run that is cancelled when so many pairs are there."""
    store = part("rethink.pairs.store").PairStore
    add, added = store.add, []

    def counted(self, pair):
        add(self, pair)
        added.append(pair.id)
        if len(added) == after:
            model_management.interrupt_current_processing()

    monkeypatch.setattr(store, "add", counted)
    with pytest.raises(model_management.InterruptProcessingException):
        synthesize(**inputs)
    monkeypatch.setattr(store, "add", add)
    model_management.interrupt_current_processing(False)
    return set(added)


def test_the_seed_of_a_new_node_stays_so_that_a_cancelled_run_goes_on(synthesize, classes, monkeypatch, part):
    for node_id in ("RethinkInverseEditSynthesizer", "RethinkPromptToPromptPairs", "RethinkCaptionToEdit"):
        seed = classes[node_id].describe()["input"]["required"]["seed"][1]
        assert seed["control_after_generate"] == "fixed", node_id
    before = cut_off(synthesize, monkeypatch, part, 2, pairs=6)
    pairs, report = synthesize(pairs=6)
    assert before < pairs.subset and report == f"6 pairs, {6 - len(before)} made now; 0 skipped."


def test_another_seed_makes_others_and_says_what_a_run_with_the_first_has_left(synthesize, monkeypatch, part):
    before = cut_off(synthesize, monkeypatch, part, 2, pairs=6)
    pairs, report = synthesize(pairs=6, seed=8)
    assert len(pairs.subset) == 6 and before.isdisjoint(pairs.subset)
    assert report.splitlines()[1] == (
        f"{len(before)} pairs of the same kind were made with seed 7; to continue with them, use that seed."
    )
    assert "seed" not in synthesize("pixelate", seed=9)[1], "another operation in one dataset is no stray"
    assert "seed" not in synthesize(image=torch.rand(1, 32, 32, 3), seed=9)[1], "nor are pairs of other pictures"
