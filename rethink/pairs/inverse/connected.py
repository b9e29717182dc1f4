"""Images that are connected rather than lie in a folder, as the files that synthesis reads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import RethinkError
from ...images import to_pixels
from ..pixels import encode_png, write_atomically
from .instructions import as_noun_phrase
from .sources import NamedBox, Source


def write_source(folder: Path, image: Tensor, mask: Tensor | None, boxes: tuple[NamedBox, ...]) -> Source:
    """A source from an image [H, W, 3], written into a folder. Its name says what is in it and where to work, so that the
    same image is the same source wherever it comes from. mask: [H, W] in 0…1, None for none."""
    pixels = to_pixels(image)
    white = None if mask is None else (mask > 0.5).cpu().numpy()
    name = _digest(repr(pixels.shape).encode() + pixels.tobytes())
    if white is not None or boxes:
        named = repr(boxes).replace(f"{NamedBox.__name__}(", "Spot(")  # its name when the first stores were made
        name += "-" + _digest(named.encode() + (b"" if white is None else white.tobytes()))
    path, mask_path = folder / f"{name}.png", folder / f"{name}-mask.png"
    write_atomically(path, encode_png(pixels))
    if white is not None:
        write_atomically(mask_path, encode_png(white))
    return Source(name, str(path), "" if white is None else str(mask_path), boxes)


def read_boxes(boxes: Any, images: Tensor) -> list[tuple[NamedBox, ...]]:
    """Boxes in pixels {"x", "y", "width", "height", "label"}, one, a list, or a list an image → NamedBoxes an image.

    images: [B, H, W, 3]. Raises RethinkError for what are no boxes, or those of another number of images.
    """
    boxes = [boxes] if isinstance(boxes, dict) else boxes or []
    frames = boxes if boxes and all(isinstance(frame, list) for frame in boxes) else [boxes]
    if len(frames) not in (1, len(images)):
        raise RethinkError(f"boxes: are of {len(frames)} images, but there are {len(images)}.")
    height, width = images.shape[1:3]
    frames = frames * len(images) if len(frames) == 1 else frames
    return [tuple(_named_box(box, width, height) for box in frame) for frame in frames]


def _named_box(box: Any, width: int, height: int) -> NamedBox:
    try:
        left, top = box["x"] / width, box["y"] / height
        right, bottom = left + box["width"] / width, top + box["height"] / height
        label = str(box.get("label") or "")
    except (TypeError, KeyError, AttributeError) as error:
        raise RethinkError(
            "boxes: expected x, y, width and height in pixels; check the node that made them."
        ) from error
    inside = max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)
    return NamedBox(inside, as_noun_phrase(label.replace("_", " ")))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
