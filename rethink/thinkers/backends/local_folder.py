"""Opens a transformers folder as a Chat: its files are checked first, and nothing is ever downloaded or run."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from ...builtin import THINKER_FOLDER
from ...errors import RethinkError, lazy_import
from ...model_files import check_data, model_name, read_json, resolve_device, snapshot_of
from ...options import Dtype
from ...weights import open_model, shortened
from ..loading import Backend, Location, Quantization, ThinkerConfig
from ..templates import check_template, find_template

if TYPE_CHECKING:
    from ...servers.trust import Trust
    from ..transformers_chat import ProcessorEncoder, QwenVLEncoder, TransformersChat

MARK = "rethink-training.json"  # in the folder of every thinker that Rethink has trained
DTYPES = {"auto": None, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def load_thinker(
    path: str | PathLike,
    *,
    dtype: Dtype = "auto",
    device: str | torch.device = "cpu",
    quantization: Quantization = "none",
) -> TransformersChat:
    """Open a folder with an image-text-to-text model: Qwen3-VL, Qwen2.5-VL, EditThinker-8B, Gemma, …

    dtype: a key of DTYPES; "auto" is fp32 on the CPU, elsewhere bf16 if the device supports it, else fp16.
    quantization: 8 and 4 bits need the package bitsandbytes.
    Raises RethinkError for anything that is missing, broken, unsafe, or not a vision-language model.
    """
    from ..transformers_chat import TransformersChat

    folder = snapshot_of(Path(path))
    for option, value, known in (("dtype", dtype, DTYPES), ("quantization", quantization, get_args(Quantization))):
        if value not in known:
            raise RethinkError(f"{option}: “{value}” is unknown; choose one of {', '.join(known)}.")
    device = resolve_device(device)
    kind = _check_folder(folder).get("model_type", "?")
    transformers = lazy_import("transformers")
    weights = DTYPES[dtype] or _best_dtype(device)
    options: dict[str, Any] = {}
    if quantization != "none":
        lazy_import("bitsandbytes")
        lazy_import("accelerate")
        options["quantization_config"] = transformers.BitsAndBytesConfig(**{f"load_in_{quantization}": True})
        options["device_map"] = {"": device}
    auto, what = transformers.AutoModelForImageTextToText, f"vision-language model ({kind})"
    model = open_model("thinker", folder, "transformers", auto, weights, what=what, **options).eval()
    try:
        reader, tokenizer = _reader(folder, model)
    except RethinkError:
        raise
    except Exception as error:  # a damaged folder can make the libraries raise anything
        raise RethinkError(f"thinker: {folder} cannot be opened as a {what}: {shortened(error)}") from error
    if quantization == "none":
        model.to(device)
    placement = "movable" if quantization == "none" else "fixed"
    chat = TransformersChat(model, reader, tokenizer, model_name(folder), placement)
    chat.only_critiques = knows_critiques_alone(folder)
    return chat


def knows_critiques_alone(folder: Path) -> bool:
    """Whether the thinker in a folder was trained on critiques alone: the built-in one, and any trained from it."""
    if folder.resolve() == THINKER_FOLDER.resolve():
        return True
    try:
        return json.loads((folder / MARK).read_text(encoding="utf-8")).get("only_critiques") is True
    except (OSError, ValueError, AttributeError):
        return False


def _reader(folder: Path, model: Any) -> tuple[QwenVLEncoder | ProcessorEncoder, Any]:
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    from ..transformers_chat import ProcessorEncoder, QwenVLEncoder

    local = {"local_files_only": True, "trust_remote_code": False}
    in_a_grid = hasattr(getattr(model, "model", None), "get_rope_index") and hasattr(model.config, "image_token_id")
    if not in_a_grid:
        processor = AutoProcessor.from_pretrained(str(folder), **local)
        check_template(folder, processor.chat_template or processor.tokenizer.chat_template)
        return ProcessorEncoder(processor), processor.tokenizer
    tokenizer = AutoTokenizer.from_pretrained(str(folder), **local)
    template = find_template(folder, tokenizer)
    check_template(folder, template)
    images = AutoImageProcessor.from_pretrained(str(folder), **local)
    return QwenVLEncoder(tokenizer, images, model.config.image_token_id, template), tokenizer


def _check_folder(folder: Path) -> dict[str, Any]:
    """The folder's config.json, provided that all parts of the model are present and safe."""
    if not folder.is_dir():
        raise RethinkError(f"thinker: {folder} is not a folder; choose a transformers folder with a config.json.")
    if not (folder / "config.json").is_file():
        raise RethinkError(f"thinker: {folder / 'config.json'} is missing; {folder.name} is not a transformers folder.")
    config = read_json("thinker", folder / "config.json")
    check_data("thinker", folder)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        raise RethinkError(f"thinker: {folder / 'tokenizer.json'} is missing; download it again.")
    return config


def _best_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cpu":
        return torch.float32
    has_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported()
    return torch.bfloat16 if has_bf16 else torch.float16


def open_folder(config: ThinkerConfig, trust: Trust | None = None) -> TransformersChat:
    """`load_thinker` by a ThinkerConfig."""
    return load_thinker(config.where, dtype=config.dtype, device=config.device, quantization=config.quantization)


BACKEND = Backend(
    name="local folder",
    help="a transformers folder in models/LLM",
    recognizes=None,
    open=open_folder,
    location=Location(
        "model folder",
        "folder",
        "A vision-language model in models/LLM: EditThinker-8B, Qwen3-VL, Qwen2.5-VL, or another.",
    ),
    options=("dtype", "device", "quantization"),
    has_templates=True,
)
