"""Reads text that is not Unicode, but only if every encoding that makes sense of it gives the same text.

A caption of a few words is too short for statistics: libraries that always answer are wrong on two of five such texts,
and a wrong instruction is worse than none. So an encoding is possible if decoding gives what people write in one of its
languages: letters of one alphabet, capitals where they belong, common characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

VOWELS = "áéíóú"
WESTERN = (
    "àâæçèéêëîïôœùûüÿ",
    "äöüßé",
    f"{VOWELS}üñªº",
    f"{VOWELS}àâãçêôõªº",
    "àèéìîòùº",
    "åäöé",
    "æøåé",
    f"{VOWELS}ðýþæö",
    f"{VOWELS}èêëïöü",
    "àçèéíïòóúü",
)  # French, German, Spanish, Portuguese, Italian, Swedish, Danish, Icelandic, Dutch, Catalan
CENTRAL = (
    "ąćęłńóśźż",
    f"{VOWELS}čďěňřšťůýž",
    f"{VOWELS}äčďĺľňôŕšťýž",
    f"{VOWELS}öőüű",
    "ăâîşţ",
    "čćđšž",
    "äöüß",
)  # Polish, Czech, Slovak, Hungarian, Romanian, Croatian, German
BALTIC = "āčēģīķļņšūž", "ąčęėįšųūž", "äõöüšž"  # Latvian, Lithuanian, Estonian
TURKISH = ("çğıöşüâîû",)
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяё", "абвгдежзийклмнопрстуфхцчшщьюяєіїґ"  # Russian, Ukrainian
GREEK = ("αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋ",)
HEBREW = ("אבגדהוזחטיךכלםמןנסעףפץצקרשת",)
ARABIC = ("ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيپچژگ،؛؟",)
THAI = ("กขคฆงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรฤลวศษสหฬอฮฯะัาำิีึืุูเแโใไๆ็่้๊๋์",)

KOREAN = frozenset(
    "이가을를은는에의로고기요세해하다지어아서도니자사리게면한인라스나추바색변경시일주그만으대"
)  # in every sentence

MARKS = frozenset("‘’“”„–—…•°©®™€£«»¿¡§№\u00a0")
CJK_MARKS = frozenset("，。、；：？！“”‘’（）《》〈〉「」『』【】…～・ー々〜－％\u3000０１２３４５６７８９")
# These two are not compiled here, to keep ComfyUI's startup fast: `re` caches what it has compiled.
MISPLACED = (
    r"\w[“„«¿¡©§№]\w|\w[–—•][^\W\d]|[”»…™®]\w|(?<!\w)’\w\w|"
    r"[^\x00-\x7f]\d[^\x00-\x7f]|[ךםןףץ][א-ת]|"  # letters that only end words
    r"(?<![ก-๎])[ะ-ฺ็-๎]|[เ-ไ](?![ก-ฮ])|[ะ-ฺ]{2}|[็-๋]{2}|[ะาำ][็-๋]|[a-z][ก-๎]|[ก-๎][a-z]"  # Thai signs
)
WIDE = "[\u2e80-\uffef]"
CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")  # except whitespace, which includes NEL


@dataclass(frozen=True)
class Encoding:
    """codec: Python's name. name: its common name. makes_sense: whether a text decoded with it makes sense."""

    codec: str
    name: str
    makes_sense: Callable[[str], bool]


def _in(*alphabets: str) -> Callable[[str], bool]:
    """Every letter outside ASCII belongs to one alphabet, and no word mixes scripts or has a capital in the middle."""
    sets = [frozenset(letters + letters.upper()) for letters in alphabets]

    def makes_sense(text: str) -> bool:
        foreign = {character for character in text if not character.isascii()} - MARKS
        paired = text.count("“") + text.count("„") == text.count("”")
        worded = all(map(_is_word, re.findall(r"[^\W\d_]+", text)))
        return (
            any(foreign <= letters for letters in sets) and paired and worded and not re.search(MISPLACED, text, re.I)
        )

    return makes_sense


def _is_word(letters: str) -> bool:
    return (letters[1:] == letters[1:].lower() or letters == letters.upper()) and len(
        {ord(c) < 0x250 for c in letters}
    ) == 1


