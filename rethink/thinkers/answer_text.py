"""The text of an answer without what a model or its server puts around it, and whether it is the model's own.

Models end answers with special tokens, put final answers into boxes, reason between other tags than the ones they were
asked to use, and format a prompt as a chat window would show it. None of that is part of the answer.
Everything here takes time linear in the answer's length.
"""

from __future__ import annotations

import html
import json
import re

# Everything between <| and |> is a special token (also in DeepSeek's spelling), and so are these.
_MARKS = re.compile(
    r"<[|｜][^\s<>|｜]{1,40}[|｜]>|</?s>|<(?:bos|eos|pad|unk)>|</?(?:start|end)_of_(?:turn|image|text)>|\[/?INST\]",
    re.IGNORECASE,
)
# Tags that other models reason between, instead of <think>.
_THINKING = re.compile(
    r"(?:<(?P<a>/?)(?:thinking|thought|seed:think)>|\[(?P<b>/?)THINK\]|◁(?P<c>/?)think▷)", re.IGNORECASE
)
_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2060\ufeff]")


def clean_answer(answer: str) -> str:
    """An answer without special tokens, lone surrogates and invisible characters, and with <think> in place of whatever
    tag was used instead."""
    text = _INVISIBLE.sub("", answer.encode("utf-8", "ignore").decode())
    text = _THINKING.sub(lambda tag: f"<{tag['a'] or tag['b'] or tag['c'] or ''}think>", text)
    return _MARKS.sub(" ", text)


# ── a prompt ─────────────────────────────────────────────────────────────────────────────────────────────────────────

LONGEST_DRESSED = 10_000  # characters of a prompt and what is around it
MOST_LAYERS = 20

_FENCE = re.compile(r"\A(`{3,}|~{3,})[^\S\n]*[\w+-]{0,20}[^\S\n]*\n(.*?)\n?[^\S\n]*\1\s*\Z", re.DOTALL)
_INLINE_FENCE = re.compile(r"\A(`{3,})\s*(.*?)\s*\1\Z", re.DOTALL)
_BOXED = re.compile(r"\A\$?\\boxed\{(?:\\text\{)?(.*?)\}?\}\$?\Z", re.DOTALL)
_LABEL = re.compile(
    r"\A(?:(?:sure|certainly|of course|okay|ok|great)\s*[!,.]+\s+)?(?:(?:here(?:[’']s| is)|the|my|your|a)\s+){0,2}"
    r"(?:(?:next|new|refined|revised|improved|rewritten|updated|final|better|suggested|edit|editing|editor)[\s_]+){0,2}"
    r"[\"']?(?:prompt|instruction|answer|command|edit)[\"']?"
    r"(?:\s+(?:for|to)\s+the\s+editor)?(?:\s+#?\d{1,2})?(?:\s*[:：]\s*|\s+[–—-]\s+|[^\S\n]*\n\s*)"
    r"|\A(?:提示词|提示|指令|プロンプト)\s*[:：]\s*",
    re.IGNORECASE,
)
_LINE_MARK = re.compile(r"\A(?:(?:>|[-*•]|#{1,6})\s+|1[.)]\s+(?!.*(?:^|\s)2[.)]\s))", re.DOTALL)
_HTML = re.compile(r"</?(?:b|i|u|em|strong|p|br|code|span|mark)\s*/?>", re.IGNORECASE)
_TAGGED = re.compile(r"\A<([a-z][\w-]{0,30})(?:\s[^<>]{0,200})?>(.*)</\1\s*>\Z", re.IGNORECASE | re.DOTALL)
_END_MARK = re.compile(r"\s*(?:\[(?:END|EOS|EOT|STOP|DONE)\]|<(?:END|STOP|eot)>)\Z", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:amp|quot|apos|lt|gt|nbsp|#\d{2,6}|#x[0-9a-f]{2,5});", re.IGNORECASE)
_EMPHASIS = (
    re.compile(r"\*\*(?=\S)([^*]{1,2000}?)(?<=\S)\*\*"),
    re.compile(r"(?<!\w)__(?=\S)([^_\s]{1,99}\s[^_]{0,2000}?)(?<=\S)__(?!\w)"),  # __init__ is a name
    re.compile(r"(?<![\w*])\*(?=\S)([^*]{1,2000}?)(?<=\S)\*(?![\w*])"),
    re.compile(r"\A_(?=\S)([^_]{1,2000}?)(?<=\S)_\Z"),
    re.compile(r"`([^`]{1,2000})`"),
)
_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "‹": "›", "‘": "’", "'": "'", "「": "」", "『": "』", "＂": "＂"}
_PROMPT_KEYS = ("prompt", "next_prompt", "answer", "instruction")
# Placeholders from the requested form, and words for nothing: a model that copies them has not written a prompt.
_PLACEHOLDERS = frozenset(
    {"", "the next prompt", "next prompt", "the instruction", "the last prompt", "n/a", "none", "null", "nothing"}
)


