"""The settings of LoRA training."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ..errors import RethinkError
from ..options import MAX_SEED, check_limits, option

if TYPE_CHECKING:
    from .lora_families import TrainedFamily

# At every which step other edits are held to the base editor's; 0: never.
KEEP = {"off": 0, "low": 4, "default": 2, "high": 1}
# (module, class) of optimizers
OPTIMIZERS = {"adamw": ("torch.optim", "AdamW"), "adamw 8-bit": ("bitsandbytes.optim", "AdamW8bit")}
FAMILY = ("rank", "learning_rate", "batch", "accumulate")  # 0: the default of the editor's family
# May differ when a run resumes: no step depends on them.
FREE = ("steps", "save_every", "previews", "preview_instruction")
# Left out of records while off, so that runs begun before these existed can resume.
LATER = ("megapixels", "text_encoder")


@dataclass(frozen=True)
class LoraSettings:
    """How a LoRA is trained.

    keep_instructions: other edits that the editor must not forget, for `keep`; (): common ones. A (source, instruction)
        applies to one image: the one that a pair was made from, by its name in the store.
    """

    steps: int = option(
        0,
        "Optimizer steps. 0: chosen from the number of pairs. A finished run resumes where it ended if you raise this.",
        low=0,
        high=1_000_000,
    )
    rank: int = option(
        0,
        "How much the LoRA can hold: 4 to 16 for one edit, 32 or more for many. 0: the default of the editor's family.",
        low=0,
        high=1024,
    )
    layers: str = option(
        "family",
        "Which layers learn. family: the ones that LoRAs of this family adapt, mainly attention. all: every linear layer and "
        "convolution, for small models and for edits far from what the editor can do; makes a larger file. none: only those of the "
        "text encoder; the denoiser stays as it is.",
        choices=("family", "all", "none"),
        advanced=True,
    )
    learning_rate: float = option(
        0.0,
        "Learning rate. Lower it if the loss jumps. 0: the default of the editor's family.",
        low=0.0,
        high=0.1,
        step=1e-6,
        advanced=True,
    )
    optimizer: str = option(
        "adamw",
        "adamw 8-bit: keeps the optimizer state in a quarter of the memory; needs bitsandbytes.",
        choices=tuple(OPTIMIZERS),
        advanced=True,
    )
    batch: int = option(
        0,
        "Pairs per batch. Lower it if you run out of memory. 0: the default of the editor's family.",
        low=0,
        high=1024,
        advanced=True,
    )
    accumulate: int = option(
        0,
        "Batches per optimizer step, one after another: the effect of a larger batch in less memory. Several GPUs share them. "
        "0: the default of the editor's family.",
        low=0,
        high=256,
        advanced=True,
    )
    keep: str = option(
        "default",
        "How firmly all other edits are kept as they were: at regular steps, the LoRA is held to what the editor predicts "
        "without it. high takes the most time; off takes none.",
        choices=tuple(KEEP),
        advanced=True,
    )
    replay: int = option(
        32,
        "Number of images that other edits are kept on. The editor edits each of them once before training.",
        low=1,
        high=10_000,
        advanced=True,
    )
    keep_identity: float = option(
        0.0,
        "Share of those images that should stay as they are: held to what the editor makes of an empty instruction.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    change_weight: float = option(
        1.0,
        "Weight of the area that the edit changes, relative to the rest. More than 1 helps if little changes.",
        low=0.0,
        high=100.0,
        step=0.5,
        advanced=True,
    )
    hold_outside: float = option(
        0.0,
        "How firmly the area that the edit does not change is held to what the editor predicts without the LoRA. Makes training "
        "slower. 0: off.",
        low=0.0,
        high=100.0,
        step=0.1,
        advanced=True,
    )
    dropout: float = option(
        0.0,
        "Share of each layer's inputs that the LoRA does not see in a step. Helps if there are few pairs.",
        low=0.0,
        high=0.9,
        advanced=True,
    )
    drop_instruction: float = option(
        -1.0,
        "Share of samples trained without their instruction, for editors that use classifier-free guidance. -1: the default "
        "of the family.",
        low=-1.0,
        high=0.9,
        advanced=True,
    )
    timesteps: str = option(
        "family",
        "Noise levels to train at. logit-normal: mostly those in the middle. family: as this family was trained.",
        choices=("family", "uniform", "logit-normal"),
        advanced=True,
    )
    shift: float = option(
        0.0,
        "How far the noise levels are shifted toward more noise, for flow models. 1: not at all; 3: a lot. 0: by the size of the "
        "image, as this family was trained.",
        low=0.0,
        high=100.0,
        step=0.1,
        advanced=True,
    )
    hold_out: float = option(
        0.1,
        "Share of the pairs that is held out from training, to choose the best of the saved LoRAs.",
        low=0.0,
        high=0.5,
        step=0.05,
        advanced=True,
    )
    save_every: int = option(
        0, "Steps between saves; every saved LoRA is kept. 0: ten saves in total.", low=0, high=1_000_000, advanced=True
    )
    previews: int = option(
        2,
        "Number of pairs to edit at every save, for you to look at: held-out ones if there are any.",
        low=0,
        high=16,
        advanced=True,
    )
    preview_instruction: str = option(
        "", "An edit in your own words, also tried at every save on the image of the first preview, for you to look at."
    )
    seed: int = option(0, "The same seed, pairs and settings give the same LoRA.", low=0, high=MAX_SEED, advanced=True)

    megapixels: float = option(
        0.0,
        "Image size to train at. Smaller takes less memory and time than the size the editor was made for, but edits are "
        "best at sizes that it has learned. Previews keep the size of edits. 0: the size of edits.",
        low=0.0,
        high=1.0,
        step=0.05,
        advanced=True,
    )
    text_encoder: bool = option(
        False,
        "Also train the text encoder, on words that the editor does not understand yet. From pairs made from runs, it learns to "
        "read your words as it reads the prompts that the thinker found for them. InstructPix2Pix only.",
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
        """Fill in the family's defaults where the settings leave them open."""
        left = {name: getattr(row, name) for name in FAMILY if not getattr(self, name)}
        drop = row.drop_text if self.drop_instruction < 0 else self.drop_instruction
        return replace(self, **left, drop_instruction=drop)

    def as_record(self) -> dict[str, Any]:
        """The settings that determine the weights after a step, for JSON."""
        chosen = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in FREE}
        for name in LATER:
            if not chosen[name]:
                del chosen[name]
        return {**chosen, "keep_instructions": list(self.keep_instructions)}

    def count_steps(self, pairs: int) -> int:
        """The number of steps to train on this many pairs."""
        return self.steps or min(3000, max(500, 30 * pairs))
