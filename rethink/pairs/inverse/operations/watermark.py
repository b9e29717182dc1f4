"""A watermark over the whole image, or a stamp on a part of it."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .core import Choice, Operation, OperationResult, Range, Region, Rng, Values
from .pixel_math import fractal_noise, to_bytes

TEXTS = (
    "SAMPLE",
    "PREVIEW",
    "DRAFT",
    "PROOF",
    "COPYRIGHT",
    "DO NOT COPY",
    "STOCK PHOTO",
    "© studio",
    "www.example.com",
    "CONFIDENTIAL",
    "ARCHIVE",
    "VOID",
    "APPROVED",
    "PAID",
    "For review only",
    "Not for sale",
)
INKS = {
    "red": (196, 30, 40),
    "blue": (34, 62, 160),
    "green": (24, 120, 70),
    "black": (30, 30, 34),
    "white": (244, 244, 240),
}
MARKS = {"white": (255, 255, 255), "black": (20, 20, 20)}


def watermark(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """Text once or in rows over the image, half transparent; or an inked stamp. The mask is where there is ink."""
    text = TEXTS[int(rng.integers(len(TEXTS)))]
    if values["kind"] == "stamp":
        ink = _stamp(image.shape[:2], text.upper(), rng)
        name = _readable(INKS, image, ink, rng)
        ink = ink * (0.35 + 0.65 * fractal_noise(image.shape[:2], rng, 24, 2)) * min(1, values["opacity"] * 1.8)
        color, words = INKS[name], {"mark": f"{name} stamp", "text": text.upper()}
    else:
        rows = values["kind"] == "tiled"
        ink = (_tiled if rows else _once)(image.shape[:2], text, rng)
        color = MARKS[_readable(MARKS, image, ink, rng)]
        ink = ink * values["opacity"]
        words = {"mark": "repeated watermark" if rows else "watermark", "text": text}
    out = image + ink[..., None] * (np.array(color, np.float32) - image)
    return OperationResult(to_bytes(out), ink > 0, words)


def _readable(colors: dict[str, tuple], image: np.ndarray, ink: np.ndarray, rng: Rng) -> str:
    """One of the colors, drawn from the half with the most contrast to what is under the ink."""
    beneath = image[ink > 0].mean(0)
    by_contrast = sorted(colors, key=lambda name: -np.abs(beneath - colors[name]).mean())
    return by_contrast[int(rng.integers(len(colors) // 2))]


def _lettering(text: str, size: float) -> Image.Image:
    font = ImageFont.load_default(max(6, round(size)))
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (max(1, int(right - left) + 4), max(1, int(bottom - top) + 4)))
    ImageDraw.Draw(image).text((2 - left, 2 - top), text, fill=255, font=font)
    return image


def _on_canvas(shape, image: Image.Image, x: float, y: float) -> np.ndarray:
    canvas = Image.new("L", shape[::-1])
    canvas.paste(image, (round(x - image.width / 2), round(y - image.height / 2)))
    return np.asarray(canvas, np.float32) / 255


def _fitted(text: str, width: float) -> Image.Image:
    """Lettering about `width` pixels wide."""
    return _lettering(text, 40 * width / _lettering(text, 40).width)


def _once(shape, text: str, rng: Rng) -> np.ndarray:
    height, width = shape
    image = _fitted(text, rng.uniform(0.4, 0.8) * min(width, 1.6 * height))
    image = image.rotate(rng.choice([0, 0, 30, -30, 45]), Image.Resampling.BICUBIC, expand=True)
    return _on_canvas(shape, image, width * rng.uniform(0.4, 0.6), height * rng.uniform(0.3, 0.8))


def _tiled(shape, text: str, rng: Rng) -> np.ndarray:
    height, width = shape
    side = int(1.5 * max(shape))
    image = _fitted(text, rng.uniform(0.16, 0.3) * min(shape))
    gap_x, gap_y = int(image.width * rng.uniform(1.3, 1.7)), int(image.height * rng.uniform(3, 6))
    sheet = Image.new("L", (side, side))
    for row, y in enumerate(range(0, side, gap_y)):
        for x in range(-(row % 2) * gap_x // 2, side, gap_x):
            sheet.paste(image, (x, y))
    sheet = sheet.rotate(rng.uniform(20, 40), Image.Resampling.BICUBIC)
    return _on_canvas(shape, sheet, width / 2, height / 2)


def _stamp(shape, text: str, rng: Rng) -> np.ndarray:
    height, width = shape
    letters = _fitted(text, rng.uniform(0.22, 0.42) * min(shape))
    rim = max(2, letters.height // 5)
    plate = Image.new("L", (letters.width + 6 * rim, letters.height + 6 * rim))
    frame = (rim, rim, plate.width - rim, plate.height - rim)
    ImageDraw.Draw(plate).rounded_rectangle(frame, radius=2 * rim, outline=255, width=rim)
    plate.paste(letters, (3 * rim, 3 * rim))
    plate = plate.rotate(rng.uniform(-28, 28), Image.Resampling.BICUBIC, expand=True)
    return _on_canvas(shape, plate, width * rng.uniform(0.25, 0.75), height * rng.uniform(0.2, 0.8))


OPERATION = Operation(
    id="watermark",
    where="own",
    hidden_what="",
    ranges={
        "kind": Choice(("text", "tiled", "stamp")),
        "opacity": Range(0.3, 0.6, 0.05, 1.0, "Opacity of the mark"),
    },
    apply=watermark,
    templates={
        "": (
            "Remove the {mark}.",
            "Remove the {mark} that says “{text}”.",
            "Erase the text “{text}” from the picture.",
            "Get rid of the {mark} without changing anything else.",
            "Clean the picture of the {mark}.",
        ),
    },
)
