"""Underexposed, overexposed, or with a color cast."""

from __future__ import annotations

import numpy as np

from .core import Choice, Operation, OperationResult, Range, Region, Rng, Values
from .pixel_math import sample_curve, to_bytes, to_linear, to_srgb


def exposure(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """Too dark or too bright by some stops, with a color cast."""
    kind, stops, cast = values["kind"], values["stops"], values["cast"]
    gain = np.full(3, 2.0 ** {"dark": -stops, "bright": stops, "cast": 0.0}[kind], np.float32)
    words = {"variant": kind}
    tint = {"warm": (1, 0.1, -1), "cold": (-1, 0, 1), "green": (-0.5, 1, -0.5), "magenta": (0.6, -1, 0.6)}[
        values["tint"]
    ]
    if kind == "cast":
        words["tint"] = values["tint"]
        gain *= np.exp(cast * np.array(tint, np.float32))
    curve = sample_curve(lambda level: to_srgb(to_linear(level)[:, None] * gain))
    return OperationResult(_look_up(image, curve), region.as_mask(image), words)


def _look_up(image: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Apply a curve, float [256, 3] in 0…1, to every channel."""
    table = to_bytes(255 * curve)
    return np.stack([table[:, channel][image[..., channel]] for channel in range(3)], -1)


OPERATION = Operation(
    id="exposure",
    where="image",
    hidden_what="",
    ranges={
        "kind": Choice(("dark", "bright", "cast")),
        "stops": Range(0.8, 2.0, 0.1, 4.0, "Stops too dark or too bright"),
        "cast": Range(0.3, 0.7, 0.05, 1.0, "Strength of the color cast"),
        "tint": Choice(("warm", "cold", "green", "magenta")),
    },
    apply=exposure,
    templates={
        "dark": (
            "Brighten this underexposed photo.",
            "Correct the exposure; the picture is too dark.",
            "Lift the exposure to a natural level.",
            "It is far too dark. Fix that.",
            "Make the picture properly exposed.",
        ),
        "bright": (
            "Fix the overexposure.",
            "The photo is too bright; bring the exposure down.",
            "Recover the blown highlights.",
            "Correct this overexposed picture.",
            "Darken it to a natural exposure and restore the bright parts.",
        ),
        "cast": (
            "Remove the {tint} color cast.",
            "Correct the white balance.",
            "Neutralize the {tint} tint.",
            "Fix the colors; the picture is too {tint}.",
            "Give the picture natural colors without the {tint} cast.",
        ),
    },
)
