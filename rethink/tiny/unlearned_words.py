"""Words that the built-in editor can tell apart, as the text encoders of real editors can, though it has learned nothing of them.

Its own training has plain words alone. Spelled letter by letter, others are often longer than it reads; and of letters a LoRA
learns a word much more slowly.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .architectures import make_text_encoder, write_tokenizer
from .english.meanings import word_meanings
from .phrasings import HELD_OUT_REASONING, HELD_OUT_UNUSUAL, REASONING_WORDINGS, SYNONYMS, UNUSUAL_WORDINGS

SEED = 0
END = "</w>"  # of a word's last token


def unlearned_words() -> list[str]:
    """Of all instructions beside the plain ones."""
    tables = (UNUSUAL_WORDINGS, HELD_OUT_UNUSUAL, REASONING_WORDINGS, HELD_OUT_REASONING, SYNONYMS)
    texts = [text for table in tables for wordings in table.values() for text in wordings]
    found = re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", " ".join(texts).lower()))
    return sorted({*found, *word_meanings()})


def add_words(pipe: Any, folder: Path) -> None:
    """Gives the tokenizer of a pipeline a token for each of `unlearned_words`, and its text encoder a random row for it, as long as
    those of the words that it has learned. What it makes of plain words stays the same to the bit. folder: for the tokenizer's
    files."""
    from transformers import CLIPTokenizer

    length = pipe.tokenizer.model_max_length
    write_tokenizer(folder, length, unlearned_words())
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=length)
    encoder = make_text_encoder(tokenizer)
    weights = pipe.text_encoder.float().state_dict()
    name = next(name for name in weights if name.endswith("token_embedding.weight"))
    rows = _rows(weights[name], pipe.tokenizer.get_vocab(), tokenizer.get_vocab())
    encoder.load_state_dict({**weights, name: rows})
    pipe.tokenizer, pipe.text_encoder = tokenizer, encoder


def _rows(known: Tensor, before: dict[str, int], now: dict[str, int]) -> Tensor:
    """Of all tokens [tokens, width]: the known ones where they are known; what is a part of a word only says as little as its letters."""
    learned = torch.stack(
        [known[number] for token, number in before.items() if re.fullmatch(rf"[a-z]{{2,}}{END}", token)]
    )
    generator = torch.Generator().manual_seed(SEED)
    rows = torch.randn(len(now), known.shape[1], generator=generator) * learned.std()
    words = {f"{word}{END}" for word in unlearned_words()}
    for token, number in now.items():
        if token in before:
            rows[number] = known[before[token]]
        elif token not in words:
            *letters, last = token.removesuffix(END)
            spelled = [*letters, f"{last}{END}" if token.endswith(END) else last]
            rows[number] = known[[before[letter] for letter in spelled]].mean(0)
    return rows
