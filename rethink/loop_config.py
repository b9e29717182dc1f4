"""The options of a thinking run: limits, defaults and help, for the node and the command alike."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from .errors import RethinkError
from .options import MAX_SEED, check_limits, option, options_of

ACCEPT = 8.0  # default for both scores that an edit has to reach
ADDED = (
    "draws",
    "side_by_side",
    "margin",
    "regions",
    "focus",
    "focus_margin",
)  # options that are missing from older records


@dataclass(frozen=True)
class LoopConfig:
    """The options of one run.

    accept: the lowest semantic and quality scores, 0…10, that are accepted; with a checklist, every item must pass too.
    seed: turn t, candidate c edits with seed + (t − 1) · candidates + c.
    """

    turns: int = option(5, "Maximum number of turns.", low=1, high=1000)
    candidates: int = option(
        1,
        "Number of edits per turn, each with its own seed, made and critiqued as one batch. The best one counts.",
        low=1,
        high=64,
    )
    accept: tuple[float, float] = (ACCEPT, ACCEPT)
    patience: int = option(0, "Stop after this many turns without a better edit. 0: never.", low=0, high=1000)
    start: Literal["instruction", "polished"] = option(
        "instruction",
        "The first prompt: your instruction as is, or as polished by the thinker, which looks at the image.",
        choices=("instruction", "polished"),
    )
    base: Literal["source", "previous"] = option(
        "source",
        "What each turn edits: the source, so that errors do not add up, or the best image of the previous turn.",
        choices=("source", "previous"),
        advanced=True,
    )
    checklist: bool = option(
        False,
        "Split the instruction into single statements and verify each one. An edit is accepted only if all hold.",
    )
    preserve: float = option(
        0.5,
        "Points deducted if the whole image has changed, proportionally fewer if less has. Decides between edits that "
        "the thinker scores alike, not whether one is accepted.",
        low=0.0,
        high=10.0,
        step=0.1,
        advanced=True,
    )
    draws: int = option(
        1,
        "How many times each edit is judged. Above 1, the temperature is at least 0.7, the scores are means, and the "
        "record includes their spread.",
        low=1,
        high=64,
        advanced=True,
    )
    side_by_side: bool = option(
        False,
        "If the best edit so far and the best of a turn have close scores, show both to the thinker, in both orders. "
        "The later one wins only if it is preferred both times. The built-in thinker cannot compare; its runs skip "
        "this.",
    )
    margin: float = option(
        0.5,
        "How far apart two scores may be and still count as close, for side_by_side.",
        low=0.0,
        high=10.0,
        step=0.1,
        advanced=True,
    )
    regions: bool = option(
        False,
        "Ask the thinker for boxes: what is still wrong, what was changed unasked, and where the edit belongs. The "
        "viewer draws them. A thinker with its own template is not asked.",
    )
    focus: bool = option(
        False,
        "Ask for boxes, and limit each later turn to those of the previous turn, with the editor's mask. If base is source, "
        "a turn is limited only if there is a box for where the edit belongs.",
    )
    focus_margin: float = option(
        0.05,
        "How far a focused turn may reach beyond the boxes, as a share of the image's longer side.",
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
        """The enabled options that need boxes from the thinker."""
        return tuple(name for name in ("regions", "focus") if getattr(self, name))

    def as_dict(self) -> dict[str, Any]:
        """The options as a record stores them: plain JSON values; those in ADDED only if not at their default."""
        values = {**asdict(self), "accept": list(self.accept)}
        unset = [
            each.name for each in options_of(type(self)) if each.name in ADDED and values[each.name] == each.default
        ]
        return {name: value for name, value in values.items() if name not in unset}


DEFAULT_CONFIG = LoopConfig()
