"""The error that users can fix, how any error is described, and the lazy import that raises it."""

import importlib
from types import ModuleType


class RethinkError(ValueError):
    """A user's mistake in one clear sentence: where (the input's name), what is wrong, what to do."""


class OutOfMemoryError(RethinkError):
    """The device is out of memory; what the job had allocated is freed. The message says what to lower."""


class EditorUnavailable(RethinkError):
    """An editor is unavailable for now, like its server: any other request would fail the same way. Later may help."""


_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
)  # of GPUs and the CPU, in torch's words


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error from torch or Python means that memory has run out. torch has no class for this on the CPU."""
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in _OUT_OF_MEMORY)


def describe_error(error: Exception) -> str:
    """An error on one line, for the record of a run that continues: our own sentence, or another's type and text."""
    return str(error) if isinstance(error, RethinkError) else f"{type(error).__name__}: {error}"


def reason_of(error: Exception) -> str:
    """Why something failed, in the system's words, without its number: the sentence around it names the file."""
    return getattr(error, "strerror", None) or str(error)


def lazy_import(module: str, package: str | None = None) -> ModuleType:
    """Import `module` when it is first needed.

    `package` is its name for pip, if that differs from the module's top-level name.
    Raises RethinkError with the pip command if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = package or module.partition(".")[0]
        raise RethinkError(f"This needs the package {package} ({error}): pip install {package}") from error
