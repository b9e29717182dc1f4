"""Stand-in for ComfyUI's folders. Tests fill `folders`, and say where results go in `base`."""

import os
import re

KINDS = ("LLM", "checkpoints", "clip_vision", "datasets", "diffusers", "loras", "text_encoders")
folders: dict[str, list[str]] = {kind: [] for kind in KINDS}
models_dir = "models"
base = os.path.join("no", "such", "folder")  # of output, input and temp


def add_model_folder_path(kind, path):
    folders.setdefault(kind, []).append(path)


def get_directory_by_type(kind):
    return os.path.join(base, kind) if kind in ("output", "input", "temp") else None


def get_system_user_directory(name):
    return os.path.join(base, "user", f"__{name}")


def get_output_directory():
    return get_directory_by_type("output")


def get_input_directory():
    return get_directory_by_type("input")


def get_temp_directory():
    return get_directory_by_type("temp")


def get_save_image_path(prefix, output):
    subfolder, name = os.path.split(os.path.normpath(prefix))
    assert os.path.isdir(base), "this test writes results: it needs the fixture `results`"
    folder = os.path.join(output, subfolder)
    os.makedirs(folder, exist_ok=True)
    taken = [re.match(rf"{re.escape(name)}_(\d+)_", file) for file in os.listdir(folder)]
    return folder, name, max((int(match[1]) for match in taken if match), default=0) + 1, subfolder, prefix


def get_folder_paths(kind):
    return list(folders[kind])


def get_filename_list(kind):
    found = set()
    for base in folders[kind]:
        for place, _, files in os.walk(base, followlinks=True):
            found.update(os.path.relpath(os.path.join(place, file), base) for file in files)
    return sorted(found)


def get_full_path(kind, name):
    paths = (os.path.join(base, name) for base in folders[kind])
    return next((path for path in paths if os.path.isfile(path)), None)


def is_within_directory(directory, target):
    directory, target = os.path.realpath(directory), os.path.realpath(target)
    return os.path.commonpath((directory, target)) == directory
