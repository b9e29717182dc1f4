"""Edits from captions: a caption → an instruction and the caption after the edit (InstructPix2Pix, section 3.1.1).

The paper fine-tuned a language model on 700 examples. Here any chat writes edits from a few examples. The paper's
rejection rules and delimiters are kept, so that records and fine-tuning files are interchangeable.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import RethinkError
from ...text_files import check_text, good_lines, read_jsonl
from ...thinkers.asking import (
    ChatFn,
    FailureStreak,
    MapFn,
    ThinkerUnavailable,
    ask,
    is_refusal,
    message,
    strip_reasoning,
)
from ..jsonl_log import JsonlLog, fields_are, locked

AFTER_CAPTION, BETWEEN, STOP = "\n##\n", "\n%%\n", "\nEND"  # of the paper's released code
EXAMPLES = 12
RECORD = {"prompt", "completion"}  # of a fine-tuning file
MAX_ATTEMPTS = 4  # the paper's one, and three more

TASK = f"""You invent edits of images. You get the caption of an image. Think of one change that a person might ask \
an image editor for: an object, a material, the weather, the time, the place, a style, an action. Be inventive and vary \
the wording of the instruction. Then write the caption of the image after the edit; keep everything that the edit does \
not change.
Answer with exactly this, and nothing else: the instruction, a line with {BETWEEN.strip()}, the new caption."""


@dataclass(frozen=True)
class CaptionEdit:
    """A caption, an instruction in the imperative, and the caption after the edit."""

    input: str
    edit: str
    output: str

    def __post_init__(self):
        for name in ("input", "edit", "output"):
            if not check_text(getattr(self, name), f"triples: {name}").strip():
                raise RethinkError(f"triples: {name} is empty.")


@dataclass(frozen=True)
class CaptionProgress:
    """seen: captions read. made, rejected: captions of this run with and without an edit. seconds: since its start."""

    seen: int
    made: int
    rejected: int
    seconds: float


def built_in_edits() -> list[CaptionEdit]:
    """The examples for the thinker if the user gives none."""
    return read_caption_edits(Path(__file__).with_name("example_edits.jsonl"))


def read_caption_edits(path: str | Path) -> list[CaptionEdit]:
    """Read JSON lines {"input", "edit", "output"}, or the output of `captions_to_edits` ("caption" for "input").

    Raises RethinkError naming a line that is neither.
    """
    edits = []
    for number, record in enumerate(read_jsonl(path, "triples"), 1):
        try:
            edits.append(CaptionEdit(record.get("input") or record["caption"], record["edit"], record["output"]))
        except (KeyError, AttributeError, RethinkError) as error:
            raise RethinkError(
                f'triples: line {number} of {path} needs "input", "edit" and "output": {error}'
            ) from error
    if not edits:
        raise RethinkError(f"triples: {path} is empty.")
    return edits


def read_captions(path: str | Path) -> Iterator[tuple[str, str]]:
    """Read (caption, url) from a text file with one caption per line, or from JSON lines {"caption", "url"}."""
    if str(path).endswith(".jsonl"):
        for record in read_jsonl(path, "captions"):
            if not isinstance(record.get("caption"), str):
                raise RethinkError(f'captions: a line of {path} has no "caption".')
            yield check_text(record["caption"], f"captions: a caption of {path}"), str(record.get("url") or "")
        return
    for _, line in good_lines(path, "captions"):
        if line.strip():
            yield line.strip(), ""


def caption_to_edit(chat: ChatFn, caption: str, examples: Sequence[CaptionEdit], seed: int) -> CaptionEdit:
    """Ask the chat for an edit of a caption, after showing `EXAMPLES` examples drawn by the seed.

    Raises RethinkError with the reason when `MAX_ATTEMPTS` answers have been rejected.
    """
    return ask(chat, _messages(caption, examples, seed), [], seed, partial(read_answer, caption), MAX_ATTEMPTS)


def _messages(caption: str, examples: Sequence[CaptionEdit], seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    chosen = [examples[i] for i in rng.permutation(len(examples))[:EXAMPLES]]
    messages = [message("system", TASK)]
    for example in chosen:
        messages += [message("user", example.input), message("assistant", f"{example.edit}{BETWEEN}{example.output}")]
    return [*messages, message("user", caption)]


def read_answer(caption: str, answer: str) -> CaptionEdit:
    """The edit in an answer. Raises RethinkError for the paper's reasons to reject it, and for a refusal."""
    from ...thinkers.answer_text import prompt_words, strip_fence

    answer = strip_fence(strip_reasoning(answer)).strip().removesuffix("END").strip()
    parts = [part.strip() for part in answer.split(BETWEEN.strip())]
    if is_refusal(answer):
        raise RethinkError("the thinker refused")
    if len(parts) != 2:
        raise RethinkError(f"not exactly one {BETWEEN.strip()} in the answer")
    if not all(parts) or any("\n" in part for part in parts):
        raise RethinkError("an instruction and a caption of one line each are needed")
    parts = [prompt_words(part) for part in parts]
    if not all(parts):
        raise RethinkError("an instruction and a caption are needed")
    if _normalize(parts[1]) == _normalize(caption):
        raise RethinkError("the edited caption is the caption")
    if _normalize(parts[0]) == _normalize(parts[1]):
        raise RethinkError("the instruction is the caption")
    return CaptionEdit(caption, *parts)


