"""Ask a judge all questions about the edits of a benchmark, several at once and none twice."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError, describe_error
from ..evaluation.benchmarks.core import (
    Benchmark,
    Item,
    Judged,
    Prompts,
    Question,
    Replies,
    Scores,
    Shown,
    UnreadableReply,
)
from ..pairs.jsonl_log import DiskFull
from ..thinkers.asking import strip_reasoning, thread_map
from ..thinkers.protocol import NO_USAGE, TokenUsage
from .budget import CHARACTERS_PER_TOKEN, TOKENS_PER_IMAGE, Budget, Estimate, Spending
from .reply_log import ReplyLog, judge_identity, reply_key

if TYPE_CHECKING:
    from torch import Tensor

    from ..thinkers.critique import Thinker

MOST_FAILURES = 20  # calls in a row without an answer, after which the judge is considered unavailable


@dataclass(frozen=True)
class Judge:
    """The judge and how it is asked. attempts: to get a readable answer, each with its own seed."""

    thinker: Thinker
    attempts: int = 3
    seed: int = 0

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.thinker.chat.name

    def identity(self, attempt: int) -> str:
        """What an answer depends on besides the question."""
        thinker = self.thinker
        return judge_identity(self.name, thinker.max_tokens, thinker.temperature, self.seed + attempt)


@dataclass(frozen=True)
class Answer:
    """The outcome of one question. unreadable: why its last reply is not a score. failure: why there is no reply; "" for a question
    that the budget left out."""

    item: str
    question: str
    scores: Scores | None = None
    reply: str | None = None
    unreadable: str = ""
    failure: str | None = None


@dataclass(frozen=True)
class Judgments:
    """All answers. judged: items with a reply to every question. unreadable, failures: (item and question, reason). money: the cost of
    this run's calls, by the tokens the server reports in `usage`, estimated where it reports none."""

    judged: Judged
    replies: Mapping[str, Replies]
    unreadable: tuple[tuple[str, str], ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    left_out: int = 0
    calls: int = 0
    money: float = 0.0
    stopped: str = ""
    usage: TokenUsage = NO_USAGE


@dataclass
class _Tally:
    """Collects the answers, in the order of the items."""

    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)
    replies: dict[str, dict[str, str]] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    left_out: int = 0
    incomplete: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    in_a_row: int = 0

    @property
    def complete(self) -> set[str]:
        """The items with a reply to every question."""
        return self.replies.keys() - self.incomplete

    def of(self, item: str, partial: bool) -> Scores | None:
        """An item's scores. If a reply is not a score: the existing ones if `partial`, otherwise None."""
        return self.scores.get(item) if partial or item not in self.broken else None

    def add(self, answer: Answer) -> None:
        name = f"{answer.item}, {answer.question}"
        self.in_a_row = self.in_a_row + 1 if answer.failure else 0
        if answer.reply is not None:
            self.replies.setdefault(answer.item, {})[answer.question] = answer.reply
        if answer.failure is not None:
            self.incomplete.add(answer.item)
            self.failures += [(name, answer.failure)] if answer.failure else []
            self.left_out += not answer.failure
        elif answer.scores is None:
            self.broken.add(answer.item)
            self.unreadable.append((name, answer.unreadable))
        else:
            self.scores.setdefault(answer.item, {}).update(answer.scores)


def find_edits(benchmark: Benchmark, items: Sequence[Item], folder: Path) -> dict[str, Path]:
    """The file of every item's edit, for items that have one."""
    found = {}
    for item in items:
        places = (folder / name for name in benchmark.result_names(item))
        if place := next((place for place in places if place.is_file()), None):
            found[item.id] = place
    return found


def estimate(
    benchmark: Benchmark,
    items: Sequence[Item],
    edits: Mapping[str, Path],
    prompts: Prompts,
    judge: Judge,
    log: ReplyLog,
) -> Estimate:
    """Estimate what is left to ask. Reads every image and keeps none."""
    calls = known = images = characters = 0
    for item in items:
        if item.id not in edits:
            continue
        for question in benchmark.questions(item, prompts):
            if log.find(_key(item, question, edits[item.id], judge, 0)) is not None:
                known += 1
                continue
            calls += 1
            images += sum(isinstance(part, Shown) for part in question.parts)
            characters += sum(len(part) for part in question.parts if isinstance(part, str))
    return Estimate(calls, known, images, characters)


def _key(item: Item, question: Question, edit: Path, judge: Judge, attempt: int) -> str:
    return reply_key(judge.identity(attempt), [_content(item, part, edit) for part in question.parts])


def _content(item: Item, part: str | Shown, edit: Path) -> str | bytes:
    if isinstance(part, str):
        return part
    return edit.read_bytes() if part.role == "edited" else item.images[part.role]()


