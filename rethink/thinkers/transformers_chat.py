"""A Chat over a local transformers folder with a prefix cache: the prefix of a conversation is computed once.

Everything before the last image of a conversation is its prefix: in a critique, the fixed text, the source image and
the instruction. Its keys and values serve every turn and every candidate; only the last image and what follows it
are computed for each. The split is at the same position whether the prefix is cached or not, so that the cache
never changes an answer.
"""

import copy
import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import OutOfMemoryError, is_out_of_memory
from ..images import to_pil
from .protocol import Messages, OnToken, Placement, Request, ThinkerError, resize_for_vlm
from .templates import as_text


@dataclass(frozen=True, eq=False)
class Encoded:
    """A conversation as a model takes it.

    tokens: int64 [n], with one placeholder for each token that the model sees of an image. prefix: how many come before
    the last image, 0 if nothing can be cached. inputs: the image inputs, by the model's own names.
    """

    tokens: Tensor
    prefix: int
    inputs: dict[str, Tensor]


class TransformersChat:
    """See `protocol.Chat`. `module` holds the weights; moving it moves the thinker. `reader` makes (messages, images) an
    Encoded."""

    def __init__(
        self,
        model: nn.Module,
        reader: "QwenVLEncoder | ProcessorEncoder",
        tokenizer: Any,
        name: str,
        placement: Placement = "movable",
    ):
        self.name = name
        self.placement: Placement = placement
        self.only_critiques = False  # whether it was trained on no other question
        self.module = model
        self.reader = reader
        self.tokenizer = tokenizer
        self._remembered: tuple[str, Any] | None = None  # the last prefix: its key, its keys and values

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self.module.device)

    def clear_cache(self) -> None:
        """Free the memory that the prefix takes."""
        self._remembered = None

    def chat(
        self,
        messages: Messages,
        images: Sequence[Tensor],
        *,
        max_tokens: int,
        seed: int,
        temperature: float,
        on_token: OnToken | None = None,
    ) -> str:
        request = Request(messages, images, seed)
        return self.chat_all([request], max_tokens=max_tokens, temperature=temperature, on_token=on_token)[0]

    def chat_all(
        self, requests: Sequence[Request], *, max_tokens: int, temperature: float, on_token: OnToken | None = None
    ) -> list[str]:
        """All answers, those of equal length that share their prefix as one batch. See `protocol.chat_all`."""
        answers = [""] * len(requests)
        try:
            with torch.inference_mode():
                encoded = [self.reader(request.messages, request.images) for request in requests]
                for rows in _groups(encoded):
                    batch, seeds = [encoded[row] for row in rows], [requests[row].seed for row in rows]
                    texts = self._generate(batch, seeds, max_tokens, temperature, on_token)
                    for row, text in zip(rows, texts):
                        answers[row] = text
            return answers
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        self.clear_cache()  # the error is gone by now, and with its traceback the tensors that it held
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemoryError(
            f"thinker: {self.name} ran out of memory on {self.device}; use fewer candidates, "
            "or load it with fp16 or in 8 or 4 bits."
        )

    def _generate(
        self, batch: list[Encoded], seeds: list[int], max_tokens: int, temperature: float, on_token: OnToken | None
    ) -> list[str]:
        from transformers import GenerationConfig

        length = len(batch[0].tokens)
        tokens = torch.stack([row.tokens for row in batch]).to(self.device)
        inputs = {} if batch[0].prefix else {k: v.to(self.device) for k, v in batch[0].inputs.items()}
        if batch[0].prefix:
            inputs[_cache_parameter(self.module)] = self._prefill(batch, tokens)
        model: Any = self.module  # generation needs more than a module's attributes
        stop = model.generation_config.eos_token_id
        generated = model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            **inputs,
            generation_config=GenerationConfig(
                max_new_tokens=max_tokens,
                do_sample=False,  # each row draws from its own seed, see _Draw
                eos_token_id=self.tokenizer.eos_token_id if stop is None else stop,
                pad_token_id=self.tokenizer.pad_token_id or 0,
            ),
            logits_processor=[_Draw(seeds, temperature)] if temperature else [],
            stopping_criteria=[_ProgressCriteria(length, max_tokens, on_token)] if on_token else [],
        )
        return self.tokenizer.batch_decode(generated[:, length:], skip_special_tokens=True)

    def _prefill(self, batch: list[Encoded], tokens: Tensor) -> Any:
        """The keys and values of all but the last token, for every row of the batch."""
        model: Any = self.module.model
        prefix = batch[0].prefix
        grids = [row.inputs["image_grid_thw"].to(self.device) for row in batch]
        places = [positions(model, tokens[row : row + 1], grid) for row, grid in enumerate(grids)]
        where, deltas = torch.cat([p for p, _ in places], 1), torch.cat([d for _, d in places])
        cache = copy.deepcopy(self._prefix(batch[0], tokens[:1, :prefix], where[:, :1, :prefix], grids[0]))
        if len(batch) > 1:
            cache.batch_repeat_interleave(len(batch))
        last = [row.inputs["pixel_values"][_patches(row, -1) :] for row in batch]
        model(
            input_ids=tokens[:, prefix:-1],
            attention_mask=torch.ones_like(tokens[:, :-1]),
            position_ids=where[..., prefix:-1],
            pixel_values=torch.cat(last).to(self.device),
            image_grid_thw=torch.cat([grid[-1:] for grid in grids]),
            use_cache=True,
            **{_cache_parameter(model): cache},
        )
        model.rope_deltas = deltas  # where the model itself keeps how far positions lag behind the token count
        return cache

    def _prefix(self, row: Encoded, tokens: Tensor, where: Tensor, grid: Tensor) -> Any:
        """The keys and values of the prefix, a batch of one, computed unless cached."""
        patches = row.inputs["pixel_values"][: _patches(row, -1)]
        key = hashlib.sha256(tokens.cpu().numpy().tobytes() + patches.float().numpy().tobytes())
        key = f"{self.device} {self.module.dtype} {key.hexdigest()}"
        if self._remembered is None or self._remembered[0] != key:
            self._remembered = None  # not two at a time
            seen = {"pixel_values": patches.to(self.device), "image_grid_thw": grid[:-1]} if len(grid) > 1 else {}
            model: Any = self.module.model
            output = model(
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                position_ids=where,
                use_cache=True,
                **seen,
            )
            self._remembered = key, output.past_key_values
        return self._remembered[1]