def prompt_words(text: str) -> str:
    """A prompt in one line, without code fences, emphasis, surrounding quotation marks, labels, bullets.

    What belongs to the prompt stays: quotation marks within it, an apostrophe, 2*3.
    "" for a placeholder copied from the question. A text that is too long for a prompt stays as it is.
    """
    if len(text) > LONGEST_DRESSED:
        return " ".join(text.split())
    for _ in range(MOST_LAYERS):
        text, dressed = _unwrap(text.strip()), text
        if text == dressed:
            break
    return "" if text.lower().strip(".… ") in _PLACEHOLDERS else text


def _unwrap(text: str) -> str:
    """The text without its outermost layer; text without any comes back on one line."""
    text = _END_MARK.sub("", text)
    for pattern, group in ((_FENCE, 2), (_INLINE_FENCE, 2), (_BOXED, 1), (_TAGGED, 2)):
        if found := pattern.match(text):
            return found[group]
    if text.startswith(("{", "[")) and text.endswith(("}", "]")):
        return _prompt_of_json(text)
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), strip_emphasis(_HTML.sub(" ", text)))
    text = _LINE_MARK.sub("", text)
    text = _LABEL.sub("", text)
    return " ".join(_unquote(text).split())


def strip_fence(text: str) -> str:
    """A text without a code fence around all of it."""
    found = _FENCE.match(text.strip())
    return found[2] if found else text


def strip_emphasis(text: str) -> str:
    """A text without Markdown's bold, italic and code marks; the words between them stay."""
    for pattern in _EMPHASIS:
        text = pattern.sub(r"\1", text)
    return text


def _unquote(text: str) -> str:
    """The text without a pair of quotation marks around all of it, unless others inside belong to it."""
    closing = _QUOTES.get(text[:1])
    if closing is None or len(text) < 3 or not text.endswith(closing):
        return text
    inner = text[1:-1]
    if closing in "'’":  # an apostrophe is not a quotation mark
        return text if re.search(r"(?<!\w)['‘’]|['’](?!\w)", inner) else inner
    return text if text[0] in inner or closing in inner else inner


def _prompt_of_json(text: str) -> str:
    record = load_json(text)
    if isinstance(record, list) and len(record) == 1:
        (record,) = record
    if isinstance(record, str):
        return record
    if isinstance(record, dict):
        words = [record[key] for key in _PROMPT_KEYS if isinstance(record.get(key), str)]
        if len(words) == 1:
            return words[0]
    return " ".join(text.split())


def load_json(text: str, **options) -> object:
    """The value of a JSON text, or None if it is invalid or nested too deeply. options: for `json.loads`."""
    try:
        return json.loads(text, **options)
    except (ValueError, RecursionError):
        return None


# ── whose words ──────────────────────────────────────────────────────────────────────────────────────────────────────

