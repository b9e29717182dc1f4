"""What users see while a node works: progress, previews, a status line. Cancel is checked for along the way."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import BytesIO

import comfy.cli_args
import comfy.model_management
import comfy.utils
from comfy_execution.utils import get_executing_context
from server import PromptServer
from torch import Tensor

from ...rethink.images import to_pil
from ...rethink.progress import JobProgress
from ...rethink.records import defuse_markup

PREVIEW_SIDE = 512  # pixels of a preview on a film strip, at most
PREVIEW_SECONDS = 0.1  # between two previews, so that a fast editor does not spend its time on JPEGs
LINE_SECONDS = 0.5  # between two lines of progress


class _NodeCall:
    """One call of a node. end: the exception that ends all its threads, once the call is canceled or over."""

    end: BaseException | None = None


_call: ContextVar[_NodeCall | None] = ContextVar("rethink_node_call", default=None)


@contextmanager
def node_call() -> Iterator[None]:
    """Wrap a call of a node. A thread that is still at work afterward ends at its next check for Cancel."""
    call = _NodeCall()
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)
        call.end = call.end or comfy.model_management.InterruptProcessingException()


def stop_if_cancelled() -> None:
    """Raise the exception that ends the run in ComfyUI if the user has pressed Cancel.

    ComfyUI reports a Cancel only to the first check, which then passes it on to all threads of its call. Threads left
    over from earlier calls do not check, since they could consume a Cancel meant for a later call.
    """
    call = _call.get()
    if call is not None and call.end is not None:
        raise call.end
    try:
        comfy.model_management.throw_exception_if_processing_interrupted()
    except BaseException as cancelled:
        if call is not None:
            call.end = cancelled
        raise


def edit_progress(run: int, runs: int, *, previews: bool = True) -> Callable[[int, int, Callable[[], Tensor]], None]:
    """The callback for run `run` of `runs` edits of one node: progress over all of them, previews, Cancel.

    A node that shows its own result turns previews off: the front end would keep showing the last one.
    """
    bar = comfy.utils.ProgressBar(runs)
    last_shown = -math.inf

    def report(step: int, total: int, preview: Callable[[], Tensor]) -> None:
        nonlocal last_shown
        stop_if_cancelled()
        image = None
        if previews and time.monotonic() - last_shown >= PREVIEW_SECONDS:
            image = ("JPEG", to_pil(_sheet(preview()))[0], comfy.cli_args.args.preview_size)
            last_shown = time.monotonic()
        bar.update_absolute(run * total + step, runs * total, image)

    return report


def preview_bytes(images: Tensor) -> bytes:
    """IMAGE [B, H, W, 3] as one small WebP image."""
    image = to_pil(_sheet(images))[0]
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    stream = BytesIO()
    image.save(stream, "WEBP", quality=80, method=0)
    return stream.getvalue()


def count_progress() -> Callable[..., None]:
    """The callback of a run that counts items: (done, total, a line to show on the node, the latest image)."""
    show = stage_bar()
    last_shown = -math.inf

    def report(done: int, total: int, line: str, preview: Callable[[], Tensor | None] = lambda: None) -> None:
        nonlocal last_shown
        stop_if_cancelled()
        if done < total and time.monotonic() - last_shown < LINE_SECONDS:
            return
        image = preview()
        last_shown = time.monotonic()
        if image is not None:
            image = ("JPEG", to_pil(image)[0], comfy.cli_args.args.preview_size)
        show(done, total, image)
        show_status(line)

    return report


def silent_progress() -> Callable[[int, int], None]:
    """The callback (done, total) of a run whose node has its own way to show progress: only the bar, and Cancel."""
    show, last = stage_bar(), (0, 0)

    def report(done: int, total: int) -> None:
        nonlocal last
        stop_if_cancelled()
        if (done, total) != last:
            last = done, total
            show(done, total)

    return report


def stage_bar() -> Callable[..., None]:
    """Return the callback (done, total, preview) for the node's bar, for work in several stages. ComfyUI's own bar
    sends nothing until a stage has passed the one before, so each stage gets a new bar."""
    bar, last = comfy.utils.ProgressBar(1), 0

    def show(done: int, total: int, preview: tuple | None = None) -> None:
        nonlocal bar, last
        if done < last:
            bar = comfy.utils.ProgressBar(total)
        last = done
        bar.update_absolute(done, total, preview)

    return show


def job_progress() -> Callable[[JobProgress], None]:
    """The callback for a job of the library."""
    report = count_progress()
    return lambda progress: report(progress.done, progress.total, progress.line, progress.preview)


def show_status(line: str) -> None:
    """Show a line on the running node; the front end interprets it as HTML."""
    context = get_executing_context()
    if context is not None:
        server = PromptServer.instance
        server.send_progress_text(defuse_markup(line), context.node_id, server.client_id)


def _sheet(images: Tensor) -> Tensor:
    """[B, h, w, 3] laid out as one image [1, rows·h, columns·w, 3], as close to a square as possible."""
    count, height, width, _ = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = images.new_zeros(rows * columns, height, width, 3)
    sheet[:count] = images
    sheet = sheet.view(rows, columns, height, width, 3).transpose(1, 2)
    return sheet.reshape(1, rows * height, columns * width, 3)
