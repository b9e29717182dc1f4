"""Draws the .jpg thumbnail beside every workflow: its images, by running its API twin on the tests' stand-in host, or
its graph, where it needs a model that is not here.

python workflows/make_thumbnails.py
"""

import json
import sys
import tempfile
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "tests" / "standin"), str(ROOT)]

import folder_paths  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402

from rethink.images import to_pil  # noqa: E402
from tests.standin.executor import load_pack, node_classes, run  # noqa: E402


def turns(trajectory) -> list[str]:
    return [f"{step.prompt} ({step.score:.1f})" for step in trajectory.steps]


# Workflow → the outputs to show as (node, output), and where the words under the images come from.
SHOWN = {
    "built_in_edit": ([("2", 0), ("5", 0)], lambda prompt, outputs: ["", outputs["2"][1][0]]),
    "variations": ([("4", 0)], lambda prompt, outputs: [prompt["4"]["inputs"]["instruction"]]),
    "keep_unchanged_pixels": (
        [("2", 0), ("3", 0), ("4", 0)],
        lambda prompt, outputs: ["", outputs["2"][1][0], "unchanged pixels kept"],
    ),
    "built_in_think": (
        [("3", 0), ("5", 1)],
        lambda prompt, outputs: ["", *turns(outputs["5"][3][0])],
    ),
    "think_any_graph": (
        [("3", 0), ("6", 1)],
        lambda prompt, outputs: ["", *turns(outputs["6"][3][0])],
    ),
    "inverse_edit_pairs": ([("3", 0)], lambda prompt, outputs: [""]),
    "inverse_edit_with_editor": ([("4", 0)], lambda prompt, outputs: [""]),
    "filter_and_save_pairs": ([("4", 0)], lambda prompt, outputs: [""]),
    "learn_black_squares": (
        [("5", 0), ("6", 0), ("7", 0)],
        lambda prompt, outputs: ["", prompt["6"]["inputs"]["instruction"], prompt["7"]["inputs"]["instruction"]],
    ),
    "learn_from_runs": ([("8", 0)], lambda prompt, outputs: [""]),
    "trade_off_curve": ([("3", 0)], lambda prompt, outputs: [""]),
    "score_edit": (
        [("1", 0), ("3", 0)],
        lambda prompt, outputs: ["", "{}: {:.1f} of 10".format(outputs["1"][1][0], outputs["5"][0][0])],
    ),
    "edit_chain": ([("3", 1)], lambda prompt, outputs: ["", *prompt["3"]["inputs"]["instructions"].splitlines()]),
}
GAP, LINE, PAPER, INK = 14, 23, (246, 245, 242), (40, 42, 48)
CANVAS, NODE, TITLE, ROW = "#202127", "#35373f", 30, 20  # of a drawn graph; the last two in units of the workflow
WIRES = {
    "IMAGE": "#64b5f6",
    "MASK": "#81c784",
    "MODEL": "#b39ddb",
    "CLIP": "#ffd54f",
    "VAE": "#ff6e6e",
    "RETHINK_EDITOR": "#f2a65a",
    "RETHINK_THINKER": "#e57ab0",
    "RETHINK_TRAJECTORY": "#7fd1ae",
    "RETHINK_PAIRS": "#c6d36b",
}


