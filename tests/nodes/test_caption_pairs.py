"""Captions to edits, and edits to pairs of pictures."""

import json
import shutil

import pytest
from comfy import model_management, utils

from tests.support.editor_miniatures import as_diffusers, factors, write_lora
from tests.support.miniatures import PLAIN, QUICK, write_folder


class Writer:
    """A Chat that writes edits."""

    name = "writer"

    def __init__(self, answer="make it snow\n%%\n{caption} in the snow"):
        self.answer, self.asked = answer, []

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        on_token(1, max_tokens)
        caption = messages[-1]["content"][-1]["text"]
        self.asked.append(messages)
        return self.answer.format(caption=caption)


@pytest.fixture
def write(classes, models, results, part):
    def call(chat=None, captions="a street\n\na dog\na street\n", **inputs):
        inputs = {"dataset": "edits", "seed": 0, **inputs}
        thinker = part("rethink.thinkers.critique").Thinker(chat or Writer())
        return classes["RethinkCaptionToEdit"].execute(thinker, captions, **inputs).result

    return call


def test_every_caption_gets_an_edit_once(write, models):
    captions, edits, edited, report = write()
    assert captions == ["a street", "a dog"] and edits == ["make it snow"] * 2
    assert edited == ["a street in the snow", "a dog in the snow"] and report == "2 of 2 captions got an edit."
    again = Writer()
    assert write(again, "a dog\na cat")[0] == ["a dog", "a cat"] and len(again.asked) == 1
    lines = (models.datasets / "edits" / "edits.jsonl").read_text().splitlines()
    assert [json.loads(line)["caption"] for line in lines] == ["a street", "a dog", "a cat"]


def test_own_examples_are_shown_and_written_to_fine_tune_with(write, models):
    chat = Writer()
    write(chat, examples="an owl | make it blue | a blue owl")
    (line,) = (models.datasets / "edits" / "fine-tuning.jsonl").read_text().splitlines()
    assert json.loads(line) == {"prompt": "an owl\n##\n", "completion": "make it blue\n%%\na blue owl\nEND"}
    texts = json.dumps(chat.asked[0])
    assert "make it blue" in texts and texts.count('"assistant"') == 1


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"captions": " \n"}, "captions: is empty"),
        ({"chat": Writer("I cannot.")}, "captions: none of them got an edit(.|\n)*the thinker refused"),
        ({"examples": "an owl | make it blue"}, "examples: expected"),
        ({"dataset": "../x"}, "dataset: "),
    ],
)
def test_a_mistake_is_one_sentence(write, RethinkError, inputs, sentence):
    with pytest.raises(RethinkError, match=f"^{sentence}"):
        write(**inputs)


def test_cancel_ends_the_writing(write):
    model_management.interrupt_current_processing()
    with pytest.raises(model_management.InterruptProcessingException):
        write()


@pytest.fixture(scope="module")
def text_to_image(part, tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("models") / "plain", PLAIN)
    return part("rethink.editors.loading").load_editor(folder)


@pytest.fixture
def draw(classes, models, results, text_to_image, clip_folder):
    shutil.copytree(clip_folder, models.clip_vision / "clip")

    def call(method="self-attention", weights=None, **inputs):
        inputs = {
            "editor": text_to_image,
            "caption": "the red make",
            "instruction": "make it blue",
            "edited_caption": "the blue make",
            "clip": "clip",
            "dataset": "drawn",
            "seed": 5,
            **QUICK,
            **inputs,
        }
        inputs["caption_fit"] = inputs.pop("caption_fit", -1.0)
        lists = {name: value if isinstance(value, list) else [value] for name, value in inputs.items()}
        choice = {"method": [method], **({} if weights is None else {"weights": [weights]})}
        return classes["RethinkPromptToPromptPairs"].execute(method=choice, **lists).result

    return call


def test_the_best_candidates_become_pairs_with_captions(draw):
    pairs, report = draw(
        caption=["the red make", "the make"], instruction=["a", "b"], edited_caption=["blue make", "red the"]
    )
    made = list(pairs)
    assert len(made) == 4 and {pair.input_caption for pair in made} == {"the red make", "the make"}
    assert pairs.read_image(made[0].input).shape == (32, 32, 3)
    assert report.startswith("4 pairs kept now, of 8 candidates")
    again, report = draw(caption=["the red make"], instruction=["a"], edited_caption=["blue make"])
    assert {pair.id for pair in again} < {pair.id for pair in pairs} and report.startswith("0 pairs kept now")


def test_a_lora_over_the_editor_takes_part_and_draws_pairs_of_its_own(draw, classes, models, text_to_image):
    lora = write_lora(as_diffusers(factors(text_to_image)), models.loras).name
    without, _ = draw()
    pictures = {}
    for strength in (0.0, 1.0):
        editor, _ = classes["RethinkEditLoraLoader"].execute(text_to_image, lora, strength).result
        pairs, report = draw(editor=editor)
        assert report.startswith("2 pairs kept now") and pairs.subset.isdisjoint(without.subset)
        pictures[strength] = {pair.seed: pairs.read_image(pair.target).tobytes() for pair in pairs}
    plain = {pair.seed: without.read_image(pair.target).tobytes() for pair in without}
    shared = plain.keys() & pictures[1.0]
    assert pictures[0.0] == plain and shared and all(plain[seed] != pictures[1.0][seed] for seed in shared)


def test_methods_and_weights_reach_the_drawing(draw):
    pairs, _ = draw("replace", "blue: 2")
    assert {pair.parameters["method"] for pair in pairs} == {"replace"}


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"caption": ["a", "b"]}, r"instruction: expected one for each caption \(2\), got 1"),
        ({"instruction": " "}, "instruction: is empty"),
        ({"method": "refine", "weights": "blue 2"}, "method.weights: expected word: factor"),
        ({"lowest_sharing": 0.9, "highest_sharing": 0.1}, "lowest_sharing and highest_sharing: expected"),
        ({"direction": 1.0}, "candidates: none was kept"),
        ({"edited_caption": "the red make"}, "candidates: none was kept; .*equals the caption"),
        ({"clip": "../x"}, "clip: there is no"),
    ],
)
def test_a_wrong_drawing_is_one_sentence(draw, RethinkError, inputs, sentence):
    with pytest.raises(RethinkError, match=f"(?s)^{sentence}"):
        draw(**inputs)


def test_an_editor_that_needs_a_picture_is_refused(draw, part, miniature, fake, RethinkError):
    instruct = part("rethink.editors.loading").load_editor(miniature)
    for editor in (instruct, fake):
        with pytest.raises(RethinkError, match="^editor: .* does not generate from text alone"):
            draw(editor=editor)


def test_cancel_ends_the_drawing_within_a_step(draw):
    model_management.interrupt_current_processing()
    with pytest.raises(model_management.InterruptProcessingException):
        draw()
    model_management.interrupt_current_processing(False)
    assert draw()[0].subset and utils.reports


def test_another_seed_draws_anew_and_says_what_the_first_has_left(draw, classes):
    first, report = draw()
    assert "seed" not in report
    second, report = draw(seed=6)
    assert second.subset.isdisjoint(first.subset)
    assert report.endswith("2 pairs of the same kind were made with seed 5; to continue with them, use that seed.")
    assert draw()[0].subset == first.subset
    assert "seed" not in draw(seed=7, sampler="ddim")[1], "other settings are other work"
