"""The models in ComfyUI's model folders: their names and paths.

Models that are folders are found as ComfyUI's own loaders find files: at any depth, and through links, which the owner
of the machine has put there. Names from a workflow are looked up among these, so that none leads anywhere else.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import folder_paths

from ...rethink.builtin import CLIP_FOLDER, EDITOR_FOLDER, THINKER_FOLDER
from ...rethink.errors import RethinkError, reason_of
from ...rethink.model_files import model_files, model_name, snapshot_of
from ...rethink.names import is_within, portable_parts

BUILT_IN = "built-in"
DEEPEST = 8  # levels below a root

folder_paths.add_model_folder_path("LLM", os.path.join(folder_paths.models_dir, "LLM"))  # as other packs call it
folder_paths.add_model_folder_path("evaluation", os.path.join(folder_paths.models_dir, "evaluation"))


def editor_names() -> list[str]:
    """What Load Editor offers: the built-in editor, diffusers folders, single .safetensors files of checkpoints."""
    return [BUILT_IN, *find_folders("diffusers", "model_index.json"), *_safetensors("checkpoints")]


def editor_path(name: str) -> Path:
    """The path of an editor of `editor_names`. Raises RethinkError for any other name."""
    if name == BUILT_IN:
        return EDITOR_FOLDER
    # Looked up in the list, so that no name climbs out with ".." or is an absolute path.
    path = find_folders("diffusers", "model_index.json").get(name) or _safetensors("checkpoints").get(name)
    if path is None:
        raise RethinkError(
            f"editor: there is no “{name}” in ComfyUI's model folders; put a diffusers folder into models/diffusers or "
            "a .safetensors file into models/checkpoints, then choose it from the list."
        )
    return path


def thinker_names() -> list[str]:
    """The transformers folders in models/LLM, nested ones as “owner/name”."""
    return list(find_folders("LLM", "config.json"))


def thinker_path(name: str) -> Path:
    """The path of a thinker of `thinker_names`, or of the built-in one. Raises RethinkError as `editor_path` does."""
    if name == BUILT_IN:
        return THINKER_FOLDER
    path = find_folders("LLM", "config.json").get(name)
    if path is None:
        raise RethinkError(
            f"folder: there is no “{name}” in ComfyUI's model folders; put the transformers folder of a vision-language "
            "model into models/LLM, then choose it from the list."
        )
    return path


def new_thinker_path(name: str, input: str) -> Path:
    """Where a thinker called `name` is written: into the first of ComfyUI's folders for them, “a/b” into a folder there.

    Raises RethinkError for an invalid name.
    """
    root = Path(folder_paths.get_folder_paths("LLM")[0])
    parts = portable_parts(name.strip())
    path = root.joinpath(*parts) if parts else root
    if not parts or not is_within(path, root):
        raise RethinkError(
            f"{input}: “{name[:80]}” is not a valid name for a folder in {root}; use, for example, my-thinker."
        )
    return path


def thinker_name(path: Path) -> str:
    """What `thinker_names` calls a folder that `new_thinker_path` has named."""
    return path.relative_to(folder_paths.get_folder_paths("LLM")[0]).as_posix()


def template_names() -> list[str]:
    """The .txt files within the folders of thinkers, as “thinker/file.txt”."""
    folders = find_folders("LLM", "config.json")
    return sorted(f"{name}/{file.name}" for name, folder in folders.items() for file in folder.glob("*.txt"))


def template_text(name: str) -> str:
    """Read a file of `template_names`."""
    if name not in template_names():
        raise RethinkError(
            f"template: there is no “{name}”; put the .txt file into the thinker's folder in models/LLM."
        )
    thinker, _, file = name.rpartition("/")
    try:
        return (thinker_path(thinker) / file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RethinkError(f"template: {name} cannot be read: {reason_of(error)}") from error


def lora_names() -> list[str]:
    """The .safetensors files of models/loras."""
    return list(_safetensors("loras"))


def lora_path(name: str) -> Path:
    """The path of a LoRA of `lora_names`. Raises RethinkError for any other name."""
    path = _safetensors("loras").get(name)
    if path is None:
        raise RethinkError(f"lora: there is no “{name}” in ComfyUI's models/loras; put the .safetensors file there.")
    return path


def new_lora_path(name: str, input: str) -> Path:
    """Where a LoRA called `name` is written: into the first of ComfyUI's folders for LoRAs, “a/b” into a folder there.

    Raises RethinkError for an invalid name.
    """
    root = Path(folder_paths.get_folder_paths("loras")[0])
    parts = portable_parts(name.strip().removesuffix(".safetensors"))
    path = root.joinpath(*parts[:-1], f"{parts[-1]}.safetensors") if parts else root
    if not parts or not is_within(path, root):
        raise RethinkError(
            f"{input}: “{name[:80]}” is not a valid name for a file in {root}; use, for example, my-edit."
        )
    return path


def lora_name(path: Path) -> str:
    """What `lora_names` calls a file that `new_lora_path` has named."""
    return path.relative_to(folder_paths.get_folder_paths("loras")[0]).as_posix()


def clip_names() -> list[str]:
    """The CLIPs that compare images with captions: the built-in one, transformers folders of CLIPModels."""
    return [BUILT_IN, *sorted(_clip_folders())]


def clip_path(name: str) -> Path:
    """The path of a CLIP of `clip_names`. Raises RethinkError for any other name."""
    if name == BUILT_IN:
        return CLIP_FOLDER
    if name not in (folders := _clip_folders()):
        raise RethinkError(
            f"clip: there is no “{name}” in ComfyUI's model folders; put a transformers folder of a CLIPModel into "
            "models/clip_vision or models/text_encoders, then choose it from the list."
        )
    return folders[name]


def measures_folder() -> Path | None:
    """The folder of the models for the learned measures, one subfolder each; None if there is none."""
    return next((folder for folder in map(Path, folder_paths.get_folder_paths("evaluation")) if folder.is_dir()), None)


def _clip_folders() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for kind in ("clip_vision", "text_encoders"):
        for name, folder in find_folders(kind, "config.json").items():
            if '"CLIPModel"' in (folder / "config.json").read_text(encoding="utf-8", errors="replace"):
                found.setdefault(name, folder)
    return found


def files_fingerprint(path: Path) -> tuple[int, int]:
    """Changes whenever a file of the model at `path` does: (newest modification in nanoseconds, bytes in all)."""
    files = [path] if path.is_file() else [file for file in model_files(path) if file.is_file()]
    stats = [file.stat() for file in files]
    return max((s.st_mtime_ns for s in stats), default=0), sum(s.st_size for s in stats)


def find_folders(kind: str, index: str) -> dict[str, Path]:
    """Name → folder of every model of a kind that has the file `index`.

    The name is the path from the root, “owner/name”; in the hub's cache (models--owner--name) it is the name on the
    hub. If two share a name, the first root's counts, as for ComfyUI's files. A workflow's names are looked up here, so
    that none leads anywhere else.
    """
    found: dict[str, Path] = {}
    for base in map(Path, folder_paths.get_folder_paths(kind)):
        for folder in _walk(base, index):
            snapshot = snapshot_of(folder)
            if (snapshot / index).is_file():  # not a broken link
                found.setdefault(_name(folder, base), snapshot)
    return {name: found[name] for name in sorted(found)}


def _safetensors(kind: str) -> dict[str, Path]:
    """Name → path of every .safetensors file of a kind, including links that lead to a file."""
    names = [name for name in folder_paths.get_filename_list(kind) if name.lower().endswith(".safetensors")]
    paths = {name.replace(os.sep, "/"): folder_paths.get_full_path(kind, name) for name in names}
    return {name: Path(path) for name, path in paths.items() if path}


def _name(folder: Path, base: Path) -> str:
    return model_name(folder) if folder.name.startswith("models--") else folder.relative_to(base).as_posix()


def _walk(base: Path, index: str) -> Iterator[Path]:
    """Every folder in `base`, except hidden ones, folders inside models, and circular links."""
    waiting = [(base, ())]
    while waiting:
        folder, above = waiting.pop(0)
        real = os.path.realpath(folder)
        if real in above or len(above) > DEEPEST:
            continue
        if folder != base:
            yield folder
        if snapshot_of(folder) != folder or any((folder / name).is_file() for name in (index, "model_index.json")):
            continue
        try:
            inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:  # missing or unreadable
            continue
        waiting += [(path, (*above, real)) for path in inner]