def judge_edits(
    benchmark: Benchmark,
    items: Sequence[Item],
    edits: Mapping[str, Path],
    prompts: Prompts,
    judge: Judge,
    log: ReplyLog,
    budget: Budget,
    on_done: Callable[[int], None] = lambda done: None,
) -> Judgments:
    """Ask everything that is not known yet, within the budget. edits: the images by item; other items are not judged.

    on_done: called with the number of questions done. Raises RethinkError if the judge does not answer at all.
    """
    chat = judge.thinker.chat
    spending, tally = Spending(budget, lambda: getattr(chat, "usage", NO_USAGE)), _Tally()
    asker = _Asker(benchmark, judge, log, spending)
    at_once = max(1, getattr(chat, "concurrency", 1))
    several = thread_map(2 * at_once if at_once > 1 else 1)  # while some threads wait for answers, others read images
    jobs = ((item, question, edits[item.id]) for item, question in _questions(benchmark, items, edits, prompts))
    for done, answer in enumerate(several(asker.ask, jobs), 1):
        tally.add(answer)
        on_done(done)
        if tally.in_a_row >= MOST_FAILURES:
            raise RethinkError(
                f"judge: {answer.failure} ({MOST_FAILURES} times in a row); run again when it answers, and it resumes."
            )
    if tally.failures and not tally.replies:
        raise RethinkError(
            f"judge: {tally.failures[0][1]} (it answered nothing); run again when it answers, and it resumes."
        )
    complete = {item.id: tally.of(item.id, benchmark.partial) for item in items if item.id in tally.complete}
    notes = (tuple(tally.unreadable), tuple(tally.failures))
    stopped = spending.why_over() if tally.left_out else ""
    return Judgments(
        complete, tally.replies, *notes, tally.left_out, spending.calls, spending.money, stopped, spending.usage
    )


def _questions(
    benchmark: Benchmark, items: Sequence[Item], edits: Mapping[str, Path], prompts: Prompts
) -> Iterator[tuple[Item, Question]]:
    for item in items:
        if item.id in edits:
            for question in benchmark.questions(item, prompts):
                yield item, question


class _Asker:
    """Asks one question at a time; may be called from several threads."""

    def __init__(self, benchmark: Benchmark, judge: Judge, log: ReplyLog, spending: Spending):
        self._benchmark, self._judge, self._log, self._spending = benchmark, judge, log, spending
        self._turns = threading.Semaphore(max(1, getattr(judge.thinker.chat, "concurrency", 1)))

    def ask(self, job: tuple[Item, Question, Path]) -> Answer:
        """The first readable reply, within the judge's attempts."""
        item, question, edit = job
        last = Answer(item.id, question.name, failure="")
        for attempt in range(self._judge.attempts):
            try:
                reply = self._reply(item, question, edit, attempt)
            except DiskFull:
                raise
            except Exception as error:  # a backend may raise anything, which must not end a run of days
                return Answer(item.id, question.name, failure=describe_error(error))
            if reply is None:
                return last
            if "think>" in reply:  # a judge that reasons aloud: its script would read the first number in the reasoning
                reply = strip_reasoning(reply)
            try:
                return Answer(item.id, question.name, self._benchmark.read_reply(item, question.name, reply), reply)
            except UnreadableReply as error:
                last = Answer(item.id, question.name, reply=reply, unreadable=str(error))
        return last

    def _reply(self, item: Item, question: Question, edit: Path, attempt: int) -> str | None:
        """The judge's reply, known or new; None if the budget is used up."""
        contents = [_content(item, part, edit) for part in question.parts]
        key = reply_key(self._judge.identity(attempt), contents)
        if (known := self._log.find(key)) is not None:
            return known
        thinker = self._judge.thinker
        images, files = self._images(item, question, contents)
        if encode := getattr(thinker.chat, "encode_images", None):
            images = encode(images, files)
        with self._turns:
            if not self._spending.take(self._price(contents)):
                return None
            reply = thinker.chat.chat(
                _messages(contents),
                images,
                max_tokens=thinker.max_tokens,
                seed=self._judge.seed + attempt,
                temperature=thinker.temperature,
            )
        self._log.add(key, reply, item.id, question.name)
        return reply

    def _price(self, contents: Sequence[str | bytes]) -> float:
        text = sum(len(part) for part in contents if isinstance(part, str))
        images = sum(isinstance(part, bytes) for part in contents)
        return self._spending.budget.price(text / CHARACTERS_PER_TOKEN + images * TOKENS_PER_IMAGE, 250)

    def _images(
        self, item: Item, question: Question, contents: Sequence[str | bytes]
    ) -> tuple[Sequence[Tensor], list[bytes | None]]:
        """The images of a question, with an edit resized to its source if the benchmark does so; and their files, None for an
        image that was resized."""
        files: list[bytes | None] = [data for data in contents if isinstance(data, bytes)]
        images = [decode_image(data) for data in files if data is not None]
        roles = [part.role for part in question.parts if isinstance(part, Shown)]
        if self._benchmark.resizes and "edited" in roles:
            place = roles.index("edited")
            source = images[roles.index("source")] if "source" in roles else decode_image(item.images["source"]())
            if images[place].shape[1:3] != source.shape[1:3]:
                images[place], files[place] = _at_size(images[place], source.shape[1], source.shape[2]), None
        return images, files


def _messages(contents: Sequence[str | bytes]) -> list[dict]:
    parts = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in contents]
    return [{"role": "user", "content": parts}]


def decode_image(data: bytes) -> Tensor:
    import torch

    from ..image_files import read_rgb
    from ..images import as_image

    pixels = read_rgb(io.BytesIO(data))
    return as_image(torch.from_numpy(pixels.copy() if pixels.ndim == 3 else pixels[..., None]))


def _at_size(image: Tensor, height: int, width: int) -> Tensor:
    from ..images import Fit, fit

    return fit(image, Fit((image.shape[1], image.shape[2]), (height, width), (height, width)))
