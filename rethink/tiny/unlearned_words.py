"""Words that the built-in editor can tell apart, like the text encoders of real editors, though it has not learned
them.

Its own training has only plain words. Spelled letter by letter, others are often longer than it can read, and a LoRA
learns a spelled word much more slowly.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from .architectures import make_text_encoder
from .english.meanings import word_meanings
from .phrasings import HELD_OUT_REASONING, HELD_OUT_UNUSUAL, REASONING_WORDINGS, SYNONYMS, UNUSUAL_WORDINGS

SEED = 0
END = "</w>"  # of the last token of a word that was learned


def unlearned_words() -> list[str]:
    """The words of all instructions that plain ones do not have."""
    tables = (UNUSUAL_WORDINGS, HELD_OUT_UNUSUAL, REASONING_WORDINGS, HELD_OUT_REASONING, SYNONYMS)
    texts = [text for table in tables for wordings in table.values() for text in wordings]
    found = re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", " ".join(texts).lower()))
    return sorted({*found, *word_meanings()})


def add_words(pipe: Any) -> None:
    """Give a pipeline's tokenizer a token for each of `unlearned_words` that has none, and its text encoder a random
    row for it, at the scale of those of learned words.

    Everything else is spelled as before, so that its encoding stays the same to the bit: added tokens are matched
    before a text is spelled (transformers 4 does not match those that are capitalized or precede a comma, and spells
    them).
    """
    from tokenizers import AddedToken

    before = pipe.tokenizer.get_vocab()
    words = [word for word in unlearned_words() if f"{word}{END}" not in before]
    pipe.tokenizer.add_tokens([AddedToken(word, single_word=True) for word in words])
    weights = pipe.text_encoder.float().state_dict()
    name = next(name for name in weights if name.endswith("token_embedding.weight"))
    encoder = make_text_encoder(pipe.tokenizer)
    rows = torch.cat([weights[name], _draw_rows(weights[name], before, len(words))])
    encoder.load_state_dict({**weights, name: rows})
    pipe.text_encoder = encoder


def _draw_rows(known: Tensor, before: dict[str, int], count: int) -> Tensor:
    """Rows [count, width] like the known ones [tokens, width] of whole words."""
    learned = torch.stack(
        [known[number] for token, number in before.items() if re.fullmatch(rf"[a-z]{{2,}}{END}", token)]
    )
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(count, known.shape[1], generator=generator) * learned.std()
