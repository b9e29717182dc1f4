"""How an editor is loaded and how it samples: the user's choice, the editor's recommendation, what an edit used."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Protocol, get_args

from ..errors import RethinkError
from ..options import Dtype, check_limits, option
from ..progress import format_count
from .quantization import QuantizerName

Offload = Literal["none", "model", "sequential"]

_LIMITS = {"steps": 1000, "text_guidance": 100.0, "image_guidance": 100.0, "strength": 1.0}
_INPUT_NAMES = {"negative_prompt": "negative"}  # in nodes, on the command line and in JSON, where it differs


@dataclass(frozen=True)
class LoadSettings:
    """How the weights of an editor are loaded; see `loading.load_editor`."""

    dtype: Dtype = option(
        "auto",
        "Number format of the weights. auto picks the best one for this machine.",
        choices=get_args(Dtype),
        advanced=True,
    )
    offload: Offload = option(
        "none",
        "What to keep on the device. none: the whole model. model: only the part that is computing. sequential: only "
        "the layer that is computing; slow, needs the least memory.",
        choices=get_args(Offload),
        advanced=True,
    )
    quantize: QuantizerName = option(
        "none",
        "Load the large parts in 8 or 4 bits, so that they fit on a smaller card. The package in brackets must be "
        "installed. fp8 quantizes only the denoiser and needs no package.",
        choices=get_args(QuantizerName),
        advanced=True,
    )

    def __post_init__(self):
        check_limits(self)


@dataclass(frozen=True)
class ServerSettings:
    """The server that hosts an editor; see `server_editor.ServerEditor`."""

    base_url: str = option("http://127.0.0.1:8000/v1", "The address of the server, up to /v1.")
    model: str = option("", "The model name that the server uses for this editor.")
    key_variable: str = option(
        "",
        "The NAME of the environment variable with the server's key, never the key itself. Leave empty if the server "
        "needs none.",
    )
    timeout: int = option(
        300,
        "Timeout of one attempt, in seconds. An edit that times out is not retried.",
        low=1,
        high=3600,
        advanced=True,
    )
    retries: int = option(
        4,
        "How many times to retry, with growing pauses, if the server is busy or unreachable; a timeout is not retried.",
        low=0,
        high=20,
        advanced=True,
    )
    concurrency: int = option(4, "How many edits to request from the server at once.", low=1, high=64, advanced=True)


@dataclass(frozen=True)
class Settings:
    """How to sample. Zero, "default" and "" mean the editor's recommendation.

    Attributes:
        steps: Denoising steps, 1…1000.
        sampler: A name of `samplers.SAMPLERS` ("default": the solver that came with the model).
        text_guidance: The scale s_T of InstructPix2Pix, section 3.2.1.
        image_guidance: The scale s_I of the same section.
        strength: How much of the image SDEdit may redraw, in (0, 1]; other families do not use it.
        negative_prompt: What the image should not show; replaces the empty instruction.
        randomize_guidance: Each row draws its own scales, ×U(0.8, 1.2), from its seed (7.5 and 1.5 become U(6, 9) and
            U(1.2, 1.8), as in InstructPix2Pix's own interface).
    """

    steps: int = 0
    sampler: str = "default"
    text_guidance: float = 0.0
    image_guidance: float = 0.0
    strength: float = 0.0
    negative_prompt: str = ""
    randomize_guidance: bool = False

    def __post_init__(self):
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= limit):
                raise RethinkError(f"{name}: expected 0 (the editor's own default) to {limit}, got {value}.")

    @classmethod
    def from_inputs(cls, values: Mapping[str, Any]) -> "Settings":
        """Build settings from values keyed by the names used in nodes, on the command line and in JSON files.

        Raises TypeError for an unknown name.
        """
        fields_of = {name: field for field, name in _INPUT_NAMES.items()}
        return cls(**{fields_of.get(name, name): value for name, value in values.items()})

    def as_inputs(self) -> dict[str, Any]:
        """The values keyed by those names, for JSON."""
        return {_INPUT_NAMES.get(name, name): value for name, value in asdict(self).items()}

    def resolved(self, defaults: "Settings") -> "Settings":
        """These settings, with everything left open taken from `defaults`."""
        left_open = {f.name for f in fields(self) if getattr(self, f.name) == f.default}
        return replace(self, **{name: getattr(defaults, name) for name in left_open})


DEFAULT_SETTINGS = Settings()  # everything as the editor recommends


class SettingsUser(Protocol):
    """The part of an editor that tells which settings its edits use.

    An editor that may drop some of them also has `sent_settings`: it takes settings with nothing left open and returns
    those that it has actually used so far.
    """

    @property
    def defaults(self) -> Settings: ...

    @property
    def family(self) -> "_GuidedFamily": ...


class _GuidedFamily(Protocol):
    @property
    def guides_by_image(self) -> bool: ...


def used_settings(editor: SettingsUser, settings: Settings) -> dict[str, Any]:
    """The settings that an edit actually uses, as JSON values keyed by input name.

    Call it when the edit is made: some editors know only then. Every value is filled in, and settings that this editor
    does not use are left out. With randomize_guidance, each row draws its two scales around the ones here.
    """
    settings = settings.resolved(editor.defaults)
    sent = getattr(editor, "sent_settings", None)
    values = (sent(settings) if sent else settings).as_inputs()
    if not editor.family.guides_by_image:
        del values["image_guidance"]
    if not editor.defaults.strength:
        del values["strength"]
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items() if value}


def summarize_settings(used: Mapping[str, Any]) -> str:
    """`used_settings` as a readable line: “20 steps · text guidance 7.5 · image guidance 1.5”."""
    spread = " ± 20 % by seed" if used.get("randomize_guidance") else ""
    parts = [format_count(used["steps"], "step") if "steps" in used else "the server's own number of steps"]
    parts += [
        f"{name.replace('_', ' ')} {used[name]:g}{spread}"
        for name in ("text_guidance", "image_guidance")
        if name in used
    ]
    if "strength" in used:
        parts.append(f"strength {used['strength']:g}")
    if used.get("sampler", "default") != "default":
        parts.append(f"sampler {used['sampler']}")
    return " · ".join(parts)
