"""Replay, which keeps other edits as they were while one is learned: the base editor's own edits for other instructions. On these,
a LoRA is trained toward the same model's predictions without the LoRA (learning without forgetting, arXiv 1606.09282)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .edit_model import EditModel
from .example_cache import ExampleCache
from .lora_pairs import LoraPair, generator_of

# Common edits of every kind, if the user has not said what the editor is used for.
EVERYDAY_EDITS = (
    "make it winter",
    "make it night",
    "turn it into a watercolor painting",
    "make it a black and white photograph",
    "change the background to a beach",
    "make the colors warmer",
    "make it sunny",
    "turn it into a pencil drawing",
    "blur the background",
    "make it look like an old photograph",
    "add a tree on the left",
    "add a hat",
    "remove the person on the right",
    "remove the text",
    "make the sky purple",
    "change the color of the largest object to red",
    "make the main object smaller",
    "replace the main object with a dog",
    "make it foggy",
    "turn it into a 3D render",
)

Instruction = str | tuple[str, str]  # for any image, or (source, instruction) for the image that a pair was made from


def make_replay(
    model: EditModel,
    pairs: Sequence[LoraPair],
    instructions: Sequence[Instruction],
    count: int,
    cache: ExampleCache,
    seed: int,
    on_example: Callable[[int], None],
    share: range,
) -> list[str]:  # more than eight: what is encoded, by what, and where it goes
    """Make replay examples in the cache, and return their keys: other instructions for inputs and targets of the pairs, with the base
    editor's own edits as targets; an empty instruction leaves the image as it is. The seed decides which instruction goes with
    which image, but a (source, instruction) goes with the target of a pair made from that source, if there is one. Inputs are
    edited with their references, targets without, since the editor is used both ways. share: the numbers of the examples that this
    process encodes."""
    generator = generator_of("replay", seed)
    own = {pair.source: pair for pair in pairs}
    known = [each for each in instructions if isinstance(each, str) or each[0] in own]
    keys, identity = [], model.identity
    for number in range(count if known else 0):
        pair, side = pairs[_draw(generator, len(pairs))], _draw(generator, 2)
        text = known[number % len(known)]
        if not isinstance(text, str):
            (source, text), side = text, 1
            pair = own[source]
        digest = hashlib.blake2b(f"replay {pair.digest} {side} {text} {identity}".encode()).hexdigest()

        def encode(pair: LoraPair = pair, text: str = text, side: int = side, number: int = number):
            image: Tensor = pair.images()[side]
            references = () if side else pair.load_references()
            edited = model.editor.edit(model.editor.prepare(image, references), [text], [number]) if text else image
            return model.encode(image, edited, text, references)

        keys.append(cache.ensure(digest, encode) if number in share else cache.key(digest))
        on_example(number + 1)
    return keys


def mix_identity(instructions: Sequence[Instruction], count: int, share: float) -> list[Instruction]:
    """Instructions for `count` images, about `share` of which are empty, evenly spread."""
    texts: list[Instruction] = []
    empty = 0
    for number in range(count):
        if empty < round(share * (number + 1)):
            texts.append("")
            empty += 1
        else:
            texts.append(instructions[(number - empty) % len(instructions)])
    return texts


def _draw(generator: torch.Generator, below: int) -> int:
    return int(torch.randint(0, below, (), generator=generator))
