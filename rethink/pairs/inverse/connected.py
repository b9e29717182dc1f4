"""Images from a connection instead of a folder, written to the files that synthesis reads."""

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
    """Write an image [H, W, 3] into a folder as a source. Its name is a digest of the image, the mask and the boxes, so
    that the same image is the same source wherever it comes from. mask: [H, W] in 0…1, or None."""
    pixels = to_pixels(image)
    selected = None if mask is None else (mask > 0.5).cpu().numpy()
    name = _digest(repr(pixels.shape).encode() + pixels.tobytes())
    if selected is not None or boxes:
        named = repr(boxes).replace(f"{NamedBox.__name__}(", "Spot(")  # its name when the first stores were made
        name += "-" + _digest(named.encode() + (b"" if selected is None else selected.tobytes()))
    path, mask_path = folder / f"{name}.png", folder / f"{name}-mask.png"
    write_atomically(path, encode_png(pixels))
    if selected is not None:
        write_atomically(mask_path, encode_png(selected))
    return Source(name, str(path), "" if selected is None else str(mask_path), boxes)


def read_boxes(boxes: Any, images: Tensor) -> list[tuple[NamedBox, ...]]:
    """Boxes in pixels {"x", "y", "width", "height", "label"}, one, a list, or a list per image → NamedBoxes per image.

    images: [B, H, W, 3]. Raises RethinkError for anything else, and for boxes of another number of images.
    """
    boxes = [boxes] if isinstance(boxes, dict) else boxes or []
    frames = boxes if boxes and all(isinstance(frame, list) for frame in boxes) else [boxes]
    if len(frames) not in (1, len(images)):
        raise RethinkError(
            f"boxes: got boxes for {len(frames)} images, but {len(images)} images; give a list per image."
        )
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
            "boxes: expected x, y, width and height in pixels; check the node they come from."
        ) from error
    inside = max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)
    return NamedBox(inside, as_noun_phrase(label.replace("_", " ")))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
