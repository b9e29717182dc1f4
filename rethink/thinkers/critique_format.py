"""Reads what a thinker's answer clearly means. Nothing is guessed: a missing score stays missing.

The requested format is EditThinker's (arXiv 2512.05965): `<think>reasoning</think><score>{"semantic": 0-10, "quality":
0-10}</score><answer>next prompt</answer>`, with `<checklist>` before the score if there are demands to verify.
Whatever the answer, reading it takes time linear in its length and raises nothing.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from ..steps import ChecklistItem, Critique
from .answer_text import clean_answer, is_quoted, load_json, prompt_words, reports_words, strip_emphasis

LONGEST_ANSWER = 200_000  # characters that are looked at
LONGEST_PROMPT = 2_000
LONGEST_SCORE = 2_000

_UNCLOSED = "reasoning not closed (cut off at max_tokens?)"
_NUMBER = r"(10(?:\.0+)?|[0-9](?:\.[0-9]+)?)(?: ?/ ?10| out of 10)?"  # 0…10, nothing like 11, -1, 08 or 1e1
_PAIR = re.compile(rf'\[\s*"?{_NUMBER}"?\s*,\s*"?{_NUMBER}"?\s*\]')
_FIELD = re.compile(
    rf'["\']?\b(semantic|quality)\b["\']?\s*[:=：]\s*["\']?{_NUMBER}["\']?\s*(?=[,;，；\n}}]|$)', re.IGNORECASE
)
_WORD = re.compile(r"\w")
_COMMENT = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
_TAG = re.compile(r"</?(?:think|score|answer|checklist)>", re.IGNORECASE)
_VERDICT_TAG = re.compile(r"<(/?)(?:score|answer|checklist)>", re.IGNORECASE)
_VERDICT = re.compile(r"^[ \t]{0,8}([0-9]{1,3})[ \t]{0,4}[.:)–-]?[ \t]{0,4}(yes|no)\b", re.IGNORECASE | re.MULTILINE)


@dataclass
class _Repairs:
    """What was malformed, in the order in which it was found."""

    items: list[str] = field(default_factory=list)

    def add(self, note: str) -> None:
        if note not in self.items:
            self.items.append(note)


def parse_critique(answer: str, checklist: Sequence[str] = ()) -> Critique:
    """The Critique in an answer: ok, repaired, or unparsed. checklist: the statements to verify.

    Repaired means that the format was wrong but the meaning clear. Scores that contradict each other, are out of range,
    in words, cut off, or quoted in the reasoning do not count.
    """
    notes = _Repairs()
    if len(answer) > LONGEST_ANSWER:
        return Critique("unparsed", note=f"The answer has {len(answer)} characters.")
    thoughts, verdict = _split(clean_answer(answer), notes)
    reasoning = "\n".join(thoughts)
    whole = _whole_json(verdict)
    if whole is not None:
        notes.add("written as JSON")
        scores = _scores(json.dumps({key: whole[key] for key in ("semantic", "quality") if key in whole}), notes)
        prompt = next((whole[key] for key in ("answer", "prompt") if isinstance(whole.get(key), str)), "")
        reasoning = reasoning or next((whole[k] for k in ("think", "reasoning") if isinstance(whole.get(k), str)), "")
    else:
        scores = _score_block(verdict, notes)
        prompt = _block(verdict, "answer", notes)
        if (scores is not None or prompt) and _quoted(thoughts, verdict, closed=_UNCLOSED not in notes.items):
            notes.add("a verdict within prose")  # it may be a quotation
            scores, prompt = None, ""
        reasoning = reasoning or _TAG.split(verdict, 1)[0].strip()  # given outside the tags
    items = _checklist(verdict, checklist, notes)
    _check_order(verdict, notes)
    prompt = _prompt(prompt, notes)
    if scores is None:
        return Critique("unparsed", None, None, reasoning, prompt, items, _sentence(notes))
    status = "repaired" if notes.items else "ok"
    return Critique(status, *scores, reasoning, prompt, items, _sentence(notes))


def read_score(value: object) -> float | None:
    """A score 0…10 as models write one: 8, "8", "8/10", "8 out of 10", "**8**"; None for anything else."""
    if _is_score(value):
        return float(value)
    found = re.fullmatch(_NUMBER, value.replace("*", "").strip()) if isinstance(value, str) else None
    return float(found[1]) if found else None


def format_critique(critique: Critique) -> str:
    """A scored critique as an answer that `parse_critique` can read: what a thinker is trained to say."""
    marks = {True: "yes", False: "no", None: "unknown"}
    lines = "\n".join(f"{number}: {marks[item.passed]}" for number, item in enumerate(critique.checklist, 1))
    checklist = f"<checklist>\n{lines}\n</checklist>\n" if lines else ""
    scores = json.dumps({"semantic": critique.semantic, "quality": critique.quality})
    return f"<think>{critique.reasoning}</think>\n{checklist}<score>{scores}</score>\n<answer>{critique.next_prompt}</answer>"


def parse_text(answer: str) -> str:
    """The prompt in an answer if it has exactly one, else ""."""
    answer = clean_answer(answer[:LONGEST_ANSWER])
    return _prompt(_block(_split(answer, _Repairs())[1], "answer", _Repairs()), _Repairs())


def parse_list(answer: str) -> list[str]:
    """The lines of an answer's `<checklist>`, without their numbers and bullets."""
    answer = clean_answer(answer[:LONGEST_ANSWER])
    block = _block(_split(answer, _Repairs())[1], "checklist", _Repairs())
    lines = (
        strip_emphasis(re.sub(r"^\s*(?:[-*•]|\d{1,3}[.:)])\s*", "", line)).strip("` \t") for line in block.splitlines()
    )
    return [line for line in lines if line and len(line) <= LONGEST_PROMPT]


