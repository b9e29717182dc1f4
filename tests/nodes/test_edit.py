"""What the editing nodes make of their inputs."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from comfy import model_management, utils

from tests.support.fake_editor import flat_image, read_rows
from tests.support.photographs import make_photograph


@pytest.fixture
def sample(classes, fake):
    """The sampler as the host calls it: every input a list."""

    def call(**inputs):
        inputs = {"editor": fake, "image": flat_image(), "instruction": "blue", "seed": 7, **inputs}
        lists = {name: value if isinstance(value, list) else [value] for name, value in inputs.items()}
        return classes["RethinkSampleEdit"].execute(**lists).result[0]

    return call


@pytest.fixture
def chain(classes, fake):
    def call(**inputs):
        inputs = {"editor": fake, "image": flat_image(), "instructions": "blue\nbig", "seed": 7, **inputs}
        return classes["RethinkEditChain"].execute(**inputs)

    return call


def test_one_picture_one_instruction(sample):
    assert [read_rows(batch) for batch in sample()] == [[(50, 4, 7)]]


def test_variations_are_seeds_of_one_batch(sample, fake):
    assert [read_rows(batch) for batch in sample(variations=3)] == [[(50, 4, 7), (50, 4, 8), (50, 4, 9)]]
    assert len(fake.calls) == 1


def test_a_batch_is_grouped_by_picture_then_seed(sample):
    batch = torch.cat([flat_image(0.1), flat_image(0.2)])
    assert read_rows(sample(image=batch, variations=2)[0]) == [(10, 4, 7), (10, 4, 8), (20, 4, 7), (20, 4, 8)]


def test_many_instructions_on_one_picture_are_one_batch_and_encode_it_once(sample, fake):
    batch = torch.cat([flat_image(0.1), flat_image(0.2)])
    edited = sample(image=batch, instruction=["blue", "green"], variations=2)
    assert len(fake.calls) == len(fake.prepared) == 1
    assert [read_rows(b) for b in edited] == [
        [(10, 4, 7), (10, 4, 8), (20, 4, 7), (20, 4, 8)],
        [(10, 5, 7), (10, 5, 8), (20, 5, 7), (20, 5, 8)],
    ]


def test_lists_go_together_as_usual(sample, fake):
    pictures = [flat_image(0.1, 4), flat_image(0.2, 6), flat_image(0.3, 8)]
    assert [read_rows(b) for b in sample(image=pictures)] == [[(10, 4, 7)], [(20, 4, 7)], [(30, 4, 7)]]
    paired = sample(image=pictures, instruction=["a", "bb", "ccc"])
    assert [read_rows(b) for b in paired] == [[(10, 1, 7)], [(20, 2, 7)], [(30, 3, 7)]]
    assert [b.shape[1] for b in paired] == [4, 6, 8]


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"image": [flat_image()] * 3, "instruction": ["a", "b"]}, "instruction: a list of 3 images needs 1 or 3"),
        ({"image": [flat_image()] * 3, "mask": [torch.ones(1, 4, 4)] * 2}, "mask: a list of 3"),
        ({"mask": [torch.ones(1, 4, 4)] * 2}, "mask: a list of 1"),
        ({"seed": [1, 2]}, "seed: takes one value, got a list of 2"),
        ({"image": []}, "image: is an empty list"),
        ({"instruction": []}, "instruction: is an empty list"),
        ({"image": flat_image(float("nan"))}, "image: has NaN"),
        ({"mask": torch.full((1, 4, 4), float("nan"))}, "mask: has NaN"),
        ({"image": torch.rand(4, 4, 2)[None]}, "image: expected"),
        ({"mask": torch.ones(3, 4, 4)}, "mask: 3 masks for 1"),
        ({"mask": torch.zeros(1, 64, 64)}, "mask: is empty"),
        ({"image": [flat_image()] * 2, "mask": [torch.zeros(1, 64, 64), torch.zeros(4, 4)]}, "mask: is empty"),
        ({"steps": -1}, "steps: expected"),
        ({"text_guidance": float("nan")}, "text_guidance: expected"),
        ({"variations": 0}, "variations: expected 1 to 64"),
        ({"variations": 65}, "variations: expected 1 to 64"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(sample, RethinkError, inputs, sentence):
    with pytest.raises(RethinkError, match=f"^{sentence}[^\n]*$"):
        sample(**inputs)


def test_rgba_and_greyscale_pictures_are_taken(sample, fake):
    sample(image=torch.rand(2, 4, 4, 4))
    sample(image=torch.rand(3, 4, 4, 1))
    assert [tuple(p.shape) for p in fake.prepared] == [(2, 4, 4, 3), (3, 4, 4, 3)]


def test_settings_and_mask_reach_the_editor(sample, fake):
    sample(steps=3, sampler="euler", negative="rain", randomize_guidance=True, mask=torch.ones(8, 8))
    call = fake.calls[0]
    assert (call.settings.steps, call.settings.sampler, call.settings.negative_prompt) == (3, "euler", "rain")
    assert call.settings.randomize_guidance
    assert call.mask.shape == (1, 4, 4)


def test_one_empty_mask_among_several_leaves_its_picture_alone(sample, fake):
    pictures = [flat_image(0.1), flat_image(0.2)]
    edited = sample(image=pictures, mask=[torch.zeros(4, 4), torch.ones(4, 4)], variations=2)
    assert torch.equal(edited[0], torch.cat([pictures[0]] * 2)) and len(fake.calls) == 1
    assert read_rows(edited[1]) == [(20, 4, 7), (20, 4, 8)]
    masks = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])
    assert read_rows(sample(image=torch.cat(pictures), mask=masks)[0]) == [
        (10, 4, 7),
        (20, 4, 7),
    ]  # the editor holds them


def test_an_empty_mask_ends_a_chain_before_its_first_edit(chain, fake, RethinkError):
    with pytest.raises(RethinkError, match="^mask: is empty"):
        chain(mask=torch.zeros(1, 64, 64))
    assert not fake.calls


def test_references_are_a_batch_or_a_list_and_the_same_for_every_picture(sample, fake, RethinkError):
    sample(image=[flat_image(), flat_image()], references=[flat_image(0.1, 6, batch=2), flat_image(0.3, 9)])
    assert [tuple(one.shape) for one in fake.references] == [(1, 6, 6, 3), (1, 6, 6, 3), (1, 9, 9, 3)]
    sample(references=[])
    assert fake.references == []
    with pytest.raises(RethinkError, match="^references: has NaN"):
        sample(references=flat_image(float("nan")))


def test_forty_references_are_refused(sample, part, miniature, RethinkError):
    editor = part("rethink.editors.loading").load_editor(miniature)
    with pytest.raises(RethinkError, match=r"^references: got 40 images, but InstructPix2Pix takes none\.$"):
        sample(editor=editor, references=flat_image(batch=40))


def test_seeds_wrap_around(sample, fake):
    sample(seed=2**64 - 1, variations=2)
    assert fake.calls[0].seeds == [2**64 - 1, 0]


def test_progress_goes_over_all_edits_with_previews(sample):
    sample(image=[flat_image(), flat_image()], variations=5)
    assert [value for value, _, _ in utils.reports] == list(range(1, 9))
    assert {total for _, total, _ in utils.reports} == {8}
    kind, preview, limit = utils.reports[0][2]
    assert (kind, preview.size, limit) == ("JPEG", (24, 16), 512)  # five previews as a sheet of three by two


@pytest.mark.parametrize("node", ["sample", "chain"])
def test_cancel_stops_within_one_step_and_the_next_run_works(request, fake, node):
    run = request.getfixturevalue(node)
    steps = []

    def cancel_in_the_second(step):
        steps.append(step)
        if step == 2:
            model_management.interrupt_current_processing()

    fake.before_step = cancel_in_the_second
    with pytest.raises(model_management.InterruptProcessingException):
        run()
    assert steps == [1, 2]
    fake.before_step = lambda step: None
    run()


def test_a_chain_edits_what_the_step_before_made(chain, fake):
    node = chain(instructions="  blue \n\n\nbigger\nred")
    final, steps = node.result
    assert [call.instructions for call in fake.calls] == [["blue"], ["bigger"], ["red"]]
    assert [call.seeds for call in fake.calls] == [[7], [8], [9]]
    assert read_rows(steps) == [(50, 50, 50), (50, 4, 7), (50, 6, 8), (50, 3, 9)]
    assert torch.equal(final, steps[-1:])
    assert all(torch.equal(before, steps[i : i + 1]) for i, before in enumerate(fake.prepared))
    assert len(node.ui["images"]) == 4
    assert [(value, preview) for value, _, preview in utils.reports] == [(value, None) for value in range(1, 13)]


def test_a_chain_of_a_batch(chain):
    final, steps = chain(image=torch.cat([flat_image(0.1), flat_image(0.2)])).result
    assert read_rows(final) == [(10, 3, 8), (20, 3, 8)]
    assert len(steps) == 6


def test_a_chain_of_nothing_is_refused(chain, RethinkError):
    with pytest.raises(RethinkError, match="instructions: is empty"):
        chain(instructions=" \n\n")


@pytest.mark.parametrize("instruction", ["", "  \n", "x" * 10_000, "把圆变成蓝色", "make it 🔵"])
def test_any_text_is_an_instruction_but_none(sample, fake, part, miniature, RethinkError, instruction):
    editor = part("rethink.editors.loading").load_editor(miniature)
    if not instruction.strip():
        with pytest.raises(RethinkError, match="instruction: is empty"):
            sample(editor=editor, instruction=instruction)
        instruction = "blue"
    with pytest.warns(UserWarning) if len(instruction) > 100 else pytest.MonkeyPatch.context():
        (edited,) = sample(editor=editor, instruction=instruction, image=torch.rand(1, 20, 30, 3), steps=1)
    assert edited.shape == (1, 20, 30, 3)


@pytest.mark.parametrize("level", ["plain", "unusual", "reasoning"])
def test_scenes_are_pictures_with_an_instruction_and_the_same_for_the_same_seed(classes, level):
    (image,), (instruction,), *_ = classes["RethinkScene"].execute(seed=5, level=level).result
    assert image.ndim == 4 and image.shape[-1] == 3 and instruction
    images, instructions, before, after = classes["RethinkScene"].execute(seed=4, level=level, count=2).result
    assert torch.equal(image, images[1]) and instruction == instructions[1] and len(images) == 2
    assert len(before) == 2 and all(a != b for a, b in zip(before, after)), "captions tell both apart"
    classes["RethinkScene"].execute(seed=2**64 - 1, level=level, count=2)


def noted(classes, node_id, prompt=None, notes=None, **inputs):
    """What a node of that id says on itself and leaves in the prompt's notes."""
    hidden = SimpleNamespace(unique_id="5", prompt=prompt, extra_pnginfo=notes, dynprompt=None)
    cls = type("Node", (classes[node_id],), {"hidden": hidden})
    node = cls.execute(**inputs)
    (text,) = node.ui["rethink_text"]
    return text


