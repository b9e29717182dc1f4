"""A cache for encoders: a pipeline that encodes the same texts and images again gets the result at once."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import reduce
from typing import Any

import torch
from torch import Tensor

MAX_ENTRIES = 32  # results, of texts and images

_MISSING = object()


class EncoderCache:
    """The last `MAX_ENTRIES` results of encoders, keyed by a digest of their arguments.

    They are returned as shallow copies, which share the tensors.
    """

    def __init__(self):
        self._results: OrderedDict[bytes, Any] = OrderedDict()

    def get(self, key: bytes, compute: Callable[[], Any]) -> Any:
        if key not in self._results:
            self._results[key] = copy(compute())
        self._results.move_to_end(key)
        while len(self._results) > MAX_ENTRIES:
            self._results.popitem(last=False)
        return copy(self._results[key])


@contextmanager
def cached_encoders(
    pipeline: Any, encoders: Sequence[str], cache: EncoderCache, on_result: Callable[[str, Any], None]
) -> Iterator[None]:
    """Cache the results of a pipeline's methods `encoders` (attribute paths) in `cache`.

    on_result: called with an encoder's path and its result, cached or not.
    """
    shadowed = []
    try:
        for path in encoders:
            *owners, method = path.split(".")
            owner = reduce(getattr, owners, pipeline)
            original = getattr(owner, method)
            shadowed.append((owner, method, vars(owner).get(method, _MISSING)))
            vars(owner)[method] = _memoized(path, original, cache, on_result)
        yield
    finally:
        for owner, method, before in reversed(shadowed):
            if before is _MISSING:
                del vars(owner)[method]
            else:
                vars(owner)[method] = before


def _memoized(path: str, original: Callable, cache: EncoderCache, on_result: Callable[[str, Any], None]) -> Callable:
    def encode(*args: Any, **options: Any) -> Any:
        key = _digest(path, args, sorted(options.items()))
        result = cache.get(key, lambda: original(*args, **options))
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
        elif hasattr(value, "tobytes"):  # an image
            feed((value.mode, value.size))
            digest.update(value.tobytes())
        else:
            digest.update(repr(value).encode() + b"\0")

    feed(values)
    return digest.digest()
