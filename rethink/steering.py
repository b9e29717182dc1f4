"""User commands to a running loop, from any thread or a file: the same actions wherever they come from."""

from __future__ import annotations

import threading
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .errors import RethinkError, reason_of
from .steps import Continue, RunStopped, Step, Stop, best_of
from .think_loop import proposed_prompt

ACTIONS = ("hold", "go_on", "prompt", "accept", "stop")
POLL = 0.1  # seconds between checks for an order while the loop waits for a person

# (steps, what comes next, whether the loop waits for the user, why it would end on its own, or "").
OnDecision = Callable[[Sequence[Step], Continue, bool, str], None]


class Steering:
    """The user's commands to one run. The last one counts.

    pause: wait for a command after every turn. poll: checks for commands elsewhere, also while the loop waits; may
    raise something to end the run. on_decision: see OnDecision.
    """

    def __init__(
        self,
        *,
        pause: bool = False,
        poll: Callable[[], None] = lambda: None,
        on_decision: OnDecision = lambda *_: None,
    ):
        self._pause, self._poll, self._on_decision = pause, poll, on_decision
        self._held = False
        self._order: Continue | Stop | None = None
        self._changed = threading.Condition()  # orders come from another thread

    def command(self, action: Any, prompt: Any = None, step: Any = None, steps: int = 0) -> None:
        """Take a command.

        action: "hold" (wait before the next turn), "go_on", "prompt" (use `prompt` for the next turn), "accept" (end
            the run with step number `step` of its `steps` as the result), "stop" (end the run with the best so far).
        Raises RethinkError for anything else.
        """
        if action not in ACTIONS:
            raise RethinkError(f"action: “{action}” is unknown; use {', '.join(ACTIONS[:-1])}, or {ACTIONS[-1]}.")
        if action == "prompt" and not (isinstance(prompt, str) and prompt.strip()):
            raise RethinkError("prompt: is empty; say what the next turn should do.")
        if action == "accept" and (type(step) is not int or step not in range(steps)):
            raise RethinkError(f"step: the run has no step {step}; give the index of one of its steps.")
        with self._changed:
            if action in ("hold", "go_on"):
                self._held = action == "hold"
            elif action == "prompt":
                self._order = Continue(prompt.strip(), "human")
            else:
                self._order = Stop("human", chosen=step if action == "accept" else None)
            self._changed.notify_all()

    @property
    def is_ordered(self) -> bool:
        """Whether an order is waiting to be carried out."""
        return self._order is not None

    def stop_if_ordered(self) -> None:
        """Raise RunStopped if the user wants the run to end now, in the middle of a turn."""
        if isinstance(self._order, Stop):
            raise RunStopped(self._order)

    def steer(self, steps: Sequence[Step], decision: Continue | Stop) -> Continue | Stop:
        """The user's decision in place of the loop's own (`think_loop.SteeringCallback`); waits while the run is on hold.

        A run that would end continues if it is on hold or has a prompt from the user, who may disagree with the
        thinker.
        """
        self._poll()
        ends = decision.reason if isinstance(decision, Stop) else ""
        with self._changed:
            self._held |= self._pause and self._order is None
            if isinstance(decision, Stop) and not self._held and not isinstance(self._order, Continue):
                return self._order or decision
            proposal = proposed_prompt(steps) if isinstance(decision, Stop) else decision
            waits = self._held
            self._on_decision(steps, proposal, waits, ends)
            while self._held and self._order is None:
                self._changed.wait(POLL)
                self._poll()
            order, self._order, self._held = self._order, None, False
        if isinstance(order, Stop):
            return order
        other = order if order is not None and order.prompt != proposal.prompt else None
        proposal = other or proposal
        if waits or other:
            self._on_decision(steps, proposal, False, "")
        return proposal


class SteeringFile:
    """Commands from a text file, one per line, which may be written before or during the run.

    hold | go_on | prompt THE NEXT PROMPT | accept [TURN[.CANDIDATE]] | stop
    accept alone takes the best edit so far; with a turn, the best of that turn. Lines are taken in order, at most one
    deciding line (prompt, accept, stop) per turn. complain: called with an error for lines that cannot be carried out.
    """

    def __init__(self, path: Path, complain: Callable[[str], None]):
        self._path, self._complain = path, complain
        self._seen, self._lines = "", deque[str]()

    def poll(self, steering: Steering, steps: Sequence[Step]) -> None:
        """Pass on the next lines, up to one that decides."""
        self._read()
        while self._lines and not steering.is_ordered:
            action, _, rest = self._lines.popleft().strip().partition(" ")
            if not action or action.startswith("#"):
                continue
            try:
                step = _step_index(rest.strip(), steps) if action == "accept" else None
                steering.command(action, rest if action == "prompt" else None, step, len(steps))
            except RethinkError as error:
                self._complain(f"--steer: {error}")

    def _read(self) -> None:
        """Take in the new lines; a line counts once it has ended."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise RethinkError(f"--steer: {self._path} cannot be read: {reason_of(error)}") from error
        codec = "utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"  # as PowerShell's > writes
        text = data.decode(codec, errors="replace")
        text = text[: text.rfind("\n") + 1]
        begun = len(self._seen) if text.startswith(self._seen) else 0  # otherwise it was rewritten
        self._lines += text[begun:].splitlines()
        self._seen = text


def _step_index(place: str, steps: Sequence[Step]) -> int:
    """The index of the best step at “TURN”, “TURN.CANDIDATE” or “” (anywhere)."""
    turn, _, candidate = place.partition(".")
    found = [
        index
        for index, step in enumerate(steps)
        if turn in ("", str(step.turn)) and candidate in ("", str(step.candidate))
    ]
    if not found:
        raise RethinkError(f"accept: there is no edit “{place}” yet; give a turn, or turn.candidate.")
    return found[best_of([steps[index] for index in found])]
