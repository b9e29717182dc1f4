"""From what was hidden to the instruction: the mission's own example, varied wording, thinkers that misbehave."""

import json
import string

import numpy as np
import pytest

from rethink.errors import RethinkError
from rethink.pairs.inverse.drafts import SynthesisConfig, operation_maker
from rethink.pairs.inverse.instructions import (
    DESCRIBE,
    Description,
    InstructionWriter,
    as_noun_phrase,
    compose,
    describe,
    find_templates,
    leaks_filename,
)
from rethink.pairs.inverse.operations import (
    OPERATIONS,
    Region,
    apply_operation,
    get_operation,
    sample_region,
    whole_image,
)
from rethink.pairs.inverse.sources import ImageFolder, NamedBox
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.inverse.templates import TEMPLATES
from rethink.pairs.store import PairStore
from tests.support.pairs import draw_image

FACE = '{"place": "the man\'s face", "description": "He has brown hair and round glasses."}'
NOTHING = Description()


def look():
    picture, touched = draw_image(), np.zeros((120, 160), bool)
    touched[10:50, 100:150] = True
    return np.where(touched[..., None], 0, picture).astype(np.uint8), picture, touched


@pytest.mark.parametrize(
    ("fill", "place", "hidden"),
    [
        ("black", "the man's face", "He has brown hair and round glasses."),
        ("white", "the shop's sign", "It says BREAD in red letters."),
    ],
)
def test_the_missions_own_example_comes_out(folder, tmp_path, scripted, fill, place, hidden):
    """A square on a face, or on anything else; a thinker that sees what is under it."""
    spots = {f"photo {i}.png": (NamedBox((0.3, 0.2, 0.5, 0.45)),) for i in range(6)}
    config = SynthesisConfig(("cover",), {"cover": {"shape": "square", "fill": fill}}, pairs=4)
    chat = scripted(json.dumps({"place": place, "description": hidden}))
    with PairStore(tmp_path / "s").writing() as store:
        synthesize(
            store,
            ImageFolder(folder, boxes=spots),
            operation_maker(store, config),
            config.pairs,
            InstructionWriter(chat),
        )
    instructions = {pair.instruction for pair in store}
    assert f"Remove the {fill} square from {place}. {hidden}" in instructions
    assert len(instructions) > 2 and all(said.endswith(f" {hidden}") for said in instructions)
    assert {pair.description for pair in store} == {hidden}
    asked = json.dumps([messages for messages, *_ in chat.asked])
    assert place not in asked and hidden not in asked, "the question must not say the answer"


def test_the_thinker_sees_the_damaged_picture_the_hidden_part_and_where_it_sits(scripted):
    chat = scripted(FACE)
    damaged, original, touched = look()
    assert describe(chat, damaged, original, touched, "everything under the square", 0) == Description(
        "the man's face", "He has brown hair and round glasses."
    )
    ((messages, images, _),) = chat.asked
    text = messages[0]["content"][-1]["text"]
    assert "at the top right" in text and "everything under the square" in text
    assert [part["type"] for part in messages[0]["content"]] == ["image", "image", "text"]
    assert images[0].shape == (1, 120, 160, 3) and images[1].shape == (1, 40, 50, 3)
    assert (images[1][0].numpy() * 255).round().astype(np.uint8).tolist() == original[10:50, 100:150].tolist()


def test_every_operation_can_be_worded_in_several_ways_and_knows_its_words():
    picture = draw_image()
    for id, op in OPERATIONS.items():
        seen = set()
        for seed in range(40):
            if seed > 8 and len(seen) >= 4:
                break
            rng = np.random.default_rng(seed)
            mask = np.zeros(picture.shape[:2], bool)
            mask[30:80, 40:90] = True
            place = {
                "selection": Region((40, 30, 90, 80)),
                "subject": Region((40, 30, 90, 80), mask),
                "region": sample_region(picture, rng),
            }
            made = apply_operation(op, picture, place.get(op.where, whole_image(picture)), op.draw(rng, {}), rng)
            assert all(name in made.template_vars for _, name, _, _ in string.Formatter().parse(op.hidden_what) if name)
            seen.add(compose(find_templates(id, made.template_vars), made.template_vars, NOTHING, seed))
        assert len(seen) >= 4 and not any("{" in text or "  " in text for text in seen), id


