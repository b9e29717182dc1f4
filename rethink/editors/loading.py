"""Opens an Editor from a path: the files are checked before anything is loaded, and nothing is ever downloaded."""

from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from ..builtin import EDITOR_FOLDER
from ..errors import RethinkError, lazy_import
from ..model_files import PICKLES, check_weights, fingerprint_files, model_name, read_json, resolve_device, snapshot_of
from ..options import Dtype
from ..servers.address import is_address
from .families import FAMILIES, DenoisingLoop, Family
from .pipeline_adapters import PipelineAdapter
from .pipeline_editor import PipelineEditor
from .pipeline_folder import open_pipeline, read_index
from .protocol import Editor, LoraReport
from .quantization import QUANTIZERS, QuantizerName
from .settings import Offload, Settings
from .single_file import open_checkpoint
from .stable_diffusion import StableDiffusionEditor

# "half" is the half-precision format that the family was trained in.
DTYPES = {"auto": None, "half": None, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# What runs a family of each kind of engine.
ENGINES: dict[type, type[StableDiffusionEditor] | type[PipelineEditor]] = {
    DenoisingLoop: StableDiffusionEditor,
    PipelineAdapter: PipelineEditor,
}


def load_editor(
    path: str | PathLike,
    *,
    dtype: Dtype | Literal["half"] = "auto",
    device: str | torch.device = "cpu",
    offload: Offload = "none",
    quantize: QuantizerName = "none",
    tokenizer: str | PathLike | None = None,
) -> Editor:
    """Open a diffusers folder of any family, or a single .safetensors checkpoint (original Stable Diffusion 1 layout).

    dtype: a key of DTYPES; "auto" is fp32 on the CPU and if `is_best_in_full`, and "half" otherwise.
    device: where it computes. offload: "model" and "sequential" keep the weights in main memory and move them to
        `device` part by part or layer by layer (diffusers' own offloading; needs accelerate; no effect on the CPU).
    quantize: a key of quantization.QUANTIZERS: the large parts are quantized to 8 or 4 bits while they load.
    tokenizer: a folder with CLIP's vocab.json and merges.txt, for single files, which have none.
    The family follows from the folder's pipeline class or the checkpoint's input channels. A file `rethink.json` in
    the folder ({"steps": 4, …}, fields of Settings) holds the defaults that its author recommends.
    Raises RethinkError for anything that is missing, broken, unsafe or unknown.
    """
    if is_address(str(path)):
        raise RethinkError(
            f"editor: {path} is a server address, not a file; open it with ServerEditor and the model's name."
        )
    path = snapshot_of(Path(path))
    device = resolve_device(device)
    choices = (
        ("dtype", dtype, DTYPES),
        ("offload", offload, get_args(Offload)),
        ("quantize", quantize, QUANTIZERS),
    )
    for option, value, known in choices:
        if value not in known:
            raise RethinkError(f"{option}: “{value}” is unknown; choose one of {', '.join(known)}.")
    if dtype == "auto":
        dtype = "fp32" if device.type == "cpu" or is_best_in_full(path) else "half"

    if path.is_dir():
        pipeline, family, defaults = _open_folder(path, dtype, quantize)
        defaults = _recommended(path / "rethink.json").resolved(defaults)
    elif path.suffix.lower() in PICKLES:
        raise RethinkError(f"editor: {path} is a pickle, which can run code; use a .safetensors version of it.")
    elif not path.is_file():
        raise RethinkError(f"editor: {path} does not exist; choose a diffusers folder or a .safetensors file.")
    elif path.suffix.lower() != ".safetensors":
        raise RethinkError(f"editor: {path} is neither a diffusers folder nor a .safetensors file.")
    elif quantize != "none":
        raise RethinkError(f"quantize: {path} is a single file, which cannot be quantized; choose none.")
    else:
        check_weights("editor", path)
        pipeline, family = open_checkpoint(path, DTYPES[dtype] or torch.float16, tokenizer)
        defaults = family.defaults
    if isinstance(family.engine, DenoisingLoop):
        _check_channels(pipeline, family.engine, path, family.title)
    if hasattr(pipeline, "unet"):
        for part in (pipeline.unet, pipeline.vae):
            part.to(memory_format=torch.channels_last)  # the native order of convolutions: measured, 2 to 40% less time
    pipeline.set_progress_bar_config(disable=True)

    name = model_name(path) if path.is_dir() else path.stem
    editor_class = ENGINES[type(family.engine)]
    if device.type == "cpu" or offload == "none":
        pipeline.to(device)
        return editor_class(pipeline, family, defaults, name)
    lazy_import("accelerate")
    try:
        if offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        else:
            pipeline.enable_sequential_cpu_offload(device=device)
    except (ValueError, RuntimeError, NotImplementedError) as error:  # not every quantized model can be moved
        raise RethinkError(f"offload: {path} does not support “{offload}”: {error}") from error
    return editor_class(pipeline, family, defaults, name, device)


def is_best_in_full(path: Path) -> bool:
    """Whether the dtype “auto” is fp32 on every device, as for the built-in editor: it is so small that fp32 costs
    nothing, and it can be trained."""
    return path.resolve() == EDITOR_FOLDER.resolve()


def edit_with(pipeline: Any, name: str) -> Editor:
    """An editor that runs a diffusers pipeline as is, on its device. Raises RethinkError for an unsupported class."""
    family = _family_of(name, type(pipeline).__name__)
    pipeline.set_progress_bar_config(disable=True)
    return ENGINES[type(family.engine)](pipeline, family, family.defaults, name)


def add_lora(editor: Editor, path: str | PathLike, strength: float) -> tuple[Editor, LoraReport]:
    """`Editor.with_lora`, under a name that includes the LoRA, so that no run is resumed with the other editor.

    `lora_files` of the new editor tells its LoRAs from later files of the same names.
    """
    changed, report = editor.with_lora(path, strength)
    changed.name = name_with_lora(editor.name, report.name, strength)
    files = (*getattr(editor, "lora_files", ()), fingerprint_files(Path(path)))
    changed.lora_files = files  # pyright: ignore[reportAttributeAccessIssue]  # only on editors with LoRAs
    return changed, report


def name_with_lora(editor: str, lora: str, strength: float) -> str:
    """The name of an editor with a LoRA, in records and ids. lora: the stem of its file."""
    return f"{editor} + {lora} × {strength:g}"


def _open_folder(folder: Path, dtype: str, quantize: QuantizerName) -> tuple[Any, Family, Settings]:
    """→ (pipeline, family, the family's defaults for such a folder)."""
    index = read_index("editor", folder)
    class_name = str(index.get("_class_name"))
    family = _family_of(folder, class_name)
    pipeline_class = getattr(lazy_import("diffusers"), family.opened_as or class_name, None)
    if pipeline_class is None:
        raise RethinkError(f"editor: {folder} is a {class_name}, which needs a newer diffusers; update it.")
    variant = next((v for v in family.variants if index.get(v.entry) == v.value), None)
    weights, options = DTYPES[dtype] or DTYPES[family.half], variant.options if variant else {}
    pipeline = open_pipeline("editor", folder, index, pipeline_class, weights, quantize, options)
    return pipeline, family, variant.defaults if variant else family.defaults


def _family_of(name: Path | str, class_name: str) -> Family:
    family = next((f for f in FAMILIES if class_name in f.pipelines), None)
    if family is None:
        known = ", ".join(name for f in FAMILIES for name in f.pipelines)
        raise RethinkError(f"editor: {name} is a {class_name}, which is not supported; supported are {known}.")
    return family


def _recommended(file: Path) -> Settings:
    if not file.is_file():
        return Settings()
    try:
        return Settings.from_inputs(read_json("editor", file))
    except TypeError as error:
        raise RethinkError(f"editor: {file} must contain fields of Settings: {error}") from error


def _check_channels(pipeline: Any, engine: DenoisingLoop, path: Path, title: str) -> None:
    expected = engine.input_channels(pipeline.vae.config.latent_channels)
    found = pipeline.unet.config.in_channels
    if found != expected:
        raise RethinkError(
            f"editor: the UNet of {path} takes {found} channels, but {title} with this VAE needs {expected}."
        )
