"""Measures that need their own model, each available if its package and files are: LPIPS, DINO and DreamSim compare two
images, EditScore and EditReward score an edit. Nothing is ever downloaded."""

from __future__ import annotations

import importlib
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import RethinkError, describe_error
from ..model_files import check_data, read_json, tensor_names
from ..weights import find_weights, open_model
from .measures import DINO, DREAMSIM, EDIT_REWARD, EDIT_SCORE, LPIPS, Measure

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["perceptual", "reward"]
# (source, edited, instruction) → a number. Both are IMAGE [1, H, W, 3], of one size where two images are compared.
Compare = Callable[["Tensor", "Tensor", str], float]

ALEXNET = "alexnet-owt-7be5be79.pth"  # torchvision's, which LPIPS is built on
SQUARE = 224  # pixels that DINO and DreamSim see
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of its colors
DINO_CLASSES = {"vit": "ViTModel", "dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel"}
EDIT_SCORE_RANGE = 25  # of its models' answers; they return 0…10


@dataclass(frozen=True)
class LearnedMeasure:
    """A row of the table of learned measures. kind: perceptual ones compare the parts that should not change, rewards
    see the whole edit. open: (folder of the measure's files, device) → the measure; raises RethinkError where something
    is missing."""

    measure: Measure
    kind: Kind
    folder: str
    open: Callable[[Path, str], Compare]

    @property
    def name(self) -> str:
        """The name for people."""
        return self.measure.name


def open_measure(row: LearnedMeasure, models: Path | None, device: str = "cpu") -> Compare:
    """Open a measure. models: contains one folder per measure.

    Raises RethinkError where its package or files are missing, or where it fails in any way.
    """
    folder = (models or Path()) / row.folder
    if row.folder and not (models is not None and folder.is_dir()):
        raise RethinkError(f"there is no folder “{row.folder}” among the models for measures")
    try:
        with no_downloads():
            return row.open(folder, device)
    except RethinkError:
        raise
    except Exception as error:  # packages of others raise anything
        raise RethinkError(f"it cannot be opened: {describe_error(error)}") from error


def measure(compare: Compare, source: Tensor, edited: Tensor, instruction: str) -> float:
    """The value of a measure. Raises RethinkError where it fails or gives no finite number."""
    try:
        with no_downloads():
            value = float(compare(source, edited, instruction))
    except RethinkError:
        raise
    except Exception as error:  # packages of others raise anything
        raise RethinkError(f"it failed: {describe_error(error)}") from error
    if not math.isfinite(value):
        raise RethinkError(f"it gave {value}")
    return value


@contextmanager
def no_downloads() -> Iterator[None]:
    """Make any download by a package from torch's or Hugging Face's hub an error."""
    import torch.hub

    def refuse(url: str, *_: Any, **__: Any) -> None:
        raise RethinkError(f"{url.rpartition('/')[2]} is not on this machine, and nothing is downloaded")

    hub = _import("huggingface_hub.constants")
    fetch, torch.hub.download_url_to_file = torch.hub.download_url_to_file, refuse
    online, hub.HF_HUB_OFFLINE = hub.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        torch.hub.download_url_to_file, hub.HF_HUB_OFFLINE = fetch, online


