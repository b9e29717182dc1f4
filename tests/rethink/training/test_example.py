"""Pairs in latents become batches, and say where an edit changes them."""

from dataclasses import replace

import pytest
import torch

from rethink.training.example import TEXT, TEXT_MASK, Example, changed_places, join_examples


def test_examples_are_joined_row_by_row_and_places_are_shared():
    def example(value):
        inputs = {"text": torch.full((1, 3), value), "ids": torch.arange(6).view(3, 2), "shapes": [[(1, 2, 2)]]}
        return Example(
            torch.full((1, 4, 2), value), torch.zeros(1, 4, 2), {**inputs, "more": {"pooled": torch.ones(1, 2)}}, {}
        )

    one, other = example(1.0), example(2.0)
    assert one.shapes == other.shapes and one.tokens == 4
    joined = join_examples([one, other])
    assert joined.target[:, 0, 0].tolist() == [1, 2] and joined.inputs["text"].shape == (2, 3)
    assert joined.inputs["ids"].shape == (3, 2) and joined.inputs["shapes"] == [[(1, 2, 2)]] * 2
    assert joined.inputs["more"]["pooled"].shape == (2, 2)


def text_example(length, value=1.0):
    generator = torch.Generator().manual_seed(length)
    text = {TEXT: torch.randn(1, length, 16, generator=generator), TEXT_MASK: torch.ones(1, length, dtype=torch.bool)}
    tokens = torch.randn(2, 1, 4, 16, generator=generator) * value
    return Example(tokens[0], tokens[1], {**text, "img_shapes": [[(1, 2, 2), (1, 2, 2)]]}, {})


def test_texts_of_different_lengths_fill_a_batch_and_say_the_same_as_alone():
    """With the denoiser of Qwen-Image-Edit, whose attention leaves out what is masked."""
    model = pytest.importorskip("diffusers").QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    short, long = text_example(3), text_example(7)
    assert short.shapes == long.shapes
    joined = join_examples([short, long])
    assert joined.inputs[TEXT].shape == (2, 7, 16) and joined.inputs[TEXT_MASK].sum(1).tolist() == [3, 7]
    with torch.no_grad():
        answers = [
            model(
                torch.cat([each.target, each.source], 1), timestep=torch.full((len(each.target),), 0.5), **each.inputs
            )
            for each in (joined, join_examples([short]), join_examples([long]))
        ]
    assert torch.allclose(answers[0].sample, torch.cat([answers[1].sample, answers[2].sample]), atol=1e-5)


def test_texts_of_one_length_need_no_mask():
    assert TEXT_MASK not in join_examples([text_example(5), text_example(5)]).inputs
    example = text_example(5)
    emptied = Example(example.target, example.source, example.inputs, text_example(2).inputs)
    joined = join_examples([emptied, emptied])
    assert joined.null[TEXT].shape == joined.inputs[TEXT].shape and joined.null[TEXT_MASK].sum(1).tolist() == [2, 2]


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (2, 64, 4)])
def test_where_an_edit_changes_the_latents_is_seen_in_any_layout(shape):
    source = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    target = source.clone()
    part = (slice(None), slice(None), slice(0, 2)) if len(shape) == 4 else (slice(None), slice(0, 16))
    target[part] = torch.randn(target[part].shape, generator=torch.Generator().manual_seed(1))
    changed = changed_places(Example(target, source / 0.18, {}, {}))
    assert changed.shape == ((2, 1, 8, 8) if len(shape) == 4 else (2, 64, 1))
    assert changed[part].mean() > 0.9 and changed.mean() < 0.3


def test_a_wide_image_and_a_high_one_of_as_many_tokens_are_no_batch():
    """FLUX takes the places of the first row for all rows."""

    def example(height, width):
        ids = torch.cartesian_prod(torch.arange(height), torch.arange(width))
        return Example(torch.ones(1, 8, 4), torch.ones(1, 8, 4), {"img_ids": ids}, {})

    assert example(2, 4).target.shape == example(4, 2).target.shape
    assert example(2, 4).shapes == example(2, 4).shapes != example(4, 2).shapes


def test_references_are_joined_one_by_one_and_other_sizes_or_counts_are_no_batch():
    def example(value, *sizes):
        references = tuple(torch.full((1, 4, *size), value) for size in sizes)
        return Example(torch.ones(1, 4, 8, 8), torch.ones(1, 4, 8, 8), {}, {}, references)

    one, other = (example(value, (8, 6), (4, 8)) for value in (1.0, 2.0))
    joined = join_examples([one, other])
    assert [tuple(each.shape) for each in joined.references] == [(2, 4, 8, 6), (2, 4, 4, 8)]
    assert joined.references[1][:, 0, 0, 0].tolist() == [1, 2]
    kinds = [example(1.0), example(1.0, (8, 6)), example(1.0, (4, 8), (8, 6)), example(1.0, (8, 6), (8, 4)), one]
    assert len({each.shapes for each in kinds}) == 5


def test_what_changes_is_told_by_the_source_alone_whatever_the_references_are():
    source, target = torch.randn(2, 1, 16, 4, generator=torch.Generator().manual_seed(0))
    example = Example(target, source, {}, {}, (torch.randn(1, 40, 4),))
    assert torch.equal(changed_places(example), changed_places(replace(example, references=())))