def _common(codec: str, first: int, last: int, more: str = "") -> Callable[[str], bool]:
    """Every character outside ASCII is punctuation or a common one, and these are adjacent and a good part of the text.

    The standard puts common characters first: the first byte of their code in `codec` is first…last. `more`: further
    common ones.
    """

    def is_common(character: str) -> bool:
        try:
            return character in more or first <= character.encode(codec)[0] <= last
        except UnicodeEncodeError:
            return False

    def makes_sense(text: str) -> bool:
        wide = re.findall(WIDE, text)
        foreign = {character for character in text if not character.isascii()} - CJK_MARKS
        plain = sum(character.isascii() and character.isalpha() for character in text)
        return bool(re.search(f"{WIDE}{{2}}", text)) and 4 * len(wide) >= plain and all(map(is_common, foreign))

    return makes_sense


def _unspaced(makes_sense: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: makes_sense(text) and not re.search("[一-鿿] [一-鿿]", text)


def _japanese(text: str) -> bool:
    return bool(re.search("[ぁ-ヺ]", text)) and IN_KANJI(text)


def _korean(text: str) -> bool:
    syllables = re.findall("[가-힣]", text)
    return IN_HANGUL(text) and 4 * sum(syllable in KOREAN for syllable in syllables) >= len(syllables)


IN_KANJI = _common("shift_jis", 0x88, 0x98, "".join(map(chr, range(0x3041, 0x30FB))))
IN_HANGUL, SIMPLIFIED, TRADITIONAL = (
    _common("euc_kr", 0xB0, 0xC8),
    _common("gb2312", 0xB0, 0xD7),
    _common("big5", 0xA4, 0xC6),
)
# In the order in which they are named if several are possible.
ENCODINGS = (
    Encoding("cp1252", "Windows-1252", _in(*WESTERN)),
    Encoding("gb18030", "GB 18030", _unspaced(SIMPLIFIED)),
    Encoding("cp932", "Shift JIS", _japanese),
    Encoding("big5", "Big5", _unspaced(TRADITIONAL)),
    Encoding("cp949", "EUC-KR", _korean),
    Encoding("cp1251", "Windows-1251", _in(*CYRILLIC)),
    Encoding("cp1250", "Windows-1250", _in(*CENTRAL)),
    Encoding("koi8_u", "KOI8", _in(*CYRILLIC)),
    Encoding("euc_jp", "EUC-JP", _japanese),
    Encoding("cp1253", "Windows-1253", _in(*GREEK)),
    Encoding("cp1254", "Windows-1254", _in(*TURKISH)),
    Encoding("cp1255", "Windows-1255", _in(*HEBREW)),
    Encoding("cp1256", "Windows-1256", _in(*ARABIC)),
    Encoding("cp1257", "Windows-1257", _in(*BALTIC)),
    Encoding("cp874", "Windows-874", _in(*THAI)),
    Encoding("iso8859_2", "ISO 8859-2", _in(*CENTRAL)),
    Encoding("cp866", "CP 866", _in(*CYRILLIC)),
    Encoding("iso8859_5", "ISO 8859-5", _in(*CYRILLIC)),
)
# Old ones, which are named in messages but never used for reading: they would make others ambiguous.
OLD = (
    Encoding("gb18030", "GB 18030", SIMPLIFIED),
    Encoding("big5", "Big5", TRADITIONAL),
    Encoding("mac_roman", "Mac OS Roman", _in(*WESTERN)),
    Encoding("cp850", "CP 850", _in(*WESTERN, *CENTRAL)),
    Encoding("cp437", "CP 437", _in(*WESTERN)),
    Encoding("mac_cyrillic", "Mac OS Cyrillic", _in(*CYRILLIC)),
    Encoding("cp1258", "Windows-1258", _in(*WESTERN)),
    Encoding("iso2022_jp", "ISO-2022-JP", _japanese),
    Encoding("iso2022_kr", "ISO-2022-KR", _korean),
)


def possible(data: bytes) -> dict[str, str]:
    """{encoding name: the text} for the current encodings that make sense of the bytes; if none does, for old ones."""
    return _possible(data, ENCODINGS) or _possible(data, OLD)


def certain(data: bytes) -> str | None:
    """The text, if all current encodings that make sense of the bytes agree; else None."""
    texts = set(_possible(data, ENCODINGS).values())
    return texts.pop() if len(texts) == 1 else None


def _possible(data: bytes, encodings: tuple[Encoding, ...]) -> dict[str, str]:
    found = {}
    for encoding in encodings:
        try:
            text = data.decode(encoding.codec)
        except UnicodeDecodeError:
            continue
        if not CONTROL.search(text) and encoding.makes_sense(text):
            found[encoding.name] = text
    return found
