"""The loop: what it tries, what it takes for the best, when it stops, and how it goes on."""

import gc
import itertools
from collections import deque
from dataclasses import replace

import psutil
import pytest
import torch

from rethink.editors.loading import load_editor
from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from rethink.steps import best_of
from rethink.think_loop import Continue, LoopConfig, Stop, ThinkTask, require_same_run, run_config
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import Thinker
from rethink.thinkers.protocol import resize_for_vlm
from rethink.trajectory import load_trajectory, new_trajectory, record_run
from tests.support.miniature_thinkers import write_thinker
from tests.support.miniatures import write_folder
from tests.support.thinking import SOURCE, Looks, Painter, Says, drained, gone, said, start_thinking, thinker


def think(thinker, instruction="make it red", editor=None, source=SOURCE, **options):
    return drained(start_thinking(editor or Painter(), thinker, source, instruction, **options))


def facts(step):
    """Everything of a step but how long it took and its pixels."""
    times = ("edit_seconds", "think_seconds", "image", "file")
    return {name: value for name, value in vars(step).items() if name not in times}


def test_an_empty_mask_is_said_before_anybody_is_asked():
    painter, critic = Painter(), thinker(said(9, 9))
    for rules in ({}, {"start": "polished"}, {"checklist": True}):
        with pytest.raises(RethinkError, match="^mask: is empty"):
            think(critic, editor=painter, mask=torch.zeros(1, 64, 64), **rules)
    assert not painter.calls and not critic.chat.asked


def test_every_turn_is_scored_and_the_best_wins_ties_to_the_earlier():
    steps, end = think(thinker(said(3, 9, "b"), said(7, 7, "c"), said(5, 5, "d"), said(7, 7, "e")), turns=4, preserve=0)
    assert [step.score for step in steps] == pytest.approx([27**0.5, 7, 5, 7])
    assert [step.prompt for step in steps] == ["make it red", "b", "c", "d"]
    assert [step.prompt_by for step in steps] == ["user", "thinker", "thinker", "thinker"]
    assert [step.seed for step in steps] == [0, 1, 2, 3]
    assert end == Stop("turns") and best_of(steps) == 1


def test_what_changed_less_is_the_better_of_two_equals():
    class Bolder(Painter):
        def edit(self, prepared, instructions, seeds, *arguments, **options):
            painted = super().edit(prepared, instructions, seeds, *arguments, **options)
            painted[:, :12] = 0.1 if seeds == [0] else painted[:, :12]
            return painted

    steps, _ = think(thinker(said(7, 7, "b")), editor=Bolder(), turns=2)
    assert best_of(steps) == 1 and steps[0].preservation.changed > steps[1].preservation.changed
    assert steps[0].score == pytest.approx(7 - 0.5 * steps[0].preservation.changed)


def test_a_good_edit_ends_the_run():
    steps, end = think(thinker(said(7.9, 10, "b"), said(8, 8, "c")))
    assert (len(steps), end) == (2, Stop("accepted"))
    assert len(think(thinker(said(7.9, 10, "b")), turns=3, accept=(7, 9))[0]) == 1


def test_the_edit_that_a_run_stops_at_is_its_best():
    steps, end = think(thinker(said(10, 7.9, "b"), said(8, 8)), candidates=2, preserve=0)
    assert end == Stop("accepted") and [step.accepted for step in steps] == [False, True] and best_of(steps) == 1
    steps, end = think(thinker(said(10, 7.9, "b"), said(8, 8)), preserve=0)
    assert end == Stop("accepted") and best_of(steps) == 1


def test_nothing_changed_is_a_failure_whatever_the_critic_says():
    steps, end = think(thinker(said(10, 10, "nothing"), said(1, 1, "b")), instruction="nothing", turns=3)
    assert [step.preservation.unchanged for step in steps] == [True, True, False]
    assert [step.score for step in steps[:2]] == [0.0, 0.0] and end == Stop("turns")
    assert best_of(steps) == 2


def test_where_nothing_has_a_score_a_change_is_better_than_none():
    steps, _end = think(thinker("no verdict"), instruction="nothing", turns=2)
    assert [step.score for step in steps] == [None, None] and best_of(steps) == 0
    changed, _ = think(thinker("no verdict"), turns=1)
    assert best_of([steps[0], *changed]) == 1


