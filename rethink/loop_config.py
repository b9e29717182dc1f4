"""The options of a thinking run: limits, defaults and help, for the node and the command alike."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from .errors import RethinkError
from .options import MAX_SEED, check_limits, option, options_of

ACCEPT = 8.0  # default for both scores from which an edit is good enough
ADDED = (
    "draws",
    "side_by_side",
    "margin",
    "regions",
    "focus",
    "focus_margin",
)  # options that older records do not have


@dataclass(frozen=True)
class LoopConfig:
    """How a run goes.

    accept: the semantic and quality scores, 0…10, from which an edit is accepted; with a checklist, all of it too.
    seed: turn t, candidate c edits with seed + (t − 1) · candidates + c.
    """

    turns: int = option(5, "At most this many turns.", low=1, high=1000)
    candidates: int = option(
        1,
        "Edits per turn, each with its own seed, made and critiqued as one batch. The best is kept.",
        low=1,
        high=64,
    )
    accept: tuple[float, float] = (ACCEPT, ACCEPT)
    patience: int = option(0, "Stop after this many turns without a better edit. 0: never.", low=0, high=1000)
    start: Literal["instruction", "polished"] = option(
        "instruction",
        "The first prompt: your instruction as it is, or polished by the thinker, which looks at the image.",
        choices=("instruction", "polished"),
    )
    base: Literal["source", "previous"] = option(
        "source",
        "What every turn edits: the source again, so that errors do not add up, or the best image of the turn before.",
        choices=("source", "previous"),
        advanced=True,
    )
    checklist: bool = option(
        False,
        "Split the instruction into single statements first and have each verified. All must hold to accept.",
    )
    preserve: float = option(
        0.5,
        "Points off for an image that has changed all over, in proportion for less. Decides between edits that the "
        "thinker likes equally, not whether one is accepted.",
        low=0.0,
        high=10.0,
        step=0.1,
        advanced=True,
    )
    draws: int = option(
        1,
        "How often each edit is judged. More than once: at a temperature of at least 0.7; the scores are the means, and the "
        "record has their spread.",
        low=1,
        high=64,
        advanced=True,
    )
    side_by_side: bool = option(
        False,
        "Where the best edit so far and a turn's best have close scores, show the thinker both, in both orders. The later one "
        "wins only if it is preferred twice. The built-in thinker cannot compare; runs go on without.",
    )
    margin: float = option(
        0.5,
        "How far apart two scores may lie to count as close, for side_by_side.",
        low=0.0,
        high=10.0,
        step=0.1,
        advanced=True,
    )
    regions: bool = option(
        False,
        "Ask the thinker for boxes: what is still wrong, what was changed without being asked for, and where the edit belongs. The "
        "viewer draws them. A thinker with a template of its own is not asked.",
    )
    focus: bool = option(
        False,
        "Hold each later turn to the boxes of what is wrong and of where the edit belongs, by the editor's mask; asks for boxes. "
        "Where there is no box of the place, the turn is free.",
    )
    focus_margin: float = option(
        0.05,
        "How far a turn in focus may reach beyond the boxes, as a share of the longer side.",
        low=0.0,
        high=1.0,
        step=0.01,
        advanced=True,
    )
    seed: int = option(0, "Turn t, candidate c edits with seed + (t − 1) · candidates + c.", low=0, high=MAX_SEED)

    def __post_init__(self):
        object.__setattr__(self, "accept", tuple(self.accept))  # JSON has lists
        check_limits(self)
        if len(self.accept) != 2 or not all(0 <= threshold <= 10 for threshold in self.accept):
            raise RethinkError(f"accept: expected two scores from 0 to 10, got {self.accept}.")

    @property
    def needs_boxes(self) -> tuple[str, ...]:
        """Which options that are on need boxes from the thinker."""
        return tuple(name for name in ("regions", "focus") if getattr(self, name))

    def as_dict(self) -> dict[str, Any]:
        """The options as a record has them: plain JSON values. Of those that older records do not have, what is not the default."""
        values = {**asdict(self), "accept": list(self.accept)}
        unset = [
            each.name for each in options_of(type(self)) if each.name in ADDED and values[each.name] == each.default
        ]
        return {name: value for name, value in values.items() if name not in unset}


DEFAULT_CONFIG = LoopConfig()