def _split(answer: str, notes: _Repairs) -> tuple[list[str], str]:
    """(pieces of reasoning, everything that is not reasoning). A verdict within closed reasoning is a draft or a quotation."""
    lower = answer.lower() if len(answer.lower()) == len(answer) else answer  # a few letters grow when lowered
    reasoning, verdict, at = [], [], 0
    end = lower.find("</think>")
    if end >= 0 and "<think>" not in lower[:end]:  # a chat template may open the reasoning by itself
        reasoning.append(answer[:end])
        at = end + len("</think>")
    while (start := lower.find("<think>", at)) >= 0:
        verdict.append(answer[at:start])
        if reasoning:
            notes.add("reasoning given twice")
        end = lower.find("</think>", start)
        if end < 0:
            notes.add(_UNCLOSED)
            return _unclosed(answer[start + len("<think>") :], "".join(verdict), reasoning)
        reasoning.append(answer[start + len("<think>") : end])
        at = end + len("</think>")
    verdict.append(answer[at:])
    if not reasoning:
        notes.add("no reasoning")
    text = "".join(verdict)
    if "</think>" in text.lower():  # what came before it was reasoning too
        notes.add("reasoning closed twice")
        cut = text.lower().rfind("</think>")
        reasoning.append(text[:cut])
        text = text[cut + len("</think>") :]
    return [part.strip() for part in reasoning], text


def _unclosed(rest: str, before: str, reasoning: list[str]) -> tuple[list[str], str]:
    """Reasoning that is never closed ends at a verdict if that is complete, the only one, and the last thing said."""
    lower = rest.lower()
    start = lower.find("<score>")
    whole = (
        not before.strip()
        and start >= 0
        and lower.count("<score>") == lower.count("</score>") == 1
        and lower.count("<answer>") == lower.count("</answer>") == 1
        and lower.find("</score>") < lower.find("<answer>")
        and not lower[lower.find("</score>") + len("</score>") : lower.find("<answer>")].strip()
        and lower.rstrip().endswith("</answer>")
    )
    if not whole:
        return [*reasoning, rest.strip()], before
    if "<checklist>" in lower[:start]:
        start = lower.index("<checklist>")
    return [*reasoning, rest[:start].strip()], rest[start:]


def _quoted(thoughts: Sequence[str], verdict: str, *, closed: bool) -> bool:
    """Whether the verdict may be a mere quotation, judging by the text before, between and after its tags."""
    tags = list(_VERDICT_TAG.finditer(verdict))
    before, after = verdict[: tags[0].start()], ""
    for tag, next_tag in zip(tags, [*tags[1:], None]):
        if tag[1]:  # between the blocks, and after the last one
            after += verdict[tag.end() : next_tag.start() if next_tag else len(verdict)]
    if re.search(r"\w|[\"“„«「『>]", before):
        return is_quoted(before, after, reasoned=False)
    reasoning = "\n".join(thoughts)
    if nested := re.search("<think>", reasoning, re.IGNORECASE):  # within reasoning: from a quoted answer
        return is_quoted(reasoning[: nested.start()], after, reasoned=False)
    *first, last = thoughts or [""]  # what follows the first may be an answer quoted with its reasoning
    if any(reports_words(thought) or is_quoted(thought, after, reasoned=True) for thought in first if thought):
        return True
    return is_quoted(last, after, reasoned=closed and bool(last))


def _block(text: str, tag: str, notes: _Repairs) -> str:
    """The text between a pair of tags; "" if there is none, if it is cut off, or if there are two that differ."""
    blocks = [block.strip() for block in _blocks(text, tag)]
    if not blocks:
        notes.add(f"no whole <{tag}>")
        return ""
    if len(blocks) > 1 or _count(text, tag) != (1, 1):
        notes.add(f"<{tag}> given {max(_count(text, tag))} times")
    return blocks[0] if len(set(blocks)) == 1 else ""


