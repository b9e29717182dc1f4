"""In which order samples come."""

from itertools import islice

from rethink.training.endless_order import EndlessOrder


def test_every_sample_comes_once_an_epoch_in_another_order_each_time():
    first, second = (list(islice(EndlessOrder(20, 4, seed), 40)) for seed in (0, 1))
    assert sorted(first[:20]) == sorted(first[20:]) == list(range(20))
    assert first[:20] != first[20:] and first != second


def test_it_goes_on_in_the_middle_of_an_epoch():
    order = EndlessOrder(20, 64, 0)
    whole = list(islice(order, 60))
    order.begin = 27
    assert list(islice(order, 33)) == whole[27:] and order.batch == 20