def test_no_next_prompt_means_the_same_words_with_another_seed():
    editor = Painter()
    think(thinker("no verdict at all"), editor=editor, turns=3)
    assert [call.prompts for call in editor.calls] == [["make it red"]] * 3
    assert [call.seeds for call in editor.calls] == [[0], [1], [2]]


def test_candidates_are_one_batch_and_the_best_goes_on():
    editor, looks = Painter(), Looks()
    steps, _ = think(Thinker(looks), editor=editor, turns=3, candidates=4, seed=10)
    assert [call.seeds for call in editor.calls] == [[10, 11, 12, 13], [14, 15, 16, 17], [18, 19, 20, 21]]
    assert looks.batches == [4, 4, 4] and [(s.turn, s.candidate) for s in steps[3:6]] == [(1, 3), (2, 0), (2, 1)]
    for turn in (1, 2):
        of_turn = [step for step in steps if step.turn == turn]
        assert {s.prompt for s in steps if s.turn == turn + 1} == {of_turn[best_of(of_turn)].critique.next_prompt}


def test_seeds_go_round():
    steps, _ = think(thinker(said(2, 2)), turns=2, candidates=2, seed=2**64 - 1)
    assert [step.seed for step in steps] == [2**64 - 1, 0, 1, 2]


def test_patience():
    answers = [said(4, 4, "b"), said(6, 6, "c"), said(5, 5, "d"), said(6, 6, "e"), said(7, 7, "f")]
    steps, end = think(thinker(*answers), turns=10, patience=2, preserve=0)
    assert len(steps) == 4 and end.reason == "plateau" and best_of(steps) == 1


def test_the_first_prompt_may_be_the_thinkers():
    polished = "<think>The star.</think><answer>make the star red</answer>"
    steps, _ = think(thinker(polished, said(2, 2, "b")), turns=2, start="polished")
    assert [(s.prompt, s.prompt_by) for s in steps] == [("make the star red", "thinker"), ("b", "thinker")]
    assert think(thinker("no tags", said(2, 2)), turns=1, start="polished")[0][0].prompt == "make it red"


def test_every_turn_edits_the_source_unless_told_otherwise():
    editor = Painter()
    steps, _ = think(thinker(said(2, 2, "b")), editor=editor, turns=3)
    assert all(torch.equal(call.base, editor.calls[0].base) for call in editor.calls)
    steps, _ = think(thinker(said(2, 2, "b")), editor=editor, turns=3, base="previous")
    assert [torch.equal(call.base, step.image) for call, step in zip(editor.calls[4:], steps)] == [True, True]


LIST = "<checklist>\n1. the star is red\n2. the sky is as it was\n</checklist>"


def checked(first, second, semantic=9):
    return said(semantic, 9, "b").replace("<score>", f"<checklist>\n1: {first}\n2: {second}\n</checklist>\n<score>")


def test_a_checklist_is_split_once_and_all_of_it_must_be_met():
    chat = Says(LIST, checked("yes", "no"), checked("yes", "maybe"), checked("yes", "yes"))
    steps, end = think(Thinker(chat), checklist=True, preserve=0)
    assert end == Stop("accepted") and len(steps) == 3 and len(chat.asked) == 4
    assert [[d.passed for d in s.critique.checklist] for s in steps] == [[True, False], [True, None], [True, True]]
    assert steps[0].score == pytest.approx((5 * 9) ** 0.5)  # half of it is met
    assert "1. the star is red\n2. the sky is as it was" in chat.asked[1].text
    assert "Statements" not in thinker_text(checklist=False)


def thinker_text(**options):
    chat = Says(said(9, 9))
    think(Thinker(chat), **options)
    return chat.asked[0].text


def test_a_judge_scores_and_the_thinker_rewrites():
    steps, end = think(thinker(said(10, 10, "b"), said(1, 1, "c")), judge=thinker(said(3, 3, "x"), said(9, 9, "y")))
    assert end == Stop("accepted") and [step.prompt for step in steps] == ["make it red", "b"]
    assert steps[0].score < 3.1 and steps[1].score > 8 and steps[0].judge.next_prompt == "x"
    assert think(thinker(said(10, 10, "b")), judge=thinker(gone()), turns=3)[1].reason == "failed"


