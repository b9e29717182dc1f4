"""What tests of pairs share: drawn and real images, a chat that says what it is told to, what lies in a folder."""

import numpy as np
from PIL import Image

from rethink.pairs.store import EditPair


class ScriptedChat:
    """A Chat that gives its answers in turn, over and over, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = answers, []

    def __call__(self, messages, images, *, max_tokens, seed, temperature):
        answer = self.answers[len(self.asked) % len(self.answers)]
        self.asked.append((messages, images, seed))
        if isinstance(answer, Exception):
            raise answer
        return answer


def draw_image(height=120, width=160, seed=0):
    """uint8 [H, W, 3] with shapes, gradients and texture, so that every operation has something to take away."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.stack([40 + 150 * x / width, 60 + 120 * y / height, 90 + 60 * np.sin(x / 9 + seed)], -1)
    for _ in range(12):
        top, left = rng.integers(0, height - 20), rng.integers(0, width - 20)
        image[top : top + rng.integers(8, 20), left : left + rng.integers(8, 20)] = rng.integers(0, 256, 3)
    return (image + rng.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)


def load_photographs():
    """{name: uint8 [H, W, 3]} of real photographs where scikit-image is at hand, else of drawn images."""
    try:
        from skimage import data
    except ImportError:
        return {"drawn": draw_image(), "tall": draw_image(200, 90, 1)}
    names = ("astronaut", "coffee", "chelsea", "rocket")
    return {name: np.asarray(Image.fromarray(getattr(data, name)()).reduce(2)) for name in names}


def read_store(folder):
    """{file: its bytes} of a store; of its logs the sorted lines, since runs may end their jobs in any order."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    files.pop(".lock", None)
    return {name: sorted(data.splitlines()) if name.endswith(".jsonl") else data for name, data in files.items()}


def make_pair(number, **more):
    """A pair with the id of a number; its images are not there."""
    return EditPair(f"{number:016x}", f"images/00/{number}-input.png", "images/00/t.png", "Do it.", **more)


def ids(pairs):
    """The ids of pairs."""
    return {pair.id for pair in pairs}
