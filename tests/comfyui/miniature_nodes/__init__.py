"""A pack for the tests' ComfyUI alone: miniature models of every native family, and measuring nodes."""

import copy
import json
from pathlib import Path

import comfy.lora
import comfy.model_management
import folder_paths
import torch
from safetensors.torch import load_file, save_file

from .models import MODELS, WIDTH, model_of_several_blocks, save, text_encoder, vision_model, write_files
from .training import TrainedAsEdited


class MiniatureTextEncoder:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"family": ([*MODELS, "flux2_klein_9b"],)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP",), "run", "tests"

    def run(self, family):
        return (text_encoder(family),)


class Shared:
    """Whether two editors are made of the very same weights, shown."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"a": ("RETHINK_EDITOR",), "b": ("RETHINK_EDITOR",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, a, b):
        pairs = zip(a.module.parameters(), b.module.parameters(), strict=True)
        return {"ui": {"shared": [all(one is other for one, other in pairs)]}}


class WriteLora:
    """A LoRA for a model in the folder of LoRAs: random matrices for all its linear layers, with a fault of choice."""

    INPUT_TYPES = classmethod(
        lambda cls: {"required": {"model": ("MODEL",), "file": ("STRING",), "fault": ("STRING",)}}
    )
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, model, file, fault):
        generator = torch.Generator().manual_seed(1)
        tensors = {}
        for name, weight in model.model.state_dict().items():
            if weight.ndim == 2 and name.startswith("diffusion_model.") and name.endswith(".weight"):
                rows, columns = weight.shape
                base = name.removesuffix(".weight")
                tensors[f"{base}.lora_A.weight"] = torch.randn(4, columns, generator=generator) * columns**-0.5
                tensors[f"{base}.lora_B.weight"] = torch.randn(rows, 4, generator=generator) * 0.1
        down, up = list(tensors)[:2]
        if fault == "nan":
            tensors[up][0, 0] = float("nan")
        if fault == "rank":
            tensors[up] = tensors[up][:, :3].contiguous()
        if fault == "size":
            tensors[up] = tensors[up][:-1].contiguous()
        if fault == "stranger":
            tensors = {f"other_model.{name}": tensor for name, tensor in tensors.items()}
        if fault == "no up":
            del tensors[up]
        if fault == "no down":
            del tensors[down]
        if fault == "empty":
            tensors = {}
        if fault == "extra":
            tensors["other_model.layer.lora_A.weight"] = torch.zeros(4, 4)
        if fault == "kohya":
            tensors = {_in_kohyas_words(name): tensor for name, tensor in tensors.items()}
        if fault == "diffusers":  # the three parts of what is one layer here
            tensors = {}
            for part in ("to_q", "to_k", "to_v"):
                base = f"transformer.transformer_blocks.0.attn.{part}"
                tensors[f"{base}.lora_A.weight"] = torch.randn(4, WIDTH, generator=generator) * WIDTH**-0.5
                tensors[f"{base}.lora_B.weight"] = torch.randn(WIDTH, 4, generator=generator)
        if fault in ("LoKr", "LoHa"):
            tensors = _of_another_kind(fault, tensors, generator)
        if fault in ("alpha", "metadata"):
            tensors = {name.replace("diffusion_model.", "transformer."): tensor for name, tensor in tensors.items()}
        if fault == "alpha":
            tensors |= {
                f"{name.rpartition('.lora_A')[0]}.alpha": torch.tensor(8.0) for name in tensors if ".lora_A" in name
            }
        base = down.removesuffix(".lora_A.weight")
        if fault == "two alphas":
            tensors[f"{base}.alpha"] = torch.ones(2)
        if fault == "lengths":
            tensors[f"{base}.lora_magnitude_vector"] = torch.ones(len(tensors[up]))
        if fault == "Tucker":
            tensors |= {f"{base}.lokr_w1": torch.ones(1, 1), f"{base}.lokr_t2": torch.ones(1, 1, 1, 1)}
        settings = {"transformer.r": 4, "transformer.lora_alpha": 8}
        save(tensors, "loras", file, {"lora_adapter_metadata": json.dumps(settings)} if fault == "metadata" else None)
        return {}


def _of_another_kind(kind, tensors, generator):
    made = {}
    for name in (name for name in tensors if ".lora_A" in name):
        base = name.removesuffix(".lora_A.weight")
        rows, columns = len(tensors[f"{base}.lora_B.weight"]), tensors[name].shape[1]
        shapes = {"lokr_w1": (2, 2), "lokr_w2_a": (rows // 2, 2), "lokr_w2_b": (2, columns // 2)}
        if kind == "LoHa":
            shapes = {
                f"hada_w{i}_{side}": shape for i in "12" for side, shape in (("a", (rows, 2)), ("b", (2, columns)))
            }
        made |= {f"{base}.{key}": torch.randn(*shape, generator=generator) * 0.3 for key, shape in shapes.items()}
        made[f"{base}.alpha"] = torch.tensor(1.0)
    return made


def _in_kohyas_words(name):
    base, factor, _ = name.removeprefix("diffusion_model.").rsplit(".", 2)
    return f"lora_unet_{base.replace('.', '_')}.{'lora_down' if factor == 'lora_A' else 'lora_up'}.weight"


class UnknownNames:
    """The names of layers in a list, by family, for which ComfyUI's loader of LoRAs has no layer, shown."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"names": ("STRING",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, names):
        unknown = []
        for family, stems in json.loads(names).items():
            known = comfy.lora.model_lora_keys_unet(model_of_several_blocks(family), {})
            unknown += [f"{family}: {stem}" for stem in stems if stem not in known]
        return {"ui": {"unknown": unknown}}


