"""musubi-tuner: targets with their captions, controls with the same stems, and its config."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from .control_folders import beside_the_input, read_folders, write_folders
from .core import Example, Format, quote_path


def write_musubi_tuner(items: Iterable[Example], folder: Path, home: Path) -> int:
    """The folders of `write_folders`, and `dataset.toml` with their final paths, in `home`."""
    count = write_folders(items, folder, place=beside_the_input)
    (folder / "dataset.toml").write_text(
        '[general]\nresolution = [1024, 1024]\ncaption_extension = ".txt"\nbatch_size = 1\nenable_bucket = true\n\n'
        f"[[datasets]]\nimage_directory = {quote_path(home / 'target')}\ncontrol_directory = {quote_path(home / 'control')}\n"
        f"cache_directory = {quote_path(home / 'cache')}\n",
        encoding="utf-8",
    )
    return count


FORMAT = Format(
    name="musubi-tuner",
    title="musubi-tuner",
    target=(
        "`target/` (image_directory) holds the TARGET with the instruction beside it, `control/` "
        "(control_directory) what the model gets as input."
    ),
    use="`--dataset_config dataset.toml`.",
    write=write_musubi_tuner,
    read=partial(read_folders, numbered=True),
    references="`control/N_1.png`, `control/N_2.png`, … beside the input `control/N.png`.",
)
