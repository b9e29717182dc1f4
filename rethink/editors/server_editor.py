"""An editor on an OpenAI-compatible server: vLLM-Omni, SGLang, LocalAI, OpenAI.

It is asked like thinkers are: same trust in servers and keys, same limits, same retries (`servers.client`).
"""

import io
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from os import PathLike
from typing import NoReturn

import torch
from torch import Tensor, nn

from ..errors import EditorUnavailable, RethinkError
from ..images import Fit, as_image, fit, plan_fit, plan_within, to_pil, unfit
from ..names import name_on_server
from ..servers.client import POLL, ServerClient
from ..servers.exchange import MIB, Limit
from ..servers.faults import Fault, read_fault
from ..servers.trust import Trust
from ..threads import DaemonThreads
from .common import EditBatch, Remedies, SourceCache, guidance_scales, run_edit, settings_by_row
from .openai_edits import (
    MAX_SIDE,
    EditedFile,
    Size,
    drop_refused,
    encode_form,
    find_refused,
    find_sizes,
    format_size,
    read_edit,
    read_fetched,
)
from .protocol import OnStep, Prepared, check_references
from .settings import DEFAULT_SETTINGS, Settings

AREA, MULTIPLE = 2**20, 32  # pixels that are sent and requested, and the multiple of their sides, as in today's editors
LONGEST_ANSWER = 64 * MIB
PREVIEW_AREA = 2**16
ENDPOINT = "/images/edits"


@dataclass(frozen=True)
class ServerFamily:
    """See `protocol.EditorFamily`. A server does not say which kind of editor it runs."""

    id: str = "server"
    title: str = "an editor on a server"
    references: int = 15  # OpenAI's takes 16 images in total
    takes_negative_prompt: bool = True
    guides_by_image: bool = False


class SentImages:
    """The PNGs of a source and its references at no more than AREA, without keeping their tensors alive.

    kept: the finished edits of an unfinished batch.
    """

    def __init__(self, references: Sequence[Tensor]):
        self.kept: dict[tuple, Tensor] = {}
        self._references = [_png(_scale_down(each, AREA)) for each in references]
        self._sources: dict[tuple[int, Fit], bytes] = {}
        self._writing = threading.Lock()

    def files(self, images: Tensor, image: int, plan: Fit) -> list[bytes]:
        """The PNGs of a source image, fitted by `plan`, and of the references; made once for all rows."""
        with self._writing:
            if (image, plan) not in self._sources:
                self._sources[image, plan] = _png(fit(images[image : image + 1], plan))
            return [self._sources[image, plan], *self._references]


