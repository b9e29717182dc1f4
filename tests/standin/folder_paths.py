"""Stand-in for ComfyUI's model folders. Tests fill `folders`."""

import os

folders: dict[str, list[str]] = {"diffusers": [], "checkpoints": [], "clip_vision": [], "text_encoders": [], "datasets": []}
directories: dict[str, str] = {"input": "input", "temp": "temp"}


def get_folder_paths(kind):
    return list(folders[kind])


def get_input_directory():
    return directories["input"]


def get_temp_directory():
    return directories["temp"]


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
