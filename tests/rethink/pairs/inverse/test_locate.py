"""Where a thinker finds what is looked for, however it answers, and that it is asked no more than needed."""

import json

import pytest

from rethink.errors import RethinkError
from rethink.pairs.inverse.drafts import SynthesisConfig, operation_maker
from rethink.pairs.inverse.locate import LocatedSources, locate_boxes
from rethink.pairs.inverse.sources import ImageFolder, Source
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.store import PairStore
from tests.support.pairs import draw_image

FACE = json.dumps({"places": [{"box": [250, 100, 500, 400], "place": "the man's face"}]})


def test_a_box_in_thousandths_becomes_a_spot(scripted):
    chat = scripted("Here: " + FACE)
    (spot,) = locate_boxes(chat, draw_image(), "faces", 0)
    assert spot.box == (0.25, 0.1, 0.5, 0.4) and spot.place == "the man's face"
    assert "Find faces" in chat.asked[0][0][0]["content"][-1]["text"] and chat.asked[0][1][0].shape == (1, 120, 160, 3)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"places": []}', "nothing"),
        ('{"places": [{"box": [5, 5, 1, 1]}]}', "boxes"),
        ('{"places": [{"box": "all"}]}', "boxes"),
        ('{"places": 3}', "boxes"),
        ("{}", "boxes"),
        ("a face at the left", "no JSON"),
        ('{"places": [7]}', "boxes"),
    ],
)
def test_answers_that_cannot_be_used_are_reasons(scripted, answer, said):
    with pytest.raises(RethinkError, match=said):
        locate_boxes(scripted(answer), draw_image(), "faces", 0)


BOX = (0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ('```json\n[\n\t{"bbox_2d": [100, 200, 300, 400], "label": "the hat"}\n]\n```', "the hat"),
        ('[{"box_2d": [200, 100, 400, 300], "label": "Hat"}]', "the hat"),
        ('{"bbox_2d": [100, 200, 300, 400], "label": "the hat"}', "the hat"),
        ('{"objects": [{"bbox": [100, 200, 300, 400], "name": "the hat"}]}', "the hat"),
        (
            '{"places": [{"box": {"left": 100, "top": 200, "right": 300, "bottom": 400}, "place": "the hat"}]}',
            "the hat",
        ),
        ('{"places": [{"box": ["100", "200", "300", "400"], "place": "the hat"}]}', "the hat"),
        ('{"places": [{"box": [0.1, 0.2, 0.3, 0.4], "place": "the hat"}]}', "the hat"),
        ("<|object_ref_start|>the hat<|object_ref_end|><|box_start|>(100,200),(300,400)<|box_end|>", "the hat"),
        ("<|object_ref_start|>hat<|object_ref_end|><|box_start|>(100,200),(300,400)<|box_end|>", "the hat"),
        ('I see one [1]: {"places": [{"box": null}, {"box": [100, 200, 300, 400], "place": "the hat"}]}', "the hat"),
        ('{"places": [{"box": [100, 200, 300, 400], "place": null}]}', ""),
        ('{"places": [{"box": [100, 200, 300, 400], "place": "None"}]}', ""),
        ('{"places": [{"box": [100, 200, 300, 400], "place": "N/A."}, {"box": [100, 200, 300, 400]}]}', ""),
    ],
)
def test_places_as_models_were_trained_to_give_them(scripted, answer, place):
    (spot,) = locate_boxes(scripted(answer), draw_image(), "hats", 0)
    assert spot.box == pytest.approx(BOX) and spot.place == place


def test_shares_that_stick_out_are_shares(scripted):
    (spot,) = locate_boxes(
        scripted('{"places": [{"box": [0.5, 0.25, 1.02, 1.0], "place": "a"}]}'), draw_image(), "hats", 0
    )
    assert spot.box == (0.5, 0.25, 1.0, 1.0)


@pytest.mark.parametrize(
    "box",
    [
        "[0.1, 0.1, 1.4, 0.5]",
        "[" + "9" * 400 + ", 1, 2, 3]",
        "[1e400, 1, 2, 3]",
        "[NaN, 1, 2, 3]",
        "[10, 10, 1500, 1500]",
        "[-500, 0, 10, 10]",
        "[1, 2, 3]",
        "[[1]]",
    ],
)
def test_boxes_that_are_none(scripted, box):
    with pytest.raises(RethinkError, match="boxes"):
        locate_boxes(scripted(f'{{"places": [{{"box": {box}, "place": "a"}}]}}'), draw_image(), "hats", 0)


@pytest.mark.parametrize("answer", ['{"a":' * 100_000, "[" * 100_000, '{"places": ' + "[" * 3000 + "]" * 3000 + "}"])
def test_an_answer_nested_deeply_is_one_reason(scripted, answer):
    with pytest.raises(RethinkError, match="nested too deeply|no JSON"):
        locate_boxes(scripted(answer), draw_image(), "hats", 0)


def test_found_places_are_covered_and_nothing_is_asked_twice(folder, tmp_path, scripted):
    chat = scripted(FACE, '{"places": []}', '{"places": []}', '{"places": []}', *[FACE] * 4)
    config = SynthesisConfig(("cover",), {"cover": {"shape": "ellipse", "fill": "black"}})
    for _round in range(2):
        with PairStore(tmp_path / "s").writing() as store:
            sources = LocatedSources(ImageFolder(folder), chat, "faces", store.spots, config.longest_side)
            assert len(sources) == 6
            synthesize(store, sources, operation_maker(store, config), 1)
        assert len(chat.asked) == 8  # six pictures, one of them three times
    assert len(list(store)) == 5 and all("the man's face" in pair.instruction for pair in store)
    assert ["nothing" in record["why"] for record in store.skipped] == [True]
    for pair in store:
        assert (store.read_image(pair.input)[30, 60] == 0).all()
    assert all(isinstance(source, (Source, tuple)) for source in sources)


def test_a_thinker_that_was_away_is_asked_again(folder, tmp_path, scripted):
    with PairStore(tmp_path / "s").writing() as store:
        for chat, found in (
            (scripted(ConnectionError("gone")), 0),
            (scripted(FACE), 6),
            (scripted(AssertionError("asked twice")), 6),
        ):
            sources = LocatedSources(ImageFolder(folder), chat, "faces", store.spots, 0)
            assert sum(isinstance(source, Source) for source in sources) == found
            asked = len(chat.asked)
            assert len(list(sources)) == 6 and len(chat.asked) == asked, "who goes through them again asks nothing"


def test_a_picture_that_was_mended_is_looked_at(folder, tmp_path, scripted):
    whole = (folder / "photo 0.png").read_bytes()
    with PairStore(tmp_path / "s").writing() as store:
        for data, found in ((b"torn", 5), (whole, 6)):
            (folder / "photo 0.png").write_bytes(data)
            sources = list(LocatedSources(ImageFolder(folder), scripted(FACE), "faces", store.spots, 0))
            assert sum(isinstance(source, Source) for source in sources) == found
