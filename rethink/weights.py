"""A model's weights: which files of its folder hold them, and a check that no parameter and no tensor is left over.

The libraries accept a bad fit without an error: missing tensors stay random or empty, unknown ones are dropped.
"""

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .errors import RethinkError, lazy_import
from .model_files import check_files, refuse_pickles, shard_files, tensor_names

STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}  # file name of the weights in each library
PREFERRED = ("", "fp32", "fp16", "bf16", "ema", "non_ema")  # of several variants; the plain one first
FLOATS = (torch.float32, torch.float16, torch.bfloat16)  # the formats that models compute in

# Tensors that many files contain and nothing needs (name pattern → why): in all files, in those of one class, and in
# checkpoints of a whole pipeline.
CHECKPOINT = "checkpoint"
HARMLESS: dict[str, dict[str, str]] = {
    "": {
        r"(^|\.)position_ids$": "0, 1, 2, …, which models now count themselves",
        r"\.inv_freq$": "frequencies of rotary positions, which models now compute themselves",
        r"(^|\.)num_batches_tracked$": "how long normalization was trained",
        r"^lm_head\.weight$": "a copy of the embeddings, or something that an encoder-only model does without",
        r"^(model\.)?mtp\.": "multi-token prediction, which only speeds up generation",
    },
    "CLIPTextModel": {
        r"^(text_model\.)?(vision_model|visual_projection|text_projection)(\.|$)": "the rest of a CLIPModel",
        r"^(text_model\.)?logit_scale$": "the rest of a CLIPModel",
    },
    "CLIPTextModelWithProjection": {
        r"^(vision_model|visual_projection)\.": "the rest of a CLIPModel",
        r"^logit_scale$": "the rest of a CLIPModel",
    },
    "T5EncoderModel": {r"^decoder\.": "the other half of a T5"},
    CHECKPOINT: {
        r"^model_ema\.": "the average of the weights over training, next to the weights",
        r"^(betas|logvar|lvlb_weights|(sqrt_|log_)?(recip(m1)?_|one_minus_)?alphas_cumprod(_prev)?|posterior_\w+)$": "the "
        "noise schedule, which is Stable Diffusion's own",
        r"^first_stage_model\.(loss|model_ema)\.": "what judged the VAE in training, and its average",
        r"^(optimizer|lr_scheduler|callbacks|loops)\w*(\.|$)|^(global_step|epoch|iteration)$": "the state of a training",
        r"^cond_stage_model\.(logit_scale|text_projection)": "the rest of a CLIPModel",
        r"^(safety_checker|embedding_manager)\.": "parts that judge the results, or learned words",
    },
}
_OF_QUANTIZATION = r"\.(absmax|quant_map|nested_absmax|nested_quant_map|SCB|weight_format)$|\.quant_state\."


@dataclass(frozen=True)
class Weights:
    """variant: as in the file names, "" for the plain ones. file: the only file, or the index of several."""

    variant: str
    file: Path

    @property
    def is_index(self) -> bool:
        return self.file.suffix == ".json"

    def files(self, name: str) -> dict[Path, set[str]]:
        """The .safetensors files, each with the tensors that an index lists for it."""
        return shard_files(name, self.file) if self.is_index else {self.file: set()}


def find_weights(name: str, folder: Path, library: str) -> Weights:
    """The weights in the folder of a library's model. Raises RethinkError if they are missing or incomplete.

    The plain ones come first, then those of PREFERRED, then the only variant there is; a choice is logged.
    """
    stem = STEMS[library]
    found = {}
    for weights in _listed(folder, stem):
        first = found.setdefault(weights.variant, weights)
        if first.is_index is (library == "transformers"):  # if both exist, choose as the library does
            found[weights.variant] = weights
    whole = {v: w for v, w in found.items() if all(file.is_file() for file in w.files(name))} or found
    known = [variant for variant in PREFERRED if variant in whole] or sorted(whole)
    if not known:
        refuse_pickles(name, folder)
        raise RethinkError(f"{name}: {folder / f'{stem}.safetensors'} is missing; download it again.")
    if len(known) > 1 and known[0] not in PREFERRED:
        raise RethinkError(
            f"{name}: {folder} has its weights in the variants {', '.join(known)}; keep one, or rename the one you "
            f"want to {stem}.safetensors."
        )
    if len(whole) > 1 and known[0]:
        message = "%s: %s has its weights in the variants %s; %s is used."
        logging.getLogger(__name__).warning(message, name, folder, ", ".join(sorted(whole)), known[0])
    weights = whole[known[0]]
    check_files(name, *weights.files(name))
    for file, tensors in weights.files(name).items():
        if lacking := tensors - tensor_names(name, file):
            raise RethinkError(
                f"{name}: {file} lacks {some_of(lacking)}, which {weights.file.name} lists; download it again."
            )
    return weights


def _listed(folder: Path, stem: str) -> Iterator[Weights]:
    """Every weights file, under all the names that versions of the libraries use."""
    patterns = (
        rf"{stem}(?:\.(.+))?\.safetensors",
        rf"{stem}(?:\.(.+))?\.safetensors\.index\.json",
        rf"{stem}\.safetensors\.index\.(.+)\.json",
        rf"{stem}\.safetensors\.(.+)\.index\.json",
    )
    for file in sorted(folder.iterdir()):
        match = next(filter(None, (re.fullmatch(pattern, file.name) for pattern in patterns)), None)
        if match and not re.search(r"-\d{5}-of-\d{5}", file.name):
            yield Weights(match[1] or "", file)


