"""Read the judge's prompts from the user's own copy of a benchmark's code, which is parsed and never run."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import RethinkError
from ...text_files import read_json

MOST_BYTES = 2**22
FLAG = "--benchmark-code"


def find_code_file(folder: Path, *names: str) -> Path:
    """The first of these files, by path in the benchmark's repository, or by name anywhere in the folder.

    Raises RethinkError where there is none.
    """
    if not folder.is_dir():
        raise RethinkError(f"{FLAG}: {folder} is not a folder; give your copy of the benchmark's repository.")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    for name in names:
        if found := sorted(folder.glob(f"**/{Path(name).name}")):
            return found[0]
    raise RethinkError(f"{FLAG}: {folder} has no {names[0]}; give your copy of the benchmark's repository.")


def read_constants(file: Path, names: Sequence[str]) -> Mapping[str, str]:
    """The texts that a Python file assigns to these names at its top level.

    Raises RethinkError naming what is missing.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise RethinkError(f"{FLAG}: {file} is too large to be the prompts of a benchmark.")
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, RethinkError):
            raise
        raise RethinkError(f"{FLAG}: {file} cannot be read as Python: {error}.") from error
    found: dict[str, str] = {}
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        for target in targets:
            if isinstance(target, ast.Name) and target.id in names:
                value = _text_of(statement)
                if value is not None:
                    found[target.id] = value
    _require(found, names, file)
    return found


def _text_of(statement: ast.stmt) -> str | None:
    assert isinstance(statement, ast.Assign)
    try:
        value = ast.literal_eval(statement.value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, str) else None


def read_json_prompts(file: Path, names: Sequence[str]) -> Mapping[str, str]:
    """The texts with these names in a JSON object. Raises RethinkError naming what is missing."""
    record = read_json(file, FLAG)
    found = {name: text for name, text in record.items() if isinstance(text, str)} if isinstance(record, dict) else {}
    _require(found, names, file)
    return found


def _require(found: Mapping[str, str], names: Sequence[str], file: Path) -> None:
    if missing := [name for name in names if not found.get(name, "").strip()]:
        raise RethinkError(f"{FLAG}: {file} has no text {', '.join(missing)}; is it another version of the code?")


def fill(prompt: str, **values: object) -> str:
    """Fill the values into a prompt's braces. Raises RethinkError where it has others."""
    try:
        return prompt.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise RethinkError(f"{FLAG}: a prompt has braces that cannot be filled in ({error}).") from error
