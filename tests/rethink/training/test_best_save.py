"""The best save: the held-out pairs speak first, then a thinker, then time; and the record says which did."""

import statistics

from rethink.training.best_save import Save, choose_save, mean_scores


def save(step, held_out, *scores):
    return Save(step, str(step), 0.1, held_out, tuple(map(str, range(len(scores)))), scores)


def near(changed, kept=1.0, **more):
    return {"changed": changed, "kept": kept, **more}


def test_a_lower_loss_outweighs_every_preview():
    saves = [save(1, 0.4, near(0.9)), save(2, 0.3, near(0.1)), save(3, 0.35, near(0.9))]
    assert choose_save(saves, 2) == (2, "the lowest loss of 3 saves on 2 held-out pairs (0.30000)")


def measured(step, losses):
    return Save(step, str(step), 0.1, statistics.fmean(losses), losses=tuple(losses))


def test_of_losses_that_are_not_told_apart_the_newest():
    lowest = [0.30, 0.50, 0.10, 0.70]
    close = [0.36, 0.46, 0.14, 0.68]  # higher here, lower there: by 0.01 ± 0.02
    worse = [0.32, 0.52, 0.12, 0.72]  # a little, but each time
    saves = [measured(1, lowest), measured(2, close), measured(3, worse)]
    assert choose_save(saves, 4) == (
        2,
        "the newest of the 2 saves whose loss on 4 held-out pairs is close to the lowest (0.40000)",
    )


def test_what_two_pairs_learn_by_heart_is_not_the_best():
    """A training on 13 pairs, each of two held out measured at four times: both unlearn from step 200 on, the one far more."""
    saves = [
        measured(50, [0.0047, 0.0049, 0.0042, 0.0040, 0.1506, 0.1383, 0.1412, 0.1237]),
        measured(150, [0.0055, 0.0049, 0.0046, 0.0044, 0.1446, 0.1296, 0.1344, 0.1038]),
        measured(200, [0.0061, 0.0051, 0.0051, 0.0049, 0.1536, 0.1292, 0.1306, 0.0918]),
        measured(250, [0.0067, 0.0054, 0.0055, 0.0053, 0.1723, 0.1335, 0.1274, 0.0839]),
        measured(450, [0.0078, 0.0067, 0.0064, 0.0064, 0.2705, 0.1863, 0.1176, 0.0581]),
    ]
    assert choose_save(saves, 2)[0] == 200


def test_a_wide_error_excuses_no_loss_that_is_much_higher():
    lowest, worse, close = [0.10, 0.10], [0.09, 0.14], [0.09, 0.118]
    assert choose_save([measured(1, lowest), measured(2, worse)], 2)[0] == 1
    assert choose_save([measured(1, lowest), measured(2, close)], 2)[0] == 2


def test_what_is_measured_of_a_pair_at_several_times_is_one_observation():
    lowest, close = [0.1] * 50, [0.095] * 25 + [0.107] * 25  # by 0.001 ± 0.006 of two pairs, ± 0.0009 of fifty
    assert choose_save([measured(1, lowest), measured(2, close)], 2)[0] == 2
    lowest, worse = [0.1] * 4, [0.112, 0.091] * 2  # both pairs by 0.0015, more at one time than at the other
    assert choose_save([measured(1, lowest), measured(2, worse)], 2)[0] == 1


def test_many_pairs_that_do_not_tell_two_saves_apart_leave_it_to_the_newest():
    lowest = [0.05] * 100
    close = [0.03, 0.074] * 50  # by 0.002 ± 0.0022, which is 4% of the lowest
    told = [0.048, 0.055] * 50  # by 0.0015 ± 0.0004
    assert choose_save([measured(1, lowest), measured(2, close)], 100)[0] == 2
    assert choose_save([measured(1, lowest), measured(2, told)], 100)[0] == 1


def test_of_one_pair_nothing_but_the_mean_is_known():
    saves = [measured(1, [0.30, 0.10]), measured(2, [0.10, 0.304]), measured(3, [0.10, 0.34])]
    assert choose_save(saves, 1)[0] == 2


def test_a_record_that_has_the_means_alone_goes_by_them():
    assert choose_save([save(1, 0.3), save(2, 0.304), save(3, 0.31)], 2)[0] == 2


def test_a_thinker_outweighs_time():
    saves = [save(1, 0.3, near(0.2, thinker=7.25)), save(2, 0.301, near(0.9, thinker=4.0))]
    best, why = choose_save(saves, 2)
    assert best == 1 and why.startswith("the one with the highest thinker score (7.2 of 10)")


def test_a_thinker_that_answered_for_some_saves_only_decides_nothing():
    saves = [save(1, 0.3, near(0.2, thinker=7.0)), save(2, 0.301, near(0.9, thinker=None))]
    assert choose_save(saves, 2)[0] == 2


def test_without_held_out_pairs_the_newest():
    assert choose_save([save(1, None), save(2, None)], 0)[0] == 2 and choose_save([], 0)[0] == 0


def test_a_save_that_was_cut_off_before_it_was_measured_is_not_chosen():
    assert choose_save([save(1, 0.3), save(2, None)], 2)[0] == 1


def test_means_leave_out_what_is_missing():
    assert mean_scores([near(0.5, None, note="x"), near(0.7, 1.0)]) == {"changed": 0.6, "kept": 1.0}
    assert mean_scores([]) == {}