def _normalize(text: str) -> str:
    return " ".join(text.strip().strip(".!?").lower().split())


def edit_logs(output: Path) -> tuple[JsonlLog, JsonlLog]:
    """The logs of edits and of rejected captions."""
    rejected = output.with_name(f"{output.name}.rejected")
    return JsonlLog(output, fields_are(caption=str, edit=str, output=str)), JsonlLog(
        rejected, fields_are(caption=str, why=str)
    )


def captions_to_edits(
    chat: ChatFn | None,
    captions: Iterable[tuple[str, str]],
    output: str | Path,
    examples: Sequence[CaptionEdit],
    seed: int = 0,
    on_progress: Callable[[CaptionProgress], None] = lambda progress: None,
    *,
    executor: Callable[[Iterator[tuple[str, str]]], Generator[dict, None, None]] | None = None,
    map_fn: MapFn = map,
) -> CaptionProgress:
    """Append {"caption", "edit", "output", "url"} for every distinct caption that is not yet in `output`.

    Rejected captions go to a file next to it, with the reason, and are not asked about again; delete that file to retry
    them. Captions on which the thinker failed go there too, but the next run asks about them again.
    executor: turns (caption, url) into the results of `edit_record` in other processes, with no `chat` needed here; None:
        all here. map_fn: `map`, or a function that asks about several captions at once.
    """
    output = Path(output)
    done, rejected = edit_logs(output)
    with locked(output.with_name(f".{output.name}.lock"), output):
        for log in (done, rejected):
            log.repair()
        known = {_normalize(r["caption"]) for log in (done, rejected) for r in log if not r.get("failed")}
        started, counts = time.monotonic(), {"seen": 0, "made": 0, "rejected": 0}

        def new() -> Iterator[tuple[str, str]]:
            for caption, url in captions:
                counts["seen"] += 1
                if _normalize(caption) not in known:
                    known.add(_normalize(caption))
                    yield caption, url

        streak = FailureStreak()
        if executor:
            records = executor(new())
        else:
            assert chat is not None, "without an executor there is a chat"
            records = (record for record in map_fn(partial(edit_record, chat, examples, seed), new()))
        with closing(records):
            for record in records:
                (rejected if "why" in record else done).append(record)
                counts["rejected" if "why" in record else "made"] += 1
                streak.record(record.get("failed", False), record.get("why", ""))
                on_progress(CaptionProgress(seconds=time.monotonic() - started, **counts))
    return CaptionProgress(seconds=time.monotonic() - started, **counts)


def edit_record(chat: ChatFn, examples: Sequence[CaptionEdit], seed: int, job: tuple[str, str]) -> dict:
    """(caption, url) → {"caption", "edit", "output", "url"}, or {"caption", "why", "failed", "url"} without an edit (failed:
    the thinker did not answer)."""
    caption, url = job
    try:
        edit = caption_to_edit(chat, caption, examples, seed + zlib.crc32(caption.encode()))
    except RethinkError as error:
        return {"caption": caption, "why": str(error), "failed": isinstance(error, ThinkerUnavailable), "url": url}
    return {"caption": caption, "edit": edit.edit, "output": edit.output, "url": url}


def write_fine_tuning_file(edits: Iterable[CaptionEdit], path: str | Path) -> int:
    """The paper's fine-tuning file: JSON lines {"prompt", "completion"} with its delimiters. Returns how many."""
    lines = [
        json.dumps({"prompt": t.input + AFTER_CAPTION, "completion": t.edit + BETWEEN + t.output + STOP}) + "\n"
        for t in edits
    ]
    if Path(path).is_file() and not set(next(read_jsonl(path, "fine-tuning"), RECORD)) >= RECORD:
        raise RethinkError(f"fine-tuning: {path} holds something else and was left as it is; choose another file.")
    try:
        Path(path).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise RethinkError(f"fine-tuning: cannot write {path}: {error.strerror}.") from error
    return len(lines)
