"""Compare Keep Unchanged Pixels with doing nothing, phase correlation alone and optical-flow compositing.

    python benchmarks/keep_unchanged.py [--rounds N] [--seed N] [--threads N]        needs: scikit-image scikit-learn opencv-python

Photographs from scikit-image and scikit-learn are edited by code, so that the truth is known, then moved (up to ±12 px and
±3 %), tinted, blurred, given noise and saved as JPEG, as if an editor had made them. The alternatives find changes with our
own rule, on their own alignment. A pixel counts as edited if the edit changed it by 8/255 or more, and as untouched if it is
farther than MARGIN of the longer side from every pixel that the edit changed at all (the seam has to be somewhere).
Prints tables for people; the last line is one JSON object.
"""

import argparse
import io
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import skimage.data
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from rethink.alignment.changes import find_changes
from rethink.alignment.compositing import (
    EVERYTHING_CHANGED,
    NOTHING_IN_COMMON,
    RESTORED,
    RestoredEdit,
    keep_unchanged,
    soften_mask,
)

SKIMAGE = (
    "astronaut",
    "camera",
    "chelsea",
    "coffee",
    "coins",
    "rocket",
    "retina",
    "hubble_deep_field",
    "brick",
    "immunohistochemistry",
)
HELD_OUT = ("moon", "grass", "gravel", "cell", "clock")  # no threshold was chosen on these
GLOBAL = ("night", "fog", "snow", "sketch", "posterize", "sepia", "sunset", "oil", "pixels", "negative")
EDITED, MARGIN = 8 / 255, 0.04
LONG_SIDE = 640


def photographs():
    """Name → [H, W, 3] floats, their longer side at most LONG_SIDE."""
    found = {name: getattr(skimage.data, name)() for name in SKIMAGE + HELD_OUT}
    found["motorcycle"] = skimage.data.stereo_motorcycle()[0]
    found |= dict(zip(("china", "flower"), load_sample_images().images))
    return {name: _resize(image) for name, image in found.items()}


def _resize(image):
    image = np.asarray(Image.fromarray(image).convert("RGB"), np.float32) / 255
    scale = LONG_SIDE / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)


@dataclass
class Case:
    photo: str
    kind: str
    source: np.ndarray
    edit: np.ndarray
    clean: np.ndarray  # the edit in the source's frame, before it was moved and degraded
    shift: tuple[float, float]
    zoom: float
    seen: np.ndarray  # the source's pixels that the edit shows


def make_case(photo, source, kind, photos, rng):
    clean = EDITS[kind](source, photos, rng)
    shift, zoom = tuple(rng.uniform(-12, 12, 2)), 1 + rng.uniform(-0.03, 0.03)
    edit, seen = displace(clean, shift, zoom)
    return Case(photo, kind, source, degrade(edit, rng), clean, shift, zoom, seen)


def displace(image, shift, zoom):
    """The image as moved and zoomed by an editor, and which of its pixels are still visible."""
    height, width = image.shape[:2]
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    # Content at the center goes to center + shift; things grow by zoom.
    matrix = np.hstack([np.eye(2) * zoom, (center - zoom * center + np.array(shift))[:, None]])
    # Resampling this slight needs no anti-aliasing filter.
    moved = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT)
    ys, xs = np.mgrid[:height, :width]
    places = zoom * np.stack([xs, ys], -1) + matrix[:, 2]
    seen = ((places >= 0) & (places <= [width - 1, height - 1])).all(-1)
    return moved.clip(0, 1), seen


def degrade(image, rng):
    """Add a tint, the softness of an autoencoder, noise and JPEG artifacts."""
    image = image * rng.uniform(0.94, 1.06, 3) + rng.uniform(-0.025, 0.025, 3)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    image = image + rng.normal(0, rng.uniform(0, 0.015), image.shape)
    file = io.BytesIO()
    Image.fromarray((image.clip(0, 1) * 255).round().astype(np.uint8)).save(
        file, "JPEG", quality=int(rng.integers(80, 98))
    )
    return np.asarray(Image.open(file), np.float32) / 255


# Local edits: (source, all photographs, random numbers) → the edited source


