"""Runs that ended well become pairs of the user's own words."""

import json
import shutil

import pytest

from rethink.collect.dataset_job import CollectJob
from rethink.collect.pairs_job import RULES, RunPairRules, RunPairsJob
from rethink.errors import RethinkError
from rethink.images import load_image, to_pil
from rethink.pairs.pixels import from_pixels
from rethink.pairs.review.job import FilterJob
from rethink.pairs.store import PairStore
from rethink.steps import Preservation
from rethink.thinkers.protocol import ThinkerError
from tests.support.thinking import said, thinker
from tests.support.trajectories import draw_images, rewrite_record, rewrite_steps, write_trajectory


@pytest.fixture
def add(tmp_path):
    """add(number, scores) writes a run with images of its own."""

    def add(number, scores=(4, 9), **options):
        options = {"instruction": f"make {number} nicer", "images": draw_images(number, len(scores)), **options}
        return write_trajectory(tmp_path / "runs" / str(number), scores, **options)

    return add


@pytest.fixture
def make(tmp_path):
    """make(rules, judge, preferences) → the report."""

    def make(rules=None, judge=None, preferences=None, store="pairs", on_progress=lambda progress: None, **options):
        rules = rules or RunPairRules(**options)
        return RunPairsJob((tmp_path / "runs",), tmp_path / store, rules, judge, preferences).run(on_progress)

    return make


def drops(report):
    return dict(report.dropped.counts(RULES))


def test_a_pair_is_the_users_words_the_source_and_the_best_edit(add, make):
    run = add(0, (4, 9, 6), options=(("editor", "kontext"), ("thinker", "qwen"), ("rules", {"base": "source"})))
    report = make()
    (pair,) = report.pairs
    assert pair.instruction == "make 0 nicer" and pair.operation == "thinking"
    assert pair.parameters == {
        "run": "0",
        "prompt": "prompt 1",
        "turn": 2,
        "base": "source",
        "score": 9,
        "editor": "kontext",
        "thinker": "qwen",
        "judge": "",
    }
    for path, name in ((pair.input, "source.png"), (pair.target, "turn-0002-00.png")):
        assert (from_pixels(report.pairs.read_image(path)) == load_image(run.folder / name)).all()
    assert "1 pair from 1 run, 1 made now" in str(report)


def test_no_pair_is_made_twice_and_none_is_lost(add, make):
    for number in range(4):
        add(number)

    def stop(progress):
        if "checked" in progress.line and progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(on_progress=stop)
    first = make()
    assert (first.made, len(list(first.pairs))) == (2, 4) and make().made == 0
    add(9)
    again = make()
    assert again.made == 1 and {pair.id for pair in first.pairs} < {pair.id for pair in again.pairs}


@pytest.mark.parametrize(
    ("options", "rules", "why"),
    [
        ({"scores": (4, 6)}, {}, "the best edit was not good enough"),
        ({"scores": (4, 8)}, {"score": 8.5}, "the best edit was not good enough"),
        ({"scores": (4, 6)}, {"score": 6}, None),
        ({"scores": (4, 6), "chosen": 0}, {"score": 9}, None),  # a person took it
        ({"options": (("rules", {"accept": [6, 6]}),), "scores": (6,)}, {}, None),
        ({"stopped": "accepted", "scores": (6,)}, {}, "the best edit was not good enough"),  # it stopped at another
        ({"preserved": Preservation(0.1, 12.0, False)}, {}, "too much else changed"),
        ({"preserved": Preservation(0.1, 12.0, False)}, {"preservation": 0}, None),
        ({"preserved": Preservation(0.9, 40.0, False)}, {"changed": 0.5}, "too much else changed"),
        ({"scores": (None,), "stopped": "failed"}, {}, "the thinker failed before any edit had a score"),
        ({"stopped": ""}, {}, "not finished: interrupted, or still running"),
    ],
)
def test_a_run_has_to_pass_every_rule(add, make, options, rules, why):
    add(0)
    add(1, **options)
    report = make(**rules)
    assert drops(report) == ({why: 1} if why else {})