class LayersByName:
    """Writes the weights of a model's layers, with what is patched onto them, by names that files of LoRAs have for them.

    Reads names.json, writes layers.safetensors, in the same folder.
    """

    INPUT_TYPES = classmethod(lambda cls: {"required": {"model": ("MODEL",), "folder": ("STRING",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, model, folder):
        names = json.loads((Path(folder) / "names.json").read_text())
        known, weights = comfy.lora.model_lora_keys_unet(model.model, {}), model.model.state_dict()
        layers = {}
        for name in names:
            target = known[name]
            key, part = (target, None) if isinstance(target, str) else target[:2]
            weight = weights[key].float().clone()
            if key in model.patches:
                weight = comfy.lora.calculate_weight(model.patches[key], weight, key)
            layers[name] = (weight if part is None else weight.narrow(*part)).contiguous()
        save_file(layers, Path(folder) / "layers.safetensors")
        return {}


class Unchanged:
    """Whether a model is as its file says, with nothing on it that computes otherwise or learns, shown."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"model": ("MODEL",), "file": ("STRING",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, model, file):
        weights = load_file(folder_paths.get_full_path("diffusion_models", file))
        parts = list(model.model.modules())
        hooked = [part for part in parts if part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part)]
        learning = comfy.model_management.in_training or any(w.requires_grad for w in model.model.parameters())
        found = dict(model.model.diffusion_model.named_parameters())
        same = all(torch.equal(found[name], weight) for name, weight in weights.items() if name in found)
        return {"ui": {"unchanged": [same and len(found) > 9 and not (hooked or learning or model.patches)]}}


class MergeLora:
    """What ComfyUI's loader makes of weights.safetensors and lora.safetensors, where layers have the same names.

    One file a strength, called after it, in the same folder.
    """

    INPUT_TYPES = classmethod(lambda cls: {"required": {"folder": ("STRING",), "strengths": ("STRING",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, folder, strengths):
        weights, tensors = (load_file(Path(folder) / f"{name}.safetensors") for name in ("weights", "lora"))
        patches = comfy.lora.load_lora(tensors, {name: f"{name}.weight" for name in weights}, log_missing=False)
        for strength in strengths.split():
            merged = {
                name: comfy.lora.calculate_weight(
                    [(float(strength), patches[f"{name}.weight"], 1.0, None, None)], weight.clone(), name
                ).contiguous()
                for name, weight in weights.items()
            }
            save_file(merged, Path(folder) / f"{strength}.safetensors")
        return {}


class VisionModel:
    """A Qwen3-VL as a CLIP, as small as it goes."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP",), "run", "tests"

    def run(self):
        return (vision_model(),)


class Ask:
    """The first words of a thinker's model about two pictures, shown; the number tells two like questions apart."""

    INPUT_TYPES = classmethod(
        lambda cls: {
            "required": {
                "thinker": ("RETHINK_THINKER",),
                "source": ("IMAGE",),
                "edited": ("IMAGE",),
                "seed": ("INT",),
                "temperature": ("FLOAT",),
                "number": ("INT",),
            }
        }
    )
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, thinker, source, edited, seed, temperature, number):
        texts = [{"type": "text", "text": text} for text in ("See ", " and ", ": make it red")]
        parts = [texts[0], {"type": "image"}, texts[1], {"type": "image"}, texts[2]]
        options = {"max_tokens": 6, "seed": seed, "temperature": temperature}
        answer = thinker.chat.chat([{"role": "user", "content": parts}], [source, edited], **options)
        return {"ui": {"answer": [answer]}}


class Counted:
    """A CLIP and a VAE that count their encodings."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"clip": ("CLIP",), "vae": ("VAE",)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP", "VAE"), "run", "tests"

    def run(self, clip, vae):
        clip, vae = clip.clone(), copy.copy(vae)
        clip.encode_from_tokens_scheduled = _counting(clip.encode_from_tokens_scheduled)
        vae.encode = _counting(vae.encode)
        return clip, vae


def _counting(work):
    def counted(*inputs, **options):
        counted.calls += 1
        return work(*inputs, **options)

    counted.calls = 0
    return counted


class Counts:
    """How many encodings a CLIP and a VAE have made by the time that a picture is there, shown."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"clip": ("CLIP",), "vae": ("VAE",), "after": ("IMAGE",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, clip, vae, after):
        return {"ui": {"counts": [clip.encode_from_tokens_scheduled.calls, vae.encode.calls]}}


class Crowded:
    """A CLIP and a VAE for which all models must make room before they work, as on a small card."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"clip": ("CLIP",), "vae": ("VAE",)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP", "VAE"), "run", "tests"

    def run(self, clip, vae):
        clip, vae = clip.clone(), copy.copy(vae)
        clip.encode_from_tokens_scheduled = _after_throwing_out(clip.encode_from_tokens_scheduled)
        vae.encode, vae.decode = _after_throwing_out(vae.encode), _after_throwing_out(vae.decode)
        return clip, vae


def _after_throwing_out(work):
    def crowded(*inputs, **options):
        throw_out()
        return work(*inputs, **options)

    return crowded


def throw_out():
    """What ComfyUI does when a model needs room. Returns how many models had to go."""
    return len(comfy.model_management.free_memory(1e30, comfy.model_management.get_torch_device()))


class Pressure:
    """A copy of a picture, after all models were thrown out; how many that were is shown."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"image": ("IMAGE",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = ("IMAGE",), "run", "tests", True

    def run(self, image):
        return {"ui": {"thrown_out": [throw_out()]}, "result": (image.clone(),)}


class After:
    """A list of pictures that waits for others; the same tensor, so that nothing about it is new."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"image": ("IMAGE",), "wait_for": ("IMAGE",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, INPUT_IS_LIST = ("IMAGE",), "run", "tests", True

    def run(self, image, wait_for):
        return (image[0],)


class Instructions:
    """The lines of a text as a list."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"text": ("STRING",)}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_IS_LIST = ("STRING",), "run", "tests", (True,)

    def run(self, text):
        return (text.splitlines(),)


class LeftHalf:
    """A mask of the left half."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"image": ("IMAGE",)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("MASK",), "run", "tests"

    def run(self, image):
        mask = torch.zeros(image.shape[:3])
        mask[:, :, : image.shape[2] // 2] = 1
        return (mask,)


class Difference:
    """The largest difference between two batches of pictures, outside a mask where there is one, shown."""

    INPUT_TYPES = classmethod(
        lambda cls: {"required": {"a": ("IMAGE",), "b": ("IMAGE",)}, "optional": {"outside": ("MASK",)}}
    )
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, a, b, outside=None):
        kept = 1 if outside is None else 1 - outside[..., None]
        difference = ((a - b) * kept).abs().max().item() if a.shape == b.shape else float("inf")
        return {"ui": {"shapes": [[*a.shape], [*b.shape]], "difference": [difference], "spread": [a.std().item()]}}


class Noise:
    """A smooth random picture."""

    INPUT_TYPES = classmethod(
        lambda cls: {"required": {"seed": ("INT",), "width": ("INT",), "height": ("INT",), "batch": ("INT",)}}
    )
    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "run", "tests"

    def run(self, seed, width, height, batch):
        coarse = torch.rand(batch, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        return (torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear").movedim(1, -1),)


class Row:
    """One picture of a batch."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"image": ("IMAGE",), "index": ("INT",)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "run", "tests"

    def run(self, image, index):
        return (image[index : index + 1],)


write_files()
NODE_CLASS_MAPPINGS = {
    f"Test{cls.__name__}": cls
    for cls in (
        MiniatureTextEncoder,
        Shared,
        WriteLora,
        UnknownNames,
        LayersByName,
        Unchanged,
        MergeLora,
        VisionModel,
        Ask,
        Counted,
        Counts,
        Crowded,
        Pressure,
        After,
        Instructions,
        LeftHalf,
        Difference,
        TrainedAsEdited,
        Noise,
        Row,
    )
}
