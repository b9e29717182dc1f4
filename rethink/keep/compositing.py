"""Keep unchanged pixels: an edit laid back on its source, with the source's own pixels wherever nothing was changed.

Plain torch: every step is a resampling along one axis, a sum or a pooling, and nothing has to be installed for it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import RethinkError
from ..images import as_image, as_mask
from .changes import cell_size, dilated, find_changes
from .registration import DRIFT, Registration, place, register

ALIKE = 0.22  # less agreement of the edges than this: two pictures that have nothing to do with each other
LEFT = 0.12  # when less than this share of the source's structure is unchanged, the edit is of everything

KEPT, EVERYTHING, NOTHING = "kept", "everything changed", "nothing in common"


@dataclass(frozen=True)
class Kept:
    """One edit after its unchanged pixels were put back, and what was measured on the way.

    `image` [H, W, 3] and `mask` [H, W] (1 = the edit's, 0 = the source's own pixel) have the source's size, unless
    `verdict` is not KEPT: then `image` is the edit as it came and `mask` is 1 everywhere.
    `shift` is (right, down) in pixels of the source, `zoom` how much larger things are in the edit, `changed` the
    share 0…1 of pixels that are the edit's, `drift` the RMS change of colour that was undone.
    """

    image: Tensor
    mask: Tensor
    shift: tuple[float, float]
    zoom: float
    changed: float
    drift: float
    verdict: str

    def __str__(self) -> str:
        if self.verdict == NOTHING:
            return "Nothing in common with the source: the edit is left as it is."
        right, down = self.shift
        moved = f"shift {right:+.2f}, {down:+.2f} px · zoom {(self.zoom - 1) * 100:+.2f} %"
        if self.verdict == EVERYTHING:
            return f"The edit changes the whole picture: left as it is ({moved})."
        return f"{moved} · colour drift {self.drift * 255:.1f}/255 · {self.changed * 100:.1f} % changed"


def keep_unchanged(source: Tensor, edit: Tensor, mask: Tensor | None = None, *, sensitivity: float = 1.0, seam: int = 0) -> list[Kept]:
    """Put the source's own pixels back wherever the edit did not change them, bit for bit.

    `source`: IMAGE [B or 1, H, W, 3]; `edit`: IMAGE [B, h, w, 3] of any size. `mask` [B or 1, H, W]: where the picture
    may change; outside it everything is the source's, and only there the two are compared to find the shift.
    `sensitivity` above 1 finds fainter changes. `seam`: pixels over which a change fades into the source, outside of
    it; 0 takes a hundredth of the picture's side.
    Raises RethinkError for pictures that are none, and for batches and masks that do not fit.
    """
    source, edit = as_image(source, "source"), as_image(edit, "edit")
    if len(source) not in (1, len(edit)):
        raise RethinkError(f"source: {len(source)} pictures for {len(edit)} edit(s); give one, or one for each edit.")
    if not sensitivity > 0:
        raise RethinkError(f"sensitivity: expected a number above 0, got {sensitivity}.")
    if seam < 0:
        raise RethinkError(f"seam: expected 0 (automatic) or more pixels, got {seam}.")
    masks = [None] * len(edit) if mask is None else as_mask(mask, source[:1].expand(len(edit), -1, -1, -1)).expand(len(edit), -1, -1)
    sources = source.expand(len(edit), -1, -1, -1)
    return [_keep(*pair, sensitivity, seam) for pair in zip(sources, edit, masks)]


def _keep(source: Tensor, edit: Tensor, mask: Tensor | None, sensitivity: float, seam: int) -> Kept:
    ours, theirs = source.movedim(-1, 0), edit.movedim(-1, 0).to(source.device)
    size = ours.shape[1:]
    registration = register(ours, theirs, _trusted(ours, mask))
    placement = registration.placement
    placed = registration.colours.undo(place(theirs, placement, size)).clamp(0, 1)
    cells, texture = find_changes(registration.colours.shown(ours), placed, placement.visible(size), sensitivity)
    verdict = _verdict(registration, theirs, cells, texture, mask)
    measured = {"shift": placement.shift(size), "zoom": placement.zoom, "drift": registration.colours.drift(theirs)}
    if verdict != KEPT:
        return Kept(edit, torch.ones_like(edit[..., 0]), changed=1.0, verdict=verdict, **measured)
    alpha = softened(cells, size, seam)
    if mask is not None:
        alpha = alpha * mask
    image = torch.where(alpha > 0, torch.lerp(ours, placed, alpha), ours).movedim(0, -1)
    return Kept(image, alpha, changed=(alpha > 0).float().mean().item(), verdict=verdict, **measured)


def _trusted(source: Tensor, mask: Tensor | None) -> Tensor:
    """Where to look for the shift [1, H, W]: outside the mask, unless it leaves next to nothing."""
    everywhere = torch.ones_like(source[:1])
    if mask is None:
        return everywhere
    outside = 1 - mask[None]
    return outside if outside.mean() > 0.05 else everywhere


def _verdict(registration: Registration, edit: Tensor, cells: Tensor, texture: Tensor, mask: Tensor | None) -> str:
    weight = texture.clamp(max=4 * texture.mean())
    structure = weight.mean().item()
    left = ((~cells) * weight).mean().item() / structure if structure > 1e-3 else (~cells).float().mean().item()
    if mask is None and (left < LEFT or registration.colours.drift(edit) > DRIFT):
        return NOTHING if registration.agreement < ALIKE and structure > 1e-3 else EVERYTHING
    return KEPT


def softened(cells: Tensor, size: tuple[int, int], seam: int = 0) -> Tensor:
    """Changed cells → [H, W]: 1 on every pixel of them, falling to 0 within `seam` pixels outside (0: automatic)."""
    seam = seam or max(2, round(max(size) / 100))
    cell = cell_size(size)
    pixels = cells.float().repeat_interleave(cell, 0).repeat_interleave(cell, 1)[: size[0], : size[1]]
    radii = (-(-seam // 4), seam // 4)  # two boxes make the slope smooth; together they reach half of the seam
    soft = dilated(pixels, sum(radii))[None]
    for radius in radii:
        if radius:
            soft = F.avg_pool2d(F.pad(soft[None], [radius] * 4, mode="replicate"), 2 * radius + 1, stride=1)[0]
    soft = soft[0]
    return torch.where(soft > 1 - 1e-5, 1.0, torch.where(soft < 1e-5, 0.0, soft))
