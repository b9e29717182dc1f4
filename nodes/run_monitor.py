"""Connects a running thinking loop with the front end: events go out, commands come in.

A run belongs to the page that queued it: only that page gets its messages, or, if it is closed, the pages that show
the same workflow. Messages are small and name images as ComfyUI's /view does; no pixels are sent. A page that missed
some, because it was reloaded, reads the record, which is on disk before the message about it.
"""

import glob
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal

from torch import Tensor

from ..rethink.errors import RethinkError
from ..rethink.steering import Steering
from ..rethink.steps import Continue, Step, Stop, step_record
from ..rethink.think_job import OpenRun, ThinkJob, resume_interrupted, start_run
from ..rethink.think_loop import RunCallbacks, ThinkTask
from ..rethink.trajectory import RECORD_FILE, Trajectory, writing
from .comfy import folders, progress, server

Phase = Literal["editing", "thinking"]

PREVIEW_SECONDS = 0.25  # between two previews, and before the first: faster edits need none

_running: dict[str, "LiveRun"] = {}  # path of its record → loop
_failures: dict[str, int] = {}  # node → how often its run failed


class LiveRun:
    """One running loop.

    node: the id of the node as the user sees it. run: the record with its write lock, which is released when the loop
    ends. pause: wait after every turn for a command.
    """

    def __init__(self, node: str, run: OpenRun, *, pause: bool = False):
        self.trajectory, self._open = run.trajectory, run
        self._steering = Steering(pause=pause, poll=progress.stop_if_cancelled, on_decision=self._announce)
        self._node, self._prompt = node, server.prompt_id()
        self._workflow, self._client = server.workflow_id(self._prompt), server.client_id()
        self._run = folders.to_view_params(run.trajectory.folder / RECORD_FILE)
        self._phase: tuple[Phase, int] | None = None
        self._next: dict[str, Any] | None = None
        self._waiting = False
        self._images: tuple[str, ...] = ()  # files of the current turn, once they exist
        self._preview, self._previews, self._previewed = b"", 0, time.monotonic()
        _forget_cancelled()
        _running[self._run["subfolder"]] = self
        self._send("began", **self.state())

    def state(self) -> dict[str, Any]:
        """Everything that a newly loaded page needs to know."""
        return {
            "node": self._node,
            "workflow": self._workflow,  # another one may have a node of the same id
            "prompt": self._prompt,
            "run": self._run,
            "record": self.trajectory.as_dict(),
            "next": self._next,
            "waiting": self._waiting,
            "phase": self._phase[0] if self._phase else "editing",
            "images": list(self._images),
            "preview": self._previews,
        }

    def belongs_to(self, client: str) -> bool:
        """Whether a page may show and steer the run: its own page may, and, if that is closed, any page."""
        return self._client == client or not server.is_connected(self._client)

    def on_record(self, trajectory: Trajectory) -> None:
        """Report the step that was just written, if there is a new one (the progress of `ThinkJob.run`)."""
        is_new = len(trajectory.steps) > len(self.trajectory.steps)
        self.trajectory = trajectory
        if is_new:
            self._images, self._previewed = (), time.monotonic()
            index = len(trajectory.steps) - 1
            self._send("step", index=index, step=step_record(trajectory.steps[-1]), best=trajectory.best)

    def on_end(self, trajectory: Trajectory) -> None:
        """Report why the run ended. No commands are taken from here on."""
        self.trajectory = trajectory
        self.close()
        _failures[self._node] = failures(self._node) + (trajectory.stopped == "failed")
        names = ("best", "chosen", "stopped", "message")
        self._send("ended", **{name: getattr(trajectory, name) for name in names})

    def close(self) -> None:
        """End watching the loop and release its run."""
        _running.pop(self._run["subfolder"], None)
        self._open.close()

    def callbacks(self) -> RunCallbacks:
        """The callbacks through which a run is shown and steered."""
        return RunCallbacks(self.steer, self.on_edit_step, self.save_edits, self.on_token)

    def steer(self, steps: Sequence[Step], decision: Continue | Stop) -> Continue | Stop:
        """Return what the user wants in place of the loop's next step (`think_loop.SteeringCallback`)."""
        return self._steering.steer(steps, decision)

    def _announce(self, steps: Sequence[Step], proposal: Continue, waiting: bool, ends: str) -> None:
        self._waiting = waiting
        self._next = {"turn": steps[-1].turn + 1, **vars(proposal), "ends": ends}
        self._send("next", **self._next, waiting=waiting)

    @property
    def turn(self) -> int:
        """The current turn. Its steps are written once all of them exist."""
        return self.trajectory.steps[-1].turn + 1 if self.trajectory.steps else 1

    def on_phase(self, phase: Phase) -> None:
        """Report what the loop is doing, and end the run if the user has asked for that."""
        progress.stop_if_cancelled()
        self._steering.stop_if_ordered()
        if self._phase != (phase, self.turn):
            self._phase = phase, self.turn
            self._preview = b""
            self._send("phase", phase=phase, turn=self.turn, images=self._images)

    def on_token(self, *_: int) -> None:
        """Report that the loop is thinking (`protocol.OnToken`)."""
        self.on_phase("thinking")

    def save_edits(self, turn: int, images: Tensor, notes: Sequence[dict[str, Any]]) -> tuple[str, ...]:
        """Write the edits of a turn and show them while the thinker looks (`think_loop.OnEdits`)."""
        self._images = self.trajectory.save_edits(turn, images, notes)
        self.on_phase("thinking")
        return self._images

    def on_edit_step(self, step: int, total: int, preview: Callable[[], Tensor]) -> None:
        """Report that the loop is editing, with a preview now and then (`protocol.OnStep`)."""
        self.on_phase("editing")
        if time.monotonic() - self._previewed < PREVIEW_SECONDS:
            return
        self._preview, self._previews = progress.preview_bytes(preview()), self._previews + 1
        self._previewed = time.monotonic()
        self._send("preview", turn=self.turn, preview=self._previews, step=step, total=total)

    def preview(self) -> bytes:
        """The current edit as a WebP image. Raises RethinkError if there is none."""
        if not self._preview:
            raise RethinkError("run: no edit is in progress.")
        return self._preview

    def command(self, action: Any, prompt: Any = None, step: Any = None) -> None:
        """Take a command of the user: see `Steering.command`."""
        self._steering.command(action, prompt, step, len(self.trajectory.steps))

    def _send(self, event: str, **data: Any) -> None:
        server.send_event(
            f"rethink.{event}", {"node": self._node, "run": self._run, **data}, self._client, self._workflow
        )


