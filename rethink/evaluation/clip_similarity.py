"""CLIP similarities of an edit, from any transformers CLIPModel folder (InstructPix2Pix, section 3.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import RethinkError, lazy_import
from ..model_files import check_data, check_files, model_name, read_json, snapshot_of
from ..weights import open_model, shortened


class Clip:
    """Embeds images and captions on the unit sphere.

    folder: config, safetensors, tokenizer and preprocessor_config.json, as `save_pretrained` writes them.
    Raises RethinkError naming the folder when it is not a CLIPModel.
    """

    def __init__(self, folder: str | Path, device: str = "cpu"):
        transformers, folder = lazy_import("transformers"), snapshot_of(Path(folder))
        self.name = model_name(folder)
        _check_folder(folder)
        self.model: Any = open_model("clip", folder, "transformers", transformers.CLIPModel)
        try:
            self.tokenizer = transformers.CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
            images = transformers.CLIPImageProcessor.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # a damaged folder can make the libraries raise anything
            raise RethinkError(f"clip: {folder} is not a CLIPModel folder: {shortened(error)}") from error
        self.model.eval().to(device)  # Any: torch does not type a Module's attributes
        if torch.device(device).type == "cpu":
            self.model.float()  # a CPU emulates half precision, eight times slower
        self.mean = torch.tensor(images.image_mean, device=device)[:, None, None]
        self.std = torch.tensor(images.image_std, device=device)[:, None, None]
        self.side = self.model.config.vision_config.image_size
        self.tokens = self.model.config.text_config.max_position_embeddings
        self.device = device

    @torch.inference_mode()
    def images(self, images: Sequence[np.ndarray]) -> Tensor:
        """uint8 [H, W, 3] each → [len(images), D]. The whole image is scaled to CLIP's square instead of cropped, so
        that an edit at the border counts."""
        pixels = torch.stack([self._square(image) for image in images])
        pooled = self.model.vision_model(pixel_values=(pixels - self.mean) / self.std).pooler_output
        return F.normalize(self.model.visual_projection(pooled).float(), dim=-1)

    def _square(self, image: np.ndarray) -> Tensor:
        channels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float() / 255
        scaled = F.interpolate(channels, size=(self.side, self.side), mode="bicubic", antialias=True)
        return scaled[0].clamp(0, 1)

    @torch.inference_mode()
    def texts(self, captions: Sequence[str]) -> Tensor:
        """[len(captions), D]. Captions are truncated at the model's maximum number of tokens."""
        words = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=self.tokens, return_tensors="pt"
        ).to(self.device)
        pooled = self.model.text_model(input_ids=words.input_ids, attention_mask=words.attention_mask).pooler_output
        return F.normalize(self.model.text_projection(pooled).float(), dim=-1)


def _check_folder(folder: Path) -> None:
    """Raise RethinkError unless a CLIPModel folder is complete and contains only data."""
    if not (folder / "config.json").is_file():
        raise RethinkError(f"clip: {folder} is not a CLIPModel folder: it has no config.json.")
    check_data("clip", folder)
    if (kind := read_json("clip", folder / "config.json").get("model_type")) != "clip":
        raise RethinkError(f"clip: {folder} is not a CLIPModel folder but a {kind}.")
    check_files("clip", folder / "preprocessor_config.json")
    if not (folder / "tokenizer.json").is_file():
        check_files("clip", folder / "vocab.json", folder / "merges.txt")  # otherwise an empty tokenizer would open


def similarities(images: Tensor, texts: Tensor | None) -> list[dict[str, float]]:
    """CLIP cosines of B edits, under the released code's names.

    images: [2, B, D], before and after. texts: [2, B, D], the captions of both, or None.
    clip_sim_image: image to image. clip_sim_0, clip_sim_1: each caption to its image. clip_sim_dir: the change of the
    images along the change of the captions.
    """
    columns = {"clip_sim_image": F.cosine_similarity(images[0], images[1], dim=-1)}
    if texts is not None:
        columns["clip_sim_0"] = F.cosine_similarity(images[0], texts[0], dim=-1)
        columns["clip_sim_1"] = F.cosine_similarity(images[1], texts[1], dim=-1)
        columns["clip_sim_dir"] = F.cosine_similarity(images[1] - images[0], texts[1] - texts[0], dim=-1)
    rows = zip(*(column.tolist() for column in columns.values()))
    return [{name: round(value, 5) for name, value in zip(columns, row)} for row in rows]