def test_a_thinker_that_goes_ends_the_run_and_nothing_is_lost():
    steps, end = think(thinker(said(4, 4, "b"), said(6, 6, "c"), gone()))
    assert end == Stop("failed", "thinker: says is gone.") and len(steps) == 3
    assert steps[2].critique.status == "failed" and steps[2].score is None and best_of(steps) == 1
    assert think(thinker(gone()), start="polished")[1].reason == "failed"


def test_damaged_answers_end_nothing():
    steps, end = think(thinker("", "{", "<score>", "<score>[11, -1]</score>", "\0" * 99), turns=9)
    assert len(steps) == 9 and end == Stop("turns") and {step.critique.status for step in steps} == {"unparsed"}


@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("killed", [1, 2, 4, 7])
@pytest.mark.parametrize("more", [{}, {"base": "previous"}, {"draws": 2, "side_by_side": True, "margin": 10}])
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path, candidates, killed, more):
    rules = {"turns": 8, "candidates": candidates, "seed": 3, **more}
    whole, end = think(Thinker(Looks()), **rules)

    run = start_thinking(Painter(), Thinker(Looks()), SOURCE, "make it red", **rules)
    partial = new_trajectory(tmp_path / "run", SOURCE, "make it red", {})
    halfway = killed * candidates + candidates // 2  # in the middle of a turn, where it has one
    deque(itertools.islice(record_run(partial, run), halfway), maxlen=0)
    del run

    trajectory, done = load_trajectory(tmp_path / "run").rewind_to_resume(candidates)
    assert len(done) == killed * candidates
    editor = Painter()
    rest = start_thinking(editor, Thinker(Looks()), SOURCE, "make it red", resume_steps=done, **rules)
    *_, trajectory = record_run(trajectory, rest)
    assert len(editor.calls) == 8 - killed and trajectory.stopped == end.reason
    again = load_trajectory(tmp_path / "run")
    assert [facts(step) for step in again.steps] == [facts(step) for step in whole] and again.best == best_of(whole)
    assert all(torch.equal(again.image(new), old.image) for new, old in zip(again.steps, whole))


A, B = "<answer>A</answer>", "<answer>B</answer>"


def test_close_scores_are_compared_side_by_side_and_a_disagreement_keeps_the_earlier():
    rules = {"turns": 2, "preserve": 0, "side_by_side": True}
    for answers, best in (((A, A), 0), ((B, A), 1), ((A, B), 0)):
        steps, _ = think(thinker(said(6, 6, "b"), said(6.4, 6.4, "c"), *answers), **rules)
        assert best_of(steps) == best and steps[0].comparison is None and steps[1].comparison.turn == 1
    far = think(thinker(said(6, 6, "b"), said(6.6, 6.6, "c"), A, A), **rules)[0]
    assert far[1].comparison is None and best_of(far) == 1
    closer = think(thinker(said(6, 6, "b"), said(6.4, 6.4, "c"), A, A), **rules, margin=0.1)[0]
    assert closer[1].comparison is None
    assert think(thinker(said(6, 6, "b"), said(6.4, 6.4, "c"), A, A), turns=2)[0][1].comparison is None


def test_an_accepted_edit_is_not_compared_with_one_that_is_not():
    steps, end = think(thinker(said(10, 7, "b"), said(8, 8), A, A), preserve=0, side_by_side=True)
    assert end == Stop("accepted") and steps[1].comparison is None and best_of(steps) == 1


def test_who_scores_compares_and_the_best_of_all_turns_is_what_is_compared():
    judge = thinker(said(6, 6), said(3, 3), said(6.2, 6.2), B, A)
    steps, _ = think(thinker(said(1, 1, "b")), judge=judge, turns=3, preserve=0, side_by_side=True)
    assert steps[2].comparison.turn == 1 and best_of(steps) == 2
    shown = [resize_for_vlm(step.image) for step in (steps[2], steps[0])]
    assert all(map(torch.equal, judge.chat.asked[-1].images[1:], shown))


