"""The pairs of a LoRA: what is refused, what is held out, in which order they come."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from rethink.errors import RethinkError
from rethink.pairs.inverse.operations.core import Region
from rethink.pairs.inverse.operations.cover import OPERATION
from rethink.pairs.store import EditPair, PairStore
from rethink.training.lora_pairs import (
    BatchOrder,
    as_large_as,
    check_references_of,
    generator_of,
    read_pairs,
    split_pairs,
)
from tests.support.lora_training import write_pairs


def test_pairs_are_read_with_their_files(tmp_path):
    pairs = read_pairs(write_pairs(tmp_path, 3))
    assert len({pair.digest for pair in pairs}) == 3 and pairs[0].instruction == "make it red"
    input, target = pairs[0].images()
    assert input.shape == target.shape == (1, 32, 32, 3) and input[0, 0, 0].sum() == 0


@pytest.mark.parametrize("count", [0, 1])
def test_one_pair_is_not_enough(tmp_path, count):
    with pytest.raises(RethinkError, match=f"has {count} accepted pair.*; a LoRA needs at least 2"):
        read_pairs(write_pairs(tmp_path, count))


def test_all_that_is_wrong_is_said_at_once_by_file(tmp_path):
    store = write_pairs(tmp_path, 4)
    first, second, *_ = store
    (tmp_path / first.input).write_bytes(b"torn")
    (tmp_path / second.target).write_bytes((tmp_path / second.input).read_bytes())
    with pytest.raises(RethinkError) as error:
        read_pairs(store)
    assert first.input in str(error.value) and "are the same image" in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_the_same_edit_both_ways_round_is_refused_and_a_chain_is_none(tmp_path):
    store = write_pairs(tmp_path, 3)
    first, second, _ = store
    with store.writing():
        ways = {"b": (first.target, first.input, " Make it  red "), "c": (second.target, first.input, "make it red")}
        for name, (input, target, instruction) in ways.items():
            store.add(EditPair(name * 16, input, target, instruction))
    with pytest.raises(RethinkError) as error:
        read_pairs(store)
    assert str(error.value).startswith(
        f"pairs: {first.id} and {'b' * 16} are the same two images in opposite directions"
    )
    assert len(str(error.value).splitlines()) == 1


def test_the_way_back_with_another_reference_is_another_edit(tmp_path):
    store = write_pairs(tmp_path, 2, references=(1, 1))
    first, second = store
    with store.writing():
        store.add(EditPair("b" * 16, first.target, first.input, first.instruction, references=second.references))
    assert len(read_pairs(store)) == 3
    with store.writing():
        store.add(EditPair("c" * 16, first.target, first.input, first.instruction, references=first.references))
    with pytest.raises(RethinkError, match="the same two images in opposite directions"):
        read_pairs(store)


def test_the_way_back_has_an_instruction_of_its_own(tmp_path):
    store = write_pairs(tmp_path, 2)
    first, _ = store
    with store.writing():
        store.add(EditPair("b" * 16, first.target, first.input, "make it black"))
    assert len(read_pairs(store)) == 3


def test_swapped_pairs_are_recognized_by_what_was_done_to_them(tmp_path):
    read_pairs(write_pairs(tmp_path / "right", 4, operation="cover"))
    store, swapped = write_pairs(tmp_path / "right", 4, operation="cover"), PairStore(tmp_path / "right" / "swapped")
    with swapped.writing():
        for pair in store:
            paths = [swapped.image_path(pair.id, role) for role in ("input", "target")]
            for path, old in zip(paths, (pair.target, pair.input)):
                swapped.write_image(path, store.read_image(old))
            swapped.add(EditPair(pair.id, *paths, pair.instruction, operation="cover"))
    with pytest.raises(RethinkError, match="in 4 of 4 pairs .* input and target seem to be swapped"):
        read_pairs(swapped)


def test_a_target_of_another_shape_is_named_before_any_work_and_a_larger_one_is_scaled(tmp_path):
    store = write_pairs(tmp_path, 3)

    def add(id, *sizes):
        with store.writing():
            paths = [store.image_path(id, role) for role in ("input", "target")]
            for path, size, gray in zip(paths, sizes, (0, 200)):
                store.write_image(path, np.full((*size, 3), gray, np.uint8))
            store.add(EditPair(id, *paths, "make it red"))

    add("large", (32, 48), (64, 96))
    input, target = read_pairs(store)[-1].images()
    assert as_large_as(input, target).shape == (1, 32, 48, 3)
    add("odd", (32, 48), (32, 32))
    with pytest.raises(RethinkError, match="odd.* is 48 × 32 pixels, but its target .*odd.* is 32 × 32: a different"):
        read_pairs(store)


@pytest.mark.parametrize(("shape", "fill"), [("scribble", "black"), ("square", "white"), ("ellipse", "noise")])
def test_covers_of_a_flat_thing_are_not_taken_for_swapped(tmp_path, shape, fill):
    """The edges of a cover, and noise, are more detail than what is beneath has."""
    rng, store = np.random.default_rng(0), PairStore(tmp_path)
    with store.writing():
        for number in range(4):
            target = np.full((32, 32, 3), (200, 60 * number, 40), np.uint8)
            values = {"shape": shape, "fill": fill}
            result = OPERATION.apply(target, Region((4, 4, 28, 28)), values, rng)
            paths = [store.image_path(f"{number:016x}", role) for role in ("input", "target")]
            for path, image in zip(paths, (result.image, target)):
                store.write_image(path, image)
            store.add(EditPair(f"{number:016x}", *paths, "Remove it.", operation="cover", parameters=values))
    assert len(read_pairs(store)) == 4


def test_what_is_held_out_follows_from_the_content_and_no_image_is_on_both_sides(tmp_path):
    pairs = read_pairs(write_pairs(tmp_path, 24))
    training, held_out = split_pairs(pairs, 0.1)
    assert len(held_out) == 2 and len(training) == 22
    assert split_pairs(pairs[::-1], 0.1) == (training, held_out), "in the same order too, as batches follow from it"
    assert split_pairs(pairs[:5], 0.1)[1] == [] and len(split_pairs(pairs[:6], 0.1)[1]) == 2
    twins = [*pairs, *(type(pair)(**{**vars(pair), "digest": pair.digest[::-1]}) for pair in pairs)]
    training, held_out = split_pairs(twins, 0.1)
    assert not {pair.source for pair in training} & {pair.source for pair in held_out}


def test_of_a_single_image_some_pairs_are_held_out_all_the_same(tmp_path):
    pairs = [replace(pair, source="one.png") for pair in read_pairs(write_pairs(tmp_path, 8))]
    training, held_out = split_pairs(pairs, 0.1)
    assert len(held_out) == 2 and len(training) == 6 and split_pairs(pairs[::-1], 0.1)[1] == held_out


def test_every_example_comes_once_an_epoch_in_batches_of_one_size():
    sizes = ["wide"] * 5 + ["tall"] * 3
    order = BatchOrder(sizes, batch=2, seed=0)
    assert order.per_epoch == 5
    epochs = [[order.batch(number) for number in range(start, start + 5)] for start in (0, 5)]
    for epoch in epochs:
        assert sorted(index for batch in epoch for index in batch) == list(range(8))
        assert all(len({sizes[index] for index in batch}) == 1 for batch in epoch)
    assert epochs[0] != epochs[1]
    again = BatchOrder(sizes, batch=2, seed=0)
    assert [again.batch(number) for number in (7, 2)] == [order.batch(7), order.batch(2)]


def test_fewer_examples_than_a_batch_make_a_smaller_one():
    order = BatchOrder(["same"] * 3, batch=16, seed=0)
    assert sorted(order.batch(0)) == sorted(order.batch(9)) == [0, 1, 2]


def test_what_is_drawn_follows_from_names_alone():
    one, same, other = (torch.rand(3, generator=generator_of("step", seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_references_are_read_with_their_pair_and_count_in_its_digest(tmp_path):
    plain, dressed = (read_pairs(write_pairs(tmp_path / str(number), 4, references=(number,))) for number in (0, 2))
    assert [len(pair.references) for pair in (*plain, *dressed)] == [0] * 4 + [2] * 4
    assert [image.shape for image in dressed[1].load_references()] == [(1, 24, 32, 3), (1, 24, 48, 3)]
    assert {pair.digest for pair in plain}.isdisjoint(pair.digest for pair in dressed)
    assert plain[0].digest == "02b1fc47fba2cc55af1040c24b8be8fe", "latents of before are found again"
    turned = PairStore(tmp_path / "2")
    with turned.writing():
        turned.add(replace(next(iter(turned)), id="turned", references=next(iter(turned)).references[::-1]))
    assert len({pair.digest for pair in read_pairs(turned)}) == 5


def test_a_reference_that_is_broken_or_the_target_itself_is_named(tmp_path):
    store = write_pairs(tmp_path, 4, references=(1,))
    first, second, *_ = store
    (tmp_path / first.references[0]).write_bytes(b"torn")
    (tmp_path / second.references[0]).write_bytes((tmp_path / second.target).read_bytes())
    with pytest.raises(RethinkError) as error:
        read_pairs(store)
    torn, copied = str(error.value).splitlines()
    assert first.references[0] in torn and second.references[0] in copied and "is its target" in copied


@pytest.mark.parametrize(
    ("most", "message"),
    [
        (0, r"pairs: 0{15}1 \(“make it red”\) has 1 reference, but Tiny takes none; choose another editor, or reject"),
        (1, r"pairs: 0{15}2 \(“make it red”\) has 2 references, but Tiny takes at most 1 besides the input"),
    ],
)
def test_more_references_than_a_family_takes_are_refused_by_the_manifest_alone(tmp_path, most, message):
    store = write_pairs(tmp_path, 6, references=(0, 1, 2))
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(RethinkError, match=message):
        check_references_of(store, "Tiny", most)
    check_references_of(store, "Tiny", 2)
    for pair in store:
        store.set_verdict(pair.id, len(pair.references) <= most)
    check_references_of(store, "Tiny", most)
