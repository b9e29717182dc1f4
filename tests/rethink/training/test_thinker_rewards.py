"""What an answer is worth."""

import pytest

from rethink.errors import RethinkError
from rethink.steps import Critique
from rethink.training.thinker_rewards import PRESETS, RewardRules, Scores, count_groups, reward_of, warn_of_questions


def answer(semantic=4.0, quality=9.0, prompt="paint it red", status="ok"):
    return Critique(status, semantic, quality, "I see.", prompt)


def test_the_paper_rewards_form_agreement_and_improvement():
    reward = reward_of(answer(4, 9), Scores(2, 9), Scores(8, 8), RewardRules())
    overall = (8 * 8) ** 0.5 - (2 * 9) ** 0.5
    assert reward.parts == pytest.approx(
        {"format": 1, "agreement": 1 - (2 + 0) / 2 / 10, "improvement": (overall / 10 + 1) / 2}
    )
    parts = reward.parts
    assert reward.value == pytest.approx((parts["format"] + parts["agreement"] + 2 * parts["improvement"]) / 4)


def test_the_released_code_rewards_form_and_the_improvement_of_the_semantic_score():
    """.5 · format + .5 · ((S_new − S_old) / 10 + 1) / 2, whatever the thinker's own scores are."""
    rules = RewardRules(preset="code")
    for own in (0, 10):
        reward = reward_of(answer(own, own), Scores(2, 9), Scores(8, 1), rules)
        assert reward.value == pytest.approx(0.5 + 0.5 * ((8 - 2) / 10 + 1) / 2)
    assert PRESETS["paper"].kl == 1e-3 and PRESETS["code"].kl == 0


def test_points_of_agreement_and_of_improvement_count_alike_in_the_paper():
    def value(own, after):
        return reward_of(answer(own, own), Scores(5, 5), Scores(after, after), RewardRules()).value

    assert value(6, 5) - value(5, 5) == pytest.approx(-(value(5, 6) - value(5, 5)))


def test_a_weight_of_ones_own_takes_the_presets_place():
    rules = RewardRules(preset="code", agreement_weight=3, format_weight=0)
    assert rules.weights == {"format": 0, "agreement": 3, "improvement": 1}
    assert reward_of(answer(2, 9), Scores(2, 9), Scores(2, 9), rules).value == pytest.approx((3 + 0.5) / 4)


@pytest.mark.parametrize(
    ("before", "after"), [(None, Scores(5, 5)), (Scores(5, 5), None), (None, None)], ids=["old", "new", "both"]
)
def test_what_could_not_be_measured_is_no_reward_and_never_zero(before, after):
    assert reward_of(answer(), before, after, RewardRules()) is None


def test_an_answer_without_a_prompt_has_failed_by_itself():
    unread = Critique("unparsed", note="no scores")
    assert reward_of(unread, Scores(5, 5), None, RewardRules()).value == 0
    only_scores = reward_of(answer(5, 5, prompt=""), Scores(5, 5), None, RewardRules())
    assert only_scores.parts == {"format": 0, "agreement": 1, "improvement": 0}


def test_only_the_form_that_was_asked_for_has_the_reward_of_form():
    reward = reward_of(answer(status="repaired"), Scores(5, 5), Scores(5, 5), RewardRules())
    assert reward.parts["format"] == 0 and reward.parts["improvement"] == 0.5


def test_groups_that_teach_nothing_are_counted_by_why():
    """Rewards that are all equal, or no two of them; whatever the order in which answers come."""
    rewards = [("a", 0.5), ("b", 0.1), ("a", 0.5), ("b", 0.2), ("c", None), ("c", 0.3), ("d", None)]
    counts = count_groups([(*row, None) for row in rewards])
    assert (counts.unrewarded, counts.groups, counts.skipped, counts.incomparable, counts.judged) == (2, 4, 1, 2, 0)
    assert count_groups([]).groups == 0


def test_questions_about_edits_that_the_judge_accepts_are_counted_once_each():
    """Both scores have to be good; an edit that could not be judged is of neither kind."""
    scores = {"a": Scores(9, 8), "b": Scores(9, 3), "c": None}
    counts = count_groups([(group, 0.5, scores[group]) for group in "aabbbc"])
    assert (counts.groups, counts.judged, counts.good) == (3, 2, 1)


def test_questions_about_wrong_edits_alone_or_right_ones_alone_are_warned_of():
    """As a thinker that was asked so has learned to find fault with right edits, while its reward rose."""
    wrong, right = warn_of_questions(100, 4), warn_of_questions(100, 95)
    assert (
        wrong.startswith("Of 100 questions, 4 are") and "find fault with everything" in wrong and "are right." in wrong
    )
    assert "approve everything" in right and right.endswith("are wrong.")
    assert warn_of_questions(100, 20) == warn_of_questions(100, 80) == warn_of_questions(10, 0) == ""


def test_wrong_rules_are_refused():
    with pytest.raises(RethinkError, match="preset"):
        RewardRules(preset="mine")
    with pytest.raises(RethinkError, match="all weights are 0"):
        RewardRules(format_weight=0, agreement_weight=0, improvement_weight=0)
