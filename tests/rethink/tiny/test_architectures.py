"""The untrained built-in models fit each other, and their tokenizer knows the world's words."""

import torch

from rethink.tiny.architectures import (
    LATENT_CHANNELS,
    TEXT_TOKENS,
    make_clip,
    make_scheduler,
    make_text_encoder,
    make_tokenizer,
    make_unet,
    make_vae,
)
from rethink.tiny.scene import SIZE


def test_its_tokenizer_knows_the_words_of_the_world_and_any_letter(tmp_path):
    tokenizer = make_tokenizer(tmp_path, TEXT_TOKENS)
    known = tokenizer("change the color of the purple triangle").input_ids
    assert len(known) == 2 + 7  # a token a word, between start and end
    odd = tokenizer("ångström 草").input_ids
    assert tokenizer.unk_token_id not in odd[1:-1]
    assert "ngstr" in tokenizer.decode(odd, skip_special_tokens=True)


def test_the_editors_parts_fit_each_other(tmp_path):
    tokenizer = make_tokenizer(tmp_path, TEXT_TOKENS)
    words = tokenizer("make it red", padding="max_length", max_length=TEXT_TOKENS, return_tensors="pt").input_ids
    with torch.no_grad():
        text = make_text_encoder(tokenizer)(words)[0]
        latents = make_vae().encode(torch.zeros(1, 3, SIZE, SIZE)).latents
        predicted = make_unet()(latents, 0, encoder_hidden_states=text).sample
    assert latents.shape == predicted.shape == (1, LATENT_CHANNELS, SIZE // 16, SIZE // 16)
    assert make_scheduler().config.prediction_type == "sample"


def test_clip_compares_scenes_with_captions(tmp_path):
    tokenizer = make_tokenizer(tmp_path, 56)
    words = tokenizer(["a red star", "a blue star"], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = make_clip(tokenizer)(**words, pixel_values=torch.zeros(3, 3, SIZE, SIZE)).logits_per_text
    assert logits.shape == (2, 3)
