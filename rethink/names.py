"""Names that a file or a folder can have on every system, so that it can be copied anywhere."""

import os
import re
import unicodedata
from pathlib import PurePosixPath

MAX_NAME_BYTES = 200  # systems allow 255; some of it is needed for the temporary name
MAX_PATH_BYTES = 1000  # of a whole path within one of our folders
DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
RESERVED = DEVICES | {f"{port}{number}" for port in ("COM", "LPT") for number in "123456789¹²³"}
FORBIDDEN = frozenset('/\\<>:"|?*')
INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: controls, lone surrogates, line and paragraph separators
DIRECTION_MARKS = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # they make a name read as another one


def is_portable(name: str) -> bool:
    """Whether a file or folder can have this name (not a path) on every system."""
    if not name or name != name.strip() or name[0] == "." or name[-1] == "." or not all(map(_is_plain, name)):
        return False
    return name.split(".")[0].rstrip().upper() not in RESERVED and len(name.encode()) <= MAX_NAME_BYTES


def portable_parts(path: str) -> tuple[str, ...]:
    """The names in a path, in the notation of any system; () where one of them is not portable, or all are too long."""
    parts = path_parts(path)
    return parts if all(map(is_portable, parts)) and len("/".join(parts).encode()) <= MAX_PATH_BYTES else ()


def path_parts(path: str) -> tuple[str, ...]:
    """The parts of a path, in the notation of any system, whatever they are."""
    return PurePosixPath(path.strip().replace("\\", "/")).parts


def is_within(path: str | os.PathLike, folder: str | os.PathLike) -> bool:
    """Whether a path, with all links resolved, is a folder or inside it, with its links resolved too."""
    try:
        real, home = (os.path.normcase(os.path.realpath(place)) for place in (path, folder))
    except (OSError, ValueError):  # a NUL in it, or longer than the system allows
        return False
    return real == home or real.startswith(os.path.join(home, ""))


def make_portable(text: str, fallback: str, longest: int = MAX_NAME_BYTES) -> str:
    """A file name made from `text`, at most `longest` bytes; `fallback` where nothing of it can be in a name."""
    text = re.sub(r"\.\.+", "…", text)  # ComfyUI shows no file with two dots in its name
    words = "".join(" " if letter.isspace() or letter in FORBIDDEN else letter for letter in text)
    name = " ".join("".join(filter(_is_plain, words)).split()).encode()[:longest].decode(errors="ignore").strip(". ")
    return name if is_portable(name) else fallback


def _is_plain(letter: str) -> bool:
    return letter not in FORBIDDEN and letter not in DIRECTION_MARKS and unicodedata.category(letter) not in INVISIBLE


def name_on_server(model: str, origin: str) -> str:
    """The name of an editor behind a server, in records and ids. origin: the whole of it, as one machine may have several."""
    return f"{model} @ {origin}"


def name_anywhere(name: str) -> str:
    """The name of an editor without its server: the same editor may be elsewhere when work goes on."""
    return re.sub(r" @ https?://[^/\s]+$", "", name)  # which no file's name ends in
