"""Boxes as vision-language models write them, whatever they show: which keys hold them, and in which order."""

import math
import re
from typing import Any

Edges = tuple[float, float, float, float]  # left, top, right, bottom

BOX_KEYS = ("box", "bbox_2d", "box_2d", "bbox", "bounding_box", "coordinates")
NAME_KEYS = ("place", "label", "name")
# label(left,top),(right,bottom), as Qwen2-VL writes it
PLAIN_BOX = re.compile(r"([^()\n]{0,60})\((\d{1,4}),\s*(\d{1,4})\),\s*\((\d{1,4}),\s*(\d{1,4})\)")


def read_name(record: dict[str, Any]) -> str:
    """The label of a box; "" if it has none."""
    return next((record[key].strip() for key in NAME_KEYS if isinstance(record.get(key), str)), "")


def read_edges(record: dict[str, Any]) -> Edges:
    """The edges of a record's box in the record's own scale.

    Raises TypeError, KeyError, ValueError or OverflowError if it has none that can be read.
    """
    key = next((key for key in BOX_KEYS if record.get(key)), "box")
    box = record[key]
    is_named = isinstance(box, dict)
    if is_named:
        box = [box[edge] for edge in ("left", "top", "right", "bottom")]
    if not isinstance(box, list):
        raise TypeError(f"expected four numbers, got {str(box)[:80]}")
    edges = [float(edge) for edge in box]
    if len(edges) != 4 or not all(map(math.isfinite, edges)):
        raise ValueError(f"expected four numbers, got {str(box)[:80]}")
    if key == "box_2d" and not is_named:  # Gemini's, top first
        edges = [edges[1], edges[0], edges[3], edges[2]]
    return edges[0], edges[1], edges[2], edges[3]
