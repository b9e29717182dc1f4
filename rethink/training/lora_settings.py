"""What a user may set of the training of a LoRA."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..options import MAX_SEED, check_limits, option

KEEP = {"off": 0, "low": 4, "default": 2, "high": 1}  # every so many steps other edits are held to the base editor's
FREE = ("steps", "save_every", "previews")  # what may differ when a run goes on: no step depends on it


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
    rank: int = option(16, "How much the LoRA can hold. 4 to 16 for one edit, 32 and more for many.", low=1, high=1024)
    layers: str = option(
        "family",
        "Which layers learn. family: those that LoRAs of this family adapt, attention above all. all: every linear layer and "
        "convolution, for small models and for edits that are far from what the editor knows; a larger file.",
        choices=("family", "all"),
        advanced=True,
    )
    learning_rate: float = option(
        1e-4, "How far every step goes. Lower it if the loss jumps.", low=1e-7, high=0.1, step=1e-6, advanced=True
    )
    batch: int = option(1, "Pairs a step at once. Lower it if memory runs out.", low=1, high=1024, advanced=True)
    accumulate: int = option(
        4,
        "Batches a step, one after another: as good as a larger batch, in less memory.",
        low=1,
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
        2, "Held-out pairs that are edited at every save, to look at.", low=0, high=16, advanced=True
    )
    seed: int = option(0, "The same seed, pairs and settings give the same LoRA.", low=0, high=MAX_SEED, advanced=True)

    keep_instructions: tuple[str, ...] | tuple[tuple[str, str], ...] = ()

    def __post_init__(self):
        check_limits(self)

    def as_record(self) -> dict[str, Any]:
        """What decides which weights a step leads to, for JSON."""
        chosen = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in FREE}
        return {**chosen, "keep_instructions": list(self.keep_instructions)}

    def count_steps(self, pairs: int) -> int:
        """How many steps it trains with so many pairs."""
        return self.steps or min(3000, max(500, 30 * pairs))
