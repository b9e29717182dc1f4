"""A running thinking loop and the people who watch it: what happens goes to the front end, what they want comes back.

A run belongs to the page that queued it: that page alone is told, and where it is closed, whoever shows the same
workflow. Messages are small and name pictures as ComfyUI's /view does; no pixels are sent. Whoever missed some (a page
that was loaded again) reads the record, which is on disk before the message that speaks of it.
"""

import glob
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from ..rethink.errors import RethinkError
from ..rethink.think_loop import Continue, Stop, proposed_prompt, require_same_run
from ..rethink.trajectory import (
    RECORD_FILE,
    RunningError,
    Step,
    Trajectory,
    load_trajectory,
    new_trajectory,
    record_run,
    step_record,
    writing,
)
from .comfy import folders, progress, server

POLL = 0.1  # seconds between two looks for Cancel, while the loop waits for a person
PREVIEW_SECONDS = 0.25  # between two previews, and before the first: what is done sooner needs none

_running: dict[str, "LiveRun"] = {}  # where its record lies → loop
_failures: dict[str, int] = {}  # node → how often its run failed


class RunStopped(Exception):
    """A person ended the run in the middle of a turn."""

    def __init__(self, stop: Stop):
        self.stop = stop


class LiveRun:
    """One running loop.

    node: the id of the node that people see run. pause: wait after every turn until somebody says how to go on.
    lock: what is let go of when the loop ends, the right to write its record.
    """

    def __init__(self, node: str, trajectory: Trajectory, lock: ExitStack, *, pause: bool = False):
        self.trajectory, self._lock = trajectory, lock
        self._node, self._pause, self._prompt = node, pause, server.prompt_id()
        self._workflow, self._client = server.workflow_id(self._prompt), server.client_id()
        self._run = folders.to_view_params(trajectory.folder / RECORD_FILE)
        self._phase: tuple[str, int] | None = None
        self._following: dict[str, Any] | None = None
        self._images: tuple[str, ...] = ()  # files of the turn that is made now, once they are there
        self._preview, self._previews, self._previewed = b"", 0, time.monotonic()
        self._held = self._waiting = False
        self._order: Continue | Stop | None = None
        self._changed = threading.Condition()  # orders come by another thread
        _forget_the_cut_off()
        _running[self._run["subfolder"]] = self
        self._send("began", **self.state())

    def state(self) -> dict[str, Any]:
        """Everything that a page which was just loaded must know."""
        return {
            "node": self._node,
            "workflow": self._workflow,  # another one may have a node of the same id
            "prompt": self._prompt,
            "run": self._run,
            "record": self.trajectory.as_dict(),
            "next": self._following,
            "waiting": self._waiting,
            "phase": self._phase[0] if self._phase else "editing",
            "images": list(self._images),
            "preview": self._previews,
        }

    def belongs_to(self, client: str) -> bool:
        """Whether the page of that id may show and steer the run: its own, or one that nobody else can."""
        return self._client == client or not server.is_connected(self._client)

    def stepped(self, trajectory: Trajectory) -> None:
        """Tell of the step that was written last."""
        self.trajectory = trajectory
        self._images, self._previewed = (), time.monotonic()
        index = len(trajectory.steps) - 1
        self._send("step", index=index, step=step_record(trajectory.steps[-1]), best=trajectory.best)

    def ended(self, trajectory: Trajectory) -> None:
        """Tell why the run ended. No orders are taken from here on."""
        self.trajectory = trajectory
        self.forget()
        _failures[self._node] = failures(self._node) + (trajectory.stopped == "failed")
        names = ("best", "chosen", "stopped", "message")
        self._send("ended", **{name: getattr(trajectory, name) for name in names})

    def forget(self) -> None:
        """Nobody looks at the loop any more, and others may go on with its run."""
        _running.pop(self._run["subfolder"], None)
        self._lock.close()

    def steer(self, steps: Sequence[Step], following: Continue | Stop) -> Continue | Stop:
        """What people want instead of what would come next (`think_loop.SteeringCallback`); waits while they hold the run.

        A run that would end goes on for those who hold it or have written a prompt: they do not share the thinker's
        opinion, or have not been asked for theirs yet.
        """
        ends = following.reason if isinstance(following, Stop) else ""
        with self._changed:
            self._held |= self._pause and self._order is None
            if ends and not self._held and not isinstance(self._order, Continue):
                return self._order or following
            following = proposed_prompt(steps) if ends else following
            self._announce(steps, following, waiting=self._held, ends=ends)
            while self._held and self._order is None:
                progress.stop_if_cancelled()
                self._changed.wait(POLL)
            order, self._order, self._held = self._order, None, False
        if isinstance(order, Stop):
            return order
        if order is not None and order.prompt != following.prompt:
            following = order
        if self._waiting or following is order:
            self._announce(steps, following, waiting=False)
        return following

    def _announce(self, steps: Sequence[Step], following: Continue, waiting: bool, ends: str = "") -> None:
        self._waiting = waiting
        self._following = {"turn": steps[-1].turn + 1, **vars(following), "ends": ends}
        self._send("next", **self._following, waiting=waiting)

    @property
    def turn(self) -> int:
        """The turn that is made now. Its steps are written when all of them are there."""
        return self.trajectory.steps[-1].turn + 1 if self.trajectory.steps else 1

    def working(self, phase: str) -> None:
        """Tell that the loop is "editing" or "thinking" now, and end the run where a person wants that."""
        progress.stop_if_cancelled()
        if isinstance(self._order, Stop):
            raise RunStopped(self._order)
        if self._phase != (phase, self.turn):
            self._phase = phase, self.turn
            self._preview = b""
            self._send("phase", phase=phase, turn=self.turn, images=self._images)

    def save_edits(self, turn: int, images: Tensor, notes: Sequence[dict[str, Any]]) -> tuple[str, ...]:
        """Write what a turn has made and show it while the thinker looks (`loop.OnEdits`)."""
        self._images = self.trajectory.save_edits(turn, images, notes)
        self.working("thinking")
        return self._images

    def editing(self, step: int, total: int, preview: Callable[[], Tensor]) -> None:
        """Tell that the loop is editing, and show from time to time what comes of it (`protocol.OnStep`)."""
        self.working("editing")
        if time.monotonic() - self._previewed < PREVIEW_SECONDS:
            return
        self._preview, self._previews = progress.preview_bytes(preview()), self._previews + 1
        self._previewed = time.monotonic()
        self._send("preview", turn=self.turn, preview=self._previews, step=step, total=total)

    def preview(self) -> bytes:
        """The edit under way as a WebP picture; RethinkError where there is none to show."""
        if not self._preview:
            raise RethinkError("run: no edit is under way.")
        return self._preview

    def order(self, action: Any, prompt: Any = None, step: Any = None) -> None:
        """Take what a person wants.

        action: "hold" (wait before the next turn), "go_on", "prompt" (the next turn's, given by `prompt`), "accept" (end
            the run, step number `step` of the record is the result), "stop" (end the run with the best so far).
        Raises RethinkError for anything else.
        """
        if action == "prompt" and not (isinstance(prompt, str) and prompt.strip()):
            raise RethinkError("prompt: is empty; say what the next turn should do.")
        if action == "accept" and (type(step) is not int or step not in range(len(self.trajectory.steps))):
            raise RethinkError(f"step: the run has no step {step}; give the index of one of its steps.")
        with self._changed:
            if action == "hold":
                self._held = True
            elif action == "go_on":
                self._held = False
            elif action == "prompt":
                self._order = Continue(prompt.strip(), "human")
            elif action == "accept":
                self._order = Stop("human", chosen=step)
            elif action == "stop":
                self._order = Stop("human")
            else:
                raise RethinkError(f"action: “{action}” is unknown; use hold, go_on, prompt, accept, or stop.")
            self._changed.notify_all()

    def _send(self, event: str, **data: Any) -> None:
        server.send_event(
            f"rethink.{event}", {"node": self._node, "run": self._run, **data}, self._client, self._workflow
        )


