"""What a user may set of the training of a LoRA."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ..errors import RethinkError
from ..options import MAX_SEED, check_limits, option

if TYPE_CHECKING:
    from .lora_families import TrainedFamily

KEEP = {"off": 0, "low": 4, "default": 2, "high": 1}  # every so many steps other edits are held to the base editor's
# (module, class) of optimizers
OPTIMIZERS = {"adamw": ("torch.optim", "AdamW"), "adamw 8-bit": ("bitsandbytes.optim", "AdamW8bit")}
FAMILY = ("rank", "learning_rate", "batch", "accumulate")  # 0: those of the editor's family
FREE = (
    "steps",
    "save_every",
    "previews",
    "preview_instruction",
)  # what may differ when a run goes on: no step depends on it
LATER = (
    "megapixels",
    "text_encoder",
)  # left out where they are off: runs that were begun before there were these go on


@dataclass(frozen=True)
class LoraSettings:
    """How a LoRA is trained.

    keep_instructions: other edits that the editor must not forget, for `keep`; (): common ones. One that is (source,
        instruction) is of a certain image: the one that a pair was made from, by its name in the store.
    """

    steps: int = option(
        0,
        "How many optimizer steps. 0: as many as the number of pairs calls for. A finished run goes on where it ended when "
        "there are more.",
        low=0,
        high=1_000_000,
    )
    rank: int = option(
        0,
        "How much the LoRA can hold. 4 to 16 for one edit, 32 and more for many. 0: what suits the editor's family.",
        low=0,
        high=1024,
    )
    layers: str = option(
        "family",
        "Which layers learn. family: those that LoRAs of this family adapt, attention above all. all: every linear layer and "
        "convolution, for small models and for edits that are far from what the editor knows; a larger file. none: those of the text "
        "encoder alone; the denoiser stays as it is.",
        choices=("family", "all", "none"),
        advanced=True,
    )
    learning_rate: float = option(
        0.0,
        "How far every step goes. Lower it if the loss jumps. 0: what suits the editor's family.",
        low=0.0,
        high=0.1,
        step=1e-6,
        advanced=True,
    )
    optimizer: str = option(
        "adamw",
        "adamw 8-bit: what it remembers of every weight takes a quarter of the memory; needs bitsandbytes.",
        choices=tuple(OPTIMIZERS),
        advanced=True,
    )
    batch: int = option(
        0,
        "Pairs a step at once. Lower it if memory runs out. 0: what suits the editor's family.",
        low=0,
        high=1024,
        advanced=True,
    )
    accumulate: int = option(
        0,
        "Batches a step, one after another: as good as a larger batch, in less memory. Several GPUs share them. 0: what suits "
        "the editor's family.",
        low=0,
        high=256,
        advanced=True,
    )
    keep: str = option(
        "default",
        "How firmly all other edits are kept as they were: every so many steps the LoRA is held to what the editor says "
        "without it. high costs the most time; off costs none.",
        choices=tuple(KEEP),
        advanced=True,
    )
    replay: int = option(
        32,
        "On how many images other edits are kept; each is edited once by the editor first.",
        low=1,
        high=10_000,
        advanced=True,
    )
    keep_identity: float = option(
        0.0,
        "The share of those images that are to stay as they are: held to what the editor makes of an empty instruction.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    change_weight: float = option(
        1.0,
        "How much the part that the edit changes counts against the rest. More than 1 helps where little changes.",
        low=0.0,
        high=100.0,
        step=0.5,
        advanced=True,
    )
    hold_outside: float = option(
        0.0,
        "How firmly what the edit does not change is held to what the editor says without the LoRA. Costs time; 0: off.",
        low=0.0,
        high=100.0,
        step=0.1,
        advanced=True,
    )
    dropout: float = option(
        0.0,
        "The share of a layer's inputs that the LoRA does not see in a step. Helps few pairs.",
        low=0.0,
        high=0.9,
        advanced=True,
    )
    drop_instruction: float = option(
        -1.0,
        "The share of samples that lose their instruction, for editors that compare with none. -1: what suits the family.",
        low=-1.0,
        high=0.9,
        advanced=True,
    )
    timesteps: str = option(
        "family",
        "At which noise levels it is trained. logit-normal: in the middle above all. family: as this family was trained.",
        choices=("family", "uniform", "logit-normal"),
        advanced=True,
    )
    shift: float = option(
        0.0,
        "How far these are shifted towards more noise, for flow models; 1: not at all, 3: much. 0: by the size of the image, as "
        "this family was trained.",
        low=0.0,
        high=100.0,
        step=0.1,
        advanced=True,
    )
    hold_out: float = option(
        0.1,
        "The share of the pairs that is not trained on but says which of the saved LoRAs is the best.",
        low=0.0,
        high=0.5,
        step=0.05,
        advanced=True,
    )
    save_every: int = option(
        0, "Steps between saves; every saved LoRA is kept. 0: ten saves in all.", low=0, high=1_000_000, advanced=True
    )
    previews: int = option(
        2,
        "Pairs that are edited at every save, to look at: held-out ones, where there are some.",
        low=0,
        high=16,
        advanced=True,
    )
    preview_instruction: str = option(
        "", "Also tried at every save, on the image of the first preview: an edit in your own words, to look at."
    )
    seed: int = option(0, "The same seed, pairs and settings give the same LoRA.", low=0, high=MAX_SEED, advanced=True)

    megapixels: float = option(
        0.0,
        "How large the images are worked on, in less memory and time than at the size that the editor was made for. Edits are "
        "best at sizes that it has learned. Previews stay as edits are. 0: as in edits.",
        low=0.0,
        high=1.0,
        step=0.05,
        advanced=True,
    )
    text_encoder: bool = option(
        False,
        "The text encoder learns too: words that the editor does not understand yet. From pairs of runs it learns to read your words "
        "as it reads those that the thinker found for them. For InstructPix2Pix.",
        advanced=True,
    )
    keep_instructions: tuple[str, ...] | tuple[tuple[str, str], ...] = ()

    def __post_init__(self):
        check_limits(self)
        if self.layers == "none" and not self.text_encoder:
            raise RethinkError(
                "layers: none leaves only the text encoder to learn; turn on text_encoder, or choose family or all."
            )

    def for_family(self, row: TrainedFamily) -> LoraSettings:
        """With what is left to the family filled in."""
        left = {name: getattr(row, name) for name in FAMILY if not getattr(self, name)}
        drop = row.drop_text if self.drop_instruction < 0 else self.drop_instruction
        return replace(self, **left, drop_instruction=drop)

    def as_record(self) -> dict[str, Any]:
        """What decides which weights a step leads to, for JSON."""
        chosen = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in FREE}
        for name in LATER:
            if not chosen[name]:
                del chosen[name]
        return {**chosen, "keep_instructions": list(self.keep_instructions)}

    def count_steps(self, pairs: int) -> int:
        """How many steps it trains with so many pairs."""
        return self.steps or min(3000, max(500, 30 * pairs))
