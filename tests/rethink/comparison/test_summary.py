"""What a comparison says: better, worse, or that nobody can tell."""

from rethink.comparison.edits import Edit, Edits
from rethink.comparison.measures import Scored
from rethink.comparison.summary import describe_votes, summarize
from rethink.comparison.votes import append_votes, count_votes
from tests.support.comparisons import tasks, variant, vote

ONE, TWO = variant("one"), variant("two")
SETTINGS = {ONE.key: "8 steps", TWO.key: "28 steps · text guidance 2.5"}


def report(tmp_path, values, votes=(), measure="judge", **more):
    """values(task's number, variant) → the number of a measure, a judge's score."""
    given = tasks(12, ["make it red"])
    places = [(task.id, each.key) for task in given for each in (ONE, TWO)]
    edits = Edits(
        {
            place: Edit(
                *place, f"edits/{place[0]}-{place[1]}.png", place[1], 2.0, 3 * 2**30, (16, 16), SETTINGS[place[1]]
            )
            for place in places
        },
        **more,
    )
    scores = {
        (task.id, each.key): {measure: values(number, each)} for number, task in enumerate(given) for each in (ONE, TWO)
    }
    append_votes(tmp_path, [vote(given[number], ONE, TWO, winner, number) for number, winner in enumerate(votes)])
    poll = count_votes(tmp_path, {task.id: task.source for task in given}, [ONE.key, TWO.key])
    return summarize("Test", given, [ONE, TWO], edits, Scored(scores, frozenset()), poll, tmp_path / "page.html")


def test_words_say_who_is_better(tmp_path):
    found = report(tmp_path, lambda number, each: 5 + number % 3 + (each is TWO) + 0.1 * (number % 2))
    assert found.best == "two" and found.headline == "judge"
    assert "Settings: one (8 steps), two (28 steps · text guidance 2.5)." in found.sentences
    assert any(sentence.startswith("Judge: two is better than one, +1") for sentence in found.sentences)
    differences = found.as_dict()["differences"]
    assert [(each["against"] == ONE.key, each["verdict"]) for each in differences] == [
        (False, "worse"),
        (True, "better"),
    ]
    assert differences[0]["low"] == -differences[1]["high"]


def test_less_of_a_distance_is_better_and_a_share_is_neither(tmp_path):
    def values(number, each):
        return 0.1 + number % 3 / 50 + 0.1 * (each is TWO) + number % 2 / 90

    found = report(tmp_path, values, measure="lpips")
    assert any(sentence.startswith("LPIPS outside: two is worse than one, +0.1") for sentence in found.sentences)
    assert {each["verdict"] for each in found.as_dict()["differences"]} == {"better", "worse"} and found.best == ""
    changed = report(tmp_path, values, measure="changed")
    assert changed.table[0] == ["", "edits", "Changed", "seconds", "memory"] and not changed.differences


def test_noise_is_nothing_to_tell(tmp_path):
    found = report(tmp_path, lambda number, each: (number * 7 + (each is TWO) * 5) % 10)
    assert any(sentence.startswith("Judge: cannot tell from one: two (") for sentence in found.sentences)


def test_votes_go_before_a_judge(tmp_path):
    found = report(tmp_path, lambda number, each: 5 + (each is TWO), "aaaaaaaaaab")
    assert found.best == "one" and found.headline == "votes"
    assert "11 votes by 1 voter." in found.sentences
    assert any(sentence.startswith("Votes: one against two") for sentence in found.sentences)
    assert describe_votes(found.poll, {ONE.key: "one", TWO.key: "two"}).startswith("one: 91% of 11 · ")


def test_a_few_votes_decide_nothing_and_say_how_many_would(tmp_path):
    (sentence,) = [each for each in report(tmp_path, lambda *_: 5, "aab").sentences if each.startswith("Votes:")]
    assert "cannot tell; about" in sentence and "more votes would decide" in sentence


def test_the_table_says_what_was_not_measured(tmp_path):
    found = report(tmp_path, lambda number, each: 5 + number % 3, failed={("t", ONE.key): "out of memory"})
    found.edits.failed[found.tasks[0].id, TWO.key] = found.edits.failed.pop(("t", ONE.key))
    head, *lines = found.table
    assert head == ["", "edits", "Judge", "seconds", "memory"] and lines[0][-2:] == ["2.00", "3.0 GiB"]
    assert "| one | 12 | 6.0 (" in found.markdown and "Not edited: two, “make it red”: out of memory" in str(found)
