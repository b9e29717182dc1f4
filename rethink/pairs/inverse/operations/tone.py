"""Operations on the light and colour of a picture: greyscale, exposure and colour cast, relight, old photo, compression."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from .core import Choice, Damaged, Operation, Place, Range, as_bytes, blurred, fractal_noise, luminance

SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]], np.float32)


def greyscale(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """Without its colours; the weights of the three channels vary as films do."""
    weights = rng.dirichlet((6.0, 11.0, 3.0)).astype(np.float32)
    grey = as_bytes(picture @ weights)
    return Damaged(np.repeat(grey[..., None], 3, 2), place.region(picture))


def exposure(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """Too dark or too bright by some stops, with a colour cast."""
    kind, stops, cast = values["kind"], values["stops"], values["cast"]
    gain = np.full(3, 2.0 ** {"dark": -stops, "bright": stops, "cast": 0.0}[kind], np.float32)
    words = {"variant": kind}
    tint = {"warm": (1, 0.1, -1), "cold": (-1, 0, 1), "green": (-0.5, 1, -0.5), "magenta": (0.6, -1, 0.6)}[
        values["tint"]
    ]
    if kind == "cast":
        words["tint"] = values["tint"]
        gain *= np.exp(cast * np.array(tint, np.float32))
    curve = _per_level(lambda level: _to_srgb(_to_linear(level)[:, None] * gain))
    return Damaged(_look_up(picture, curve), place.region(picture), words)


def relight(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """Flattened: the large differences of light taken out. Darkened: dusk, with what light is left from one side."""
    if values["kind"] == "flat":
        light = blurred(as_bytes(luminance(picture)), max(picture.shape[:2]) * 0.08).astype(np.float32) + 8
        gain = (light.mean() / light) ** (0.9 * values["strength"])
        out = picture * gain[..., None]
        out = 128 + (out - 128) * (1 - 0.35 * values["strength"])
        return Damaged(as_bytes(out), place.region(picture), {"variant": "flat"})
    height, width = picture.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    side = (x * np.cos(angle) + y * np.sin(angle)) / 2.8 + 0.5
    light = (1 - values["strength"]) * (0.35 + 0.9 * side.clip(0, 1))
    dusk = np.array([0.82, 0.92, 1.1], np.float32)
    out = 255 * _to_srgb(_per_level(_to_linear)[picture] * (light**1.6)[..., None] * dusk)
    return Damaged(as_bytes(out), place.region(picture), {"variant": "dark"})


def old_photo(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """Sepia, faded, grained, stained and scratched."""
    height, width = shape = picture.shape[:2]
    out = picture.astype(np.float32)
    toned = (luminance(picture)[..., None] / 255) ** 1.05 * (SEPIA.sum(1) * 255)
    out += values["sepia"] * (toned - out)
    out = 255 * (values["fade"] * 0.45 + (1 - values["fade"] * 0.6) * out / 255)
    stains = (fractal_noise(shape, rng, 3) - 0.55).clip(0)[..., None] * np.array([30, 60, 90], np.float32)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    out = out - stains + ((x * x + y * y)[..., None] - 0.5).clip(0) * 28
    out += rng.normal(0, values["grain"], shape).astype(np.float32)[..., None]
    marks = np.asarray(_scratches(shape, values["scratches"], rng), np.float32)[..., None] / 255
    words = {} if _coloured(picture) else {"variant": "grey"}  # no colours come back
    return Damaged(as_bytes(out + marks * (244 - out)), place.region(picture), words)


def _coloured(picture: np.ndarray) -> bool:
    some = picture[::8, ::8]
    return bool((some.max(-1) - some.min(-1)).mean() > 4)


def _scratches(shape, number: int, rng):
    """Long thin scratches, short hairs and dust, as coverage 0…255."""
    height, width = shape
    canvas = Image.new("L", (width, height))
    pencil = ImageDraw.Draw(canvas)
    for _ in range(number):
        x, top, long = rng.uniform(0, width), rng.uniform(-0.3, 0.8) * height, rng.uniform(0.1, 0.9) * height
        steps = np.linspace(0, 1, 12)
        across = x + rng.normal(0, width * 0.01) * steps + np.cumsum(rng.normal(0, width * 0.0015, 12))
        line = list(zip(across.tolist(), (top + long * steps).tolist()))
        pencil.line(line, fill=int(rng.integers(90, 230)), width=max(1, round(min(shape) / 400 * rng.uniform(0.6, 2))))
    for _ in range(number * 6):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.gamma(1.5, min(shape) / 900)
        pencil.ellipse((x - r, y - r, x + r, y + r), fill=int(rng.integers(120, 255)))
    return canvas


def compress(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """Scaled down, saved as a poor JPEG, scaled up again."""
    image = Image.fromarray(picture)
    small = image.resize([max(1, round(side / values["factor"])) for side in image.size], Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=values["quality"])
    up = Image.Resampling.NEAREST if values["enlarged"] == "blocky" else Image.Resampling.BICUBIC
    return Damaged(np.asarray(Image.open(file).resize(image.size, up)), place.region(picture))


def _per_level(curve) -> np.ndarray:
    return curve(np.arange(256, dtype=np.float32) / 255)


def _look_up(picture: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Every channel through its own curve float [256, 3] in 0…1."""
    table = as_bytes(255 * curve)
    return np.stack([table[:, channel][picture[..., channel]] for channel in range(3)], -1)


def _to_linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


TONE = (
    Operation("greyscale", "Greyscale", "picture", "the colours", {}, greyscale),
    Operation(
        "exposure",
        "Exposure and colour cast",
        "picture",
        "",
        {
            "kind": Choice(("dark", "bright", "cast")),
            "stops": Range(0.8, 2.0),
            "cast": Range(0.3, 0.7),
            "tint": Choice(("warm", "cold", "green", "magenta")),
        },
        exposure,
    ),
    Operation(
        "relight",
        "Relight",
        "picture",
        "where the light comes from, its colour and its mood",
        {"kind": Choice(("flat", "dark")), "strength": Range(0.55, 0.8)},
        relight,
    ),
    Operation(
        "old_photo",
        "Old photo",
        "picture",
        "the colours",
        {
            "sepia": Range(0.5, 1.0),
            "fade": Range(0.2, 0.7),
            "grain": Range(4.0, 14.0),
            "scratches": Range(4, 18),
        },
        old_photo,
    ),
    Operation(
        "compress",
        "Downscale and JPEG",
        "picture",
        "",
        {"factor": Range(1.5, 4.5), "quality": Range(8, 40), "enlarged": Choice(("smooth", "blocky"))},
        compress,
    ),
)
