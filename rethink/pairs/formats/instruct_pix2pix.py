"""The layout of the original InstructPix2Pix: a folder per pair of captions, and a list of all seeds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from ...text_files import parse_record
from ..pixels import read_pixels
from .core import Example, Format, ImportedPair, Skipped, is_image, read_text, write_json
from .dataset_folder import Dataset

# What InstructPix2Pix records of a candidate drawn with Prompt-to-Prompt.
CANDIDATE_KEYS = ("p2p_threshold", "cfg_scale", "clip_sim_0", "clip_sim_1", "clip_sim_dir", "clip_sim_image")


def write_instruct_pix2pix(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`0000000/prompt.json`, `SEED_0.jpg`, `SEED_1.jpg`, `metadata.jsonl`, and `seeds.json` for all.

    Its loader expects .jpg: they are written at the highest quality, but JPEG is lossy.
    """
    seeds = []
    for item in items:
        name = f"{item.number:07d}"
        (folder / name).mkdir()
        for side, file in ((0, item.input), (1, item.target)):
            _save_jpeg(file, folder / name / f"{item.pair.seed}_{side}.jpg")
        captions = dict.fromkeys(("caption", "input"), item.pair.input_caption) | {"output": item.pair.target_caption}
        # "caption" for its training code, "input" for its evaluation.
        write_json({**captions, "edit": item.pair.instruction}, folder / name / "prompt.json")
        candidate = {key: item.pair.parameters[key] for key in CANDIDATE_KEYS if key in item.pair.parameters}
        (folder / name / "metadata.jsonl").write_text(json.dumps({"seed": item.pair.seed, **candidate}) + "\n")
        seeds.append([name, [str(item.pair.seed)]])
    write_json(seeds, folder / "seeds.json")
    return len(seeds)


def _save_jpeg(file: Path, path: Path) -> None:
    from PIL import Image

    Image.fromarray(read_pixels(file)).save(path, quality=100, subsampling=0)


def read_instruct_pix2pix(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """A folder per pair of captions, with `prompt.json` and any number of `SEED_0.jpg` and `SEED_1.jpg`."""
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        dataset = Dataset(place)
        images = {os.path.splitext(name)[0]: name for name in dataset.names() if is_image(name)}
        seeds = dict.fromkeys(stem[:-2] for stem in sorted(images) if stem.endswith(("_0", "_1")))
        prompt = dataset.names().find("prompt.json")
        if prompt and not seeds:
            yield Skipped(place.name, "it has a prompt.json, but no image whose name ends in _0 or _1")
        for seed in seeds:
            before, after = (images.get(f"{seed}_{side}", "") for side in (0, 1))
            name, texts = f"{place.name}/{after or before}", partial(_prompt, dataset, prompt)
            yield ImportedPair(name, dataset.image(before), dataset.image(after), texts)


def _prompt(dataset: Dataset, name: str) -> tuple[str, str, str]:
    if not name:
        raise RethinkError("its folder has no prompt.json")
    try:
        record = parse_record(dataset.text(name))
    except RethinkError as error:
        raise RethinkError(f"its prompt.json cannot be read: {error}") from error
    caption = read_text(record.get("caption") or record.get("input"), "caption")
    return read_text(record.get("edit"), "instruction"), caption, read_text(record.get("output"), "caption")


FORMAT = Format(
    name="instruct-pix2pix",
    title="the original InstructPix2Pix",
    target="`SEED_1.jpg` is the TARGET, `SEED_0.jpg` what the model gets as input.",
    use="`data.params.train.params.path: FOLDER` in its config. These are JPEGs: unchanged pixels are only nearly equal.",
    write=write_instruct_pix2pix,
    read=read_instruct_pix2pix,
)
