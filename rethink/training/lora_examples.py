"""Stage one of LoRA training: encoding all pairs to latents, including held-out pairs and the replay, and their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from ..errors import RethinkError, lazy_import
from .edit_model import EditModel
from .example import Example, join_examples
from .example_cache import ExampleCache
from .lora_pairs import BatchOrder, LoraPair, split_pairs
from .lora_settings import KEEP, LoraSettings
from .process_group import ALONE, ProcessGroup
from .replay import EVERYDAY_EDITS, make_replay, mix_identity


class LoraExamples:
    """The examples of a training, by their keys in the cache.

    training, held_out: the pairs. keys, held_out_keys: their examples. replay_keys: other edits to keep. skipped: the ids of pairs
    whose files went missing during the training.
    """

    def __init__(
        self,
        settings: LoraSettings,
        model: EditModel,
        pairs: Sequence[LoraPair],
        folder: Path,
        processes: ProcessGroup = ALONE,
    ):
        self._settings, self._model, self._processes = settings, model, processes
        self.training, self.held_out = split_pairs(pairs, settings.hold_out)
        self.cache = ExampleCache(folder, model)
        self.keys: list[str] = []
        self.held_out_keys: list[str] = []
        self.replay_keys: list[str] = []
        self.skipped: dict[str, None] = {}

    def encode_all(self, check_room: Callable[[int], None], on_example: Callable[[int, int], None]) -> None:
        """Encode everything that is not in the cache yet, shared among the processes.

        check_room: called once it is known how many bytes the remaining examples will take, with that number. on_example: called
        with (done, total). Raises RethinkError if nothing is left to train on.
        """
        pairs = [*self.training, *self.held_out]
        replay = self._settings.replay if KEEP[self._settings.keep] else 0
        total = len(pairs) + replay
        for done, number in enumerate(self._processes.share(len(pairs)), 1):
            key = self._ensure(pairs[number])
            if done == 1 and key:
                check_room(self.cache.size(key) * self._count_missing(pairs, replay))
            on_example(min(len(pairs), done * self._processes.count), total)
        self._processes.wait()
        self.training, self.keys = self._encoded(self.training)
        self.held_out, self.held_out_keys = self._encoded(self.held_out)
        if not self.keys:
            raise RethinkError(
                "pairs: none of their images can be read anymore; check whether they were moved or deleted."
            )
        if replay:
            share = self._processes.share(replay)
            self.replay_keys = self._make_replay(replay, lambda done: on_example(len(pairs) + done, total), share)
            self._processes.wait()
        self._order, self._replay_order = self._order_of(self.keys), self._order_of(self.replay_keys)

    def batch(self, number: int) -> tuple[Example, list[str]]:
        """Training batch `number` on the device, and the ids of its pairs; the next batch if all files of this one are missing."""
        for later in range(number, number + self._order.per_epoch):
            examples = {index: self._try_load(index) for index in self._order.batch(later)}
            found = {self.training[index].id: example for index, example in examples.items() if example is not None}
            if found:
                return self._join(list(found.values())), list(found)
        raise RethinkError(f"folder: the latents in {self.cache.folder} are missing; start again to re-encode them.")

    @property
    def most_references(self) -> int:
        """The most references that any pair has."""
        return max(len(pair.references) for pair in (*self.training, *self.held_out))

    def ids(self, number: int) -> list[str]:
        """The ids of the pairs in training batch `number`."""
        return [self.training[index].id for index in self._order.batch(number)]

    def replay_batch(self, number: int) -> Example:
        """Batch `number` of the edits to keep, on the device."""
        return self.load([self.replay_keys[index] for index in self._replay_order.batch(number)])

    def load(self, keys: Sequence[str]) -> Example:
        """Examples of the same sizes as one batch, on the device."""
        return self._join([self.cache.load(key) for key in keys])

    def _join(self, examples: list[Example]) -> Example:
        return join_examples(examples).to(self._model.editor.device)

    def _try_load(self, index: int) -> Example | None:
        try:
            return self.cache.load(self.keys[index])
        except Exception as error:  # safetensors has its own error class
            if isinstance(error, (OSError, lazy_import("safetensors").SafetensorError)):
                self.skipped[self.training[index].id] = None
                return None
            raise

    def _count_missing(self, pairs: Sequence[LoraPair], replay: int) -> int:
        """The number of examples, including the replay, that are not in the cache yet."""
        keys = {self.cache.key(pair.digest) for pair in pairs}
        keys.update(self._make_replay(replay, lambda done: None, range(0)) if replay else ())
        return sum(not self.cache.has(key) for key in keys)

    def _ensure(self, pair: LoraPair) -> str | None:
        """The key of a pair's example; None if its images have gone missing since they were checked."""
        if self.cache.has(key := self.cache.key(pair.digest)):
            return key
        try:
            images, references = pair.images(), pair.load_references()
        except RethinkError:
            return None
        try:
            return self.cache.ensure(pair.digest, lambda: self._encode(pair, *images, references))
        except RethinkError as error:
            raise RethinkError(f"pairs: {pair.id}: {error}") from error

    def _encode(self, pair: LoraPair, input: Tensor, target: Tensor, references: Sequence[Tensor]) -> Example:
        example = self._model.encode(input, target, pair.instruction, references, pair.prompt)
        if not all(latents.isfinite().all() for latents in (example.target, example.source, *example.references)):
            raise RethinkError("its latents are not finite; load the editor in bf16 or fp32.")
        return example

    def _encoded(self, pairs: Sequence[LoraPair]) -> tuple[list[LoraPair], list[str]]:
        """(the pairs that are in the cache, their keys); the others are added to `skipped`."""
        keys = {pair.id: self.cache.key(pair.digest) for pair in pairs}
        found = [pair for pair in pairs if self.cache.has(keys[pair.id])]
        self.skipped |= dict.fromkeys(pair.id for pair in pairs if pair not in found)
        return found, [keys[pair.id] for pair in found]

    def _make_replay(self, count: int, on_example: Callable[[int], None], share: range) -> list[str]:
        settings = self._settings
        texts = mix_identity(settings.keep_instructions or EVERYDAY_EDITS, count, settings.keep_identity)
        return make_replay(self._model, self.training, texts, count, self.cache, settings.seed, on_example, share)

    def _order_of(self, keys: Sequence[str]) -> BatchOrder:
        return BatchOrder([self.cache.load(key).shapes for key in keys], self._settings.batch, self._settings.seed)
