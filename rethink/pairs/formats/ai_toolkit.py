"""ai-toolkit: targets with their captions, controls with the same stems, and an entry for its config."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .control_folders import read_folders, reference_folders, write_folders
from .core import Example, Format, quote_path


def write_ai_toolkit(items: Iterable[Example], folder: Path, home: Path) -> int:
    """The folders of `write_folders`, and `dataset.yaml` with their final paths, in `home`."""
    count = write_folders(items, folder)
    controls = [quote_path(home / name) for name in ("control", *reference_folders(folder))]
    control_path = controls[0] if len(controls) == 1 else f"[{', '.join(controls)}]"
    (folder / "dataset.yaml").write_text(
        "# one entry of `datasets:` in ai-toolkit's config\n"
        f"- folder_path: {quote_path(home / 'target')}\n"
        f"  control_path: {control_path}\n"
        "  caption_ext: txt\n  cache_latents_to_disk: true\n  resolution: [512, 768, 1024]\n",
        encoding="utf-8",
    )
    return count


FORMAT = Format(
    name="ai-toolkit",
    title="ai-toolkit",
    target=(
        "`target/` (folder_path) holds the TARGET with the instruction beside it, `control/` (control_path) "
        "what the model gets as input."
    ),
    use="copy the entry in `dataset.yaml` into `datasets:` of the config.",
    write=write_ai_toolkit,
    read=read_folders,
    references="`control-2/`, `control-3/`, … (more folders of control_path) hold them under the same names.",
)
