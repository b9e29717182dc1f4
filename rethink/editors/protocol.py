"""What every editor promises: `prepare` encodes the source once, `edit` runs any instructions and seeds against it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import RethinkError
from ..images import as_image

if TYPE_CHECKING:
    from .families import Family

# (step 1…total, total, lazy preview → small IMAGE of the rows under way). What it raises ends the run; the editor stays
# usable.
OnStep = Callable[[int, int, Callable[[], Tensor]], None]

_LIMITS = {"steps": 1000, "text_guidance": 100.0, "image_guidance": 100.0, "strength": 1.0}


@dataclass(frozen=True)
class Settings:
    """How to sample. Zero, "default" and "" mean: as the editor itself recommends.

    steps: denoising steps, 1…1000.
    sampler: a name of `samplers.SAMPLERS` ("default": the solver that the model came with).
    text_guidance, image_guidance: the two scales s_T and s_I of InstructPix2Pix, section 3.2.1.
    strength: how much of the picture SDEdit may redraw, in (0, 1]; other families do not use it.
    negative: what the picture should not be; it takes the place of the empty instruction.
    randomize_guidance: every row draws its own scales, ×U(0.8, 1.2), from its seed
        (7.5 and 1.5 become U(6, 9) and U(1.2, 1.8), as in InstructPix2Pix's own interface).
    """

    steps: int = 0
    sampler: str = "default"
    text_guidance: float = 0.0
    image_guidance: float = 0.0
    strength: float = 0.0
    negative: str = ""
    randomize_guidance: bool = False

    def __post_init__(self):
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= limit):
                raise RethinkError(f"{name}: expected 0 (the editor's own default) to {limit}, got {value}.")

    def resolved(self, defaults: "Settings") -> "Settings":
        """These settings with everything left open filled from `defaults`."""
        left_open = {f.name for f in fields(self) if getattr(self, f.name) == f.default}
        return replace(self, **{name: getattr(defaults, name) for name in left_open})


DEFAULT_SETTINGS = Settings()  # everything as the editor recommends


@dataclass(frozen=True)
class LoraReport:
    """What became of a LoRA file: how many of its layers fit the editor, and the names of those that did not."""

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


class Editor(Protocol):
    """An instruction editor with its weights."""

    name: str
    family: "Family"
    defaults: Settings
    module: nn.Module  # holds all weights; moving it moves the editor

    @property
    def device(self) -> torch.device:
        """Where the editor computes now."""

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()) -> Prepared:
        """Encode the source IMAGE [B, H, W, 3], once: the same tensor twice in a row is encoded the first time only.

        references: further pictures to look at, each an IMAGE [1, h, w, 3] of any size, the same for every source.
        Raises RethinkError for more of them than the family takes.
        """

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
        """One batch of edits, one row an instruction → IMAGE [rows, H, W, 3] at the source's size, on the CPU.

        Rows are grouped by image: row r edits image r // (rows // len(prepared)). A row's noise comes from its own
        seed, so its result does not depend on the rows beside it. `mask` [B or 1, H, W]: 1 may change; where it is 0
        the source's pixels come back bit for bit. Raises RethinkError for whatever the user can mend.
        """

    def effective_settings(self, prepared: Prepared, seeds: Sequence[int], settings: Settings) -> list[Settings]:
        """What `edit` really samples each of these rows with: nothing left open, and the scales a row draws itself."""

    def with_lora(self, path: str | PathLike, strength: float) -> tuple["Editor", LoraReport]:
        """This editor with a LoRA over it, and what of the file fits. This one stays as it is.

        The new editor shares this one's weights and adds the LoRA while it edits: strength 0 is off, a negative one
        turns the LoRA round, and LoRAs stack. Raises RethinkError for a file that is broken or of another family.
        """


def effective_settings(
    editor: Editor, prepared: Prepared, seeds: Sequence[int], settings: Settings
) -> list[dict[str, Any] | None]:
    """The settings that were really used, one a row, as plain JSON values for a record; None where an editor cannot say."""
    if not hasattr(editor, "effective_settings"):
        return [None] * len(seeds)
    rows = editor.effective_settings(prepared, seeds, settings)
    return [_recorded(row, editor.defaults) for row in rows]


def _recorded(settings: Settings, defaults: Settings) -> dict[str, Any]:
    """The fields that had a say in an edit, by an editor with these defaults: what it does not recommend, it has not."""
    unknown = {name for name in ("image_guidance", "strength") if not getattr(defaults, name)}
    done = {"randomize_guidance"}
    values = {name: value for name, value in asdict(settings).items() if value and name not in unknown | done}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def check_references(references: Sequence[Tensor], family: "Family") -> tuple[Tensor, ...]:
    """The reference pictures, each as IMAGE [1, h, w, 3], or RethinkError where the family does not take so many."""
    if len(references) > family.references:
        takes = f"at most {family.references} beside the source" if family.references else "none"
        raise RethinkError(f"references: got {len(references)} pictures, but {family.title} takes {takes}.")
    pictures = tuple(as_image(picture, "references") for picture in references)
    if any(len(picture) != 1 for picture in pictures):
        raise RethinkError("references: give pictures one by one, not as batches.")
    return pictures


def check_rows(prepared: Prepared, instructions: Sequence[str], seeds: Sequence[int]) -> int:
    """The number of rows an image, or RethinkError where instructions, seeds and images do not go together."""
    rows = len(instructions)
    if rows == 0 or any(not instruction.strip() for instruction in instructions):
        raise RethinkError("instruction: is empty; say what to change, for example “make it snow”.")
    if len(seeds) != rows:
        raise RethinkError(f"instruction: {rows} instruction(s) but {len(seeds)} seed(s); give one seed for each.")
    if rows % len(prepared):
        raise RethinkError(
            f"instruction: {rows} instruction(s) cannot be shared out evenly among {len(prepared)} images; "
            "give the same number for every image."
        )
    return rows // len(prepared)
