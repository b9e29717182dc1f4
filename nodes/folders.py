"""ComfyUI's folders for pictures, data sets, CLIPs and results, and names that cannot lead out of them."""

import os
from pathlib import Path, PurePosixPath

import folder_paths

from ..rethink.errors import RethinkError
from .host import BUILT_IN
from .model_folders import find_folders

NONE = "none"
LONGEST = 200  # bytes of a folder's name; systems have 255, and some is needed while it is written
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{device}{number}" for device in ("COM", "LPT") for number in range(1, 10))}


def picture_folders() -> list[str]:
    """Folders whose pictures can be worked on: of ComfyUI's input folder, and of its folders for data sets."""
    return list(_picture_folders())


def picture_folder(name: str, input: str) -> Path:
    """Where a folder of `picture_folders` lies. Raises RethinkError for any other name."""
    if name not in (folders := _picture_folders()):
        raise RethinkError(
            f"{input}: there is no “{name}”; put the folder into ComfyUI's input folder, or name the folder above it under "
            "“datasets” in extra_model_paths.yaml."
        )
    return folders[name]


def _picture_folders() -> dict[str, Path]:
    inputs = Path(folder_paths.get_input_directory())
    found = {"input": inputs} | {f"input/{name}": path for name, path in _folders_in(inputs).items()}
    for root in folder_paths.get_folder_paths("datasets"):
        for name, path in _folders_in(Path(root)).items():
            found.setdefault(f"datasets/{name}", path)
    return found


def dataset_names(holding: str = "*") -> list[str]:
    """The folders for data sets, those alone that have a file of the name `holding`."""
    folders = [_folders_in(root) for root in dataset_roots()]
    return sorted({name for found in folders for name, path in found.items() if any(path.glob(holding))})


def dataset_roots() -> list[Path]:
    """ComfyUI's folders for data sets, the one that is written to first."""
    return [Path(root) for root in folder_paths.get_folder_paths("datasets")]


def dataset_path(name: str, input: str) -> Path:
    """Where the data set `name` lies; where it would lie if there is none of this name.

    Raises RethinkError for what is no name of a folder in ComfyUI's folders for data sets.
    """
    name = name.strip()
    parts = PurePosixPath(name.replace("\\", "/")).parts
    plain = all(map(_is_plain, parts))
    roots = dataset_roots()
    places = [root.joinpath(*parts) for root in roots] if plain and parts else []
    places = [place for root, place in zip(roots, places) if folder_paths.is_within_directory(str(root), str(place))]
    if not places:
        shown = " ".join(name.split())
        raise RethinkError(f"{input}: “{shown}” is no name for a folder in {roots[0]}; use for example my-pairs.")
    return next((place for place in places if place.exists()), places[0])


def _is_plain(part: str) -> bool:
    """Whether a folder can have this name on every system, also where the data set is carried to."""
    reserved = part.split(".")[0].rstrip().upper() in RESERVED
    wrong = part[0] in ". " or part[-1] in ". " or set(part) & set('/<>:"|?*')
    return part.isprintable() and not (wrong or reserved) and len(os.fsencode(part)) <= LONGEST


def _folders_in(base: Path) -> dict[str, Path]:
    """Name → folder of those in `base`, and one level down in those that hold folders alone."""
    found = {}
    for folder in _visible_folders(base):
        inner = _visible_folders(folder)
        if inner and not any(entry.is_file() for entry in folder.iterdir()):
            found |= {f"{folder.name}/{path.name}": path for path in inner}
        else:
            found[folder.name] = folder
    return {name: path for name, path in found.items() if folder_paths.is_within_directory(str(base), str(path))}


def _visible_folders(base: Path) -> list[Path]:
    if not base.is_dir():
        return []
    return sorted(path for path in base.iterdir() if path.is_dir() and not path.name.startswith("."))


def temporary(name: str) -> Path:
    """A path in ComfyUI's folder for files that a restart sweeps away."""
    return Path(folder_paths.get_temp_directory()) / name


def clip_names() -> list[str]:
    """What measures pictures against captions: nothing, the built-in CLIP, transformers folders of CLIPModels."""
    return [NONE, BUILT_IN, *sorted(_clip_folders())]


def clip_path(name: str) -> Path:
    """Where a CLIP of `clip_names` lies. Raises RethinkError for any other name."""
    if name == BUILT_IN:
        from ..rethink.tiny import CLIP_FOLDER

        return CLIP_FOLDER
    if name not in (folders := _clip_folders()):
        raise RethinkError(
            f"clip: there is no “{name}” in ComfyUI's model folders; put a transformers folder of a CLIPModel into "
            "models/clip_vision or models/text_encoders, then choose it from the list."
        )
    return folders[name]


def _clip_folders() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for kind in ("clip_vision", "text_encoders"):
        for name, folder in find_folders(kind, "config.json").items():
            if '"CLIPModel"' in (folder / "config.json").read_text(encoding="utf-8", errors="replace"):
                found.setdefault(name, folder)
    return found


def new_folder(prefix: str) -> Path:
    """A folder in ComfyUI's output folder that is not there yet: “a/b” makes a/b_00001_, a/b_00002_, …

    Raises RethinkError for a prefix that leads out of the output folder.
    """
    output = folder_paths.get_output_directory()
    if not folder_paths.is_within_directory(output, os.path.join(output, os.path.dirname(os.path.normpath(prefix)))):
        raise RethinkError(f"prefix: “{prefix}” leads out of ComfyUI's output folder; name a folder within it.")
    base, name, number, _, _ = folder_paths.get_save_image_path(prefix, output)
    return Path(base) / f"{name}_{number:05}_"


def reference(file: Path) -> dict[str, str]:
    """What names a file of the output, input or temp folder to the front end: /view's own arguments."""
    for kind in ("output", "input", "temp"):
        base = Path(folder_paths.get_directory_by_type(kind)).resolve()
        if file.resolve().is_relative_to(base):
            subfolder = file.parent.resolve().relative_to(base).as_posix()
            return {"filename": file.name, "subfolder": subfolder, "type": kind}
    raise RethinkError(
        f"trajectory: {file} is neither in ComfyUI's output folder nor in its input folder; copy it there."
    )


def referred(reference: dict[str, str]) -> Path:
    """The file that a `reference` names; RethinkError for one that leads out of its folder."""
    base = folder_paths.get_directory_by_type(reference["type"])
    file = Path(base or "", reference["subfolder"], reference["filename"])
    if base is None or not folder_paths.is_within_directory(base, str(file)):
        raise RethinkError(f"trajectory: {file} is not in ComfyUI's folders.")
    return file


def result_folders(index: str) -> dict[str, Path]:
    """“output/a/b” → every folder in ComfyUI's output and input folders, down to two levels, that has a file `index`."""
    found: dict[str, Path] = {}
    for kind in ("output", "input"):
        base = Path(folder_paths.get_directory_by_type(kind))
        for pattern in (f"*/{index}", f"*/*/{index}"):
            for file in base.glob(pattern):
                found[f"{kind}/{file.parent.relative_to(base).as_posix()}"] = file.parent
    return found
