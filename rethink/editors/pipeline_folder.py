"""Opens a diffusers folder as a pipeline: every part is checked, loaded and complete before the pipeline is built."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import RethinkError, lazy_import
from ..model_files import PICKLES, check_data, check_files, read_json
from ..weights import dtype_argument, find_weights, open_model, shortened
from .quantization import FP8, QuantizerName, cast_to_fp8, quantization

_UNUSED_PARTS = ("safety_checker", "feature_extractor", "image_encoder")  # parts of pipelines that editors do not use
_LIBRARIES = ("diffusers", "transformers")
_SAFETY = "stable_diffusion"  # the module in diffusers with the safety checker, which is not opened


def read_index(name: str, folder: Path) -> dict[str, Any]:
    """Read a diffusers folder's model_index.json, provided that the folder contains and refers to nothing but data."""
    if not (folder / "model_index.json").is_file():
        if folder.is_dir() and any(file.suffix in PICKLES for file in folder.iterdir()):
            raise RethinkError(
                f"{name}: {folder} contains only pickles, which can run code; use a safetensors version."
            )
        raise RethinkError(
            f"{name}: {folder / 'model_index.json'} is missing; {folder.name} is not a diffusers folder."
        )
    index = read_json(name, folder / "model_index.json")
    check_data(name, folder)
    for part, entry in index.items():
        library = entry[0] if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str) else None
        if isinstance(library, str) and library not in (*_LIBRARIES, *([_SAFETY] if part in _UNUSED_PARTS else [])):
            raise RethinkError(
                f"{name}: {folder / 'model_index.json'} asks for code of its own for {part} ({library}), which is "
                "not run."
            )
    return index


def open_pipeline(
    name: str,
    folder: Path,
    index: Mapping[str, Any],
    pipeline_class: type,
    dtype: torch.dtype,
    quantize: QuantizerName = "none",
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Open the pipeline of a folder whose `read_index` is `index`, in `dtype`.

    quantize: a key of quantization.QUANTIZERS. options: more options of the pipeline.
    Raises RethinkError for parts that are missing, damaged, incompatible, or not filled by their weights.
    """
    parts = _parts(name, folder, index, pipeline_class)
    models = {part: kind for part, entry in parts.items() if (kind := _model_class(name, folder / part, *entry))}
    weights = {}
    for part, (library, class_name) in parts.items():  # check all of them before the first is opened, which is slow
        if part in models:
            check_files(name, folder / part / "config.json")
            weights[part] = find_weights(name, folder / part, library)
        else:
            _check_part(name, folder / part, class_name)
    takes = inspect.signature(pipeline_class.__init__).parameters
    unused = {part: value for part, value in _without().items() if part in takes}
    configs = quantization(quantize, {part: parts[part][0] for part in models}, dtype)
    components = {
        part: open_model(
            name, folder / part, parts[part][0], kind, dtype, weights=weights[part], **configs.get(part, {})
        )
        for part, kind in models.items()
    }
    if quantize == FP8:
        cast_to_fp8(components, dtype)
    try:
        return pipeline_class.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            **(unused | dict(options or {}) | components),
            **dtype_argument("diffusers", dtype),
        )
    except Exception as error:  # a damaged folder can make the libraries raise anything
        raise RethinkError(f"{name}: {folder} cannot be opened: {shortened(error)}") from error


def _without() -> dict[str, Any]:
    """Arguments that leave out the parts of pipelines that editors do not use."""
    return {**dict.fromkeys(_UNUSED_PARTS), "requires_safety_checker": False}


def _parts(name: str, folder: Path, index: Mapping[str, Any], pipeline_class: type) -> dict[str, tuple[str, str]]:
    """Part → (library, class) of the parts that the pipeline uses. Raises RethinkError if the index lacks one."""
    takes = inspect.signature(pipeline_class.__init__).parameters
    used = [part for part in takes if part not in ("self", *_UNUSED_PARTS)]
    named = {part: tuple(index[part]) for part in used if _names_a_class(index.get(part))}
    for part in used:
        needed = takes[part].default is inspect.Parameter.empty and part not in pipeline_class._optional_components
        if needed and part not in named:
            raise RethinkError(f"{name}: {folder / 'model_index.json'} names no {part}; download it again.")
    return named


def _names_a_class(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(word, str) and word for word in entry)


def _model_class(name: str, folder: Path, library: str, class_name: str) -> type | None:
    """The class of a part that has weights; None for schedulers, tokenizers and processors."""
    kind = getattr(lazy_import(library), class_name, None)
    if not isinstance(kind, type) or not hasattr(kind, "from_pretrained"):
        raise RethinkError(
            f"{name}: {folder} is a {class_name}, which the installed {library} does not have; update it."
        )
    return kind if issubclass(kind, nn.Module) else None


def _check_part(name: str, folder: Path, class_name: str) -> None:
    """Raise RethinkError unless all files of a part without weights are present."""
    if class_name.endswith("Scheduler"):
        check_files(name, folder / "scheduler_config.json")
    elif "Processor" in class_name:
        if not (folder / "preprocessor_config.json").is_file():
            check_files(name, folder / "processor_config.json")
    elif "Tokenizer" in class_name:
        if not any((folder / file).is_file() for file in ("tokenizer.json", "spiece.model")):
            check_files(name, folder / "vocab.json", folder / "merges.txt")
    else:
        raise RethinkError(f"{name}: {folder} is a {class_name}, which cannot be part of an editor.")
