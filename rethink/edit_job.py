"""Editing images by instruction: what Instruction Editor Sampler, Edit Chain and `rethink edit` share."""

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

# Makes the progress callback of one edit: (its index, from 0, how many edits there are in all) → the callback.
OnEdit = Callable[[int, int], OnStep]


@dataclass(frozen=True)
class EditJob:
    """Instructions for an image or a batch of images, and how they are carried out.

    instructions: each edits the image itself, all as one batch; with `chain`, each edits the previous result.
    settings: of every edit.
    """

    instructions: tuple[str, ...]
    seed: int = option(0, "The same seed gives the same edit; another seed gives another edit.", low=0, high=MAX_SEED)
    variations: int = option(
        1,
        "Number of edits per image, with the seeds seed, seed + 1, … Stable Diffusion makes them as one batch; lower "
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
        """The seeds of the variations for instruction `number`."""
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
        """Make the edits: an IMAGE batch per instruction, ordered by image, then by seed.

        images: IMAGE [B, H, W, 3]. mask: [B or 1, H, W], 1 where they may change; if it selects nothing, they stay
        unchanged. references: further images that the instructions may refer to, each IMAGE [1, h, w, 3].
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
        """Apply all instructions and seeds to one batch of images at once; return a batch per instruction."""
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
