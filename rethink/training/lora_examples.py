"""Stage one of a LoRA's training: all pairs in latents, those held out and the replay too; and which of them come when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import RethinkError
from .edit_model import EditModel, Example, join_examples
from .example_cache import ExampleCache
from .lora_pairs import BatchOrder, LoraPair, split_pairs
from .lora_settings import KEEP, LoraSettings
from .replay import EVERYDAY_EDITS, make_replay


class LoraExamples:
    """The examples of a training by their keys in the cache.

    training, held_out: the pairs of either kind. keys, held_out_keys: their examples. replay_keys: other edits to be kept.
    """

    def __init__(self, settings: LoraSettings, model: EditModel, pairs: Sequence[LoraPair], folder: Path):
        self._settings, self._model = settings, model
        self.training, self.held_out = split_pairs(pairs, settings.hold_out)
        self.cache = ExampleCache(folder, model)
        self.keys: list[str] = []
        self.held_out_keys: list[str] = []
        self.replay_keys: list[str] = []

    def encode_all(self, check_room: Callable[[int], None], on_example: Callable[[int, int], None]) -> None:
        """Encode what is not in the cache yet.

        check_room: called with the bytes that all examples will take, once that is known. on_example: with how many there
        are, of how many.
        """
        pairs = [*self.training, *self.held_out]
        replay = self._settings.replay if KEEP[self._settings.keep] else 0
        total = len(pairs) + replay
        keys: list[str] = []
        for pair in pairs:
            keys.append(self.cache.ensure(pair.digest, lambda pair=pair: self._encode(pair)))
            if len(keys) == 1:
                check_room(self.cache.size(keys[0]) * total)
            on_example(len(keys), total)
        self.keys, self.held_out_keys = keys[: len(self.training)], keys[len(self.training) :]
        if replay:
            self.replay_keys = self._make_replay(replay, lambda done: on_example(len(pairs) + done, total))
        self._order, self._replay_order = self._order_of(self.keys), self._order_of(self.replay_keys)

    def batch(self, number: int) -> tuple[Example, list[str]]:
        """Training batch `number` on the device, and the ids of its pairs."""
        chosen = self._order.batch(number)
        return self.load([self.keys[index] for index in chosen]), [self.training[index].id for index in chosen]

    def replay_batch(self, number: int) -> Example:
        """Batch `number` of the edits to be kept, on the device."""
        return self.load([self.replay_keys[index] for index in self._replay_order.batch(number)])

    def load(self, keys: Sequence[str]) -> Example:
        """Examples of the same sizes as one batch, on the device."""
        return join_examples([self.cache.load(key) for key in keys]).to(self._model.editor.device)

    def _encode(self, pair: LoraPair) -> Example:
        try:
            return self._model.encode(*pair.images(), pair.instruction)
        except RethinkError as error:
            raise RethinkError(f"pairs: {pair.id}: {error}") from error

    def _make_replay(self, count: int, on_example: Callable[[int], None]) -> list[str]:
        texts = self._settings.keep_instructions or EVERYDAY_EDITS
        return make_replay(self._model, self.training, texts, count, self.cache, self._settings.seed, on_example)

    def _order_of(self, keys: Sequence[str]) -> BatchOrder:
        return BatchOrder([self.cache.load(key).shapes for key in keys], self._settings.batch, self._settings.seed)
