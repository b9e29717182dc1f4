"""Run with ComfyUI's own Python in its folder: python merge_lora.py FOLDER STRENGTH….

FOLDER has weights.safetensors, weights of layers by the names that lora.safetensors has them under. What ComfyUI's
loader makes of them is written to STRENGTH.safetensors there.
"""

import sys
from pathlib import Path

sys.path.insert(0, ".")
folder, *strengths = sys.argv[1:]
sys.argv = sys.argv[:1]

import comfy.cli_args  # noqa: E402

comfy.cli_args.args.cpu = True

import comfy.lora  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

weights, tensors = (load_file(Path(folder) / f"{name}.safetensors") for name in ("weights", "lora"))
patches = comfy.lora.load_lora(tensors, {name: f"{name}.weight" for name in weights}, log_missing=False)
for strength in strengths:
    merged = {
        name: comfy.lora.calculate_weight(
            [(float(strength), patches[f"{name}.weight"], 1.0, None, None)], weight.clone(), name
        )
        for name, weight in weights.items()
    }
    save_file({name: weight.contiguous() for name, weight in merged.items()}, Path(folder) / f"{strength}.safetensors")
