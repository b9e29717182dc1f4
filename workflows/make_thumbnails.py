"""Draws the .jpg thumbnail beside every workflow, by running its API twin on the tests' stand-in host.

python workflows/make_thumbnails.py
"""

import json
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "tests" / "standin"), str(ROOT)]

from PIL import Image, ImageDraw, ImageFont  # noqa: E402

from rethink.images import to_pil  # noqa: E402
from tests.standin.executor import load_pack, node_classes, run  # noqa: E402

# Workflow → the outputs to show as (node, output), and where the words under the pictures come from.
SHOWN = {
    "built_in_edit": ([("2", 0), ("5", 0)], lambda prompt, outputs: ["", outputs["2"][1][0]]),
    "variations": ([("4", 0)], lambda prompt, outputs: [prompt["4"]["inputs"]["instruction"]]),
    "keep_unchanged_pixels": (
        [("2", 0), ("3", 0), ("4", 0)],
        lambda prompt, outputs: ["", outputs["2"][1][0], "unchanged pixels kept"],
    ),
    "edit_chain": ([("3", 1)], lambda prompt, outputs: ["", *prompt["3"]["inputs"]["instructions"].splitlines()]),
}
GAP, WORDS, PAPER, INK = 14, 46, (246, 245, 242), (40, 42, 48)


def draw(pictures: list[Image.Image], words: list[str]) -> Image.Image:
    """The pictures in rows of up to three, each with its words below; the last words stand for all that follow."""
    columns = min(3, len(pictures))
    side = (640 - GAP * (columns + 1)) // columns
    font = ImageFont.load_default(17)
    cells = [(i % columns * (side + GAP) + GAP, i // columns) for i in range(len(pictures))]
    rows = cells[-1][1] + 1
    each = len(words) == len(pictures)
    step = side + (WORDS if each else GAP)
    sheet = Image.new("RGB", (640, GAP + rows * step + (0 if each else WORDS)), PAPER)
    ink = ImageDraw.Draw(sheet)
    for picture, (x, row), text in zip(pictures, cells, words if each else [""] * len(pictures)):
        sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (x, GAP + row * step))
        lines = "\n".join(textwrap.wrap(text, side // 8))
        ink.multiline_text((x + side // 2, GAP + row * step + side + 2), lines, INK, font, anchor="ma", align="center")
    if not each:
        ink.text((320, sheet.height - WORDS + 4), words[0], INK, font, anchor="ma")
    return sheet


def main() -> None:
    classes = node_classes(load_pack(ROOT))
    for name, (shown, words) in SHOWN.items():
        prompt = json.loads((HERE / "api" / f"{name}.json").read_text(encoding="utf-8"))
        outputs = run(prompt, classes)["outputs"]
        pictures = [picture for node, slot in shown for batch in outputs[node][slot] for picture in to_pil(batch)]
        draw(pictures, words(prompt, outputs)).save(HERE / f"{name}.jpg", quality=92)
        print(HERE / f"{name}.jpg")


if __name__ == "__main__":
    main()
