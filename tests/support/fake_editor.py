"""An editor that writes into its images how they were made."""

from types import SimpleNamespace

import torch
from torch import nn

from rethink.editors.protocol import Prepared
from rethink.editors.settings import Settings


class FakeEditor:
    """Paints its rows: red the source's, green the instruction's length / 100, blue the seed / 100. Four steps."""

    name = "fake"
    defaults = Settings(steps=4, text_guidance=7.5, image_guidance=1.5)
    family = SimpleNamespace(guides_by_image=True)

    def __init__(self):
        self.module = nn.Linear(1, 1)
        self.prepared = []
        self.references = []
        self.calls = []
        self.before_step = lambda step: None

    def prepare(self, images, references=()):
        self.prepared.append(images)
        self.references = list(references)
        return Prepared(images, None)

    def edit(self, prepared, instructions, seeds, settings=None, *, mask=None, on_step=None):
        self.calls.append(SimpleNamespace(instructions=instructions, seeds=seeds, settings=settings, mask=mask))
        per_image, rest = divmod(len(instructions), len(prepared))
        assert rest == 0 and len(seeds) == len(instructions)
        for step in range(1, 5):
            self.before_step(step)
            on_step(step, 4, lambda: torch.zeros(len(seeds), 8, 8, 3))
        painted = prepared.images.repeat_interleave(per_image, 0).clone()
        painted[..., 1] = torch.tensor([len(text) / 100 for text in instructions])[:, None, None]
        painted[..., 2] = torch.tensor([seed / 100 for seed in seeds])[:, None, None]
        return painted


def read_rows(batch):
    """What a FakeEditor wrote on each row: (source's red, instruction's length, seed), red in hundredths too."""
    return [tuple(round(value) for value in (row[0, 0] * 100).tolist()) for row in batch]


def flat_image(red=0.5, size=4, batch=1):
    return torch.full((batch, size, size, 3), red)
