"""SimpleTuner: targets with their captions, controls with the same stems, and its data backends."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .control_folders import read_folders, write_folders
from .core import Example, Format, write_json


def write_simpletuner(items: Iterable[Example], folder: Path, home: Path) -> int:
    """The folders of `write_folders`, and `multidatabackend.json` with their final paths, in `home`."""
    count = write_folders(items, folder)
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
    write_json(backends, folder / "multidatabackend.json", indent=2)
    return count


FORMAT = Format(
    name="simpletuner",
    title="SimpleTuner",
    target=(
        "`target/` (id `edited`) holds the TARGET with the instruction beside it, `control/` (id `source`) "
        "what the model gets as input."
    ),
    use="`--data_backend_config=multidatabackend.json`.",
    write=write_simpletuner,
    read=read_folders,
)