def test_a_named_place_is_used_and_a_pair_without_one_never_speaks_of_it():
    words = {"thing": "red ellipse"}
    named = {compose(TEMPLATES["cover"], words, Description("the dog's ear"), seed) for seed in range(30)}
    assert all("the dog's ear" in text for text in named) and len(named) >= 4
    assert all("{" not in compose(TEMPLATES["cover"], words, NOTHING, seed) for seed in range(30))


def test_people_write_carelessly_now_and_then():
    texts = [compose(TEMPLATES["weather"], {"weather": "rain"}, NOTHING, seed) for seed in range(60)]
    assert any(text[0].islower() and not text.endswith(".") for text in texts) and any(
        text.endswith(".") for text in texts
    )


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (["I'm sorry, I can't help with that."], "no JSON"),
        ([RuntimeError("connection reset")], "failed.*connection reset"),
        (['{"place": "x", "description": ""}'], "no description"),
        (['{"place": 3, "description": "x"}'], "no description"),
        (['{"place": "x", "description": "' + "bla " * 200 + '"}'], "too long"),
        (["{" * 50], "no JSON"),
        (['{"place": "", "description": "I’m sorry, I can’t identify people."}'], "refused"),
        (['{"place": "", "description": "A black square covers his face."}'], "damage"),
        (['{"place": "the black square", "description": "His face."}'], "damage"),
        (['{"place": "", "description": "** "}'], "no description"),
        (['{"place": "男人的脸", "description": "他有棕色的头发，戴着圆形眼镜。"}'], "another language"),
    ],
)
def test_a_thinker_that_refuses_babbles_or_fails_gives_a_reason(scripted, answers, said):
    chat = scripted(*answers)
    with pytest.raises(RethinkError, match=said):
        InstructionWriter(chat).write("cover", "all", {"thing": "black square"}, look, NOTHING, 0)
    assert len(chat.asked) == 3 and len({seed for *_, seed in chat.asked}) == 3


def test_a_thinker_that_comes_round_is_heard(scripted):
    chat = scripted("no", '<think>hm {"a": 1}</think>Sure!\n```json\n' + FACE + "\n```")
    text, told = InstructionWriter(chat).write("cover", "all", {"thing": "black square"}, look, NOTHING, 0)
    assert told.place == "the man's face" and text.endswith("He has brown hair and round glasses.")


def test_what_the_user_gave_goes_before_the_thinker_and_what_says_all_asks_nobody(scripted):
    chat = scripted(FACE)
    text, _told = InstructionWriter(chat).write(
        "cover", "all", {"thing": "black square"}, look, Description("the sign", "It says STOP."), 0
    )
    assert "the sign" in text and text.endswith("It says STOP.") and not chat.asked
    InstructionWriter(chat).write("weather", "", {"weather": "rain"}, look, NOTHING, 0)
    assert not chat.asked
    own = InstructionWriter(
        templates={"weather": ["Take the {weather} off {place}."]},
        user_description=Description("the street", "It is wide."),
    )
    assert (
        own.write("weather", "", {"weather": "rain"}, look, NOTHING, 0)[0]
        .lower()
        .startswith("take the rain off the street")
    )


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("Face.", "the face"),
        ("The man's face", "the man's face"),
        ("the eyes", "the eyes"),
        ("Peter's hat", "Peter's hat"),
        ("**an** old `sign`", "an old sign"),
        ("Big Ben", "Big Ben"),
        ("man's face", "the man's face"),
        ("Shop window", "the shop window"),
        ("", ""),
        ("左边", "左边"),
    ],
)
def test_a_place_can_stand_in_a_sentence(place, sentence):
    assert as_noun_phrase(place) == sentence


def test_marks_of_markdown_and_half_characters_come_into_no_instruction(scripted):
    chat = scripted('{"place": "**Sign**", "description": "- It says `A_B`\\n**in red** \\ud83d"}')
    text, told = InstructionWriter(chat).write("cover", "all", {"thing": "black square"}, look, NOTHING, 0)
    assert (
        told == Description("the sign", "It says A_B in red")
        and text.endswith(" It says A_B in red.")
        and "  " not in text
    )


