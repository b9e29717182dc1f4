"""Quantizes weights while loading, with the packages that diffusers and transformers support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..errors import lazy_import

if TYPE_CHECKING:
    import torch

_LARGE = ("transformer", "unet", "text_encoder", "text_encoder_2", "text_encoder_3")  # the VAE is small and sensitive

_DENOISERS = {"transformer", "unet"}


@dataclass(frozen=True)
class Quantizer:
    """package: what must be installed. config: the class that diffusers and transformers both have, and its options,
    which they may spell differently. bits: per weight."""

    package: str
    config: str
    diffusers: Mapping[str, Any]
    transformers: Mapping[str, Any]
    bits: float


FP8: Literal["fp8"] = "fp8"
QuantizerName = Literal["none", "fp8", "int8 (quanto)", "int8 (torchao)", "int8 (bitsandbytes)", "nf4 (bitsandbytes)"]
QUANTIZERS: dict[QuantizerName, Quantizer | None] = {
    "none": None,
    FP8: None,  # cast after loading, by `cast_to_fp8`
    "int8 (quanto)": Quantizer("optimum-quanto", "QuantoConfig", {"weights_dtype": "int8"}, {"weights": "int8"}, 8),
    "int8 (torchao)": Quantizer("torchao", "TorchAoConfig", {}, {}, 8),
    "int8 (bitsandbytes)": Quantizer(
        "bitsandbytes", "BitsAndBytesConfig", {"load_in_8bit": True}, {"load_in_8bit": True}, 8
    ),
    "nf4 (bitsandbytes)": Quantizer(
        "bitsandbytes",
        "BitsAndBytesConfig",
        {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        4.5,
    ),
}


def quantization(name: QuantizerName, parts: Mapping[str, str], compute: torch.dtype) -> dict[str, dict[str, Any]]:
    """Part → the options of `from_pretrained` that quantize it, for the large ones of `parts` (name → library).

    compute: the dtype that they compute in. Raises RethinkError if the package is not installed.
    """
    quantizer = QUANTIZERS[name]
    if quantizer is None:
        return {}
    lazy_import(quantizer.package.replace("-", "."), quantizer.package)

    def config(library: str) -> Any:
        options = dict(getattr(quantizer, library))
        if "load_in_4bit" in options:
            options["bnb_4bit_compute_dtype"] = compute
        if quantizer.package == "torchao":
            options["quant_type"] = lazy_import("torchao.quantization").Int8WeightOnlyConfig()
        return getattr(lazy_import(library), quantizer.config)(**options)

    return {part: {"quantization_config": config(library)} for part, library in parts.items() if part in _LARGE}


def cast_to_fp8(parts: Mapping[str, Any], compute: torch.dtype) -> None:
    """Store the weights of the denoiser among `parts` in 8 bits; each layer casts its own to `compute` while it works.

    Norms and embeddings stay as they are, and so do convolutions: in the backward pass, autograd would find their
    weights in 8 bits.
    """
    import torch

    for name in _DENOISERS & set(parts):
        parts[name].enable_layerwise_casting(
            storage_dtype=torch.float8_e4m3fn, compute_dtype=compute, skip_modules_classes=(torch.nn.Conv2d,)
        )