def start_or_resume(
    prefix: str, source: Tensor, instruction: str, options: dict[str, Any], candidates: int, resume: bool
) -> tuple[Trajectory, tuple[Step, ...], ExitStack]:
    """A new run in the output folder, or the newest of these very inputs that was cut off, with its whole turns; and the
    right to write it, which is held until it is closed.

    Raises RethinkError where somebody else goes on with that run right now.
    """
    _forget_the_cut_off()
    folder, lock = folders.next_output_folder(prefix), ExitStack()
    if resume:
        name = folder.name.removesuffix("_").rstrip("0123456789")
        for earlier in sorted(folder.parent.glob(f"{glob.escape(name)}[0-9]*_"), reverse=True):
            found = _cut_off(earlier, source, instruction, options, candidates, lock)
            if found is not None:
                return *found, lock
    trajectory = new_trajectory(folder, source, instruction, options)
    lock.enter_context(writing(folder))
    return trajectory, (), lock


def _cut_off(
    folder: Path, source: Tensor, instruction: str, options: dict[str, Any], candidates: int, lock: ExitStack
) -> tuple[Trajectory, tuple[Step, ...]] | None:
    try:
        if not _goes_on(load_trajectory(folder), source, instruction, options):
            return None
        lock.enter_context(writing(folder))
        trajectory = load_trajectory(folder)  # as whoever held it before has left it
        if _goes_on(trajectory, source, instruction, options):
            return trajectory.save_options(options).rewind_to_resume(candidates)
    except RunningError:
        raise
    except RethinkError:  # damaged, or another run
        pass
    lock.close()
    return None