def open_model(
    name: str,
    folder: Path,
    library: str,
    kind: Any,
    dtype: torch.dtype | None = None,
    *,
    weights: Weights | None = None,
    what: str = "",
    **options,
) -> nn.Module:
    """Open a model from its folder with the `from_pretrained` of its class (or of an Auto class) `kind`.

    dtype: of its weights; None: the library's choice. weights: if they were already found. what: its name in errors, if
    not its class. options: more arguments of `from_pretrained`.
    Raises RethinkError for weights that are missing or damaged, lack a parameter, or have a tensor that does not fit.
    """
    check_files(name, folder / "config.json")
    weights = weights or find_weights(name, folder, library)
    if dtype is not None:
        options |= dtype_argument(library, dtype)
    if library == "transformers":
        options["trust_remote_code"] = False
    try:
        with _as_named_today(name, folder, weights, STEMS[library]) as (place, variant):
            model, report = kind.from_pretrained(
                str(place),
                variant=variant,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except RethinkError:
        raise
    except Exception as error:  # a damaged folder can make the libraries raise anything
        raise RethinkError(
            f"{name}: {folder} cannot be opened as a {what or kind.__name__}: {shortened(error)}"
        ) from error
    check_filled(name, folder, model, report["missing_keys"], report["unexpected_keys"])
    if dtype is not None and not hasattr(model, "hf_quantizer"):
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.dtype not in FLOATS:  # 8-bit floats are for storage only
                parameter.data = parameter.data.to(dtype)
    return model


@contextmanager
def _as_named_today(name: str, folder: Path, weights: Weights, stem: str) -> Iterator[tuple[Path, str | None]]:
    """(a folder, a variant) in which every version of the libraries finds the weights.

    The index of a variant has had several names. One with an older name is copied under the plain name into a temporary
    folder with links to the files that belong to it.
    """
    today = f"{stem}.safetensors.index.{weights.variant}.json"
    if not weights.is_index or not weights.variant or weights.file.name == today:
        yield folder, weights.variant or None
        return
    # On Windows, files that are mapped from the links cannot be removed yet.
    with tempfile.TemporaryDirectory(prefix="rethink-", ignore_cleanup_errors=True) as temporary:
        place = Path(temporary)
        configs = [file for name in ("config.json", "generation_config.json") if (file := folder / name).is_file()]
        try:
            for file in (*configs, *weights.files(name)):
                _link(file.absolute(), place / file.name)
            shutil.copyfile(weights.file, place / f"{stem}.safetensors.index.json")
        except OSError as error:
            raise RethinkError(f"{name}: {weights.file} has an outdated name; rename it to {today}.") from error
        yield place, None


def _link(file: Path, place: Path) -> None:
    try:
        place.symlink_to(file)
    except OSError:  # Windows allows few users to do this
        os.link(file, place)


def check_filled(name: str, source: Path, model: nn.Module, missing: Iterable[str], unused: Iterable[str]) -> None:
    """Raise RethinkError if a model from `source` has unfilled parameters, or the source has unused tensors.

    missing, unused: what the library, or `load_state_dict`, reports.
    """
    places = model.state_dict()
    empty = {key for key, tensor in places.items() if isinstance(tensor, torch.Tensor) and tensor.is_meta}
    parameters = {key for key, _ in model.named_parameters()}
    missing = {key for key in missing if key in parameters or not _needless(key, model)} | empty
    unused = {key for key in unused if not _needless(key, model)}
    faults = [f"lacks {some_of(missing)}"] if missing else []
    faults += [f"contains {some_of(unused)}, which does not belong there"] if unused else []
    if faults:
        raise RethinkError(
            f"{name}: {source} is not a complete {type(model).__name__}: it {' and '.join(faults)}; download it again, "
            "or get it in the layout that diffusers and transformers write."
        )


def _needless(key: str, model: nn.Module) -> bool:
    return needless(key, type(model).__name__) or (
        hasattr(model, "hf_quantizer") and bool(re.search(_OF_QUANTIZATION, key))
    )


def needless(key: str, kind: str) -> bool:
    """Whether nothing needs a tensor in a file of `kind`, according to HARMLESS."""
    return any(re.search(pattern, key) for pattern in (*HARMLESS[""], *HARMLESS.get(kind, {})))


def some_of(names: Iterable[str]) -> str:
    """The first of some tensor names, and how many more there are."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first


def shortened(error: Exception, most: int = 400) -> str:
    """An error's text on one line, cut to a readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}…"


def dtype_argument(library: str, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The dtype argument by its current name: older versions reject the new name, newer ones warn about the old one."""
    version = tuple(int(number) for number in lazy_import(library).__version__.split(".")[:2])
    renamed = {"diffusers": (0, 42), "transformers": (4, 56)}[library]
    return {"dtype" if version >= renamed else "torch_dtype": dtype}
