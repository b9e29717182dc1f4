"""In which order samples come, forever."""

from __future__ import annotations

from collections.abc import Iterator

import torch


class EndlessOrder(torch.utils.data.Sampler):
    """The indices of samples without end, each once an epoch: a function of the seed and of how many came before, so that a run
    which goes on sees what it would have seen.

    batch: how many come at once, at most all there are. begin: how many came before.
    """

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self.batch, self.begin = min(batch, count), 0
        self._count, self._seed = count, seed

    def __iter__(self) -> Iterator[int]:
        epoch, place = divmod(self.begin, self._count)
        while True:
            generator = torch.Generator().manual_seed(self._seed * 2**31 + epoch)
            yield from torch.randperm(self._count, generator=generator).tolist()[place:]
            epoch, place = epoch + 1, 0
