"""Encoders that remember: whatever a pipeline encodes again, the same texts and pictures, it gets back at once."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import reduce
from typing import Any

import torch
from torch import Tensor

KEPT = 32  # results: texts, pictures

_MISSING = object()


class Memory:
    """Results of encoders by what went into them, the last `KEPT` of them; given out as copies, which may be rearranged
    but share the tensors."""

    def __init__(self):
        self._results: OrderedDict[bytes, Any] = OrderedDict()

    def get(self, key: bytes, compute: Callable[[], Any]) -> Any:
        if key not in self._results:
            self._results[key] = copy(compute())
        self._results.move_to_end(key)
        while len(self._results) > KEPT:
            self._results.popitem(last=False)
        return copy(self._results[key])


@contextmanager
def cached_encoders(
    pipeline: Any, encoders: Sequence[str], memory: Memory, on_result: Callable[[str, Any], None]
) -> Iterator[None]:
    """Within it the methods `encoders` of a pipeline, given by their path from it, look into `memory` first.

    on_result: called with an encoder's path and what it returned, remembered or not.
    """
    shadowed = []
    try:
        for path in encoders:
            *owners, method = path.split(".")
            owner = reduce(getattr, owners, pipeline)
            original = getattr(owner, method)
            shadowed.append((owner, method, vars(owner).get(method, _MISSING)))
            vars(owner)[method] = _memoized(path, original, memory, on_result)
        yield
    finally:
        for owner, method, before in reversed(shadowed):
            if before is _MISSING:
                del vars(owner)[method]
            else:
                vars(owner)[method] = before


def _memoized(path: str, original: Callable, memory: Memory, on_result: Callable[[str, Any], None]) -> Callable:
    def encode(*args: Any, **options: Any) -> Any:
        key = _digest(path, args, sorted(options.items()))
        result = memory.get(key, lambda: original(*args, **options))
        on_result(path, result)
        return result

    return encode


def _digest(*values: Any) -> bytes:
    digest = hashlib.blake2b(digest_size=16)

    def feed(value: Any) -> None:
        if isinstance(value, Tensor):
            feed((str(value.dtype), str(value.device), tuple(value.shape)))
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, (list, tuple)):
            digest.update(f"({len(value)}".encode())
            for item in value:
                feed(item)
        elif hasattr(value, "tobytes"):  # a picture
            feed((value.mode, value.size))
            digest.update(value.tobytes())
        else:
            digest.update(repr(value).encode() + b"\0")

    feed(values)
    return digest.digest()
