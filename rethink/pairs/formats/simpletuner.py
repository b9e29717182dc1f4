"""SimpleTuner: targets with their captions, controls with the same stems, and its data backends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from .control_folders import read_folders, reference_folders, write_pair
from .core import Example, Format, ImportedPair, Skipped, write_json

GROUP = "references-"  # followed by how many of them every pair in this folder has


def write_simpletuner(items: Iterable[Example], folder: Path, home: Path) -> int:
    """The folders of `write_folders`, and `multidatabackend.json` with their final paths, in `home`.

    Every target needs a file in each dataset that it is conditioned on. So pairs with references have these folders in
    a folder for their number of references: `references-1`, `references-2`, …
    """
    count = 0
    for item in items:
        count += 1
        place = folder / _group(len(item.references))
        place.mkdir(exist_ok=True)
        write_pair(item, place)
    groups = [place for place in sorted(folder.iterdir()) if place.name.startswith(GROUP)]
    backends = _backends(folder, home) if (folder / "target").is_dir() else []
    backends += [each for place in groups for each in _backends(place, home / place.name, f"-{place.name}")]
    text = {
        "id": "text",
        "type": "local",
        "dataset_type": "text_embeds",
        "default": True,
        "cache_dir": str(home / "cache/text"),
    }
    write_json([*backends, text], folder / "multidatabackend.json", indent=2)
    return count


def _group(references: int) -> str:
    return f"{GROUP}{references}" if references else ""


def _backends(folder: Path, home: Path, name: str = "") -> list[dict]:
    """The targets in a folder, and the inputs and references they are conditioned on. name: the group, appended to ids."""
    size = {"resolution": 1024, "resolution_type": "pixel_area"}
    sources = {f"source{name}": "control"}
    sources |= {f"source-{number}{name}": side for number, side in enumerate(reference_folders(folder), 2)}
    edited = {
        "id": f"edited{name}",
        "type": "local",
        "instance_data_dir": str(home / "target"),
        "caption_strategy": "textfile",
        "cache_dir_vae": str(home / "cache/edited"),
        "conditioning_data": [*sources],
        **size,
    }
    return [edited, *(_source(id, home, side, edited["id"]) | size for id, side in sources.items())]


def _source(id: str, home: Path, side: str, edited: str) -> dict:
    return {
        "id": id,
        "type": "local",
        "dataset_type": "conditioning",
        "conditioning_type": "reference_strict" if side == "control" else "reference_loose",  # may have another shape
        "source_dataset_id": edited,
        "instance_data_dir": str(home / side),
        "caption_strategy": None,
        "cache_dir_vae": str(home / "cache" / ("source" if side == "control" else side)),
    }


def read_simpletuner(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """`target` and `control` with the same stems, and such folders for pairs with references."""
    groups = [place for place in sorted(folder.glob(f"{GROUP}*")) if place.is_dir()]
    if (folder / "target").is_dir() or not groups:
        yield from read_folders(folder)
    for place in groups:
        yield from read_folders(place)


FORMAT = Format(
    name="simpletuner",
    title="SimpleTuner",
    target=(
        "`target/` (id `edited`) holds the TARGET with the instruction beside it, `control/` (id `source`) "
        "what the model gets as input."
    ),
    use="`--data_backend_config=multidatabackend.json`.",
    write=write_simpletuner,
    read=read_simpletuner,
    references=(
        "pairs with two are in `references-2/`, whose `control-2/` and `control-3/` hold them; train with "
        "`--conditioning_multidataset_sampling=combined`."
    ),
)
