"""The contrastive loss of the built-in CLIP, and the batches that it takes."""

from types import SimpleNamespace

import pytest
import torch

from rethink.tiny.architectures import CLIP_TOKENS, make_tokenizer
from rethink.tiny.train_clip import CaptionCollator, Contrast


class Matching(torch.nn.Module):
    """A CLIP whose texts score `own` with their own image and 0 with the others."""

    def __init__(self, own):
        super().__init__()
        self.own = own

    def forward(self, input_ids, pixel_values):
        return SimpleNamespace(logits_per_text=self.own * torch.eye(len(input_ids)))


def loss(own):
    batch = {"source": torch.zeros(2, 4, 4, 3), "edited": torch.ones(2, 4, 4, 3), "tokens": torch.zeros(2, 2, 5).long()}
    return Contrast(Matching(own), lambda images: images, [0.5] * 3, [0.5] * 3)(batch).item()


def test_the_loss_is_that_of_four_captions_for_four_images():
    assert loss(0.0) == pytest.approx(torch.tensor(4.0).log().item())
    assert loss(10.0) < 0.001 < loss(0.0) < loss(-10.0)


def test_the_sources_captions_come_first(tmp_path):
    tokenizer = make_tokenizer(tmp_path, CLIP_TOKENS)
    captions = [("a red star", "a blue star"), ("a red heart", "a pink heart")]
    samples = [{"source": torch.zeros(2, 2, 3), "edited": torch.ones(2, 2, 3), "captions": both} for both in captions]
    batch = CaptionCollator(tokenizer)(samples)
    assert batch["tokens"].shape == (2, 2, CLIP_TOKENS) and batch["source"].shape == (2, 2, 2, 3)
    said = [[tokenizer.decode(row, skip_special_tokens=True).strip() for row in side] for side in batch["tokens"]]
    assert said == [["a red star", "a red heart"], ["a blue star", "a pink heart"]]