class ServerEditor:
    """See `protocol.Editor`. Every row is a separate request, `concurrency` of them at once.

    base_url, model, key_variable, timeout, retries, trust: see `ServerClient`; raises what that raises. The image is
    sent at about a megapixel, as for local editors, and comes back at the source's size. Settings that are left open
    are the server's choice, and fields that it rejects are left out from then on. An edit that takes longer than
    `timeout` is not requested again: the server may still be making it, and each edit may cost money.
    """

    family = ServerFamily()
    device = torch.device("cpu")
    placement = "elsewhere"  # like a thinker on a server
    moves_itself = True  # it takes up no memory here

    def __init__(
        self,
        base_url: str,
        model: str,
        key_variable: str = "",
        *,
        timeout: float = 300.0,
        retries: int = 4,
        concurrency: int = 4,
        trust: Trust | None = None,
    ):
        self._server = ServerClient(
            base_url,
            model,
            key_variable,
            timeout=timeout,
            retries=retries,
            concurrency=concurrency,
            trust=trust,
            longest=LONGEST_ANSWER,
        )
        self.name = name_on_server(model, str(self._server.origin))
        self.defaults = DEFAULT_SETTINGS
        self.module = nn.Module()
        self._refused: frozenset[str] = frozenset()  # fields of the form
        self._sizes: tuple[Size, ...] = ()  # sizes that it takes, if it has said so
        self._unsized: frozenset[Size] = frozenset()  # sizes that it rejects: then it chooses
        self._learning = threading.Lock()  # rows may be rejected at the same time
        self._last_source = SourceCache()

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()) -> Prepared:
        others = check_references(references, self.family)
        return Prepared(as_image(images), self._last_source.get((images, *references), lambda: SentImages(others)))

    def edit(
        self,
        prepared: Prepared,
        instructions: Sequence[str],
        seeds: Sequence[int],
        settings: Settings = DEFAULT_SETTINGS,
        *,
        mask: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """See `protocol.Editor`; `on_step` gets rows in place of steps, repeatedly while they are waited for.

        Raises EditorUnavailable if the server is gone, even after the retries; otherwise RethinkError with its message.
        The rows finished by then, or by the time `on_step` ends it, are kept for the next edit of the same `prepared`,
        which only requests the rest.
        """
        size = (prepared.images.shape[1], prepared.images.shape[2])
        return run_edit(
            self,
            EditBatch(prepared, instructions, seeds, settings, mask, on_step),
            Fit(size, size, size),
            self._sample,
            Remedies(out_of_memory="edit fewer images at once", nan=""),
            lambda: None,
        )

    def effective_settings(self, prepared: Prepared, seeds: Sequence[int], settings: Settings) -> list[Settings]:
        settings = settings.resolved(self.defaults)
        rows = settings_by_row(settings, [guidance_scales(settings, seed) for seed in seeds])
        return [self.sent_settings(row) for row in rows]

    def sent_settings(self, settings: Settings) -> Settings:
        """The settings that are sent; those that the server chooses, or has rejected so far, stay open."""
        unguided = {"guidance_scale", "true_cfg_scale"} <= self._refused
        return Settings(
            steps=0 if "num_inference_steps" in self._refused else settings.steps,
            text_guidance=0.0 if unguided else settings.text_guidance,
            negative_prompt="" if "negative_prompt" in self._refused else settings.negative_prompt,
            randomize_guidance=settings.randomize_guidance and not unguided,
        )

    def with_lora(self, path: str | PathLike, strength: float) -> NoReturn:
        """Raise RethinkError: the weights are elsewhere."""
        raise RethinkError(f"lora: {self.name} has its weights on a server; load the LoRA there and leave it out here.")

    def _sample(self, batch: EditBatch) -> Tensor:
        """The edits of all rows at the source's size."""
        _check_settings(batch.settings)
        key, over, rows = self._server.key(), threading.Event(), range(len(batch.seeds))
        gone: list[Fault] = []
        threads = DaemonThreads(min(self._server.concurrency, len(rows)))
        watch = _Watch(batch)
        try:
            waiting = [threads.submit(self._edit_row, key, batch, row, over, gone) for row in rows]
            pending = set(waiting)
            while pending and not gone:
                _, pending = wait(pending, timeout=POLL, return_when=FIRST_COMPLETED)
                watch.report(waiting)
            results = [*gone, *(future.result() for future in waiting if future.done())]
        finally:
            over.set()
            threads.end()
        edits = _join(results)
        for row in rows:
            batch.prepared.encoded.kept.pop(_key_of(batch, row), None)
        return edits

    def _edit_row(
        self, key: str, batch: EditBatch, row: int, over: threading.Event, gone: list[Fault]
    ) -> Tensor | Fault:
        """The edit of a row, which is kept until all rows are finished.

        gone: receives a fault that every other row would have too; once there is one, no other row is requested.
        """
        if gone:
            return gone[0]
        kept, name = batch.prepared.encoded.kept, _key_of(batch, row)
        edited = kept[name] if name in kept else self._ask(key, batch, row, over)
        if isinstance(edited, Tensor):
            kept[name] = edited
        elif edited.retryable:
            gone.append(edited)
        return edited

    def _ask(self, key: str, batch: EditBatch, row: int, over: threading.Event) -> Tensor | Fault:
        ask = self._server.ask
        found = ask(lambda limit: self._request(key, batch, row, limit), key, over, repeat_slow=False)
        if isinstance(found, Fault):
            return found
        edited, plan = found
        if isinstance(place := edited, EditedFile):  # it is made: whatever fails now, it is not requested again
            edited = ask(lambda limit: self._fetch(key, place, limit), key, over)
        return edited if isinstance(edited, Fault) else unfit(_cover(edited, plan.padded), plan)

    def _fetch(self, key: str, place: EditedFile, limit: Limit) -> Tensor | Fault:
        return read_fetched(self._server.get_file(place.path, key, limit), bool(key))

    def _request(self, key: str, batch: EditBatch, row: int, limit: Limit) -> tuple[Tensor | EditedFile, Fit] | Fault:
        """One attempt: the edit, and how its source was fitted.

        If the server rejects a field, ask again at once without it, which does not count as an attempt.
        """
        image = batch.image_of(row)
        height, width = batch.prepared.images.shape[1:3]
        while True:
            plan = self._plan(height, width)
            fields = self._fields(batch, row, plan.padded)
            body, kind = encode_form(fields, batch.prepared.encoded.files(batch.prepared.images, image, plan))
            reply = self._server.send("POST", ENDPOINT, key, limit, body, kind)
            if reply.status == 200:
                edited = read_edit(reply, self._server.origin)
                return edited if isinstance(edited, Fault) else (edited, plan)
            fault = read_fault(reply.status, reply.headers, reply.data, bool(key))
            refused = find_refused(reply, fault.why, fields)
            if refused is None:
                return self._server.with_models(fault, reply.status, key, limit)
            self._learn(refused, fault.why, plan.padded)

    def _fields(self, batch: EditBatch, row: int, size: Size) -> dict[str, str]:
        """The form of a row, without its images. Models use one guidance scale or the other, so both are sent."""
        settings, seed = batch.settings, batch.seeds[row]
        text, _ = guidance_scales(settings, seed)
        guidance = f"{text:g}" if text else None
        fields = {
            "model": self._server.model,
            "prompt": batch.instructions[row],
            "n": 1,
            "size": None if size in self._unsized else format_size(size),
            "response_format": "b64_json",
            "output_format": "png",
            "seed": seed % 2**31,
            "num_inference_steps": settings.steps or None,
            "guidance_scale": guidance,
            "true_cfg_scale": guidance,
            "negative_prompt": settings.negative_prompt or None,
        }
        return drop_refused(fields, self._refused)

    def _plan(self, height: int, width: int) -> Fit:
        """How an image of this size is sent: at about a megapixel with no side longer than MAX_SIDE, or at the size
        with the nearest aspect ratio among those that the server takes."""
        if not self._sizes:
            beside = max(MULTIPLE, MAX_SIDE * min(height, width) / max(height, width))  # a side of MAX_SIDE
            return plan_fit(height, width, area=min(AREA, int(MAX_SIDE * beside)), multiple=MULTIPLE)
        aspect = height / width

        def distance(size: Size) -> tuple[float, int]:
            found = size[0] / size[1]
            return max(found / aspect, aspect / found), abs(size[0] * size[1] - AREA)

        return plan_within(height, width, min(self._sizes, key=distance))

    def _learn(self, refused: str, why: str, size: Size) -> None:
        """Remember a rejected field; for a size, also the sizes that the server offers instead, if it says so."""
        with self._learning:
            if refused != "size":
                self._refused |= {refused}
                return
            self._sizes = self._sizes or find_sizes(why, size)
            if not self._sizes or size in self._sizes:
                self._unsized |= {size}


class _Watch:
    """Reports how many rows are finished, with a preview of each: its edit or, until then, its source."""

    def __init__(self, batch: EditBatch):
        self._batch = batch
        self._edited: dict[int, Tensor] = {}

    def report(self, waiting: Sequence[Future]) -> None:
        if self._batch.on_step is None:
            return
        done = [row for row, future in enumerate(waiting) if future.done() and isinstance(future.result(), Tensor)]
        self._batch.on_step(len(done), len(waiting), lambda: self._preview(waiting, done))

    def _preview(self, waiting: Sequence[Future], done: Sequence[int]) -> Tensor:
        for row in done:
            if row not in self._edited:
                self._edited[row] = _scale_down(waiting[row].result(), PREVIEW_AREA)
        rows = range(len(waiting))
        return torch.cat(
            [self._edited[row] if row in self._edited else self._sources[self._batch.image_of(row)] for row in rows]
        )

    @cached_property
    def _sources(self) -> list[Tensor]:
        return [_scale_down(image[None], PREVIEW_AREA) for image in self._batch.prepared.images]


def _join(results: Sequence[Tensor | Fault]) -> Tensor:
    """The edits of all rows, as one batch. Raises if one has failed."""
    faults = [result for result in results if isinstance(result, Fault)]
    if faults:
        worst = next((fault for fault in faults if fault.retryable), faults[0])
        raise (EditorUnavailable if worst.retryable else RethinkError)(f"editor: {worst.why}")
    return torch.cat([result for result in results if isinstance(result, Tensor)])


def _key_of(batch: EditBatch, row: int) -> tuple:
    """What determines an edit, among those of one source."""
    return batch.image_of(row), batch.instructions[row], batch.seeds[row], batch.settings


def _check_settings(settings: Settings) -> None:
    """Raise RethinkError for settings that no server accepts."""
    if settings.sampler != "default":
        raise RethinkError(f"sampler: a server uses its own, not “{settings.sampler}”; leave it at default.")
    if settings.randomize_guidance and not settings.text_guidance:
        raise RethinkError(
            "randomize_guidance: needs text_guidance, since the server's own is unknown; set it, or turn this off."
        )


def _cover(image: Tensor, size: Size) -> Tensor:
    """IMAGE [1, h, w, 3] scaled to cover `size` and cropped around the center: a server may return another size, and
    nothing is ever stretched."""
    sides = (image.shape[1], image.shape[2])
    if sides == size:
        return image
    scale = max(new / side for new, side in zip(size, sides))
    # Crop before scaling (otherwise a ribbon would grow without bound), and the rest of a pixel after it.
    kept = (min(side, ceil(new / scale)) for new, side in zip(size, sides))
    rows, columns = (least + (side - least) % 2 for least, side in zip(kept, sides))
    scaled = max(size[0], round(rows * scale)), max(size[1], round(columns * scale))
    return _middle(fit(_middle(image, rows, columns), Fit((rows, columns), scaled, scaled)), *size)


def _middle(image: Tensor, height: int, width: int) -> Tensor:
    """The center [1, height, width, 3] of an image that is at least that large."""
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]


def _scale_down(image: Tensor, area: int) -> Tensor:
    """IMAGE [1, h, w, 3] at no more than about `area` pixels."""
    height, width = image.shape[1:3]
    return fit(image, plan_fit(height, width, area=min(area, height * width), multiple=1))


def _png(image: Tensor) -> bytes:
    written = io.BytesIO()
    to_pil(image)[0].save(written, format="PNG", compress_level=1)  # a third of the time, a tenth more bytes
    return written.getvalue()