_FENCES = re.compile(r"[`~]{3,}(?:json|xml|text|html)?", re.IGNORECASE)
# Last words before a verdict that only announce it.
_OWN_LABEL = re.compile(
    r"\W*(?:(?:so|thus|therefore|okay|ok|sure)\W{1,3})?(?:here(?:['’]s)?\s+)?(?:(?:my|the|is|are|a|final|overall|json|own)\s+){0,4}"
    r"(?:json|answer|scores?|verdict|evaluation|ratings?|results?|judge?ment|critique|output|response|assessment)\W{0,4}",
    re.IGNORECASE,
)
# Words that announce a quotation of a sign in the image or of a text in the instruction.
_REPORT = re.compile(
    r"\b(?:say(?:s|ing)?|said|reads?|reading|stat(?:es?|ed|ing)|writ(?:e|es|ing|ten)|wrote|print(?:s|ed)|quot\w*|signs?|"
    r"signboard|posters?|labels?|captions?|watermarks?|banners?|texts?|words?|messages?|notes?|lettering|claims?|tells|"
    r"told|asks? me|demands|orders me|embedded|inject\w*|as follows|the following|shown in the (?:picture|image)|"
    r"steht|lautet|schild|dice|cartel|letrero|dit|écrit|panneau)\b|写着|写道|文字|标语|标志|書|看板",
    re.IGNORECASE,
)
# Words that cannot end a sentence: what follows is their object.
_DANGLING = re.compile(
    r"\w\W+(?:say|saying|read|reading|show|state|contain|containing|include|including|display|quote|write|print|output|answer|"
    r"reply|respond|give|see|has|have|is|are|was|with|to|of|by|that|this|as|like|and|or|the|a|an|for|told|into)s?\Z",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？…])\s+|\n+")
_OPENING = "“„«‹「『‘"


def is_quoted(before: str, after: str, *, reasoned: bool) -> bool:
    """Whether a verdict between these two texts may be quoted from a sign in the image or from the instruction, by a
    model that gives no verdict of its own.

    reasoned: whether `before` is closed reasoning, so that what follows is the answer. Otherwise a verdict is the
    model's own only if nothing follows it, and a label or a complete sentence that announces no quotation precedes it.
    """
    before, after = _FENCES.sub("", before).rstrip(" \t"), _FENCES.sub("", after).strip()
    lead, own_line = before.rstrip().rstrip("*_#"), before.endswith("\n")
    last = _last_sentences(lead, 1)
    if _quotation_open(lead) or after.startswith(tuple("`”»›」』’\"'.,;:!?)…")):
        return True
    labeled = bool(_OWN_LABEL.fullmatch(last))
    ended = lead.endswith((".", "!", "?", "…", "。", "！", "？", ")"))
    if reasoned:
        return (not labeled and _leads_in(last, ended)) or bool(_REPORT.search(after)) or after[:1].islower()
    if re.search(r"\w", after) or lead[lead.rfind("\n") + 1 :].count('"') % 2:
        return True
    if not re.search(r"\w", lead):
        return bool(lead) and lead[-1] in '>"' + _OPENING
    if reports_words(lead):
        return True
    return not (ended or labeled or (own_line and lead[-1].isalnum()))


def reports_words(lead: str) -> bool:
    """Whether the last sentences of a text announce a quotation."""
    return bool(_REPORT.search(_last_sentences(lead, 2)))


def _last_sentences(text: str, count: int) -> str:
    return " ".join([part for part in _SENTENCE_END.split(text[-2000:]) if part][-count:])


def _quotation_open(lead: str) -> bool:
    """Whether a quotation is still open at the end of the lead. Straight marks cannot tell, and mean inches too."""
    pairs = (("“", "”"), ("«", "»"), ("「", "」"), ("『", "』"))
    return lead.endswith("„") or any(lead.rfind(opening) > lead.rfind(closing) for opening, closing in pairs)


def _leads_in(sentence: str, ended: bool) -> bool:
    """Whether the last sentence of closed reasoning continues in what follows."""
    if ended:
        return bool(re.search(r"\bfollow(?:s|ing)\W*\Z", sentence[-60:]))
    opened = sentence.endswith((":", "：", ",", ">", "`", ' "', " '")) or sentence in ('"', "'")
    return opened or bool(_DANGLING.search(sentence))