def test_bad_runs_cost_no_other(add, make):
    add(0)
    rewrite_record(add(1), schema=7)
    (add(2).folder / "source.png").unlink()
    file = add(3).folder / "turn-0002-00.png"
    file.write_bytes(file.read_bytes()[:60] + file.read_bytes()[-12:])  # whole by its ends alone
    to_pil(draw_images(0, 0, size=32)[0])[0].save(add(4).folder / "turn-0002-00.png")
    rewrite_record(add(5), instruction=" \n ")
    rewrite_record(add(6), instruction="make it \x07 red")
    rewrite_record(add(7), instruction="make it red " * 2**17)
    report = make()
    assert len(list(report.pairs)) == 1 and drops(report) == {
        "written by a newer Rethink": 1,
        "an image is missing or truncated": 1,
        "an image cannot be read, or differs in size from the source": 2,
        "an instruction that is empty, has control characters, or has more than 10,000 characters": 3,
    }


def test_a_second_judge_has_to_agree(add, make):
    for number in range(3):
        add(number)
    judge = thinker(said(8, 9), said(6, 9), "no scores", "none again")
    report = make(judge=judge)
    assert drops(report) == {"the judge disagrees": 1, "the judge gave no scores": 1}
    asked = len(judge.chat.asked)
    loose = make(judge=judge, agreement=5)
    assert drops(loose) == {"the judge gave no scores": 1} and len(judge.chat.asked) == asked


def test_a_run_whose_first_turn_teaches_nothing_is_judged_all_the_same(add, make):
    add(0)
    add(1, (None, 9))
    rewrite_steps(add(2), lambda step: step["critique"].update(reasoning=""))
    add(3, (None,))  # nothing that a judge could agree with
    judge = thinker(said(9, 9), said(0, 0))
    report = make(judge=judge)
    assert len(judge.chat.asked) == 3 and drops(report) == {
        "the judge disagrees": 2,
        "the thinker failed before any edit had a score": 1,
    }


def test_a_run_that_goes_on_or_goes_away_after_it_was_read_is_no_pair(add, make):
    add(0)
    run, other = add(1, (4, 5, 9)), add(2)

    def change(progress):
        if "read" in progress.line and progress.done == progress.total:
            rewrite_record(run, steps=[])
            (other.folder / "source.png").unlink()

    report = make(on_progress=change)
    assert drops(report) == {"went missing or changed meanwhile": 2} and len(list(report.pairs)) == 1


def test_a_judge_that_is_the_thinker_is_said_to_be_not_independent(add, make):
    add(0, options=(("thinker", "says"),))
    assert "Not independent: in 1 run, the judge" in str(make(judge=thinker(said(9, 9))))


def test_near_duplicates_are_kept_once_and_other_instructions_on_one_image_stay(add, make):
    images = draw_images(0, 2)
    for number, instruction in enumerate(("make it red", "make it red", "make it blue")):
        add(number, images=images, instruction=instruction, options=(("run", number),))
    report = make()
    assert len({pair.source for pair in report.pairs}) == 1, "a trainer holds pairs of one image out together"
    assert drops(report) == {"nearly the same as another pair": 1} and len(list(report.pairs)) == 2
    assert not drops(make(duplicates=-1))
    filtered = FilterJob(report.pairs).run()
    assert len(filtered.accepted.subset_ids) == 2, "the filter knows that they are edits"


