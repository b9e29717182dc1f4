"""How a critic's answers become scores of pairs, and that nobody is asked twice."""

import time

import pytest

from rethink.errors import RethinkError
from rethink.images import to_pixels
from rethink.pairs.inverse.drafts import SynthesisConfig, operation_maker
from rethink.pairs.inverse.sources import ImageFolder
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.review.filters import Thresholds, decide_verdicts, score
from rethink.pairs.review.grading import grade_pairs, read_grade
from rethink.pairs.store import PairStore
from rethink.thinkers.asking import thread_map
from tests.support.lora_training import write_pairs


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


def test_a_critics_mark_decides_and_survives_measuring_anew(folder, tmp_path, scripted):
    with PairStore(tmp_path / "s").writing() as store:
        synthesize(store, ImageFolder(folder), operation_maker(store, SynthesisConfig()), 1)
        score(store)
        chat = scripted(
            '{"score": 9, "why": "fine"}',
            '{"score": 2, "why": "a hand is missing"}',
            *["no"] * 3,
            *['{"score": 12}'] * 3,
            *[RuntimeError("x")] * 3,
        )
        assert grade_pairs(store, chat) == 6
        why = [verdict["why"] for verdict in decide_verdicts(store, Thresholds(duplicates=-1, changed=0))]
        assert why[1] == ["the critic does not approve (2 of 10: a hand is missing)"] and not why[0] and not why[2]
        failed = [record["critic_failed"] for record in store.scores if "critic_failed" in record]
        assert len(failed) == 2 and "no JSON" in failed[0] and "from 0 to 10" in failed[1]
        again = scripted('{"score": 7}')
        assert grade_pairs(store, again) == 1 and grade_pairs(store, again) == 0, (
            "who did not answer is asked again, once"
        )
        assert score(store) == 0
        assert not any(v["why"] for v in decide_verdicts(store, Thresholds(duplicates=-1, changed=0, critic=0)))
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
        synthesize(store, ImageFolder(folder), operation_maker(store, SynthesisConfig()), 2)
        score(store)
        with pytest.raises(KeyboardInterrupt) as raised:
            grade_pairs(store, chat, on_progress=cancel, map_fn=thread_map(2))
    before = len(asked)
    time.sleep(0.2)
    assert len(asked) == before < 12, "an error that somebody holds on to keeps no question alive"
    del raised


def test_a_critic_sees_the_references_between_both_sides(tmp_path, scripted):
    chat = scripted('{"score": 7}')
    with write_pairs(tmp_path, 2, references=(0, 2)).writing() as store:
        score(store)
        assert grade_pairs(store, chat, "critic") == 2
    (plain, two, _), (dressed, four, _) = chat.asked
    assert len(two) == 2 and "Two images" in str(plain) and len(four) == 4 and "4 images" in str(dressed)
    pair = list(store)[1]
    for image, path in zip(four, (pair.input, *pair.references, pair.target), strict=True):
        assert (to_pixels(image[0]) == store.read_image(path)).all()
