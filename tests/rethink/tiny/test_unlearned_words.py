"""Words that the editor has not learned are tokens all the same, and those that it has learned are what they were."""

from types import SimpleNamespace

import torch

from rethink.builtin import EDITOR_FOLDER
from rethink.tiny import sample_task
from rethink.tiny.architectures import TEXT_TOKENS, make_text_encoder, make_tokenizer
from rethink.tiny.unlearned_words import add_words, unlearned_words


def encode(pipe, text):
    tokens = pipe.tokenizer(
        text, padding="max_length", max_length=TEXT_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        return pipe.text_encoder(tokens)[0]


def open_parts(folder):
    tokenizer = make_tokenizer(folder, TEXT_TOKENS)
    return SimpleNamespace(tokenizer=tokenizer, text_encoder=make_text_encoder(tokenizer).eval())


def test_plain_instructions_mean_the_same_to_the_bit_and_a_new_word_is_one_token(tmp_path):
    pipe = open_parts(tmp_path / "old")
    old = SimpleNamespace(**vars(pipe))
    pipe.tokenizer = make_tokenizer(tmp_path / "old", TEXT_TOKENS)  # the same, read once more
    add_words(pipe)
    pipe.text_encoder.eval()
    for number in range(40):
        for wording in ("known", "held_out"):
            text = sample_task(number, wording=wording).instruction
            assert torch.equal(encode(pipe, text), encode(old, text)), text
    assert len(old.tokenizer.tokenize("dye it crimson")) > 3 == len(pipe.tokenizer.tokenize("dye it crimson"))
    assert not torch.equal(encode(pipe, "dye it crimson"), encode(pipe, "dye it scarlet"))
    for level in ("unusual", "reasoning"):
        texts = [sample_task(number, level).instruction for number in range(100)]
        assert all(len(pipe.tokenizer(text).input_ids) <= TEXT_TOKENS for text in texts), "none is cut off"


def test_the_words_are_those_of_all_levels():
    words = unlearned_words()
    assert {"crimson", "morph", "smallest"} <= set(words) and "x" not in words
    assert all(word.isalpha() for word in words)


def test_every_other_word_is_spelled_as_before(tmp_path):
    pipe = open_parts(tmp_path / "old")
    old = SimpleNamespace(**vars(pipe))
    pipe.tokenizer = make_tokenizer(tmp_path / "old", TEXT_TOKENS)  # the same, read once more
    add_words(pipe)
    pipe.text_encoder.eval()
    for text in ("take the noise away", "a watermark, a beard; no fog!", "Dyeing crimsonish", "THE BLURRED STICKERS"):
        assert pipe.tokenizer.tokenize(text) == old.tokenizer.tokenize(text)
        assert torch.equal(encode(pipe, text), encode(old, text)), text


def test_a_word_is_its_token_wherever_it_stands(tmp_path):
    pipe = open_parts(tmp_path)
    add_words(pipe)
    (token,) = pipe.tokenizer.tokenize("crimson")
    for text in ("Crimson, please", "make it CRIMSON.", "a crimson-red star", "(crimson)"):
        assert token in pipe.tokenizer.tokenize(text), text


def test_the_shipped_tokenizer_has_them_too():
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(EDITOR_FOLDER / "tokenizer")
    assert all(len(tokenizer.tokenize(word)) == 1 for word in unlearned_words())
    assert len(tokenizer.tokenize("noise")) > 1