def test_the_best_against_the_worst_of_a_run(add, make, tmp_path):
    add(0, (4, 9, 6))
    add(1, (9,), stopped="accepted")  # no other edit to compare with
    add(2, (8.5, 9))
    add(3, (2, 9))
    report = make()
    (bad,) = (pair for pair in report.pairs if pair.parameters["run"] == "3")
    report.pairs.set_verdict(bad.id, False)
    again = make(preferences=tmp_path / "preferences")
    (line,) = (tmp_path / "preferences" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    record = json.loads(line)
    assert again.preferences == 1 and record["edit_prompt"] == "make 0 nicer"
    assert (record["chosen_score"], record["rejected_score"]) == (9, 4)
    assert make(preferences=tmp_path / "preferences", margin=0.5).preferences == 2


def test_pairs_and_preferences_are_put_to_nothing_else(add, make, tmp_path):
    """Neither to the runs, nor to a data set of them, whose log has the same name: all stays as it is, and no judge is asked."""
    add(0)
    CollectJob((tmp_path / "runs",), tmp_path / "data").run()
    before = sorted(tmp_path.rglob("*"))
    for options, why in (
        ({"store": "runs"}, "^pairs: .*runs has no pairs but holds 0; choose a new folder"),
        ({"store": "runs/0"}, "^pairs: .*0 has no pairs but holds source.png"),
        ({"store": "data"}, "^pairs: .*data has no pairs but holds trl-"),
        ({"preferences": tmp_path / "pairs"}, "^preferences: .*pairs is the folder of the pairs"),
        ({"preferences": tmp_path / "runs"}, "^replace: .*runs"),
    ):
        with pytest.raises(RethinkError, match=why):
            make(judge=thinker(), **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_copy_of_a_run_prefers_nothing_a_second_time(add, make, tmp_path):
    add(0).copy_to(tmp_path / "runs" / "1")
    report = make(preferences=tmp_path / "preferences")
    assert report.preferences == 1 and drops(report) == {"a copy of another run": 1}


def add_alike(add, number, scores):
    """Runs of one task whose results cannot be told apart."""
    return add(number, scores, instruction="make it red", images=draw_images(0, 2), options=(("run", number),))


def test_what_is_nearly_a_pair_of_the_store_is_not_added_whatever_comes_first(add, make, tmp_path):
    add_alike(add, 5, (4, 9))
    (first,) = make().pairs
    add_alike(add, 1, (3, 9))  # its name comes first
    report = make()
    assert [pair.id for pair in report.pairs] == [first.id] and drops(report) == {"nearly the same as another pair": 1}
    shutil.rmtree(tmp_path / "runs" / "5")  # of another job, for all that this one knows
    add(7)
    again = make()
    assert again.made == 1 and drops(again) == {"nearly the same as another pair": 1}
    assert sorted(pair.parameters["run"] for pair in PairStore(tmp_path / "pairs")) == ["5", "7"]


def test_a_pair_whose_run_the_rules_no_longer_let_pass_hinders_no_other(add, make):
    add_alike(add, 0, (4, 8))
    add_alike(add, 1, (4, 9))
    assert [pair.parameters["run"] for pair in make().pairs] == ["0"]
    assert [pair.parameters["run"] for pair in make(score=9).pairs] == ["1"]


def test_a_run_that_has_changed_is_a_pair_again_and_no_duplicate_of_what_it_was(add, make, tmp_path):
    run = add(0, (4, 9))
    (before,) = make().pairs
    run.finish("human", "", 1)
    report = make(preferences=tmp_path / "preferences")
    (after,) = report.pairs
    assert after.id != before.id and report.made == report.preferences == 1


def test_a_judge_that_does_not_answer_now_lets_no_duplicate_in(add, make, tmp_path):
    add_alike(add, 0, (4, 9))
    make()
    add_alike(add, 1, (3, 9))
    with pytest.raises(RethinkError, match="none of 2 became a pair: .*nearly the same"):
        make(judge=thinker(ThinkerError("down"), said(9, 9)))
    assert [pair.parameters["run"] for pair in PairStore(tmp_path / "pairs")] == ["0"]


def test_near_duplicates_that_are_in_the_store_stay_one(add, make):
    add_alike(add, 0, (4, 9))
    add_alike(add, 1, (3, 9))
    assert len(list(make(duplicates=-1).pairs)) == 2
    for _ in range(2):
        report = make()
        assert [pair.parameters["run"] for pair in report.pairs] == ["0"] and report.made == 0


def test_no_pair_at_all_is_said_rule_by_rule(add, make):
    add(0, (3, 4))
    with pytest.raises(RethinkError, match="^runs: none of 1 became a pair: 1 × the best edit was not good"):
        make()


def test_a_store_goes_on_where_its_runs_are_gone(add, make, tmp_path):
    add(0)
    make()
    shutil.rmtree(tmp_path / "runs" / "0")
    add(1)
    assert make().made == 1 and len(list(PairStore(tmp_path / "pairs"))) == 2
