"""What a report says of runs that were dropped."""

from rethink.collect.drops import Drops

RULES = {"first": "damaged", "second": "not ended"}


def test_the_first_run_of_each_rule_is_named_in_the_order_of_the_rules():
    drops = Drops()
    for why, run in (("second", "runs/c"), ("first", "runs/a"), ("first", "runs/b")):
        drops.add(why, run)
    assert drops.counts(RULES) == [("damaged", 2), ("not ended", 1)] and drops == {"first": 2, "second": 1}
    assert drops.describe(RULES) == ["2 × damaged (runs/a, …)", "1 × not ended (runs/c)"]


def test_the_end_of_a_long_folder_is_shown():
    drops = Drops()
    drops.add("first", "runs/" * 60 + "a")
    assert drops.describe(RULES)[0].endswith("runs/a)")


def test_a_foreign_name_is_no_markup():
    drops = Drops()
    drops.add("first", "runs/<b>\nx")
    assert drops.describe(RULES) == ["1 × damaged (runs/‹b› x)"]
