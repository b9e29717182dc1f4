"""The options of a job, defined once on its fields: default, limits, help. Nodes build their inputs from them, and the
command line its options.

    @dataclass(frozen=True)
    class Job:
        pairs: int = option(1, "Pairs per image.", low=1, high=1000)

        def __post_init__(self):
            check_limits(self)
"""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field, fields
from functools import cache
from typing import Any, Literal

from .errors import RethinkError

MAX_SEED = 2**64 - 1
Dtype = Literal["auto", "fp32", "fp16", "bf16"]  # number format of weights; auto: what the device computes best


@dataclass(frozen=True)
class Option:
    """A field that a user may set, with what `option` was given for it."""

    name: str
    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    advanced: bool = False


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    choices: tuple[str, ...] = (),
    advanced: bool = False,
) -> Any:
    """A dataclass field that a user may set: a number, a text, a switch, or a pair of numbers for a range.

    help: one or two sentences, for the tooltip and the command line. low, high: inclusive limits of a number. step: of
    its widget. choices: the allowed values of a text. advanced: whether few users need it.
    """
    described = {"help": help, "low": low, "high": high, "step": step, "choices": choices, "advanced": advanced}
    return field(default=default, metadata={"option": described})


def option_of(job: type, name: str) -> Option:
    """The option of the field `name` of a dataclass."""
    return next(found for found in options_of(job) if found.name == name)


@cache
def options_of(job: type) -> tuple[Option, ...]:
    """All options of a dataclass, in the order of its fields."""
    return tuple(Option(each.name, each.default, **each.metadata["option"]) for each in fields(job) if _is_option(each))


def _is_option(each: Field) -> bool:
    return "option" in each.metadata


def check_limits(job: Any) -> None:
    """Raise RethinkError naming the first field of a dataclass that is out of range or not one of its choices."""
    for each in options_of(type(job)):
        value = getattr(job, each.name)
        if each.choices and value not in each.choices:
            raise RethinkError(f"{each.name}: “{value}” is unknown; choose one of {', '.join(each.choices)}.")
        if each.low is None and each.high is None:
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        low, high = (-math.inf if each.low is None else each.low), (math.inf if each.high is None else each.high)
        if not all(low <= number <= high for number in numbers) or list(numbers) != sorted(numbers):
            raise RethinkError(f"{each.name}: {_expected(each)}, got {_listed(numbers)}.")


def _expected(each: Option) -> str:
    to = "or more" if each.high is None else f"to {_format_number(each.high)}"
    limits = f"expected {_format_number(each.low)} {to}"
    return f"{limits}, the lower one first" if isinstance(each.default, tuple) else limits


def _listed(numbers: tuple[float, ...]) -> str:
    return " and ".join(map(_format_number, numbers))


def _format_number(number: float | None) -> str:
    return f"{number}" if isinstance(number, int) else f"{number:g}"
