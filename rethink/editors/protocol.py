"""The interface of every editor: `prepare` encodes the source once, `edit` runs any instructions and seeds on it."""

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

# (step 1…total, total, lazy preview → small IMAGE of the rows in progress); on a server (finished rows, all rows, the
# same), repeatedly. Anything it raises ends the run; the editor stays usable.
OnStep = Callable[[int, int, Callable[[], Tensor]], None]


@dataclass(frozen=True)
class LoraReport:
    """How a LoRA file fits an editor: how many of its layers do, and the names of those that do not."""

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
    """What is known about an editor's family, whatever runs it."""

    @property
    def id(self) -> str: ...

    @property
    def title(self) -> str:
        """Its display name."""
        ...

    @property
    def references(self) -> int:
        """How many more images it can look at."""
        ...

    @property
    def takes_negative_prompt(self) -> bool: ...

    @property
    def guides_by_image(self) -> bool:
        """Whether it uses image guidance."""
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
        """The device that the editor currently computes on."""
        ...

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()) -> Prepared:
        """Encode the source IMAGE [B, H, W, 3] once: if the same tensor comes twice in a row, it is not encoded again.

        references: more images to look at, each an IMAGE [1, h, w, 3] of any size, the same for every source.
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
        """Make one batch of edits, one row per instruction → IMAGE [rows, H, W, 3] at the source's size, on the CPU.

        Rows are grouped by image: row r edits image r // (rows // len(prepared)). A row's noise comes from its own
        seed, so its result does not depend on the other rows. `mask` [B or 1, H, W]: 1 may change; where it is 0,
        the source's pixels are kept bit for bit. Raises RethinkError for anything the user can fix.
        """
        ...

    def effective_settings(self, prepared: Prepared, seeds: Sequence[int], settings: Settings) -> list[Settings]:
        """The settings that `edit` actually uses for each row: fully resolved, with the scales that it draws itself."""
        ...

    def with_lora(self, path: str | PathLike, strength: float) -> tuple["Editor", LoraReport]:
        """This editor with a LoRA applied, and a report. This editor itself stays unchanged.

        The new editor shares this one's weights and adds the LoRA while it edits: strength 0 is off, a negative one
        reverses the LoRA, and LoRAs stack. Raises RethinkError for a file that is broken or for another family.
        """
        ...


class InspectableEditor(Editor, Protocol):
    """An editor that exposes what its denoiser, a part of `module`, is called with, as training needs."""

    @property
    def denoiser_name(self) -> str: ...

    def pipeline(self) -> AbstractContextManager[Any]:
        """Within it: the diffusers pipeline of these modules, with the editor's LoRAs applied."""
        ...

    def with_area(self, area: int) -> "InspectableEditor":
        """This editor, but working at about `area` pixels instead of its own number; this editor itself stays
        unchanged.

        The aspect ratio stays the same, in the editor's own multiples. Raises RethinkError for too few pixels.
        """
        ...

    def denoiser_inputs(self, prepared: Prepared, instruction: str) -> dict[str, Any]:
        """The denoiser's arguments in the first step of an edit of the first image, without guidance: {parameter:
        value}, as the sampling code itself makes them."""
        ...


def used_settings_by_row(
    editor: Editor, prepared: Prepared, seeds: Sequence[int], settings: Settings
) -> list[dict[str, Any] | None]:
    """`used_settings` of every row of an edit, with the scales it drew itself; None if an editor cannot say."""
    if not hasattr(editor, "effective_settings"):
        return [None] * len(seeds)
    return [used_settings(editor, row) for row in editor.effective_settings(prepared, seeds, settings)]


def check_references(references: Sequence[Tensor], family: EditorFamily) -> tuple[Tensor, ...]:
    """The reference images, each as IMAGE [1, h, w, 3]. Raises RethinkError if the family does not take that many."""
    if len(references) > family.references:
        takes = f"at most {family.references} besides the source" if family.references else "none"
        raise RethinkError(f"references: got {len(references)} images, but {family.title} takes {takes}.")
    images = tuple(as_image(image, "references") for image in references)
    if any(len(image) != 1 for image in images):
        raise RethinkError("references: got a batch of images; give them one by one.")
    return images
