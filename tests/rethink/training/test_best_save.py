"""The best save: the held-out pairs speak first, then a thinker, then time; and the record says which did."""

import statistics

from rethink.training.best_save import Save, choose_save, mean_scores


def save(step, held_out, *scores):
    return Save(step, str(step), 0.1, held_out, tuple(map(str, range(len(scores)))), scores)


def near(changed, kept=1.0, **more):
    return {"changed": changed, "kept": kept, **more}


def test_a_lower_loss_outweighs_every_preview():
    saves = [save(1, 0.4, near(0.9)), save(2, 0.3, near(0.1)), save(3, 0.35, near(0.9))]
    assert choose_save(saves, 2) == (2, "the lowest loss on 2 held-out pairs, 0.30000, of 3 saves")


def measured(step, losses):
    return Save(step, str(step), 0.1, statistics.fmean(losses), losses=tuple(losses))


def test_of_losses_that_are_not_told_apart_the_newest():
    lowest = [0.30, 0.50, 0.10, 0.70]
    close = [0.36, 0.46, 0.14, 0.68]  # higher here, lower there: by 0.01 ± 0.02
    worse = [0.32, 0.52, 0.12, 0.72]  # a little, but each time
    saves = [measured(1, lowest), measured(2, close), measured(3, worse)]
    assert choose_save(saves, 4) == (
        2,
        "of the 2 saves whose loss on 4 held-out pairs is within a standard error of the lowest (0.40000), the newest",
    )


def test_a_record_that_has_the_means_alone_goes_by_them():
    assert choose_save([save(1, 0.3), save(2, 0.304), save(3, 0.31)], 2)[0] == 2


def test_a_thinker_outweighs_time():
    saves = [save(1, 0.3, near(0.2, thinker=7.25)), save(2, 0.301, near(0.9, thinker=4.0))]
    best, why = choose_save(saves, 2)
    assert best == 1 and why.endswith("the one that the thinker scores highest (7.2 of 10)")


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