def _cache_parameter(model: Any) -> str:
    """The name of a model's argument for cached keys and values, which changed in transformers 5."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


class QwenVLEncoder:
    """Encodes conversations for models like Qwen-VL: patches in a grid, positions in three dimensions.

    Built from tokenizer and image processor alone: their joint processor also needs a video processor, and with it
    torchvision, which is not needed here.
    """

    def __init__(self, tokenizer: Any, image_processor: Any, image_token: int, template: str | None):
        self._tokenizer, self.image_processor = tokenizer, image_processor
        self.image_token, self._template = image_token, template

    def __call__(self, messages: Messages, images: Sequence[Tensor]) -> Encoded:
        return self.encode(self.as_text(messages), images)

    def as_text(self, messages: Messages) -> str:
        """A conversation as the model gets it, with one placeholder for each image."""
        return as_text(self._tokenizer, messages, self._template)

    def encode(self, text: str, images: Sequence[Tensor]) -> Encoded:
        """Encode the output of `as_text` with its images."""
        tokens = self._tokenizer(text, add_special_tokens=False).input_ids
        if tokens.count(self.image_token) != len(images):
            raise ThinkerError(
                f"thinker: the chat template shows {tokens.count(self.image_token)} image(s) for {len(images)}; "
                "this model does not take several images."
            )
        if not images:
            return Encoded(torch.tensor(tokens), 0, {})
        seen = [self.image_processor(images=to_pil(resize_for_vlm(image)), return_tensors="pt") for image in images]
        inputs = {key: torch.cat([image[key] for image in seen]) for key in ("pixel_values", "image_grid_thw")}
        counts = iter((inputs["image_grid_thw"].prod(-1) // self.image_processor.merge_size**2).tolist())
        expanded, prefix = [], 0
        for token in tokens:
            if token == self.image_token:
                prefix = len(expanded)
                expanded += [token] * next(counts)
            else:
                expanded.append(token)
        return Encoded(torch.tensor(expanded), prefix, inputs)


class ProcessorEncoder:
    """Encodes conversations for every other image-text-to-text model with its own processor. Nothing is cached."""

    def __init__(self, processor: Any):
        self.processor = processor

    def __call__(self, messages: Messages, images: Sequence[Tensor]) -> Encoded:
        text = as_text(self.processor, messages)
        pil_images = [pil for image in images for pil in to_pil(resize_for_vlm(image))]
        inputs = dict(
            self.processor(text=[text], images=pil_images or None, add_special_tokens=False, return_tensors="pt")
        )
        inputs.pop("attention_mask", None)
        return Encoded(inputs.pop("input_ids")[0], 0, inputs)


class _Draw:
    """Turns the most likely token into a draw at `temperature`, each row by its own seed (the Gumbel-max trick).

    Noise comes from the CPU, so that a row's answer depends neither on the other rows nor on the device.
    """

    def __init__(self, seeds: list[int], temperature: float):
        self._generators = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]
        self._temperature = temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        uniform = torch.stack([torch.rand(scores.shape[-1], generator=g) for g in self._generators]).clamp(1e-20, 1)
        return scores.float() / self._temperature - torch.log(-torch.log(uniform) + 1e-20).to(scores.device)


class _ProgressCriteria:
    """Reports the number of tokens after every token; anything the listener raises ends the answer."""

    def __init__(self, length: int, most: int, on_token: OnToken):
        self._length, self._most, self._on_token = length, most, on_token

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs) -> Tensor:
        self._on_token(input_ids.shape[1] - self._length, self._most)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _groups(encoded: list[Encoded]) -> list[list[int]]:
    """Groups of rows that can be one batch: same prefix and same length, so that no row needs padding."""
    groups: dict[Any, list[int]] = {}
    for row, one in enumerate(encoded):
        key = (len(one.tokens), one.tokens[: one.prefix].numpy().tobytes(), _patches(one, -1)) if one.prefix else row
        same = groups.setdefault(key, [])
        if same and not _same_prefix_pictures(encoded[same[0]], one):
            same = groups.setdefault(row, [])
        same.append(row)
    return list(groups.values())


def _same_prefix_pictures(a: Encoded, b: Encoded) -> bool:
    return torch.equal(a.inputs["pixel_values"][: _patches(a, -1)], b.inputs["pixel_values"][: _patches(b, -1)])


def _patches(row: Encoded, images: int) -> int:
    """The number of patches in the images before the last one."""
    return int(row.inputs["image_grid_thw"][:images].prod(-1).sum())


def takes_token_types(model: Any) -> bool:
    """Whether a decoder like Qwen-VL's is told which tokens are images, as since transformers 5."""
    return "mm_token_type_ids" in inspect.signature(model.get_rope_index).parameters


def positions(model: Any, tokens: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """The model's own three-dimensional positions [3, 1, n], and how far they lag behind the token count [1, 1].

    model: anything with `get_rope_index`, as decoders like Qwen-VL's have.
    """
    arguments = {"input_ids": tokens, "image_grid_thw": grid}
    if takes_token_types(model):
        arguments["mm_token_type_ids"] = tokens.eq(model.config.image_token_id).int()
    return model.get_rope_index(**arguments)