def _import(module: str) -> Any:
    """Import a package that a user may lack. Raises RethinkError, worded to follow “not measured”."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RethinkError(f"the package {module.partition('.')[0]} is not installed") from error


# ── two images ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _open_lpips(folder: Path, device: str) -> Compare:
    """Use the package lpips, whose AlexNet is where torchvision keeps its models."""
    import torch.hub

    lpips = _import("lpips")
    if not (Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET).is_file():
        raise RethinkError(f"{ALEXNET} is not in {Path(torch.hub.get_dir()) / 'checkpoints'}")
    model = lpips.LPIPS(net="alex", verbose=False).to(device).eval()
    return _without_gradients(lambda a, b, _: model(_channels(a, device) * 2 - 1, _channels(b, device) * 2 - 1))


def _open_dino(folder: Path, device: str) -> Compare:
    """Use the class token of a ViT trained with DINO, from a transformers folder."""
    import torch
    import torch.nn.functional as F

    transformers = _import("transformers")
    check_data("dino", folder)
    kind = str(read_json("dino", folder / "config.json").get("model_type"))
    if kind not in DINO_CLASSES:
        raise RethinkError(f"{folder} holds a {kind}; a {' or '.join(DINO_CLASSES)} of DINO is needed")
    weights = find_weights("dino", folder, "transformers")
    tensors = set().union(*(tensor_names("dino", file) for file in weights.files("dino")))
    options: dict[str, Any] = {"weights": weights}
    if kind == "vit":  # DINO's own have no pooling layer
        options["add_pooling_layer"] = any("pooler." in name for name in tensors)
    model: Any = open_model("dino", folder, "transformers", getattr(transformers, DINO_CLASSES[kind]), **options)
    model = model.float().to(device).eval()
    resized = {"interpolate_pos_encoding": True} if kind == "vit" else {}  # the others do this by themselves
    mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in IMAGENET)

    def token(image: Tensor) -> Tensor:
        seen = (_square(image, device) - mean) / deviation
        return model(pixel_values=seen, **resized).last_hidden_state[:, 0]

    return _without_gradients(lambda a, b, _: F.cosine_similarity(token(a), token(b)))


def _open_dreamsim(folder: Path, device: str) -> Compare:
    """Use the package dreamsim, with the folder that it keeps its models in."""
    model, _ = _import("dreamsim").dreamsim(pretrained=True, device=device, cache_dir=str(folder))
    return _without_gradients(lambda a, b, _: model(_square(a, device), _square(b, device)))


def _channels(image: Tensor, device: str) -> Tensor:
    return image.movedim(-1, 1).to(device)


def _square(image: Tensor, device: str) -> Tensor:
    """[1, 3, SQUARE, SQUARE]: the whole image, as in `clip_similarity`, so that an edit at the border counts."""
    import torch.nn.functional as F

    return F.interpolate(_channels(image, device), (SQUARE, SQUARE), mode="bicubic", antialias=True).clamp(0, 1)


def _without_gradients(compare: Callable[[Tensor, Tensor, str], Tensor]) -> Compare:
    import torch

    def run(source: Tensor, edited: Tensor, instruction: str) -> float:
        with torch.inference_mode():
            return float(compare(source, edited, instruction))

    return run


# ── rewards ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _open_edit_score(folder: Path, device: str) -> Compare:
    """Use the package editscore: a Qwen2.5-VL in `base`, and EditScore's LoRA for it in `lora`."""
    package = _import("editscore")
    for part in ("base", "lora"):
        if not (folder / part).is_dir():
            raise RethinkError(f"{folder} lacks the folder “{part}”")
    scorer = package.EditScore(
        backbone="qwen25vl",
        model_name_or_path=str(folder / "base"),
        enable_lora=True,
        lora_path=str(folder / "lora"),
        score_range=EDIT_SCORE_RANGE,
        num_pass=1,
    )
    return lambda a, b, instruction: scorer.evaluate(_images(a, b), instruction)["final_score"]


def _open_edit_reward(folder: Path, device: str) -> Compare:
    """Use EditReward's own code, which must be on Python's path: its settings in a .yaml, its weights beside it."""
    package = _import("EditReward")
    settings = sorted(folder.glob("*.yaml"))
    if len(settings) != 1:
        raise RethinkError(f"{folder} needs one .yaml of EditReward's settings, and has {len(settings)}")
    model = package.EditRewardInferencer(
        config_path=str(settings[0]),
        checkpoint_path=str(folder),
        device=device,
        reward_dim="overall_detail",
        rm_head_type="ranknet_multi_head",
    )

    def reward(source: Tensor, edited: Tensor, instruction: str) -> float:
        # On Windows, files that the model still has open cannot be removed.
        with tempfile.TemporaryDirectory(prefix="rethink-", ignore_cleanup_errors=True) as place:
            files = [str(Path(place) / f"{name}.png") for name in ("source", "edited")]
            for image, file in zip(_images(source, edited), files):
                image.save(file)
            (found,) = model.reward(prompts=[instruction], image_src=files[:1], image_paths=files[1:])
        return found[0].item()

    return reward


def _images(source: Tensor, edited: Tensor) -> list[Any]:
    from ..images import to_pil

    return [to_pil(image)[0] for image in (source, edited)]


MEASURES = (
    LearnedMeasure(LPIPS, "perceptual", "", _open_lpips),
    LearnedMeasure(DINO, "perceptual", "dino", _open_dino),
    LearnedMeasure(DREAMSIM, "perceptual", "dreamsim", _open_dreamsim),
    LearnedMeasure(EDIT_SCORE, "reward", "editscore", _open_edit_score),
    LearnedMeasure(EDIT_REWARD, "reward", "editreward", _open_edit_reward),
)
