"""A thinker names places to work on, and marks pairs."""

import json
import time

import pytest

from rethink.errors import RethinkError
from rethink.pairs.inverse.drafts import SynthesisConfig, operation_maker
from rethink.pairs.inverse.locate import LocatedSources, locate_boxes
from rethink.pairs.inverse.processes import thread_map
from rethink.pairs.inverse.sources import Folder, Source
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.review.filters import Thresholds, decide, score
from rethink.pairs.review.grading import grade_pairs, read_grade
from rethink.pairs.store import PairStore
from tests.support.pairs import draw_image as drawn

FACE = json.dumps({"places": [{"box": [250, 100, 500, 400], "place": "the man's face"}]})


def test_a_box_in_thousandths_becomes_a_spot(scripted):
    chat = scripted("Here: " + FACE)
    (spot,) = locate_boxes(chat, drawn(), "faces", 0)
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
        locate_boxes(scripted(answer), drawn(), "faces", 0)


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
    (spot,) = locate_boxes(scripted(answer), drawn(), "hats", 0)
    assert spot.box == pytest.approx(BOX) and spot.place == place


def test_shares_that_stick_out_are_shares(scripted):
    (spot,) = locate_boxes(scripted('{"places": [{"box": [0.5, 0.25, 1.02, 1.0], "place": "a"}]}'), drawn(), "hats", 0)
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
        locate_boxes(scripted(f'{{"places": [{{"box": {box}, "place": "a"}}]}}'), drawn(), "hats", 0)


@pytest.mark.parametrize("answer", ['{"a":' * 100_000, "[" * 100_000, '{"places": ' + "[" * 3000 + "]" * 3000 + "}"])
def test_an_answer_nested_deeply_is_one_reason(scripted, answer):
    with pytest.raises(RethinkError, match="nested too deeply|no JSON"):
        locate_boxes(scripted(answer), drawn(), "hats", 0)


@pytest.mark.parametrize(
    ("answer", "mark"),
    [
        ('{"score": "8", "why": "fine"}', 8),
        ('{"score": "8/10"}', 8),
        ('```json\n{"score": 8.0, "why": null}\n```', 8),
        ('Here is my evaluation: {"score": 8}', 8),
        ('{"score": 8} {"score": "8/10"}', 8),
        ('<|begin_of_box|>{"score": 8}<|end_of_box|>', 8),
        ('[THINK]{"score": 9}?[/THINK]{"score": 8}', 8),
        ('{"score": 9}{"score": 2}', "differ"),
        ('The sign says {"score": 10}, but the hand is gone: {"score": 2}', "differ"),
        ('The sign says: {"score": 10}', "quoted"),
        ('{"score": 10} is what the sign says.', "quoted"),
        ('{"why": "fine"}', "no JSON"),
    ],
)
def test_a_mark_of_its_own_counts_as_models_write_it(answer, mark):
    if isinstance(mark, str):
        with pytest.raises(RethinkError, match=mark):
            read_grade(answer)
    else:
        assert read_grade(answer)["critic"] == mark


def test_found_places_are_covered_and_nothing_is_asked_twice(folder, tmp_path, scripted):
    chat = scripted(FACE, '{"places": []}', '{"places": []}', '{"places": []}', *[FACE] * 4)
    recipe = SynthesisConfig(("cover",), {"cover": {"shape": "ellipse", "fill": "black"}})
    for _round in range(2):
        with PairStore(tmp_path / "s").writing() as store:
            sources = LocatedSources(Folder(folder), chat, "faces", store.spots, recipe.longest_side)
            assert len(sources) == 6
            synthesize(store, sources, operation_maker(store, recipe), 1)
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
            sources = LocatedSources(Folder(folder), chat, "faces", store.spots, 0)
            assert sum(isinstance(source, Source) for source in sources) == found
            asked = len(chat.asked)
            assert len(list(sources)) == 6 and len(chat.asked) == asked, "who goes through them again asks nothing"


def test_a_picture_that_was_mended_is_looked_at(folder, tmp_path, scripted):
    whole = (folder / "photo 0.png").read_bytes()
    with PairStore(tmp_path / "s").writing() as store:
        for data, found in ((b"torn", 5), (whole, 6)):
            (folder / "photo 0.png").write_bytes(data)
            sources = list(LocatedSources(Folder(folder), scripted(FACE), "faces", store.spots, 0))
            assert sum(isinstance(source, Source) for source in sources) == found


def test_a_critics_mark_decides_and_survives_measuring_anew(folder, tmp_path, scripted):
    with PairStore(tmp_path / "s").writing() as store:
        synthesize(store, Folder(folder), operation_maker(store, SynthesisConfig()), 1)
        score(store)
        chat = scripted(
            '{"score": 9, "why": "fine"}',
            '{"score": 2, "why": "a hand is missing"}',
            *["no"] * 3,
            *['{"score": 12}'] * 3,
            *[RuntimeError("x")] * 3,
        )
        assert grade_pairs(store, chat) == 6
        why = [verdict["why"] for verdict in decide(store, Thresholds(duplicates=-1, changed=0))]
        assert why[1] == ["the critic does not approve (2 of 10: a hand is missing)"] and not why[0] and not why[2]
        failed = [record["critic_failed"] for record in store.scores if "critic_failed" in record]
        assert len(failed) == 2 and "no JSON" in failed[0] and "0…10" in failed[1]
        again = scripted('{"score": 7}')
        assert grade_pairs(store, again) == 1 and grade_pairs(store, again) == 0, (
            "who did not answer is asked again, once"
        )
        assert score(store) == 0
        assert not any(v["why"] for v in decide(store, Thresholds(duplicates=-1, changed=0, critic=0)))
        other = scripted('{"score": 10}')
        assert grade_pairs(store, other, "another") == 6 and grade_pairs(store, other, "another") == 0
        marks = {record["id"]: record for record in store.scores}.values()
        assert all(record["critic"] == 10 and "critic_failed" not in record for record in marks)


def test_a_cancel_ends_the_questions_to_the_critic(folder, tmp_path):
    asked = []

    def chat(messages, images, **options):
        asked.append(options["seed"])
        time.sleep(0.02)
        return '{"score": 9}'

    def cancel(done, total):
        raise KeyboardInterrupt

    with PairStore(tmp_path / "s").writing() as store:
        synthesize(store, Folder(folder), operation_maker(store, SynthesisConfig()), 2)
        score(store)
        with pytest.raises(KeyboardInterrupt) as raised:
            grade_pairs(store, chat, on_progress=cancel, each=thread_map(2))
    before = len(asked)
    time.sleep(0.2)
    assert len(asked) == before < 12, "an error that somebody holds on to keeps no question alive"
    del raised
