"""ComfyUI's folders for images, datasets and results, and names that cannot lead out of them."""

import os
from pathlib import Path, PureWindowsPath

import folder_paths

from ...rethink.errors import RethinkError
from ...rethink.names import is_within, path_parts, portable_parts

MAX_ECHO = 80  # characters of a name that is refused


def image_folders() -> list[str]:
    """Folders whose images can be used: those in ComfyUI's input folder and in its datasets folders."""
    return list(_image_folders())


def image_folder(name: str, input: str) -> Path:
    """The path of a folder of `image_folders`. Raises RethinkError for any other name."""
    if name not in (folders := _image_folders()):
        raise RethinkError(
            f"{input}: there is no “{name}”; put the folder into ComfyUI's input folder, or list its parent folder "
            "under “datasets” in extra_model_paths.yaml."
        )
    return folders[name]


def _image_folders() -> dict[str, Path]:
    inputs = Path(folder_paths.get_input_directory())
    found = {"input": inputs} | {f"input/{name}": path for name, path in _folders_in(inputs).items()}
    for root in dataset_roots():
        for name, path in _folders_in(root).items():
            found.setdefault(f"datasets/{name}", path)
    return found


def dataset_names(holding: str = "*") -> list[str]:
    """The names of the datasets that contain a file matching the pattern `holding`."""
    return sorted(name for name, path in _datasets().items() if any(path.glob(holding)))


def dataset_roots() -> list[Path]:
    """ComfyUI's datasets folders; the first is the one that is written to."""
    try:
        return [Path(root) for root in folder_paths.get_folder_paths("datasets")]
    except KeyError:  # ComfyUI before 0.27 has no such kind of folder
        return [Path(folder_paths.base_path) / "datasets"]


def dataset_path(name: str, input: str) -> Path:
    """The path of the dataset `name`, or where it would be created.

    Raises RethinkError for anything but the name of a folder within ComfyUI's folders for datasets.
    """
    if name in (there := _datasets()):
        return there[name]
    roots, parts = dataset_roots(), portable_parts(name)
    places = [root.joinpath(*parts) for root in roots] if parts else []
    places = [place for root, place in zip(roots, places) if is_within(place, root)]
    if not places:
        raise RethinkError(
            f"{input}: “{_shorten(name)}” is not a valid name for a folder in {roots[0]}; use, for example, my-pairs."
        )
    return next((place for place in places if place.exists()), places[0])


def _datasets() -> dict[str, Path]:
    """Name → folder of every dataset; if two share a name, the first."""
    found: dict[str, Path] = {}
    for root in dataset_roots():
        found = _folders_in(root) | found
    return found


def _shorten(name: str) -> str:
    return " ".join(name.split())[:MAX_ECHO]


def _folders_in(base: Path) -> dict[str, Path]:
    """Name → folder of those in `base`, or, where one contains only folders, of those one level down."""
    found = {}
    for folder in _visible_folders(base):
        inner = _visible_folders(folder)
        if inner and not any(entry.is_file() for entry in folder.iterdir()):
            found |= {f"{folder.name}/{path.name}": path for path in inner}
        else:
            found[folder.name] = folder
    return {name: path for name, path in found.items() if is_within(path, base)}


def _visible_folders(base: Path) -> list[Path]:
    if not base.is_dir():
        return []
    return sorted(path for path in base.iterdir() if path.is_dir() and not path.name.startswith("."))


def temp_path(name: str) -> Path:
    """A path in ComfyUI's temp folder, which a restart clears."""
    return Path(folder_paths.get_temp_directory()) / name


def system_user_folder(name: str) -> Path:
    """A folder for settings within ComfyUI's user folder, which no page can write to."""
    return Path(folder_paths.get_system_user_directory(name))


def training_folder() -> Path:
    """Where trainings keep what they save, in ComfyUI's output folder."""
    return Path(folder_paths.get_output_directory()) / "rethink" / "training"


def scores_folder() -> Path:
    """Where the judge's answers about edits are kept, in ComfyUI's output folder."""
    return Path(folder_paths.get_output_directory()) / "rethink" / "scores"


def comparison_folder(name: str) -> Path:
    """The folder of a comparison in ComfyUI's output folder, new or not. Raises RethinkError for an invalid name."""
    root = Path(folder_paths.get_output_directory()) / "rethink" / "comparisons"
    parts = portable_parts(name)
    folder = root.joinpath(*parts) if parts else root
    if not parts or not is_within(folder, root):
        raise RethinkError(
            f"name: “{_shorten(name)}” is not a valid name for a folder in {root}; use, for example, my-comparison."
        )
    return folder


