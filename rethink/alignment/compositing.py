"""Keep unchanged pixels: align an edit with its source, and restore the source's own pixels wherever nothing changed.

Plain torch: every step is a resampling along one axis, a sum or a pooling, and needs no other package.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import RethinkError
from ..images import as_edit_mask, as_image
from .changes import cell_size, dilate, find_changes, surviving_detail
from .registration import DRIFT, ColorTransform, Registration, place, register, size_of

ALIKE = 0.22  # with less agreement of the edges than this, two images have nothing to do with each other
LEFT = 0.07  # with less than this share of the source's detail left, the edit changed everything

OnImage = Callable[[int, int], None]
Verdict = Literal["restored", "everything changed", "nothing in common"]
RESTORED: Verdict = "restored"
EVERYTHING_CHANGED: Verdict = "everything changed"
NOTHING_IN_COMMON: Verdict = "nothing in common"


@dataclass(frozen=True)
class RestoredEdit:
    """One edit with its unchanged pixels restored, and what was measured in the process.

    `image` [H, W, 3] and `mask` [H, W] (1 = the edit's pixel, 0 = the source's own) have the source's size. If
    `verdict` is not RESTORED, `image` is the unaltered edit and `mask` is 1 everywhere.
    `shift` is (right, down) in pixels of the source, `zoom` how much larger things are in the edit, `changed` the
    share 0…1 of pixels that are not the source's, `drift` the RMS change of color.
    """

    image: Tensor
    mask: Tensor
    shift: tuple[float, float]
    zoom: float
    changed: float
    drift: float
    verdict: Verdict

    def __str__(self) -> str:
        if self.verdict == NOTHING_IN_COMMON:
            return "Nothing in common with the source: the edit is left as it is."
        right, down = self.shift
        moved = f"shift {right:+.2f}, {down:+.2f} px · zoom {(self.zoom - 1) * 100:+.2f} %"
        if self.verdict == EVERYTHING_CHANGED:
            return f"The edit changes the whole image: left as it is ({moved})."
        return f"{moved} · color drift {self.drift * 255:.1f}/255 · {self.changed * 100:.1f} % changed"


def keep_unchanged(
    source: Tensor, edit: Tensor, mask: Tensor | None = None, *, on_image: OnImage | None = None
) -> list[RestoredEdit]:
    """Restore the source's own pixels, bit for bit, wherever the edit did not change them; one result per edit.

    `source`: IMAGE [S, H, W, 3]; `edit`: IMAGE [B, h, w, 3] of any size, the edits of the first source first. `mask`
    [S or 1, H, W]: where the image may change. Outside it everything stays the source's, and the two are compared only
    there to find the shift. `on_image(done, total)` is called after each edit; an exception from it ends the run.
    Raises RethinkError for anything but images, for batches and masks of the wrong size, and for an empty mask.
    """
    source, edit = as_image(source, "source"), as_image(edit, "edited")
    each, rest = divmod(len(edit), len(source))
    if rest:
        raise RethinkError(
            f"edited: got {len(edit)} edit(s) for {len(source)} sources; give the same number for every source."
        )
    masks = as_edit_mask(mask, source)
    masks = None if masks is None else masks.expand(len(source), -1, -1).to(source)
    restored = []
    for row, image in enumerate(edit):
        of = row // each
        restored.append(_restore(source[of], image, None if masks is None else masks[of]))
        if on_image is not None:
            on_image(row + 1, len(edit))
    return restored


def _restore(source: Tensor, edit: Tensor, mask: Tensor | None) -> RestoredEdit:
    ours, theirs = source.movedim(-1, 0), edit.movedim(-1, 0).to(source.device)
    size = size_of(ours)
    trusted = _trusted_pixels(ours, mask)
    registration = register(ours, theirs, trusted)
    placement, colors = registration.placement, registration.colors
    drift = colors.drift(theirs)
    if drift > DRIFT:  # a change this large is the edit itself
        colors = ColorTransform.identity(ours)
    placed = colors.undo(place(theirs, placement, size)).clamp(0, 1)
    expected = colors.clip(ours)
    cells = find_changes(expected, placed, placement.visible(size))
    left = surviving_detail(expected, placed, cells, trusted)
    verdict = _verdict(registration, drift, left, masked=mask is not None)
    if verdict == NOTHING_IN_COMMON:
        return RestoredEdit(edit, torch.ones_like(edit[..., 0]), (0.0, 0.0), 1.0, 1.0, 0.0, verdict)
    measured = {"shift": placement.shift(size), "zoom": placement.zoom, "drift": drift}
    if verdict == EVERYTHING_CHANGED:
        return RestoredEdit(edit, torch.ones_like(edit[..., 0]), changed=1.0, verdict=verdict, **measured)
    alpha = soften_mask(cells, size)
    if mask is not None:
        alpha = alpha * mask
    image = torch.where(alpha > 0, torch.lerp(ours, placed, alpha), ours).movedim(0, -1).contiguous()
    return RestoredEdit(image, alpha, changed=(alpha > 0).float().mean().item(), verdict=verdict, **measured)


def _trusted_pixels(source: Tensor, mask: Tensor | None) -> Tensor:
    """Where to look for the shift [1, H, W]: outside the mask, unless that leaves almost nothing."""
    everywhere = torch.ones_like(source[:1])
    if mask is None:
        return everywhere
    outside = 1 - mask[None]
    return outside if outside.mean() > 0.05 else everywhere


def _verdict(registration: Registration, drift: float, left: float, masked: bool) -> Verdict:
    if left >= LEFT and drift <= DRIFT:
        return RESTORED
    if registration.agreement < ALIKE:
        return NOTHING_IN_COMMON
    return RESTORED if masked else EVERYTHING_CHANGED  # the mask says what to keep


def soften_mask(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Changed cells → [H, W]: 1 on their pixels, falling to 0 within a hundredth of the longer side around them."""
    seam = max(2, round(max(size) / 100))
    cell = cell_size(size)
    pixels = cells.float().repeat_interleave(cell, 0).repeat_interleave(cell, 1)[: size[0], : size[1]]
    radii = (-(-seam // 4), seam // 4)  # two boxes make the slope smooth; together they reach half of the seam
    soft = dilate(pixels, sum(radii))[None]
    for radius in radii:
        if radius:
            soft = F.avg_pool2d(F.pad(soft[None], [radius] * 4, mode="replicate"), 2 * radius + 1, stride=1)[0]
    soft = soft[0]
    return torch.where(soft > 1 - 1e-5, 1.0, torch.where(soft < 1e-5, 0.0, soft))
