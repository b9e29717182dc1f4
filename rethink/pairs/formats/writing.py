"""Exports: the same pairs in the layouts that trainers read. Each was checked against the loading code of its trainer."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..pixels import read_picture
from ..store import EditPair, PairStore

SHARD = 1000  # pairs a WebDataset shard
# What InstructPix2Pix notes of a candidate, where it was drawn as its own were.
DRAWN = ("p2p_threshold", "cfg_scale", "clip_sim_0", "clip_sim_1", "clip_sim_dir", "clip_sim_image")


@dataclass(frozen=True)
class Example:
    """A pair on its way out: its files, its number, and the stem that its files get. Stems have one length, because
    musubi-tuner takes `a_1` for another picture of `a`."""

    pair: EditPair
    number: int
    input: Path
    target: Path

    @property
    def stem(self) -> str:
        return f"{self.number:08d}"


def examples(store: PairStore, pairs: Iterable[EditPair]) -> Iterator[Example]:
    """Pairs of a store, numbered from 0, with the files that they are. Raises RethinkError for one that leads out of it."""
    for number, pair in enumerate(pairs):
        yield Example(pair, number, store.file(pair.input), store.file(pair.target))


def write_imagefolder(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`metadata.jsonl` with `*_file_name` columns, which HF `datasets` turns into image columns without the ending."""
    count = 0
    for side in ("input", "edited"):
        (folder / side).mkdir()
    with open(folder / "metadata.jsonl", "w", encoding="utf-8") as lines:
        for item in items:
            count += 1
            files = {"input": item.input, "edited": item.target}
            record = {f"{side}_image_file_name": _copied(file, folder, side, item.stem) for side, file in files.items()}
            lines.write(json.dumps({**record, "edit_prompt": item.pair.instruction}) + "\n")
    return count


def write_instruct_pix2pix(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`0000000/prompt.json`, `SEED_0.jpg`, `SEED_1.jpg`, `metadata.jsonl`, and `seeds.json` for all.

    Its loader asks for .jpg: they are written at the highest quality, but JPEG keeps no pixel exactly.
    """
    seeds = []
    for item in items:
        name = f"{item.number:07d}"
        (folder / name).mkdir()
        for side, file in ((0, item.input), (1, item.target)):
            _save_jpeg(file, folder / name / f"{item.pair.seed}_{side}.jpg")
        captions = dict.fromkeys(("caption", "input"), item.pair.input_caption) | {"output": item.pair.target_caption}
        _dump({**captions, "edit": item.pair.instruction}, folder / name / "prompt.json")  # its evaluation says "input"
        drawn = {key: item.pair.parameters[key] for key in DRAWN if key in item.pair.parameters}
        (folder / name / "metadata.jsonl").write_text(json.dumps({"seed": item.pair.seed, **drawn}) + "\n")
        seeds.append([name, [str(item.pair.seed)]])
    _dump(seeds, folder / "seeds.json")
    return len(seeds)


def write_ai_toolkit(items: Iterable[Example], folder: Path, home: Path) -> int:
    """The folders of `_write_folders`, and `dataset.yaml` with where they will be in the end (`home`)."""
    count = _write_folders(items, folder)
    (folder / "dataset.yaml").write_text(
        "# one entry of `datasets:` in ai-toolkit's config\n"
        f"- folder_path: {_quoted(home / 'target')}\n"
        f"  control_path: {_quoted(home / 'control')}\n"
        "  caption_ext: txt\n  cache_latents_to_disk: true\n  resolution: [512, 768, 1024]\n",
        encoding="utf-8",
    )
    return count


def write_musubi_tuner(items: Iterable[Example], folder: Path, home: Path) -> int:
    """The folders of `_write_folders`, and `dataset.toml` with where they will be in the end (`home`)."""
    count = _write_folders(items, folder)
    (folder / "dataset.toml").write_text(
        '[general]\nresolution = [1024, 1024]\ncaption_extension = ".txt"\nbatch_size = 1\nenable_bucket = true\n\n'
        f"[[datasets]]\nimage_directory = {_quoted(home / 'target')}\ncontrol_directory = {_quoted(home / 'control')}\n"
        f"cache_directory = {_quoted(home / 'cache')}\n",
        encoding="utf-8",
    )
    return count


def write_simpletuner(items: Iterable[Example], folder: Path, home: Path) -> int:
    """The folders of `_write_folders`, and `multidatabackend.json` with where they will be in the end (`home`)."""
    count = _write_folders(items, folder)
    size = {"resolution": 1024, "resolution_type": "pixel_area"}
    backends = [
        {
            "id": "edited",
            "type": "local",
            "instance_data_dir": str(home / "target"),
            "caption_strategy": "textfile",
            "cache_dir_vae": str(home / "cache/edited"),
            "conditioning_data": ["source"],
            **size,
        },
        {
            "id": "source",
            "type": "local",
            "dataset_type": "conditioning",
            "conditioning_type": "reference_strict",
            "source_dataset_id": "edited",
            "instance_data_dir": str(home / "control"),
            "caption_strategy": None,
            "cache_dir_vae": str(home / "cache/source"),
            **size,
        },
        {
            "id": "text",
            "type": "local",
            "dataset_type": "text_embeds",
            "default": True,
            "cache_dir": str(home / "cache/text"),
        },
    ]
    _dump(backends, folder / "multidatabackend.json", indent=2)
    return count


def write_diffsynth(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`metadata.csv`; the input stands in both columns that its examples use, for Qwen-Image-Edit and for Kontext."""
    count = 0
    for side in ("target", "control"):
        (folder / side).mkdir()
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "prompt", "edit_image", "kontext_images"])
        for item in items:
            count += 1
            control = _copied(item.input, folder, "control", item.stem)
            table.writerow([_copied(item.target, folder, "target", item.stem), item.pair.instruction, control, control])
    return count


