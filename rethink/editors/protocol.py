"""What every editor promises: `prepare` encodes the source once, `edit` runs any instructions and seeds against it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from os import PathLike
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import RethinkError
from ..images import as_image
from .settings import DEFAULT_SETTINGS, Settings, used_settings

# (step 1…total, total, lazy preview → small IMAGE of the rows under way); behind a server (rows that are done, all rows, the
# same), again and again. What it raises ends the run; the editor stays usable.
OnStep = Callable[[int, int, Callable[[], Tensor]], None]


@dataclass(frozen=True)
class LoraReport:
    """How a LoRA file fits an editor: how many of its layers, and the names of those that do not."""

    name: str
    matched: int
    unmatched: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.name}: {self.matched} of {self.matched + len(self.unmatched)} layers fit."
        return "\n".join([text, *(f"  not used: {layer}" for layer in self.unmatched)])


@dataclass(frozen=True, eq=False)
class Prepared:
    """A source that an editor has encoded, for that editor's `edit`.

    images: the source, IMAGE [B, H, W, 3]; encoded: what the editor needs of it, read by that editor alone.
    """

    images: Tensor
    encoded: Any

    def __len__(self) -> int:
        return self.images.shape[0]


class EditorFamily(Protocol):
    """What is known of an editor's kind, whatever runs it."""

    @property
    def id(self) -> str: ...

    @property
    def title(self) -> str:
        """Its name for people."""
        ...

    @property
    def references(self) -> int:
        """How many further images it can look at."""
        ...

    @property
    def takes_negative_prompt(self) -> bool: ...

    @property
    def guides_by_image(self) -> bool:
        """Whether image guidance plays a part."""
        ...


class Editor(Protocol):
    """An instruction editor with its weights."""

    name: str
    defaults: Settings

    @property
    def module(self) -> nn.Module:
        """Holds all weights; moving it moves the editor."""
        ...

    @property
    def family(self) -> EditorFamily: ...

    @property
    def device(self) -> torch.device:
        """Where the editor computes now."""
        ...

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()) -> Prepared:
        """Encode the source IMAGE [B, H, W, 3], once: the same tensor twice in a row is encoded the first time only.

        references: further images to look at, each an IMAGE [1, h, w, 3] of any size, the same for every source.
        Raises RethinkError for more of them than the family takes.
        """
        ...

    def edit(
        self,
        prepared: Prepared,
        instructions: Sequence[str],
        seeds: Sequence[int],
        settings: Settings = DEFAULT_SETTINGS,
        *,
        mask: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """One batch of edits, one row per instruction → IMAGE [rows, H, W, 3] at the source's size, on the CPU.

        Rows are grouped by image: row r edits image r // (rows // len(prepared)). A row's noise comes from its own
        seed, so its result does not depend on the other rows. `mask` [B or 1, H, W]: 1 may change; where it is 0
        the source's pixels come back bit for bit. Raises RethinkError for whatever the user can fix.
        """
        ...

    def effective_settings(self, prepared: Prepared, seeds: Sequence[int], settings: Settings) -> list[Settings]:
        """What `edit` really samples each of these rows with: nothing left open, and the scales a row draws itself."""
        ...

    def with_lora(self, path: str | PathLike, strength: float) -> tuple["Editor", LoraReport]:
        """This editor with a LoRA over it, and a report. This one stays as it is.

        The new editor shares this one's weights and adds the LoRA while it edits: strength 0 is off, a negative one
        reverses the LoRA, and LoRAs stack. Raises RethinkError for a file that is broken or of another family.
        """
        ...


class InspectableEditor(Editor, Protocol):
    """An editor that shows what its denoiser, a part of `module`, is called with: what training needs to know of it."""

    @property
    def denoiser_name(self) -> str: ...

    def pipeline(self) -> AbstractContextManager[Any]:
        """Within it: the diffusers pipeline of these modules, with the editor's LoRAs over them."""
        ...

    def with_area(self, area: int) -> "InspectableEditor":
        """This editor, which stays as it is, working on about so many pixels of an image instead of as many as it was made for:
        at the same aspect, in its own multiples. Raises RethinkError for too few."""
        ...

    def denoiser_inputs(self, prepared: Prepared, instruction: str) -> dict[str, Any]:
        """What the denoiser is called with in the first step of an edit of the first image, without guidance: {parameter: its
        value}, as the sampling code itself makes it."""
        ...


def used_settings_by_row(
    editor: Editor, prepared: Prepared, seeds: Sequence[int], settings: Settings
) -> list[dict[str, Any] | None]:
    """`used_settings` of every row of an edit, with the scales it drew itself; None where an editor cannot say."""
    if not hasattr(editor, "effective_settings"):
        return [None] * len(seeds)
    return [used_settings(editor, row) for row in editor.effective_settings(prepared, seeds, settings)]


def check_references(references: Sequence[Tensor], family: EditorFamily) -> tuple[Tensor, ...]:
    """The reference images, each as IMAGE [1, h, w, 3], or RethinkError where the family does not take so many."""
    if len(references) > family.references:
        takes = f"at most {family.references} beside the source" if family.references else "none"
        raise RethinkError(f"references: got {len(references)} images, but {family.title} takes {takes}.")
    images = tuple(as_image(image, "references") for image in references)
    if any(len(image) != 1 for image in images):
        raise RethinkError("references: give images one by one, not as batches.")
    return images