def trainings() -> dict[str, Path]:
    """Name → folder of every training in ComfyUI's output folder, the newest first."""
    found = [file.parent for file in training_folder().glob("*/training.json")]
    return {folder.name: folder for folder in sorted(found, key=lambda each: -each.stat().st_mtime)}


def benchmark_folder(name: str, input: str) -> Path:
    """The folder for the results of a benchmark called `name`, in ComfyUI's output folder.

    Raises RethinkError for an invalid name.
    """
    root = Path(folder_paths.get_output_directory()) / "rethink" / "benchmarks"
    parts = portable_parts(name)
    path = root.joinpath(*parts) if parts else root
    if not parts or not is_within(path, root):
        raise RethinkError(
            f"{input}: “{_shorten(name)}” is not a valid name for a folder in {root}; use, for example, kontext."
        )
    return path


def next_output_folder(prefix: str) -> Path:
    """A new folder in ComfyUI's output folder: “a/b” gives a/b_00001_, a/b_00002_, …

    Raises RethinkError for a prefix that leads out of the output folder, and for one that is not a valid name on every system.
    """
    output, parts, quoted = folder_paths.get_output_directory(), path_parts(prefix), f"prefix: “{_shorten(prefix)}”"
    if ".." in parts or parts[:1] == ("/",):
        raise RethinkError(f"{quoted} leads out of ComfyUI's output folder; name a folder within it.")
    if not portable_parts(prefix):
        raise RethinkError(f"{quoted} is not a valid folder name on every system; use, for example, rethink/run.")
    if not is_within(os.path.join(output, *parts[:-1]), output):
        raise RethinkError(f"{quoted} is a link that leads out of ComfyUI's output folder; name a folder within it.")
    try:
        base, name, number, _, _ = folder_paths.get_save_image_path("/".join(parts), output)
    except OSError as error:
        raise RethinkError(f"{quoted} cannot be created in ComfyUI's output folder: {error.strerror}.") from error
    return Path(base) / f"{name}_{number:05}_"


def to_view_params(file: Path) -> dict[str, str]:
    """Return what identifies a file of the output, input or temp folder to the front end: /view's own arguments."""
    for kind in ("output", "input", "temp"):
        base = Path(folder_paths.get_directory_by_type(kind)).resolve()
        if file.resolve().is_relative_to(base):
            subfolder = file.parent.resolve().relative_to(base).as_posix()
            return {"filename": file.name, "subfolder": subfolder, "type": kind}
    raise RethinkError(
        f"trajectory: {file} is in neither ComfyUI's output folder nor its input folder; copy it to one of them."
    )


def from_view_params(params: dict[str, str]) -> Path:
    """The file that /view's arguments name. Raises RethinkError for one outside its folder, or anything but a file."""
    names = [params.get(key) for key in ("type", "subfolder", "filename")] if isinstance(params, dict) else []
    texts = [name for name in names if isinstance(name, str) and _can_be_path(name)]
    if len(texts) != 3:
        raise RethinkError("trajectory: expected {filename, subfolder, type} of a run, as the front end names files.")
    kind, subfolder, filename = texts
    base = folder_paths.get_directory_by_type(kind)
    file = Path(base or "", subfolder, filename)
    # Check the text first: any site can make a browser send it, and Windows would look up \\server\share on the network.
    relative = not any(PureWindowsPath(name).anchor for name in (subfolder, filename))
    inside = base is not None and relative and all(is_within(path, base) for path in (file.parent, file))
    if file.name != filename or filename == ".." or not inside:  # a file can be inside while its folder is not: “.”
        raise RethinkError(f"trajectory: {_shorten(str(file))} is not in ComfyUI's folders.")
    return file


def _can_be_path(text: str) -> bool:
    """Whether the system can be asked for a path at all."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def folders_above(index: str) -> dict[str, Path]:
    """“output/a” → every folder that contains folders found by `folders_with`; ComfyUI's output and input folders
    themselves are always included."""
    found = {kind: Path(folder_paths.get_directory_by_type(kind)) for kind in ("output", "input")}
    for name, folder in folders_with(index).items():
        found.setdefault(name.rpartition("/")[0], folder.parent)
    return found


def folders_with(index: str) -> dict[str, Path]:
    """“output/a/b” → every folder in ComfyUI's output and input folders, down to two levels, that has a file `index`."""
    found: dict[str, Path] = {}
    for kind in ("output", "input"):
        base = Path(folder_paths.get_directory_by_type(kind))
        for pattern in (f"*/{index}", f"*/*/{index}"):
            for file in base.glob(pattern):
                found[f"{kind}/{file.parent.relative_to(base).as_posix()}"] = file.parent
    return found
