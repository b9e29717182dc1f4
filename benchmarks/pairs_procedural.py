"""The part of benchmarks/pairs.py that damages photographs: ours against a single-process loop over Pillow."""

import io
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from rethink.pairs.inverse.drafts import SynthesisConfig, operation_maker
from rethink.pairs.inverse.processes import process_executor
from rethink.pairs.inverse.sources import ImageFolder
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.store import PairStore

ROUNDS = 3


def write_photos(folder, count):
    """Photographs 768 pixels wide: crops of scikit-image's if it is installed, otherwise textures that are as hard to compress."""
    try:
        from skimage import data

        originals = [Image.fromarray(getattr(data, name)()) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    except ImportError:
        noise = np.random.default_rng(0).normal(128, 40, (64, 96, 3)).clip(0, 255).astype(np.uint8)
        originals = [Image.fromarray(noise).resize((640, 427), Image.Resampling.BICUBIC)]
    for index in range(count):
        rng = np.random.default_rng(index)
        photo = originals[index % len(originals)]
        left, top = rng.uniform(0, 0.2, 2) * photo.size
        box = left, top, left + 0.8 * photo.width, top + 0.8 * photo.height
        photo.resize((768, 512), Image.Resampling.LANCZOS, box).save(folder / f"{index:04d}.jpg", quality=92)


def plain_box(image, rng):
    area, ratio = rng.uniform(0.03, 0.2) * image.width * image.height, rng.uniform(0.6, 1.7)
    wide, high = int((area * ratio) ** 0.5), int((area / ratio) ** 0.5)
    left, top = int(rng.integers(image.width - wide)), int(rng.integers(image.height - high))
    return left, top, left + wide, top + high


def plain_cover(image, rng):
    ImageDraw.Draw(image).rectangle(plain_box(image, rng), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return image


def plain_blur(image, rng):
    box = plain_box(image, rng)
    radius = rng.uniform(0.04, 0.16) * min(box[2] - box[0], box[3] - box[1])
    image.paste(image.crop(box).filter(ImageFilter.GaussianBlur(radius)), box)
    return image


def plain_pixelate(image, rng):
    box = plain_box(image, rng)
    part, blocks = image.crop(box), int(rng.integers(5, 17))
    small = part.resize((blocks, max(1, blocks * part.height // part.width)), Image.Resampling.BOX)
    image.paste(small.resize(part.size, Image.Resampling.NEAREST), box)
    return image


def plain_grayscale(image, rng):
    return image.convert("L").convert("RGB")


def plain_compress(image, rng):
    file, factor = io.BytesIO(), rng.uniform(1.5, 4.5)
    small = image.resize((int(image.width / factor), int(image.height / factor)), Image.Resampling.BILINEAR)
    small.save(file, "JPEG", quality=int(rng.integers(8, 41)))
    return Image.open(file).resize(image.size, Image.Resampling.BICUBIC)


PLAIN = {
    "cover": plain_cover,
    "blur": plain_blur,
    "pixelate": plain_pixelate,
    "greyscale": plain_grayscale,
    "compress": plain_compress,
}


def plain_run(photos, out, operation, **packing):
    for index, path in enumerate(photos):
        original = Image.open(path).convert("RGB")
        damaged = PLAIN[operation](original.copy(), np.random.default_rng(index))
        original.save(out / f"{path.stem}_target.png", **packing)
        damaged.save(out / f"{path.stem}_input.png", **packing)


def our_run(photos, out, operation, processes):
    config = SynthesisConfig((operation,))
    with PairStore(out).writing() as store:
        executor = process_executor(processes, store, config) if processes > 1 else None
        synthesize(store, ImageFolder(photos), operation_maker(store, config), 1, executor=executor)


def procedural(count):
    """Median pairs per second for each operation: plain (a quarter of the photographs), and ours with 1, 2 and 4 processes,
    in turn."""
    rates = {}
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place, "photos")
        photos.mkdir()
        write_photos(photos, count)
        for operation in PLAIN:
            some = sorted(photos.iterdir())[: count // 4]
            runs = {"plain": partial(plain_run, some, operation=operation)}
            runs["light"] = partial(plain_run, some, operation=operation, compress_level=1)
            runs |= {n: partial(our_run, photos, operation=operation, processes=n) for n in (1, 2, 4)}
            taken = {name: [] for name in runs}
            for _turn in range(ROUNDS):
                for name, work in runs.items():
                    with tempfile.TemporaryDirectory(dir=place) as out:
                        start = time.perf_counter()
                        work(Path(out))
                        made = count if isinstance(name, int) else len(some)
                        taken[name].append(made / (time.perf_counter() - start))
            rates[operation] = {name: statistics.median(times) for name, times in taken.items()}
    print(f"Procedural: pairs per second, {count} photographs of 768×512, target, input and region written")
    print(
        f"{'operation':>12} {'plain':>8} {'light':>8} {'ours, 1':>8} {'2':>8} {'4':>8} {'2/plain':>8} {'2/light':>8}"
        f" {'2/1':>6} {'4/1':>6}"
    )
    for operation, r in rates.items():
        print(
            f"{operation:>12} {r['plain']:>8.1f} {r['light']:>8.1f} {r[1]:>8.1f} {r[2]:>8.1f} {r[4]:>8.1f} "
            f"{r[2] / r['plain']:>8.2f} {r[2] / r['light']:>8.2f} {r[2] / r[1]:>6.2f} {r[4] / r[1]:>6.2f}"
        )

    def mean(above, below):
        return statistics.geometric_mean(r[above] / r[below] for r in rates.values())

    return {
        "procedural_speedup": mean(2, "plain"),
        "procedural_speedup_worst": min(r[2] / r["plain"] for r in rates.values()),
        "procedural_speedup_light": mean(2, "light"),
        "procedural_scaling_2": mean(2, 1),
        "procedural_scaling_4": mean(4, 1),
    }
