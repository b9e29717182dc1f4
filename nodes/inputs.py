"""Inputs that several nodes share, and how their values are checked and unpacked."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..rethink.editors.samplers import SAMPLERS
from ..rethink.errors import RethinkError
from ..rethink.images import as_mask, empty_mask_error, selects_anything
from ..rethink.options import Option, option_of

MAX_SEED = 2**64 - 1
NONE = "none"  # the option that chooses nothing


def seed_input(tooltip: str, control: bool | str = True) -> io.Input:
    """control: what happens to a new node's seed after queueing; “fixed” where queueing again resumes a run."""
    return io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=control, tooltip=tooltip)


def settings_inputs() -> list[io.Input]:
    """One input per field of Settings, with the same name. Zero or no value leaves the choice to the editor."""
    return [
        io.Int.Input(
            "steps",
            optional=True,
            default=0,
            min=0,
            max=1000,
            tooltip="Denoising steps. 0: the number that this editor recommends.",
        ),
        io.Combo.Input(
            "sampler",
            optional=True,
            options=list(SAMPLERS),
            default="default",
            tooltip="The sampler. default: the one that comes with this editor.",
        ),
        io.Float.Input(
            "text_guidance",
            optional=True,
            default=0.0,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            tooltip="How closely to follow the instruction. 0: this editor's recommendation (7.5 for "
            "InstructPix2Pix). Raise it if too little changes.",
        ),
        io.Float.Input(
            "image_guidance",
            optional=True,
            default=0.0,
            min=0.0,
            max=100.0,
            step=0.05,
            round=0.01,
            tooltip="How closely to keep the source. 0: this editor's recommendation (1.5 for InstructPix2Pix). "
            "Raise it if too much changes. Only InstructPix2Pix models and OmniGen2 use it.",
        ),
        io.Boolean.Input(
            "randomize_guidance",
            optional=True,
            default=False,
            tooltip="Every edit draws both guidance scales from its own seed, up to a fifth above or below, for more "
            "varied results.",
            advanced=True,
        ),
        io.Float.Input(
            "strength",
            optional=True,
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="SDEdit only: how much to redraw, from hardly anything to everything (1). 0: this editor's "
            "recommendation.",
            advanced=True,
        ),
        io.String.Input(
            "negative",
            optional=True,
            display_name="negative prompt",
            default="",
            tooltip="What the result should not look like.",
            advanced=True,
        ),
    ]


def validate_with(check: Callable[[str], Any], value: str | None) -> str | bool:
    """The answer of a node's `validate_inputs` for one input: True, or the sentence that `check` raises.

    The input's name is cut off, since ComfyUI prints it itself. None: the input is linked, and its value comes later.
    """
    if value is None:
        return True
    try:
        check(value)
    except RethinkError as error:
        return str(error).partition(": ")[2]
    return True


class AnyOption(list):
    """Options of a combo for which ComfyUI accepts any value, so that the node itself can refuse an unknown one and say
    where to put the file. (`validate_inputs` does not get the inputs of a choice.)"""

    def __contains__(self, value: object) -> bool:
        return True


def single_value(name: str, values: Sequence, advice: str = "") -> Any:
    """The only value of an input. Raises RethinkError for a list of several, ending in `advice`."""
    if len(values) != 1:
        raise RethinkError(f"{name}: takes one value, got a list of {len(values)}{'; ' if advice else ''}{advice}.")
    return values[0]


def single_values(inputs: Mapping[str, Sequence], advice: str) -> dict[str, Any]:
    """The values of lists of one. Raises RethinkError for a longer one, ending in `advice`."""
    return {name: single_value(name, values, advice) for name, values in inputs.items()}


def masks_for(images: list[Tensor], masks: Sequence) -> list[Tensor | None]:
    """The mask of every image at its size, or None. An empty mask among several skips its image; if all are empty,
    raises RethinkError."""
    areas = [
        None if mask is None else as_mask(mask, image) for mask, image in zip(broadcast(masks, len(images)), images)
    ]
    if not any(area is None or selects_anything(area) for area in areas):
        raise empty_mask_error()
    return areas


def broadcast(values: Sequence, count: int) -> Sequence:
    """Return `count` values: those given, or a single one repeated."""
    return list(values) * count if len(values) == 1 else values


def field_input(job: type, name: str, id: str = "", **more: Any) -> io.Input:
    """The input for a field of a job, with its default, limits and help. id: the input's name, if not the field's."""
    found = option_of(job, name)
    options: dict[str, Any] = {"default": found.default, "tooltip": found.help, **more}
    if found.advanced:
        options["advanced"] = True
    if found.choices:
        return io.Combo.Input(id or name, options=list(found.choices), **options)
    if isinstance(found.default, bool):
        return io.Boolean.Input(id or name, **options)
    if isinstance(found.default, str):
        return io.String.Input(id or name, **options)
    return _number_input(id or name, found, isinstance(found.default, int), **options)


def range_inputs(job: type, name: str, ids: tuple[str, str], labels: tuple[str, str]) -> list[io.Input]:
    """Two inputs for a field of a job that is a range: the lowest and the highest value."""
    found = option_of(job, name)
    return [
        _number_input(
            id,
            found,
            whole=False,
            optional=True,
            display_name=label,
            default=default,
            tooltip=f"{found.help} {end}",
            advanced=found.advanced,
        )
        for id, label, default, end in zip(ids, labels, found.default, ("This is the minimum.", "This is the maximum."))
    ]


def _number_input(id: str, found: Option, whole: bool, **options: Any) -> io.Input:
    limits = {"min": found.low, "max": found.high}
    if whole:
        return io.Int.Input(id, **limits, **options)
    step = found.step or 0.01
    return io.Float.Input(id, **limits, step=step, round=min(0.0001, step), **options)
