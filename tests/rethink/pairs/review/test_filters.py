"""Which pairs are kept, and why the others are not: measured once, decided again as often as one likes."""

import json

import numpy as np
import pytest

from rethink.errors import RethinkError
from rethink.evaluation.clip_similarity import Clip
from rethink.pairs.review.filters import Thresholds, count_reasons, decide_verdicts, filter_pairs, histogram, score
from tests.support.lora_training import write_pairs
from tests.support.pairs import draw_image
from tests.support.scored_pairs import add_pair, invert_region, reject_reasons


def test_every_rule_says_why(store):
    before, after, region = invert_region()
    add_pair(store, "good", before, after, region)
    add_pair(store, "same", after, after, region, source="b")
    leaking = before.copy()
    leaking[100:110, 100:110] = 0
    add_pair(store, "leak", leaking, draw_image(seed=3), region)
    add_pair(store, "moved", np.roll(draw_image(seed=4), 20, 1), draw_image(seed=4))
    add_pair(store, "small", draw_image(30 + 8, 60, 5), draw_image(30 + 8, 60, 6))
    add_pair(store, "long", draw_image(80, 400, 7), draw_image(80, 400, 8))
    add_pair(store, "sizes", draw_image(80, 100, 9), draw_image(100, 80, 9))
    add_pair(store, "huge", 255 - draw_image(seed=10), draw_image(seed=10), np.ones((120, 160), bool))
    broken = add_pair(store, "broken", before, after, region)
    (store.folder / broken.input).write_bytes(b"torn")
    assert score(store) == 9 and score(store) == 1 and len(list(store.scores)) == 9, (
        "what is broken is tried again, and said once"
    )
    why = reject_reasons(store, largest_region=0.9, border=False)
    assert why["good"] == []
    for name, said in (
        ("same", "too little changed"),
        ("leak", "should be equal"),
        ("moved", "moved against"),
        ("small", "too few"),
        ("long", "too long"),
        ("sizes", "differ in size"),
        ("huge", "too large"),
        ("broken", "cannot be read"),
    ):
        assert any(said in reason for reason in why[name]), (name, why[name])
    assert any("border" in reason for reason in why["huge"])
    assert reject_reasons(store, smallest_region=0.5)["good"] and not reject_reasons(store)["good"]
    store.write_image(broken.input, 255 - before)
    assert score(store) == 1 and score(store) == 0 and "cannot be read" not in str(reject_reasons(store)["broken"])


def test_verdicts_are_kept_and_say_nothing_twice(store):
    before, after, region = invert_region()
    add_pair(store, "a", before, after, region)
    add_pair(store, "b", draw_image(seed=1), draw_image(seed=1))
    score(store)
    assert filter_pairs(store, Thresholds()) == (1, 1)
    lines = store.verdicts.path.read_text()
    filter_pairs(store, Thresholds())
    assert store.verdicts.path.read_text() == lines
    assert [pair.id for pair in store.accepted()] == [f"{'a':>016}"]
    assert filter_pairs(store, Thresholds(changed=0, duplicates=-1)) == (2, 0), "a looser threshold takes it back"
    assert len(list(store.accepted())) == 2


def test_clip_scores_are_added_to_what_was_measured_without(store, clip_folder):
    before, after, region = invert_region()
    add_pair(store, "plain", before, after, region)
    add_pair(store, "told", before, draw_image(seed=2), input_caption="the red", target_caption="the blue")
    score(store)
    assert score(store, Clip(clip_folder)) == 2 and score(store, Clip(clip_folder)) == 0
    scores = {record["id"].lstrip("0"): record for record in store.scores}
    assert (
        "clip_sim_dir" in scores["told"]
        and "clip_sim_dir" not in scores["plain"]
        and "clip_sim_image" in scores["plain"]
    )
    assert any("asked for" in why for why in reject_reasons(store, direction=1.0)["told"])


def test_the_best_of_one_caption_are_kept(store):
    for index in range(5):
        add_pair(
            store,
            str(index),
            draw_image(seed=index),
            draw_image(seed=index + 10),
            input_caption="a",
            target_caption="b",
        )
    score(store)
    records = list(store.scores)
    store.scores.append(*({**r, "clip_sim_dir": 0.3 + 0.1 * int(r["id"], 16)} for r in records))
    why = reject_reasons(store, best=2, duplicates=-1, shift=1)
    assert [bool(why[str(i)]) if i else bool(why[""]) for i in range(5)] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("options", "said"), [({"image": 2}, "image"), ({"duplicates": 9}, "duplicates"), ({"best": -1}, "best")]
)
def test_wrong_thresholds_are_refused(options, said):
    with pytest.raises(RethinkError, match=said):
        Thresholds(**options)


def test_a_histogram_counts_everything():
    bars = histogram([0, 0, 0.5, 1], bins=4)
    assert [count for _, count in bars] == [2, 0, 1, 1] and histogram([]) == [] and histogram([3, 3])[0][1] == 2
    assert json.dumps(bars)


def test_a_strangers_name_in_a_reason_is_no_markup():
    reasons = ["<img src=x onerror=alert(1)> is no picture", "too small (31 pixels)", "too small (8 pixels)"]
    assert count_reasons(reasons) == [("too small", 2), ("‹img src=x onerror=alert(1)› is no picture", 1)]


def test_what_an_operation_is_meant_to_move_is_no_fault(store):
    image = draw_image(seed=4)
    for name, operation in (("meant", "distort"), ("fault", "blur"), ("unknown", "")):
        add_pair(store, name, np.roll(image, 20, 1), image, operation=operation)
    score(store)
    why = reject_reasons(store, duplicates=-1)
    assert why["meant"] == [] and "moved against" in why["fault"][0] and "moved against" in why["unknown"][0]


def test_a_reference_that_cannot_be_read_rejects_its_pair(tmp_path):
    with write_pairs(tmp_path, 2, references=(0, 1)).writing() as store:
        _, dressed = store
        (tmp_path / dressed.references[0]).write_bytes(b"torn")
        score(store)
    reasons = {verdict["id"]: verdict["why"] for verdict in decide_verdicts(store, Thresholds())}
    assert len(reasons[dressed.id]) == 1 and "cannot be read" in reasons[dressed.id][0]
