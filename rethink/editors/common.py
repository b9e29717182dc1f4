"""What every editor does around its sampling: check the request, cache the source, recover from running out of memory,
and restore the source's pixels outside the mask."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OutOfMemoryError, RethinkError, is_out_of_memory
from ..images import Fit, as_edit_mask, fit, unfit
from .protocol import EditorFamily, OnStep, Prepared
from .settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class EditBatch:
    """The arguments of one `Editor.edit`, rows grouped by image.

    settings: fully resolved once `run_edit` has checked them; mask: then [len(prepared), H, W] on the CPU.
    """

    prepared: Prepared
    instructions: Sequence[str]
    seeds: Sequence[int]
    settings: Settings
    mask: Tensor | None = None
    on_step: OnStep | None = None

    @property
    def rows_per_image(self) -> int:
        return len(self.instructions) // len(self.prepared)

    def image_of(self, row: int) -> int:
        """The index of the image that a row edits."""
        return row // self.rows_per_image


class _SamplingEditor(Protocol):
    """What `run_edit` needs to know about an editor."""

    name: str
    defaults: Settings

    @property
    def family(self) -> EditorFamily: ...

    @property
    def device(self) -> torch.device: ...


@dataclass(frozen=True)
class Remedies:
    """What to do about the two ways in which sampling can fail, as the end of a sentence.

    out_of_memory: after “… ran out of memory on cuda:0;”. nan: after “… produced NaN”.
    """

    out_of_memory: str
    nan: str


def run_edit(
    editor: _SamplingEditor,
    batch: EditBatch,
    plan: Fit,
    sample: Callable[[EditBatch], Tensor],
    remedies: Remedies,
    release: Callable[[], None],
) -> Tensor:
    """Implement `Editor.edit` around an editor's own sampling.

    Args:
        plan: How the source was fitted to the working size.
        sample: The checked batch → pixels [rows, h, w, 3] at the working size, on the CPU.
        release: Frees what sampling used; always called.

    Returns:
        IMAGE [rows, H, W, 3] at the source's size, with the source's own pixels where the mask is 0.

    Raises:
        RethinkError: For anything the user can fix, including OutOfMemoryError.
    """
    batch = _check_batch(editor, batch)
    pixels = run_with_oom_guard(lambda: sample(batch), release, editor, remedies.out_of_memory)
    if not torch.isfinite(pixels).all():
        raise RethinkError(f"editor: {editor.name} produced NaN{remedies.nan}.")
    return composite_masked(unfit(pixels.clamp(0, 1), plan), batch.prepared.images, batch.mask)


def _check_batch(editor: _SamplingEditor, batch: EditBatch) -> EditBatch:
    """The batch with resolved settings and the mask on the CPU. Raises RethinkError for what the editor cannot do."""
    _check_rows(len(batch.prepared), batch.instructions, batch.seeds)
    settings = batch.settings.resolved(editor.defaults)
    if settings.negative_prompt and not editor.family.takes_negative_prompt:
        raise RethinkError(f"negative: {editor.family.title} takes no negative prompt; leave it empty.")
    mask = as_edit_mask(batch.mask, batch.prepared.images)
    if mask is not None:
        mask = mask.expand(len(batch.prepared), -1, -1).cpu()
    return replace(batch, settings=settings, mask=mask)


def _check_rows(images: int, instructions: Sequence[str], seeds: Sequence[int]) -> None:
    rows = len(instructions)
    if rows == 0 or any(not instruction.strip() for instruction in instructions):
        raise RethinkError("instruction: is empty; say what to change, for example “make it snow”.")
    if len(seeds) != rows:
        raise RethinkError(f"instruction: {rows} instruction(s) but {len(seeds)} seed(s); give one seed for each.")
    if rows % images:
        raise RethinkError(
            f"instruction: {rows} instruction(s) cannot be divided evenly among {images} images; "
            "give the same number for every image."
        )


def run_with_oom_guard(work: Callable[[], T], release: Callable[[], None], editor: _SamplingEditor, remedy: str) -> T:
    """The result of `work`; running out of memory becomes OutOfMemoryError with `remedy`, after memory is freed.

    release: always called when the work is over.
    """
    try:
        with torch.inference_mode():
            return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    finally:
        release()
    # The error is gone by now, and with its traceback the tensors that it held.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemoryError(f"editor: {editor.name} ran out of memory on {editor.device}; {remedy}.")


class SourceCache:
    """Caches what was computed from the last source, keyed by the tensors it came from, without keeping them alive."""

    def __init__(self):
        self._tensors: tuple[tuple[weakref.ref, int], ...] = ()
        self._value: Any = None

    def get(self, tensors: Sequence[Any], compute: Callable[[], T]) -> T:
        """The result of `compute` for these tensors; cached if they are the last ones and unmodified."""
        if not all(isinstance(t, Tensor) for t in tensors):
            return compute()
        known = len(tensors) == len(self._tensors) and all(
            ref() is tensor and version == _version(tensor) for (ref, version), tensor in zip(self._tensors, tensors)
        )
        if not known:
            self._tensors = ()  # whatever happens in `compute`, the old result is gone
            self._value = compute()
            self._tensors = tuple((weakref.ref(tensor), _version(tensor)) for tensor in tensors)
        return self._value


def _version(tensor: Tensor) -> int:
    """A count that changes when the tensor is written to; inference tensors have none."""
    return 0 if tensor.is_inference() else tensor._version


def composite_masked(edited: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
    """Edits [rows, H, W, 3] with the source's own pixels where the mask [B or 1, H, W] is 0; rows grouped by image."""
    if mask is None:
        return edited
    per_image = len(edited) // len(source)
    source = source.cpu().repeat_interleave(per_image, 0)
    mask = mask.expand(len(source) // per_image, -1, -1).repeat_interleave(per_image, 0)[..., None]
    return mask * edited + (1 - mask) * source


def check_area(area: int, multiple: int) -> None:
    """Raise RethinkError if an area is too small for two `multiple`s of pixels per side."""
    least = (2 * multiple) ** 2
    if area < least:
        raise RethinkError(
            f"megapixels: expected {least / 2**20:.4f} or more for this editor, got {area / 2**20:g}; 0 means its "
            "own size."
        )


def latent_edit_mask(mask: Tensor, plan: Fit, size: tuple[int, int]) -> Tensor:
    """Masks [B, H, W] of the source → bool [B, 1, h, w] for latents of `size`: those that touch what may change."""
    fitted = fit(mask[..., None], plan).movedim(-1, 1)
    return F.adaptive_max_pool2d(fitted, size) > 0.01  # resizing leaves specks


def guidance_scales(settings: Settings, seed: int) -> tuple[float, float]:
    """Text and image guidance of the row with this seed."""
    scales = torch.tensor([settings.text_guidance, settings.image_guidance], dtype=torch.float64)
    if settings.randomize_guidance:
        scales *= torch.rand(2, generator=torch.Generator().manual_seed(seed % 2**64)) * 0.4 + 0.8
    text, image = scales.tolist()
    return text, image


def settings_by_row(settings: Settings, scales: Sequence[tuple[float, float]]) -> list[Settings]:
    """Resolved settings with each row's own text and image guidance, as drawn."""
    return [
        replace(settings, text_guidance=text, image_guidance=image, randomize_guidance=False) for text, image in scales
    ]
