"""File and folder names that are valid on every system, so that they can be copied anywhere."""

import os
import re
import unicodedata
from pathlib import PurePosixPath

MAX_NAME_BYTES = 200  # systems allow 255; the temporary name needs some of it
MAX_PATH_BYTES = 1000  # of a whole path within one of our folders
DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
RESERVED = DEVICES | {f"{port}{number}" for port in ("COM", "LPT") for number in "123456789¹²³"}
FORBIDDEN = frozenset('/\\<>:"|?*')
INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: controls, lone surrogates, line and paragraph separators
DIRECTION_MARKS = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # they make a name look like another one


def is_portable(name: str) -> bool:
    """Whether a file or folder can have this name (not a path) on every system."""
    if not name or name != name.strip() or name[0] == "." or name[-1] == "." or not all(map(_is_plain, name)):
        return False
    return name.split(".")[0].rstrip().upper() not in RESERVED and len(name.encode()) <= MAX_NAME_BYTES


def portable_parts(path: str) -> tuple[str, ...]:
    """The names in a path, in any system's notation; () if one of them is not portable, or the path is too long."""
    parts = path_parts(path)
    return parts if all(map(is_portable, parts)) and len("/".join(parts).encode()) <= MAX_PATH_BYTES else ()


def path_parts(path: str) -> tuple[str, ...]:
    """The parts of a path, in any system's notation, whatever they are."""
    return PurePosixPath(path.strip().replace("\\", "/")).parts


def is_within(path: str | os.PathLike, folder: str | os.PathLike) -> bool:
    """Whether a path is `folder` or inside it, with all links in both resolved."""
    try:
        real, home = (os.path.normcase(os.path.realpath(place)) for place in (path, folder))
    except (OSError, ValueError):  # a NUL in it, or longer than the system allows
        return False
    return real == home or real.startswith(os.path.join(home, ""))


def make_portable(text: str, fallback: str, longest: int = MAX_NAME_BYTES) -> str:
    """A file name made from `text`, at most `longest` bytes; `fallback` if nothing in it can be used."""
    text = re.sub(r"\.\.+", "…", text)  # ComfyUI does not show files with two dots in a row in their names
    words = "".join(" " if letter.isspace() or letter in FORBIDDEN else letter for letter in text)
    name = " ".join("".join(filter(_is_plain, words)).split()).encode()[:longest].decode(errors="ignore").strip(". ")
    return name if is_portable(name) else fallback


def _is_plain(letter: str) -> bool:
    return letter not in FORBIDDEN and letter not in DIRECTION_MARKS and unicodedata.category(letter) not in INVISIBLE


def name_on_server(model: str, origin: str) -> str:
    """The name of an editor on a server, in records and ids. origin: in full, as a machine may run several servers."""
    return f"{model} @ {origin}"


def name_anywhere(name: str) -> str:
    """The name of an editor without its server: it may be elsewhere when work resumes."""
    return re.sub(r" @ https?://[^/\s]+$", "", name)  # no file name ends like this