def write_fal_zip(items: Iterable[Example], folder: Path, home: Path) -> int:
    """One zip of `ROOT_start.png`, `ROOT_end.png`, `ROOT.txt`."""
    count = 0
    with zipfile.ZipFile(folder / "pairs.zip", "w", strict_timestamps=False) as archive:
        for item in items:
            count += 1
            archive.write(item.input, f"{item.stem}_start{item.input.suffix}")
            archive.write(item.target, f"{item.stem}_end{item.target.suffix}")
            archive.writestr(f"{item.stem}.txt", item.pair.instruction)
    return count


def write_webdataset(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`pairs-000000.tar`, …: of every pair KEY.input.png, KEY.target.png, KEY.txt and KEY.json, side by side."""
    count = 0
    with ExitStack() as stack:
        for item in items:
            count += 1
            if item.number % SHARD == 0:
                stack.close()
                shard = stack.enter_context(tarfile.open(folder / f"pairs-{item.number // SHARD:06d}.tar", "w"))
            parts = {
                f"input{item.input.suffix}": item.input.read_bytes(),
                f"target{item.target.suffix}": item.target.read_bytes(),
                "txt": item.pair.instruction.encode(),
                "json": json.dumps(item.pair.to_json()).encode(),
            }
            for ending, data in parts.items():
                entry = tarfile.TarInfo(f"{item.stem}.{ending}")
                entry.size = len(data)
                shard.addfile(entry, io.BytesIO(data))
    return count


def _write_folders(items: Iterable[Example], folder: Path) -> int:
    """`target/N.png` with `target/N.txt`, and `control/N.png`: side by side, since trainers walk into subfolders."""
    count = 0
    for side in ("target", "control"):
        (folder / side).mkdir()
    for item in items:
        count += 1
        _copied(item.target, folder, "target", item.stem)
        _copied(item.input, folder, "control", item.stem)
        (folder / "target" / f"{item.stem}.txt").write_text(item.pair.instruction, encoding="utf-8")
    return count


def _copied(file: Path, folder: Path, side: str, stem: str) -> str:
    relative = f"{side}/{stem}{file.suffix}"
    shutil.copyfile(file, folder / relative)
    return relative


def _save_jpeg(file: Path, path: Path) -> None:
    from PIL import Image

    Image.fromarray(read_picture(file)).save(path, quality=100, subsampling=0)


def _quoted(path: Path) -> str:
    """A path as a string of YAML and TOML."""
    return json.dumps(str(path), ensure_ascii=False)


def _dump(record, path: Path, indent: int | None = None) -> None:
    path.write_text(json.dumps(record, indent=indent), encoding="utf-8")
