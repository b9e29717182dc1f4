"""Real photographs where scikit-image is at hand, else drawn ones; a thinker that says what it is told to say."""

import numpy as np
import pytest
from PIL import Image


class Scripted:
    """A Chat that gives its answers in turn, over and over, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = answers, []

    def __call__(self, messages, images, *, max_tokens, seed, temperature):
        answer = self.answers[len(self.asked) % len(self.answers)]
        self.asked.append((messages, images, seed))
        if isinstance(answer, Exception):
            raise answer
        return answer


def drawn(height=120, width=160, seed=0):
    """uint8 [H, W, 3] with shapes, gradients and texture, so that every operation has something to take away."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = np.stack([40 + 150 * x / width, 60 + 120 * y / height, 90 + 60 * np.sin(x / 9 + seed)], -1)
    for _ in range(12):
        top, left = rng.integers(0, height - 20), rng.integers(0, width - 20)
        picture[top : top + rng.integers(8, 20), left : left + rng.integers(8, 20)] = rng.integers(0, 256, 3)
    return (picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)


def photographs():
    try:
        from skimage import data
    except ImportError:
        return {"drawn": drawn(), "tall": drawn(200, 90, 1)}
    names = ("astronaut", "coffee", "chelsea", "rocket")
    return {name: np.asarray(Image.fromarray(getattr(data, name)()).reduce(2)) for name in names}


@pytest.fixture
def scripted():
    return Scripted


@pytest.fixture
def folder(tmp_path):
    """Six pictures in a folder."""
    root = tmp_path / "photos"
    root.mkdir()
    for index in range(6):
        Image.fromarray(drawn(seed=index)).save(root / f"photo {index}.png")
    return root