def test_a_thinker_that_cannot_compare_is_not_asked_and_nothing_unchanged_is_compared():
    critic = thinker(said(6, 6, "b"), said(6.1, 6.1, "c"))
    critic.chat.name = "built-in"
    steps, end = think(critic, turns=2, preserve=0, side_by_side=True)
    assert end == Stop("turns") and best_of(steps) == 1 and len(critic.chat.asked) == 2
    answers = said(6, 6, "b"), said(1, 1)
    still, _ = think(thinker(*answers), instruction="nothing", turns=2, side_by_side=True, margin=10)
    assert still[1].comparison is None


def test_draws_are_of_who_scores(tmp_path):
    critic, judge = thinker(said(1, 1, "b")), thinker(said(5, 5), said(7, 7))
    steps, _ = think(critic, judge=judge, turns=1, draws=2)
    assert len(critic.chat.asked) == 1 and steps[0].judge.draws == ((5, 5), (7, 7)) and not steps[0].critique.draws
    assert steps[0].judge.semantic == 6
    assert think(thinker(said(7, 8), said(9, 8)), draws=2)[1] == Stop("accepted"), "by the means"


def test_a_checklist_survives_a_kill():
    answers = [checked("no", "yes", 3), checked("yes", "yes")]
    chat = Says(LIST, *answers)
    run = start_thinking(Painter(), Thinker(chat), SOURCE, "make it red", checklist=True)
    done = [next(run)]
    steps, end = think(thinker(answers[1]), checklist=True, resume_steps=done)
    assert end == Stop("accepted") and [d.text for d in steps[0].critique.checklist] == [
        "the star is red",
        "the sky is as it was",
    ]


def test_a_turn_without_an_answer_is_made_again(tmp_path):
    run = start_thinking(Painter(), thinker(said(4, 4, "b"), gone()), SOURCE, "make it red")
    *_, trajectory = record_run(new_trajectory(tmp_path / "run", SOURCE, "make it red", {}), run)
    assert trajectory.stopped == "failed" and len(trajectory.steps) == 2
    trajectory, done = trajectory.rewind_to_resume(1)
    assert len(done) == 1 and trajectory.stopped == "" and len(load_trajectory(tmp_path / "run").steps) == 1


def test_a_person_may_change_the_prompt_or_end_the_run():
    def steer(steps, following):
        return {1: Continue("my way", "human"), 2: following, 3: Stop("human", chosen=0)}[len(steps)]

    steps, end = think(thinker(said(2, 2, "b"), said(3, 3, "c"), said(4, 4, "d")), steer=steer)
    assert [(s.prompt, s.prompt_by) for s in steps[1:]] == [("my way", "human"), ("c", "thinker")]
    assert end == Stop("human", chosen=0)


def test_a_person_may_go_on_where_the_thinker_is_content_but_not_beyond_the_last_turn_nor_without_a_thinker():
    asked = []

    def steer(steps, following):
        asked.append(following)
        return Continue("my way", "human")

    steps, end = think(thinker(said(9, 9, "b")), steer=steer, turns=3)
    assert [s.prompt for s in steps] == ["make it red", "my way", "my way"] and end == Stop("accepted")
    assert asked == [Stop("accepted")] * 2
    steps, end = think(thinker(gone()), steer=steer)
    assert len(steps) == 1 and end.reason == "failed" and len(asked) == 2


class Cancelled(BaseException):
    pass


@pytest.mark.parametrize("where", ["on_step", "on_token", "steer"])
def test_what_a_callback_raises_ends_the_run(where):
    def cancel(*_):
        raise Cancelled

    with pytest.raises(Cancelled):
        think(thinker(said(2, 2, "b")), **{where: cancel})


def test_pixels_are_of_the_current_turn_only():
    seen = []
    think(thinker(said(2, 2, "b")), turns=6, steer=lambda steps, following: seen.append(steps) or following)
    assert all(step.image is None for steps in seen for step in steps[:-1])
    assert all(steps[-1].image is not None for steps in seen)


MANY = 50  # turns