def _blocks(text: str, tag: str) -> list[str]:
    pattern = re.compile(f"<{tag}>", re.IGNORECASE)
    close = re.compile(f"</{tag}>", re.IGNORECASE)
    pieces = pattern.split(text)[1:]
    ends = [close.search(piece) for piece in pieces]
    return [piece[: end.start()] for piece, end in zip(pieces, ends) if end]


def _count(text: str, tag: str) -> tuple[int, int]:
    lower = text.lower()
    return lower.count(f"<{tag}>"), lower.count(f"</{tag}>")


def _score_block(verdict: str, notes: _Repairs) -> tuple[float, float] | None:
    """The scores in the verdict's `<score>` blocks, if they all agree."""
    pieces = [piece for piece in re.split("<score>", verdict, flags=re.IGNORECASE)[1:] if piece.strip()]
    if not 0 < len(pieces) < 10:
        notes.add("no <score>" if not pieces else "far too many <score>")
        return None
    if _count(verdict, "score") != (1, 1):
        notes.add("<score> given twice, or not closed")
    found = {_scores(_until_closed(piece), notes) for piece in pieces}
    if len(found) > 1:
        notes.add("scores that contradict each other")
        return None
    return found.pop()


def _until_closed(piece: str) -> str:
    """The content of a `<score>`: up to its closing tag or, without one, to the brace or bracket that ends it."""
    close = re.search("</score>", piece, re.IGNORECASE)
    if close:
        return piece[: close.start()]
    ends = [place + 1 for place in (piece.find("}"), piece.find("]")) if place >= 0]
    return piece[: min(ends, default=0)]


def _scores(text: str, notes: _Repairs) -> tuple[float, float] | None:
    """(semantic, quality) from the text in place of the scores, or None."""
    if len(text) > LONGEST_SCORE:
        notes.add("scores lost in text")
        return None
    plain = load_json(text, object_pairs_hook=_no_doubles, parse_constant=lambda name: None)
    if isinstance(plain, dict) and set(plain) == {"semantic", "quality"} and all(map(_is_score, plain.values())):
        return float(plain["semantic"]), float(plain["quality"])
    text = _COMMENT.sub("", text).replace("**", "").strip()
    if pair := _PAIR.fullmatch(text):
        notes.add("scores as a list")
        return float(pair[1]), float(pair[2])
    fields = _FIELD.findall(text)
    more = _WORD.search(_FIELD.sub("", text).replace("```json", ""))  # a third field, a range, a doubt
    if sorted(name.lower() for name, _ in fields) != ["quality", "semantic"] or more:
        notes.add("no two scores from 0 to 10")
        return None
    notes.add("scores not in plain JSON")
    values = {name.lower(): float(value) for name, value in fields}
    return values["semantic"], values["quality"]


def _no_doubles(pairs: list[tuple[str, object]]) -> dict | None:
    return dict(pairs) if len({key for key, _ in pairs}) == len(pairs) else None


def _is_score(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 10


def _whole_json(verdict: str) -> dict | None:
    """An answer that is one JSON object with scores and nothing else, as some models always write."""
    text = verdict.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    whole = load_json(text, object_pairs_hook=_no_doubles)
    score = whole.get("score") if isinstance(whole, dict) else None
    if isinstance(score, list) and len(score) == 2:
        score = dict(zip(("semantic", "quality"), score))
    if isinstance(whole, dict) and isinstance(score, dict):
        whole = {**whole, **score}
    return whole if isinstance(whole, dict) and {"semantic", "quality"} <= set(whole) else None


def _checklist(verdict: str, checklist: Sequence[str], notes: _Repairs) -> tuple[ChecklistItem, ...]:
    if not checklist:
        return ()
    words_by_number: dict[int, set[bool]] = {}
    for number, word in _VERDICT.findall(_block(verdict, "checklist", notes).replace("**", "")):
        words_by_number.setdefault(int(number), set()).add(word.lower() == "yes")
    if set(words_by_number) != set(range(1, len(checklist) + 1)) or any(
        len(words) > 1 for words in words_by_number.values()
    ):
        notes.add("checklist incomplete")
    words = [words_by_number.get(number, set()) for number in range(1, len(checklist) + 1)]
    return tuple(
        ChecklistItem(text, word.copy().pop() if len(word) == 1 else None) for text, word in zip(checklist, words)
    )


def _check_order(verdict: str, notes: _Repairs) -> None:
    tags = [tag.lower() for tag in _TAG.findall(verdict)]
    order = ["<checklist>", "</checklist>", "<score>", "</score>", "<answer>", "</answer>"]
    places = [order.index(tag) for tag in tags if tag in order]
    if places != sorted(places):
        notes.add("tags out of order")


def _prompt(text: str, notes: _Repairs) -> str:
    prompt = prompt_words(text)
    if len(prompt) > LONGEST_PROMPT or _TAG.search(prompt):
        notes.add("next prompt unusable")
        return ""
    return prompt


def _sentence(notes: _Repairs) -> str:
    return f"The answer: {'; '.join(notes.items)}." if notes.items else ""