SAMPLED = {"image": [flat_image()], "instruction": ["blue"], "seed": [7], "variations": [2]}
USED = {"editor": "fake", "steps": 4, "sampler": "default", "text_guidance": 7.5, "image_guidance": 1.5}


def test_the_steps_and_guidances_that_were_used_are_said_and_stand_in_every_picture_saved(classes, fake):
    notes = {"workflow": {}}
    assert noted(classes, "RethinkSampleEdit", notes=notes, editor=[fake], **SAMPLED) == (
        "4 steps · text guidance 7.5 · image guidance 1.5"
    )
    assert notes["rethink"] == {"5": {**USED, "instructions": ["blue"], "seeds": [7, 8]}}
    chained = {"editor": fake, "image": flat_image(), "instructions": "blue\nbig", "seed": 7}
    said = noted(classes, "RethinkEditChain", notes=notes, steps=9, randomize_guidance=True, **chained)
    assert said == "9 steps · text guidance 7.5 ± 20 % by seed · image guidance 1.5 ± 20 % by seed"
    assert notes["rethink"]["5"]["seeds"] == [7, 8] and notes["rethink"]["5"]["steps"] == 9


def test_in_a_prompt_without_notes_they_stand_with_the_node(classes, fake):
    prompt = {"5": {"class_type": "RethinkSampleEdit", "inputs": {}, "_meta": {"title": "Edit"}}}
    noted(classes, "RethinkSampleEdit", prompt=prompt, editor=[fake], **SAMPLED)
    assert prompt["5"]["_meta"] == {"title": "Edit", "rethink": {**USED, "instructions": ["blue"], "seeds": [7, 8]}}
    assert prompt["5"]["inputs"] == {}, "what is cached by stays the same"