def start_or_resume(prefix: str, task: ThinkTask, options: dict[str, Any], resume: bool) -> OpenRun:
    """Start a new run in the output folder or, with `resume`, open the newest interrupted one with the same inputs.

    Raises RethinkError if that run is being continued elsewhere right now.
    """
    _forget_cancelled()
    folder = folders.next_output_folder(prefix)
    if resume:
        name = folder.name.removesuffix("_").rstrip("0123456789")
        earlier = sorted(folder.parent.glob(f"{glob.escape(name)}[0-9]*_"), reverse=True)
        if (run := resume_interrupted(earlier, task, options)) is not None:
            return run
    return start_run(folder, task, options)


def run_live(job: ThinkJob, run: OpenRun, live: LiveRun, callbacks: RunCallbacks) -> Trajectory:
    """Think until the run ends, showing it live."""
    try:
        return job.run(run, live.on_record, callbacks)
    finally:
        live.on_end(live.trajectory)


def live_of(trajectory: Trajectory, node: str) -> LiveRun:
    """The running loop of a record, for a node that continues it."""
    live = _running.get(folders.to_view_params(trajectory.folder / RECORD_FILE)["subfolder"])
    if live is None:
        lock = ExitStack()
        lock.enter_context(writing(trajectory.folder))
        live = LiveRun(node, OpenRun(trajectory, lock=lock))
    return live


def in_memory(run: dict[str, str]) -> Trajectory | None:
    """The record that `run` refers to, if its loop is running; it includes what could not be written."""
    live = _running.get(run["subfolder"])
    return live and live.trajectory


def failures(node: str) -> int:
    """How often the thinker of a node failed: ComfyUI should not reuse the cached result of such a run.

    The ids of a loop's expanded copies end in a dot and the id of the node that the user sees.
    """
    return _failures.get(node.rpartition(".")[2], 0)


def running(client: str | None = None) -> list[dict[str, Any]]:
    """The state of every running loop, as in the event "began"; for a client, only of those that its page may show."""
    _forget_cancelled()
    return [live.state() for live in list(_running.values()) if client is None or live.belongs_to(client)]


def preview(run: str, number: str = "") -> bytes:
    """The current edit of the loop in the subfolder `run`. number: tells one preview from the next, for caches."""
    return _find(run).preview()


def order(run: str, action: Any = None, prompt: Any = None, step: Any = None) -> None:
    """Pass a user's command on to the loop whose record is in the subfolder `run`. See `Steering.command`."""
    _find(run).command(action, prompt, step)


def _find(run: str) -> LiveRun:
    live = _running.get(run) if isinstance(run, str) else None
    if live is None:
        raise RethinkError(f"run: no loop is running in {run}; it may have just ended.")
    return live


def _forget_cancelled() -> None:
    """Close canceled loops: a loop that consists of several nodes may not notice that it was canceled."""
    for live in list(_running.values()):
        if not server.is_running(live._prompt):
            live.close()  # two threads may find out at once


def serve() -> None:
    """Let the front end ask for running loops and their previews, and send commands: {run, action, prompt?, step?}."""
    server.add_route("GET", "/rethink/running", running)
    server.add_route("GET", "/rethink/preview", preview)
    server.add_route("POST", "/rethink/order", order)