def _goes_on(trajectory: Trajectory, source: Tensor, instruction: str, options: dict[str, Any]) -> bool:
    """Whether the run was cut off. Raises RethinkError where it is another."""
    require_same_run(trajectory, source, instruction, options)
    return trajectory.stopped in ("", "failed")


def record_live(live: LiveRun, run: Generator[Step, None, Stop]) -> Trajectory:
    """Write and tell every step of a run until it ends, or until a person ends it."""
    try:
        for trajectory in record_run(live.trajectory, run):
            if len(trajectory.steps) > len(live.trajectory.steps):
                live.stepped(trajectory)
            live.trajectory = trajectory
    except RunStopped as end:
        live.trajectory = live.trajectory.finish(end.stop.reason, end.stop.message, end.stop.chosen)
    finally:
        live.ended(live.trajectory)
    return live.trajectory


def live_of(trajectory: Trajectory, node: str) -> LiveRun:
    """The running loop of a record, for a node that goes on with it."""
    live = _running.get(folders.to_view_params(trajectory.folder / RECORD_FILE)["subfolder"])
    if live is None:
        lock = ExitStack()
        lock.enter_context(writing(trajectory.folder))
        live = LiveRun(node, trajectory, lock)
    return live


def in_memory(run: dict[str, str]) -> Trajectory | None:
    """The record that `run` refers to, where its loop is running: also what could not be written."""
    live = _running.get(run["subfolder"])
    return live and live.trajectory


def failures(node: str) -> int:
    """How often the thinker of a node failed: what ComfyUI remembers of such a run is no result to be content with.

    Copies that a loop expands into end in a dot and the id of the node that people see.
    """
    return _failures.get(node.rpartition(".")[2], 0)


def running(client: str | None = None) -> list[dict[str, Any]]:
    """The state of every loop that runs now, as in the event "began"; of those that a page may show, where it asks."""
    _forget_the_cut_off()
    return [live.state() for live in list(_running.values()) if client is None or live.belongs_to(client)]


def preview(run: str, number: str = "") -> bytes:
    """The edit under way of the loop in the subfolder `run`. number: tells one preview from the next, for caches."""
    return _live(run).preview()


def order(run: str, action: Any = None, prompt: Any = None, step: Any = None) -> None:
    """Pass on what a person wants of the loop whose record lies in the subfolder `run`. See `Live.order`."""
    _live(run).order(action, prompt, step)


def _live(run: str) -> LiveRun:
    live = _running.get(run) if isinstance(run, str) else None
    if live is None:
        raise RethinkError(f"run: no loop is running in {run}; it may have just ended.")
    return live


def _forget_the_cut_off() -> None:
    """A loop that is made of several nodes may be cancelled where it does not notice."""
    for live in list(_running.values()):
        if not server.is_running(live._prompt):
            live.forget()  # two threads may find it out at once


def serve() -> None:
    """Let the front end ask for the running loops and their previews, and give orders: {run, action, prompt?, step?}."""
    server.add_route("GET", "/rethink/running", running)
    server.add_route("GET", "/rethink/preview", preview)
    server.add_route("POST", "/rethink/order", order)