def test_memory_is_flat_over_many_turns(tmp_path):
    class NewWords(Looks):
        """Looks with a model, and speaks better than a model of random weights."""

        chat_within = load_thinker(write_thinker(tmp_path / "thinker"))

        def chat_all(self, requests, **options):
            self.chat_within.chat_all(requests, **options | {"max_tokens": 1})
            return super().chat_all(requests, **options)

    editor = load_editor(write_folder(tmp_path / "editor", "StableDiffusionInstructPix2PixPipeline"))
    source = torch.rand(1, 256, 256, 3)
    run = start_thinking(editor, Thinker(NewWords()), source, "make it red", settings=Settings(steps=1), turns=MANY)
    used = {}
    for trajectory in record_run(new_trajectory(tmp_path / "run", source, "make it red", {}), run):
        if len(trajectory.steps) in (10, MANY):
            gc.collect()
            used[len(trajectory.steps)] = psutil.Process().memory_info().rss
    assert len({step.prompt for step in trajectory.steps}) > 35
    assert used[MANY] < used[10] + (MANY - 10) / 2 * source.nbytes  # one image kept a turn would be twice that
    assert (trajectory.folder / "trajectory.json").stat().st_size < MANY * 1000


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"instruction": " "}, "instruction: is empty"),
        ({"source": SOURCE.repeat(2, 1, 1, 1)}, "source: one image"),
        ({"source": SOURCE * float("nan")}, "source: has NaN"),
        ({"turns": 0}, "turns: expected 1 to 1000"),
        ({"candidates": 65}, "candidates: expected"),
        ({"preserve": float("nan")}, "preserve: expected"),
        ({"accept": (8,)}, "accept: expected two"),
        ({"accept": (8, 11)}, "accept: expected two"),
        ({"start": "else"}, "start: “else” is unknown"),
        ({"base": "else"}, "base: “else” is unknown"),
    ],
)
def test_mistakes_are_one_sentence(options, sentence):
    with pytest.raises(RethinkError, match=sentence):
        think(thinker(said(2, 2)), **options)


def task(thinker, source=SOURCE, instruction="make it red", *, judge=None, mask=None, **config):
    return ThinkTask(source, instruction, thinker, judge, mask, LoopConfig(**config))


def test_a_record_from_before_a_choice_was_recorded_can_be_gone_on_with(tmp_path):
    ours = task(thinker(""))
    how = run_config(ours, "painter")
    older = {name: choice for name, choice in how.items() if name not in ("template", "max_tokens", "temperature")}
    require_same_run(new_trajectory(tmp_path / "run", SOURCE, "make it red", older), ours, how)


def test_only_when_to_stop_may_differ_between_a_run_and_its_continuation(tmp_path):
    critic = thinker("")
    ours = task(critic)
    how = run_config(ours, "painter")
    run = new_trajectory(tmp_path / "run", SOURCE, "make it red", how)
    require_same_run(run, ours, run_config(task(critic, turns=9, patience=3), "painter"))
    require_same_run(run, ours, run_config(ours, "painter @ http://127.0.0.1:8000"))  # which has moved
    for other in (
        run_config(task(critic, seed=1), "painter"),
        run_config(task(critic, draws=2), "painter"),
        run_config(ours, "painter", Settings(steps=9)),
        run_config(ours, "another painter"),
        run_config(ours, "painter @ v2"),
        run_config(task(critic, judge=critic), "painter"),
        run_config(task(critic, mask=torch.ones(1, 16, 16)), "painter"),
        run_config(task(replace(critic, template="{source} {edited} {instruction}")), "painter"),
        run_config(task(replace(critic, max_tokens=9)), "painter"),
        run_config(task(replace(critic, temperature=0.5)), "painter"),
    ):
        with pytest.raises(RethinkError, match="different choice"):
            require_same_run(run, ours, other)
    odd = run_config(ours, "a name on disk \udcff")  # a record holds no half characters
    new_trajectory(tmp_path / "odd", SOURCE, "make it red", odd)
    require_same_run(load_trajectory(tmp_path / "odd"), ours, odd)
    judged_task = task(critic, judge=critic)
    judged = new_trajectory(tmp_path / "judged", SOURCE, "make it red", run_config(judged_task, ""))
    with pytest.raises(RethinkError, match="different choice of judge_temperature"):
        warm = replace(critic, temperature=0.5)
        require_same_run(judged, judged_task, run_config(task(critic, judge=warm), ""))
    for source, instruction in ((SOURCE, "else"), (SOURCE * 0.9, "make it red"), (SOURCE[:, :8], "make it red")):
        with pytest.raises(RethinkError, match="another image or instruction"):
            require_same_run(run, task(critic, source, instruction), how)
