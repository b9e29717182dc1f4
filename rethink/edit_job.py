"""Edits of an image by instruction: what Instruction Editor Sampler, Edit Chain and `rethink edit` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .editors.protocol import OnStep
from .editors.settings import DEFAULT_SETTINGS, Settings
from .errors import RethinkError
from .images import selects_anything
from .options import MAX_SEED, check_limits, option

if TYPE_CHECKING:
    from torch import Tensor

    from .editors.protocol import Editor

# What makes the progress of one edit: (which of them, from 0, how many there are in all) → its callback.
OnEdit = Callable[[int, int], OnStep]


@dataclass(frozen=True)
class EditJob:
    """Instructions for an image or a batch of them, and how they are carried out.

    instructions: each edits the image itself, all as one batch; with `chain`, each edits what the one before it made.
    settings: of every edit.
    """

    instructions: tuple[str, ...]
    seed: int = option(0, "The same seed gives the same edit. Another seed gives another one.", low=0, high=MAX_SEED)
    variations: int = option(
        1,
        "How many edits of each image, with the seeds seed, seed + 1, … Stable Diffusion makes them as one batch; lower "
        "this if memory runs out.",
        low=1,
        high=64,
    )
    chain: bool = option(False, "Apply the instructions one after another. Number i (from 0) uses seed + i.")
    settings: Settings = DEFAULT_SETTINGS

    def __post_init__(self):
        check_limits(self)
        if not self.instructions or any(not text.strip() for text in self.instructions):
            raise RethinkError("instruction: is empty; say what to change, for example “make it snow”.")

    def seeds(self, number: int = 0) -> list[int]:
        """The seeds of the variations by instruction `number`."""
        first = self.seed + number * self.chain
        return [(first + offset) % (MAX_SEED + 1) for offset in range(self.variations)]

    def run(
        self,
        editor: Editor,
        images: Tensor,
        progress: OnEdit,
        *,
        mask: Tensor | None = None,
        references: Sequence[Tensor] = (),
    ) -> list[Tensor]:
        """The edits, an IMAGE batch per instruction: by image, then by seed.

        images: IMAGE [B, H, W, 3]. mask: [B or 1, H, W], 1 where they may change; where it selects nothing they stay as
        they are. references: further images for the instructions to speak of, each IMAGE [1, h, w, 3].
        In a chain, the next instruction edits the first variation.
        """
        if not self.chain:
            return self._edit(editor, images, 0, self.instructions, progress(0, 1), mask, references)
        edited: list[Tensor] = []
        for number, text in enumerate(self.instructions):
            on_step = progress(number, len(self.instructions))
            edited += self._edit(editor, images, number, (text,), on_step, mask, references)
            images = edited[-1][:: self.variations]
        return edited

    def _edit(
        self,
        editor: Editor,
        images: Tensor,
        number: int,
        instructions: Sequence[str],
        on_step: OnStep,
        mask: Tensor | None,
        references: Sequence[Tensor],
    ) -> list[Tensor]:
        """All instructions and seeds on one batch of images at once → a batch per instruction."""
        seeds = self.seeds(number)
        if mask is not None and not selects_anything(mask):
            return [images.repeat_interleave(len(seeds), 0)] * len(instructions)
        texts = [text for text in instructions for _ in seeds] * len(images)
        prepared = editor.prepare(images, references)
        rows = editor.edit(
            prepared,
            texts,
            seeds * (len(instructions) * len(images)),
            self.settings,
            mask=mask,
            on_step=on_step,
        )
        by_instruction = rows.unflatten(0, (len(images), len(instructions), len(seeds))).transpose(0, 1)
        return [batch.flatten(0, 1) for batch in by_instruction]