def blob(source, rng, smallest=0.1, largest=0.22):
    """A soft-edged ellipse [H, W, 1] somewhere inside, its radii in shares of the shorter side."""
    height, width = source.shape[:2]
    radii = rng.uniform(smallest, largest, 2) * min(height, width)
    center = [rng.uniform(radius + 14, side - radius - 14) for radius, side in zip(radii, (height, width))]
    ys, xs = np.mgrid[:height, :width]
    far = np.hypot((ys - center[0]) / radii[0], (xs - center[1]) / radii[1])
    return ((1 - far) * radii.min() / 1.5 + 0.5).clip(0, 1)[..., None].astype(np.float32)


def mixed(source, other, area):
    return np.where(area > 0, source + area * (other - source), source).astype(np.float32)


def another(source, photos, rng):
    while (other := photos[int(rng.integers(len(photos)))]) is source:
        pass
    return cv2.resize(other, source.shape[1::-1])


def paste(source, photos, rng):
    return mixed(source, another(source, photos, rng), blob(source, rng))


def recolor(source, photos, rng):
    mixing = np.eye(3)[rng.permutation(3)] * 0.7 + rng.dirichlet([1, 1, 1]) * 0.3
    return mixed(source, (source @ mixing.T * rng.uniform(0.6, 1.3, 3)).clip(0, 1), blob(source, rng))


def remove(source, photos, rng):
    area = blob(source, rng, 0.06, 0.12)
    eight_bits = (source * 255).round().astype(np.uint8)
    filled = cv2.inpaint(eight_bits, (area[..., 0] > 0).astype(np.uint8), 5, cv2.INPAINT_TELEA)
    return mixed(source, filled.astype(np.float32) / 255, area)


def cover(source, photos, rng):
    return mixed(source, rng.uniform(0, 1, 3).astype(np.float32), blob(source, rng, 0.06, 0.2))


def blur(source, photos, rng):
    return mixed(source, cv2.GaussianBlur(source, (0, 0), rng.uniform(4, 9)), blob(source, rng))


def background(source, photos, rng):
    return mixed(source, another(source, photos, rng), 1 - blob(source, rng, 0.3, 0.42))


EDITS = {edit.__name__: edit for edit in (paste, recolor, remove, cover, blur, background)}


# Edits of everything


