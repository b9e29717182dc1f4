"""An endless order of samples."""

from __future__ import annotations

from collections.abc import Iterator

import torch


class EndlessOrder(torch.utils.data.Sampler):
    """Endless sample indices, each once per epoch. They depend only on the seed and the number of samples before, so that a resumed
    run sees the samples it would have seen.

    batch: samples per batch, at most all there are. begin: the number of samples before.
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
