"""What every editor does around its sampling: remember the source, mend memory, read the mask and the guidances."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OutOfMemoryError
from ..images import Fit, fit
from .protocol import Settings


class SourceCache:
    """What was made of the last source, found again by the very tensors it was made of; it keeps none of them alive."""

    def __init__(self):
        self._tensors: tuple[tuple[weakref.ref, int], ...] = ()
        self._made: Any = None

    def get(self, tensors: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` returned for these tensors if they were the last ones and nobody has written to them since."""
        if not all(isinstance(t, Tensor) for t in tensors):
            return make()
        known = len(tensors) == len(self._tensors) and all(
            ref() is tensor and version == _version(tensor) for (ref, version), tensor in zip(self._tensors, tensors)
        )
        if not known:
            self._tensors = ()  # whatever happens in `make`, the old is gone
            self._made = make()
            self._tensors = tuple((weakref.ref(tensor), _version(tensor)) for tensor in tensors)
        return self._made


def run_with_oom_guard(work: Callable[[], Any], release: Callable[[], None], complaint: str) -> Any:
    """What `work` returns; out of memory becomes OutOfMemoryError with `complaint`, and what was taken is given back first.

    release: called in any case, when the work is over.
    """
    try:
        with torch.inference_mode():
            return work()
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
    finally:
        release()
    # The error has gone by here, and with its traceback the tensors it held.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemoryError(complaint)


def composite_masked(edited: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
    """Edits [rows, H, W, 3] with the source's own pixels where the mask [B or 1, H, W] is 0; rows grouped by image."""
    if mask is None:
        return edited
    per_image = len(edited) // len(source)
    source = source.cpu().repeat_interleave(per_image, 0)
    mask = mask.expand(len(source) // per_image, -1, -1).repeat_interleave(per_image, 0)[..., None]
    return mask * edited + (1 - mask) * source


def latent_edit_mask(mask: Tensor, plan: Fit, size: tuple[int, int]) -> Tensor:
    """Masks [B, H, W] of the source → bool [B, 1, h, w] of latents of `size`: those that touch what may change."""
    fitted = fit(mask[..., None], plan).movedim(-1, 1)
    return F.adaptive_max_pool2d(fitted, size) > 0.01  # resizing leaves specks


def guidances(settings: Settings, seed: int) -> tuple[float, float]:
    """Text and image guidance of the row with this seed."""
    scales = torch.tensor([settings.text_guidance, settings.image_guidance], dtype=torch.float64)
    if settings.randomize_guidance:
        scales *= torch.rand(2, generator=torch.Generator().manual_seed(seed % 2**64)) * 0.4 + 0.8
    return tuple(scales.tolist())


def drawn_settings(settings: Settings, scales: Sequence[tuple[float, float]]) -> list[Settings]:
    """Resolved settings with each row's own text and image guidance."""
    return [replace(settings, text_guidance=text, image_guidance=image) for text, image in scales]


def _version(tensor: Tensor) -> int:
    """Changes when the tensor is written to; inference tensors keep no count."""
    return 0 if tensor.is_inference() else tensor._version


def _is_out_of_memory(error: BaseException) -> bool:
    # The CPU allocator has no error class of its own.
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or any(
        phrase in str(error) for phrase in ("can't allocate memory", "not enough memory", "out of memory")
    )