def test_guidance_that_plays_no_part_is_not_named(classes, fake):
    fake.family = SimpleNamespace(guides_by_image=False)
    fake.defaults = replace(fake.defaults, strength=0.6)
    assert noted(classes, "RethinkSampleEdit", editor=[fake], **SAMPLED) == "4 steps · text guidance 7.5 · strength 0.6"


@pytest.mark.parametrize("name", ["built-in", "built-in + style × 1"])
def test_a_picture_that_the_built_in_editor_does_not_know_is_named_as_that(classes, fake, name):
    fake.name = name
    (scene,), *_ = classes["RethinkScene"].execute(3, "plain").result
    for node_id, inputs in (
        ("RethinkSampleEdit", {**SAMPLED, "editor": [fake]}),
        ("RethinkEditChain", {"editor": fake, "instructions": "blue", "seed": 7}),
    ):
        lists = node_id == "RethinkSampleEdit"
        strange = noted(classes, node_id, **inputs | {"image": [make_photograph()] if lists else make_photograph()})
        assert strange.startswith("The built-in editor only works on images of Built-in Scene")
        assert noted(classes, node_id, **inputs | {"image": [scene] if lists else scene}).startswith("4 steps")


def test_other_editors_take_any_picture(classes, fake):
    assert noted(classes, "RethinkSampleEdit", editor=[fake], **SAMPLED | {"image": [make_photograph()]}).startswith(
        "4 steps"
    )