def everything(source, kind, rng):
    gray = source.mean(-1, keepdims=True)
    height, width = source.shape[:2]
    noise = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 1.2)[..., None]
    match kind:
        case "night":
            edited = source**1.3 * [0.25, 0.3, 0.5]
        case "fog":
            depth = np.linspace(0.75, 0.35, height)[:, None, None]
            edited = source * (1 - depth) + 0.82 * depth
        case "snow":
            edited = np.where(noise > 0.35, 0.95, 0.55 * gray + 0.15 * source + 0.25)
        case "sketch":
            blur = cv2.GaussianBlur(gray, (0, 0), 5)[..., None]
            edited = np.repeat((gray / (blur + 0.02)).clip(0, 1), 3, -1)
        case "posterize":
            edited = np.floor(source * 3.999) / 3
        case "sepia":
            edited = gray**0.8 * [1.0, 0.85, 0.62]
        case "sunset":
            edited = source * np.linspace(1.15, 0.6, height)[:, None, None] * [1.2, 0.8, 0.55] + [0.12, 0.03, 0]
        case "oil":
            edited = cv2.medianBlur((source * 255).astype(np.uint8), 15).astype(np.float32) / 255
            edited = (edited + 0.15 * noise).clip(0, 1) ** 0.8
        case "pixels":
            small = cv2.resize(source, (width // 16, height // 16), interpolation=cv2.INTER_AREA)
            edited = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
        case "negative":
            edited = 1 - source
    return edited.clip(0, 1).astype(np.float32)


def global_edits(photos, kind, rng):
    """[(source, edit)]: every photograph edited as a whole, displaced and degraded."""
    pairs = []
    for source in photos:
        edit, _ = displace(everything(source, kind, rng), tuple(rng.uniform(-12, 12, 2)), 1 + rng.uniform(-0.03, 0.03))
        pairs.append((source, degrade(edit, rng)))
    return pairs


# Ways to keep what is unchanged: (source, edit) as IMAGE [1, H, W, 3] → Result


@dataclass
class Result:
    image: np.ndarray
    mask: np.ndarray
    shift: tuple[float, float]
    zoom: float


def ours(source, edit):
    kept: RestoredEdit = keep_unchanged(source, edit)[0]
    return Result(kept.image.numpy(), kept.mask.numpy(), kept.shift, kept.zoom)


def nothing(source, edit):
    return Result(edit[0].numpy(), np.ones(edit.shape[1:3], np.float32), (0.0, 0.0), 1.0)


def phase_correlation(source, edit):
    grays = [image[0].mean(-1).numpy() for image in (source, edit)]
    window = cv2.createHanningWindow(grays[0].shape[::-1], cv2.CV_32F)
    shift, _ = cv2.phaseCorrelate(*grays, window)
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    aligned = cv2.warpAffine(edit[0].numpy(), matrix, grays[0].shape[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT)
    return _composited(source, aligned, shift, 1.0)


def optical_flow(source, edit):
    grays = [(image[0].mean(-1).numpy() * 255).astype(np.uint8) for image in (source, edit)]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grays, None)
    height, width = grays[0].shape
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    aligned = cv2.remap(
        edit[0].numpy(), xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    centered = np.stack([xs - (width - 1) / 2, ys - (height - 1) / 2])
    slopes = [np.median(np.diff(flow[::8, ::8, a], axis=1 - a)) / 8 for a in (0, 1)]
    zoom = 1 + float(np.mean(slopes))
    shift = tuple(float(np.median(flow[..., a] - (zoom - 1) * centered[a])) / zoom for a in (0, 1))
    return _composited(source, aligned, shift, zoom)


def _composited(source, aligned, shift, zoom):
    theirs, ours = torch.from_numpy(aligned).clamp(0, 1).movedim(-1, 0), source[0].movedim(-1, 0)
    size = ours.shape[1:]
    cells = find_changes(ours, theirs, (slice(0, size[0]), slice(0, size[1])))
    alpha = soften_mask(cells, size)
    image = torch.where(alpha > 0, torch.lerp(ours, theirs, alpha), ours)
    return Result(image.movedim(0, -1).numpy(), alpha.numpy(), shift, zoom)


WAYS = {"ours": ours, "nothing": nothing, "phase correlation": phase_correlation, "optical flow": optical_flow}


def measured(case, result):
    """The figures of one case."""
    changed = np.abs(case.clean - case.source).max(-1)
    edited = (changed >= EDITED) & case.seen
    reach = max(1, round(MARGIN * max(changed.shape)))
    near = cv2.dilate((changed > 0).astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    same = (result.image == case.source).all(-1)
    return {
        "shift": float(np.hypot(*np.subtract(result.shift, case.shift))),
        "zoom": abs(result.zoom / case.zoom - 1) * 100,
        "kept": int((result.mask[edited] > 0.99).sum()),
        "edited": int(edited.sum()),
        "identical": int(same[~near].sum()),
        "untouched": int((~near).sum()),
        "identical_all": int(same[changed == 0].sum()),
        "untouched_all": int((changed == 0).sum()),
    }


def total(rows):
    """The report over many cases: 95th percentiles of errors, shares of all pixels."""

    def share(part, whole):
        return sum(row[part] for row in rows) / sum(row[whole] for row in rows)

    each = [row["kept"] / row["edited"] for row in rows if row["edited"]]
    return {
        "shift_error_px_p95": float(np.percentile([row["shift"] for row in rows], 95)),
        "zoom_error_percent_p95": float(np.percentile([row["zoom"] for row in rows], 95)),
        "edited_kept": share("kept", "edited"),
        "edited_kept_p5": float(np.percentile(each, 5)),
        "untouched_identical": share("identical", "untouched"),
        "untouched_identical_to_the_seam": share("identical_all", "untouched_all"),
    }


def judged(cases, way):
    """(figures of every case, mean seconds) for one method."""
    rows, seconds = [], 0.0
    for case in cases:
        source, edit = torch.from_numpy(case.source)[None], torch.from_numpy(case.edit)[None]
        started = time.perf_counter()
        result = WAYS[way](source, edit)
        seconds += time.perf_counter() - started
        rows.append(measured(case, result))
    return rows, seconds / len(cases)


def verdicts(pairs):
    """How often each verdict is given on [(source, edit)]; any verdict but RESTORED must return the edit untouched."""
    counts = dict.fromkeys((RESTORED, EVERYTHING_CHANGED, NOTHING_IN_COMMON), 0)
    for source, edit in pairs:
        kept = keep_unchanged(torch.from_numpy(source), torch.from_numpy(edit))[0]
        assert kept.verdict == RESTORED or np.array_equal(kept.image.numpy(), edit)
        counts[kept.verdict] += 1 / len(pairs)
    return counts


def seconds_at_a_megapixel(photos, rng):
    """The median of seven runs on the astronaut, enlarged to 1024 × 1024 and edited."""
    source = cv2.resize(photos["astronaut"], (1024, 1024), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    case = make_case("astronaut", source, "paste", list(photos.values()), rng)
    return float(np.median([judged([case], "ours")[1] for _ in range(7)]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="number of times every photograph gets every edit")
    parser.add_argument("--seed", type=int, default=100, help="seed of the edits, displacements and degradations")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch and OpenCV")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    photos, rng = photographs(), np.random.default_rng(arguments.seed)
    images = list(photos.values())
    cases = [
        make_case(name, image, kind, images, rng)
        for _ in range(arguments.rounds)
        for name, image in photos.items()
        for kind in EDITS
    ]

    print(f"Local edits of {len(images)} photographs, displaced and degraded: {len(cases)} cases")
    titles = ("shift px", "zoom %", "kept", "kept (p5)", "identical", "to seam", "seconds")
    print(" " * 18 + "".join(f"{title:>11}" for title in titles))
    line = "{:<18}{:>11.3f}{:>11.3f}{:>11.2%}{:>11.2%}{:>11.3%}{:>11.2%}{:>11.3f}"
    figures = {}
    for way in WAYS:
        rows, seconds = judged(cases, way)
        figures[way] = total(rows)
        print(line.format(way, *figures[way].values(), seconds), flush=True)
        if way == "ours":
            for kind in EDITS:
                of_kind = total([row for row, case in zip(rows, cases) if case.kind == kind])
                print(line.format(f"  {kind}", *of_kind.values(), seconds))
            held_out = total([row for row, case in zip(rows, cases) if case.photo in HELD_OUT])
            print(line.format("  held-out photos", *held_out.values(), seconds))

    everything = [pair for kind in GLOBAL for pair in global_edits(images, kind, rng)]
    unlike = [(a, degrade(another(a, images, rng), rng)) for a in images for _ in range(arguments.rounds)]
    print(
        f"\n{'How it is judged':<36} "
        + " ".join(f"{name:>20}" for name in (RESTORED, EVERYTHING_CHANGED, NOTHING_IN_COMMON))
    )
    judgments = {}
    for name, pairs in (("everything", everything), ("unlike", unlike)):
        judgments[name] = verdicts(pairs)
        print(f"{name:<36} " + " ".join(f"{share:>20.1%}" for share in judgments[name].values()), flush=True)
    seconds = seconds_at_a_megapixel(photos, rng)
    print(f"\n1024 × 1024: {seconds:.2f} s")

    names = {way: "" if way == "ours" else "_" + way.replace(" ", "_") for way in WAYS}
    summary = {f"{name}{names[way]}": value for way, row in figures.items() for name, value in row.items()}
    summary |= {
        "everything_recognized": judgments["everything"][EVERYTHING_CHANGED],
        "everything_left_alone": 1 - judgments["everything"][RESTORED],
        "nothing_in_common_said": judgments["unlike"][NOTHING_IN_COMMON],
        "seconds_megapixel": seconds,
        "cases": len(cases),
        "threads": arguments.threads,
    }
    print(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in summary.items()}))


if __name__ == "__main__":
    main()