@pytest.mark.parametrize("nothing", [None, "null", "None.", "N/A", "unknown", "-"])
def test_a_place_without_a_name_has_none(scripted, nothing):
    chat = scripted(json.dumps({"place": nothing, "description": "He smiles."}))
    _, told = InstructionWriter(chat).write(
        "cover", "what {thing} hides", {"thing": "black square", "color": "black", "shape": "square"}, look, NOTHING, 0
    )
    assert told.place == "" and as_noun_phrase(nothing or "") == ""


def test_nothing_is_no_description(scripted):
    with pytest.raises(RethinkError, match="no description"):
        describe(scripted('{"place": "the sign", "description": "N/A"}'), *look(), "all", 0)


def test_an_answer_nested_deeply_is_one_reason(scripted):
    with pytest.raises(RethinkError, match="nested too deeply"):
        describe(scripted('{"place": ' + "[" * 100_000), *look(), "all", 0)


def test_own_templates_in_another_script_take_descriptions_in_it(scripted):
    chat = scripted('{"place": "男人的脸", "description": "他戴着圆形眼镜。"}')
    text, _ = InstructionWriter(chat, templates={"cover": ["去掉遮挡{place}的方块。"]}).write(
        "cover", "all", {"thing": "x"}, look, NOTHING, 0
    )
    assert text.startswith("去掉遮挡男人的脸的方块。")


@pytest.mark.parametrize("answer", ["I cannot help with that.", "Sure! Here it is:\n\nTake the rain away."])
def test_a_paraphrase_that_is_none_is_refused(scripted, answer):
    with pytest.raises(RethinkError, match="paraphrase"):
        InstructionWriter(scripted(answer), paraphrase=True).write("weather", "", {"weather": "rain"}, look, NOTHING, 0)


def test_a_paraphrase_is_the_thinkers(scripted):
    chat = scripted('"Please take that rain away."')
    text, _ = InstructionWriter(chat, paraphrase=True).write("weather", "", {"weather": "rain"}, look, NOTHING, 0)
    assert text == "Please take that rain away."
    with pytest.raises(RethinkError, match="babbles"):
        InstructionWriter(scripted("la " * 200), paraphrase=True).write(
            "weather", "", {"weather": "rain"}, look, NOTHING, 0
        )


def test_the_users_own_templates_take_the_place_of_ours():
    writer = InstructionWriter(templates={"weather": ["wipe {weather} off"]})
    texts = {writer.write("weather", "", {"weather": "snow"}, look, NOTHING, seed)[0] for seed in range(10)}
    assert texts == {"wipe snow off"}


@pytest.mark.parametrize(
    ("templates", "said"),
    [
        ({"explode": ["x"]}, "explode"),
        ({"cover": []}, "at least one"),
        ({"cover": "Remove it"}, "list"),
        ({"cover": ["Remove the {object}."]}, "object"),
        ({"cover": ["Remove the {thing."]}, "braces"),
    ],
)
def test_wrong_templates_are_refused_before_any_work(templates, said):
    with pytest.raises(RethinkError, match=said):
        InstructionWriter(templates=templates)


def test_paraphrase_needs_a_thinker():
    with pytest.raises(RethinkError, match="thinker"):
        InstructionWriter(paraphrase=True)


def test_no_instruction_gives_away_a_file_name():
    assert leaks_filename("Remove the square from IMG_2041.", "holiday/IMG_2041.jpg")
    assert leaks_filename("Show 0001-portrait", "a\\0001-portrait.png")
    assert not leaks_filename("Remove the square from the cat.", "cat.jpg")
    assert not leaks_filename("Remove the square.", "IMG_2041.jpg")


def test_the_prompt_shows_the_json_it_asks_for():
    assert DESCRIBE.format(where="", hidden="x").count("{") == 1


def test_the_operations_say_what_they_hide():
    assert get_operation("cover").hidden_what.format(thing="black square") == "everything under the black square"
