"""Shows a running training on its node. Every event is complete, so a page that missed some needs none of them.

Images are named as ComfyUI's /view does; no pixels are sent. A training that has ended is read from its record.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from ..rethink.errors import RethinkError
from ..rethink.progress import JobProgress
from .comfy import folders, progress, server

if TYPE_CHECKING:
    from ..rethink.training.lora_run import LoraRun

EVENT_SECONDS = 0.5  # between two events, unless there is a new save

_running: dict[tuple[str, str], LiveTraining] = {}  # prompt, node → training


class LiveTraining:
    """A running training, as a context manager; its `on_progress` is the callback of the job.

    node: the id of the node as the user sees it.
    """

    def __init__(self, node: str):
        self._node, self._prompt = node, server.prompt_id()
        self._workflow, self._client = server.workflow_id(self._prompt), server.client_id()
        self._run: LoraRun | None = None
        self._view: dict[str, Any] | None = None
        self._line, self._saves, self._sent = "", 0, -math.inf
        self._count = progress.silent_progress()

    def __enter__(self) -> LiveTraining:
        _running[self._prompt, self._node] = self
        return self

    def __exit__(self, *_: object) -> None:
        """Show what is on disk, however the training ended."""
        from ..rethink.training.lora_view import view_of

        _running.pop((self._prompt, self._node), None)
        record = self._run and self._run.read_record()
        self._view = view_of(record) if record else None
        self._send(live=False)

    def state(self, *, live: bool = True) -> dict[str, Any]:
        """Everything that a page needs to show it."""
        from ..rethink.training.lora_run import RECORD

        return {
            "node": self._node,
            "workflow": self._workflow,  # another one may have a node of the same id
            "run": self._run and folders.to_view_params(self._run.folder / RECORD),
            "view": self._view,
            "live": live,
            "line": self._line,
        }

    def belongs_to(self, client: str) -> bool:
        """Whether a page may show it: its own page may, and, if that is closed, any page."""
        return self._client == client or not server.is_connected(self._client)

    def on_progress(self, now: JobProgress) -> None:
        """Take in the job's progress, and report it now and then."""
        from ..rethink.training.lora_progress import TrainProgress
        from ..rethink.training.lora_run import LoraRun
        from ..rethink.training.lora_view import view_of

        self._count(now.done, now.total)
        step = now if isinstance(now, TrainProgress) else None
        saves = len(step.record.saves) if step else 0
        if time.monotonic() - self._sent < EVENT_SECONDS and saves == self._saves:
            return
        self._line, self._saves = step.phase if step else now.line, saves
        if step:
            self._run, self._view = LoraRun(step.folder), view_of(step.record, step.losses)
        self._send(live=True)
        self._sent = time.monotonic()

    def _send(self, *, live: bool) -> None:
        server.send_event("rethink.training", self.state(live=live), self._client, self._workflow)


def running(client: str) -> list[dict[str, Any]]:
    """The state of every running training that a page may show."""
    return [live.state() for live in list(_running.values()) if live.belongs_to(client)]


def view(type: str = "", subfolder: str = "", filename: str = "") -> dict[str, Any]:
    """A training by its record, which is named as /view names files. Raises RethinkError if there is none."""
    from ..rethink.training.lora_run import RECORD, LoraRun
    from ..rethink.training.lora_view import view_of

    file = folders.from_view_params({"type": type, "subfolder": subfolder, "filename": filename})
    record = LoraRun(file.parent).read_record() if file.name == RECORD else None
    if record is None:
        raise RethinkError(f"training: {filename} is no longer in {subfolder}.")
    return view_of(record)


def serve() -> None:
    """Let the front end ask for the running trainings, and for one that has ended."""
    server.add_route("GET", "/rethink/trainings", running)
    server.add_route("GET", "/rethink/training", view)
