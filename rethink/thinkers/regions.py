"""Regions: the optional part of a critique that points at what is wrong, and at where the edit belongs.

The question is appended to any critique prompt, and its answer is cut out before the rest is read, so that it cannot
spoil anything. Boxes that cannot be read are dropped.
"""

import re
from typing import Any, get_args

from ..errors import RethinkError
from ..steps import MAX_REGIONS, Region, RegionKind
from ..text_files import one_line
from .asking import find_json_values
from .boxes import BOX_KEYS, PLAIN_BOX, Edges, read_edges, read_name

ASK = f"""
After the answer say where, in boxes: what is still wrong, what was changed without being asked for, and where the edit belongs. \
One JSON list, at most {MAX_REGIONS // 2} boxes, [] for none; coordinates in thousandths of the picture's width and height:
<boxes>[{{"bbox_2d": [left, top, right, bottom], "kind": "wrong" or "changed" or "place", "label": "two to five words"}}]</boxes>
"""
THOUSANDTHS = 1000
SMALLEST = 0.002  # side of a box as a share of the image's; anything smaller is empty
LONGEST_BLOCK = 100_000  # characters that are looked at
LONGEST_LABEL = 80
# Models that answer in pixels of the image as they see it, no matter what they are asked for.
_IN_PIXELS = re.compile(r"qwen[-_ ]?2[._]5[-_ ]?vl", re.IGNORECASE)
_OPEN, _CLOSE = re.compile("<boxes>", re.IGNORECASE), re.compile("</boxes>", re.IGNORECASE)
# Where an answer continues after a block that is not closed, as when the reasoning only mentions one.
_NEXT_PART = re.compile("</boxes>|</think>|<(?:score|checklist|answer)>", re.IGNORECASE)
_LAST_PART = re.compile("</answer>", re.IGNORECASE)
_BARE = re.compile(r"\s*(?:(?:```(?:json)?|<\w+>)\s*)?(?P<list>\[.*\])\s*(?:(?:```|</\w+>)\s*)?", re.DOTALL)


def split_boxes(answer: str) -> tuple[str, str]:
    """(the cleaned answer without its block of boxes, the block): the last block, "" for none.

    Boxes without these tags (in a fence, in other tags or bare) count if nothing else follows the end of the answer.
    A block that is not closed ends where the answer continues; after the next prompt, which ends an answer, nothing
    does. Remaining tags, as in reasoning that mentions the block, become words: after a tag, a verdict would pass for
    a quotation.
    """
    from .answer_text import clean_answer

    answer = clean_answer(answer)
    opened = list(_OPEN.finditer(answer))
    if not opened:
        return _cut_bare(answer)
    rest, block = _cut(answer, opened[-1])
    return _CLOSE.sub("", _OPEN.sub("boxes", rest)), block


def _cut_bare(answer: str) -> tuple[str, str]:
    """(the answer, a list of boxes after its end), as written by models with their own format for pointing."""
    end = max((tag.end() for tag in _LAST_PART.finditer(answer)), default=len(answer))
    found = _BARE.fullmatch(answer[end : end + LONGEST_BLOCK])
    if found is None or not any(record.keys() & {*BOX_KEYS} for record in _read_records(found["list"])):
        return answer, ""
    return answer[:end], found["list"]


def _cut(answer: str, opened: re.Match[str]) -> tuple[str, str]:
    """(the answer without the block opened there, the block)."""
    before, rest = answer[: opened.start()], answer[opened.end() :]
    end = (_CLOSE if _LAST_PART.search(before) else _NEXT_PART).search(rest)
    if end is None:
        return before, rest
    block, part = rest[: end.start()], end[0].lower()
    if part == "</think>":  # words of the reasoning
        return answer, block
    return before + rest[end.end() if part == "</boxes>" else end.start() :], block


def parse_regions(block: str, size: tuple[int, int], model: str = "") -> tuple[Region, ...]:
    """The regions in a block of boxes, at most MAX_REGIONS, without duplicates.

    block: from `split_boxes`. size: (width, height) of the image that the model was shown. model: its name, which tells
    whether it counts in pixels.
    Boxes that reach beyond the image are cropped, swapped edges fixed, and empty or unreadable boxes left out.
    """
    found: list[tuple[dict[str, Any], Edges]] = []
    for record in _read_records(block[:LONGEST_BLOCK]):
        try:
            found.append((record, read_edges(record)))
        except (TypeError, KeyError, ValueError, OverflowError):
            continue
    scale = _scale_of([edges for _, edges in found], size, model)
    regions: dict[tuple[str, Edges], Region] = {}
    for record, edges in found:
        box = _within(edges, scale)
        if box is not None:
            kind, label = _kind_of(record), one_line(read_name(record))[:LONGEST_LABEL]
            regions.setdefault((kind, box), Region(kind, box, "" if label.lower() == kind else label))
        if len(regions) == MAX_REGIONS:
            break
    return tuple(regions.values())


def _read_records(text: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    try:
        for value, _, _ in find_json_values(text, "{["):
            records += _flatten(value)
    except RethinkError:  # nested too deeply: what came before it counts
        pass
    return records or [{"label": label.strip(), "box": box} for label, *box in PLAIN_BOX.findall(text)]


def _flatten(value: Any) -> list[dict[str, Any]]:
    """The boxes in a JSON value: an object with one, four numbers, a list of these, or an object with one list."""
    if isinstance(value, dict):
        if any(key in value for key in BOX_KEYS):
            return [value]
        return [record for inner in value.values() if isinstance(inner, list) for record in _flatten(inner)]
    if len(value) == 4 and all(isinstance(edge, (int, float)) for edge in value):
        return [{"box": value}]
    records: list[dict[str, Any]] = []
    for inner in value:
        if isinstance(inner, dict):
            records.append(inner)
        elif isinstance(inner, list) and len(inner) == 4:
            records.append({"box": inner})
    return records


def _kind_of(record: dict[str, Any]) -> RegionKind:
    """The kind of a box; "wrong" if it does not say, since that is what a critique points at."""
    for said in (record.get("kind"), record.get("type"), read_name(record)):
        for kind in get_args(RegionKind):
            if isinstance(said, str) and said.strip().lower() == kind:
                return kind
    return "wrong"


def _scale_of(boxes: list[Edges], size: tuple[int, int], model: str) -> tuple[float, float]:
    """The scale (across, down) of all boxes of an answer: fractions, thousandths, or the image's pixels."""
    furthest = max((max(edges) for edges in boxes), default=0.0)
    if furthest <= 1.5:
        return 1.0, 1.0
    fits = all(max(left, right) <= size[0] and max(top, bottom) <= size[1] for left, top, right, bottom in boxes)
    if _IN_PIXELS.search(model) or (furthest > THOUSANDTHS and fits):
        return float(size[0]), float(size[1])
    return THOUSANDTHS, THOUSANDTHS


def _within(edges: Edges, scale: tuple[float, float]) -> Edges | None:
    """A box as fractions of the image, its edges in order and cropped to it; None if nothing is left."""
    across = sorted(min(1.0, max(0.0, edge / scale[0])) for edge in (edges[0], edges[2]))
    down = sorted(min(1.0, max(0.0, edge / scale[1])) for edge in (edges[1], edges[3]))
    if across[1] - across[0] < SMALLEST or down[1] - down[0] < SMALLEST:
        return None
    left, top, right, bottom = (round(edge, 4) for edge in (across[0], down[0], across[1], down[1]))
    return left, top, right, bottom
