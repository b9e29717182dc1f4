"""The best save: the held-out pairs speak first, then a thinker, then the previews; and the record says which did."""

from rethink.training.best_save import Save, choose_save, mean_scores


def save(step, held_out, *scores):
    return Save(step, str(step), 0.1, held_out, tuple(map(str, range(len(scores)))), scores)


def near(changed, kept=1.0, **more):
    return {"changed": changed, "kept": kept, **more}


def test_a_lower_loss_outweighs_every_preview():
    saves = [save(1, 0.4, near(0.9)), save(2, 0.3, near(0.1)), save(3, 0.35, near(0.9))]
    assert choose_save(saves, 2) == (2, "the lowest loss on 2 held-out pairs, 0.30000, of 3 saves")


def test_of_losses_that_are_as_good_as_equal_the_nearest_previews():
    saves = [save(1, 0.3, near(0.4)), save(2, 0.301, near(0.8, 0.9), near(0.6, 1.0)), save(3, 0.35, near(0.99))]
    assert choose_save(saves, 4) == (
        2,
        "of the 2 saves whose loss on 4 held-out pairs is within 2% of the lowest (0.30000), the one whose previews come "
        "nearest to their targets (70% of the change made, 95% of the rest kept)",
    )


def test_the_thinker_outweighs_the_pixels():
    saves = [save(1, 0.3, near(0.9, thinker=4.0)), save(2, 0.301, near(0.2, thinker=7.25))]
    best, why = choose_save(saves, 2)
    assert best == 2 and why.endswith("the one that the thinker scores highest (7.2 of 10)")


def test_a_thinker_that_answered_for_some_saves_only_decides_nothing():
    saves = [save(1, 0.3, near(0.9, thinker=None)), save(2, 0.301, near(0.2, thinker=7.0))]
    assert choose_save(saves, 2)[0] == 1


def test_of_previews_that_look_the_same_the_lower_loss():
    assert choose_save([save(1, 0.301, near(0.801)), save(2, 0.3, near(0.8))], 2)[0] == 2


def test_without_held_out_pairs_the_newest():
    assert choose_save([save(1, None), save(2, None)], 0)[0] == 2 and choose_save([], 0)[0] == 0


def test_a_save_that_was_cut_off_before_it_was_measured_is_not_chosen():
    assert choose_save([save(1, 0.3), save(2, None)], 2)[0] == 1


def test_means_leave_out_what_is_missing():
    assert mean_scores([near(0.5, None, note="x"), near(0.7, 1.0)]) == {"changed": 0.6, "kept": 1.0}
    assert mean_scores([]) == {}