def draw(images: list[Image.Image], words: list[str]) -> Image.Image:
    """The images in rows of up to three, each with its words below; the last words stand for all that follow."""
    columns = min(3, len(images))
    side = (640 - GAP * (columns + 1)) // columns
    font = ImageFont.load_default(17)
    cells = [(i % columns * (side + GAP) + GAP, i // columns) for i in range(len(images))]
    rows = cells[-1][1] + 1
    each = len(words) == len(images)
    wrapped = ["\n".join(textwrap.wrap(text, side // 8)) for text in (words if each else [""] * len(images))]
    below = LINE * max(text.count("\n") + 1 for text in wrapped) if any(words) else 0
    tall = max(side * image.height // image.width for image in images)
    step = tall + (below if each else 0) + GAP
    sheet = Image.new("RGB", (640, GAP + rows * step + (0 if each else below)), PAPER)
    ink = ImageDraw.Draw(sheet)
    for image, (x, row), text in zip(images, cells, wrapped):
        size = side, side * image.height // image.width
        sheet.paste(image.resize(size, Image.Resampling.LANCZOS), (x, GAP + row * step))
        ink.multiline_text((x + side // 2, GAP + row * step + tall + 2), text, INK, font, anchor="ma", align="center")
    if not each:
        ink.text((320, sheet.height - GAP - LINE + 6), words[0], INK, font, anchor="ma")
    return sheet


def draw_graph(graph: dict, titles: dict[str, str]) -> Image.Image:
    """The nodes where the workflow has them, with their titles, and the links between them. Notes are left out."""
    nodes = {node["id"]: node for node in graph["nodes"] if str(node["id"]) in titles}
    left, top = (min(node["pos"][axis] for node in nodes.values()) for axis in (0, 1))
    right, bottom = (max(node["pos"][axis] + node["size"][axis] for node in nodes.values()) for axis in (0, 1))
    scale = 2 * (640 - 2 * GAP) / (right - left)  # drawn twice as large, then smoothed

    def place(x: float, y: float) -> tuple[float, float]:
        return 2 * GAP + (x - left) * scale, 2 * GAP + (y - top + TITLE) * scale

    sheet = Image.new("RGB", (1280, int(4 * GAP + (bottom - top + TITLE) * scale)), CANVAS)
    ink, font = ImageDraw.Draw(sheet), ImageFont.load_default(23)
    for _, start, slot, end, entry, kind in graph["links"]:
        if start in nodes and end in nodes:
            source, target = nodes[start], nodes[end]
            begin = place(source["pos"][0] + source["size"][0], source["pos"][1] + ROW * (slot + 0.7))
            finish = place(target["pos"][0], target["pos"][1] + ROW * (entry + 0.7))
            ink.line(curve(begin, finish), WIRES.get(kind, "#9a9da6"), 5, joint="curve")
    for number, node in nodes.items():
        x, y = place(*node["pos"])
        width, height = (side * scale for side in node["size"])
        box = (x, y - TITLE * scale, x + width, y + height)
        ink.rounded_rectangle(box, 14, NODE, "#4a4d57", 2)
        words = "\n".join(textwrap.wrap(titles[str(number)], max(8, int(width / 13))))
        ink.multiline_text((x + width / 2, (box[1] + box[3]) / 2), words, "#e4e5e9", font, anchor="mm", align="center")
    return sheet.resize((640, sheet.height // 2), Image.Resampling.LANCZOS)


def curve(begin: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """A Bézier curve that leaves and arrives level."""
    reach = max(40.0, abs(end[0] - begin[0]) / 2)
    points = (begin, (begin[0] + reach, begin[1]), (end[0] - reach, end[1]), end)
    weights = [((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3) for t in (i / 24 for i in range(25))]
    return [
        (sum(w * x for w, (x, _) in zip(row, points)), sum(w * y for w, (_, y) in zip(row, points))) for row in weights
    ]


def main() -> None:
    classes = node_classes(load_pack(ROOT))
    with tempfile.TemporaryDirectory() as base:
        for kind in ("output", "input", "temp", "datasets", "loras"):
            Path(base, kind).mkdir()
        folder_paths.base = base
        for kind in ("datasets", "loras"):
            folder_paths.add_model_folder_path(kind, str(Path(base, kind)))
        draw_all(classes)


def draw_all(classes: dict) -> None:
    for path in sorted(HERE.glob("*.json")):
        prompt = json.loads((HERE / "api" / path.name).read_text(encoding="utf-8"))
        if path.stem in SHOWN:
            shown, words = SHOWN[path.stem]
            outputs = run(prompt, classes)["outputs"]
            images = [image for node, slot in shown for batch in outputs[node][slot] for image in to_pil(batch)]
            thumbnail = draw(images, words(prompt, outputs))
        else:
            titles = {number: node["_meta"]["title"] for number, node in prompt.items()}
            thumbnail = draw_graph(json.loads(path.read_text(encoding="utf-8")), titles)
        thumbnail.save(path.with_suffix(".jpg"), quality=92)
        print(path.with_suffix(".jpg"))


if __name__ == "__main__":
    main()
