"""The one kind of error that is the user's to fix, how any error is described, and the lazy import that raises it."""

import importlib
from types import ModuleType


class RethinkError(ValueError):
    """A user's mistake in one clear sentence: what is wrong, where (the input's name), what to do."""


class OutOfMemoryError(RethinkError):
    """The device is out of memory; what was taken has been freed. The sentence says what to lower."""


class EditorUnavailable(RethinkError):
    """An editor is gone for now, as its server is: whatever else it were asked would fail by the same. A later time may help."""


_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
)  # of GPUs and the CPU, as torch says it


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python means that memory has run out. torch has no class for this on the CPU."""
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in _OUT_OF_MEMORY)


def describe_error(error: Exception) -> str:
    """An error in one line, for the record of a run that continues: our own sentence, or the type and text of any other."""
    return str(error) if isinstance(error, RethinkError) else f"{type(error).__name__}: {error}"


def reason_of(error: Exception) -> str:
    """Why something failed, in the system's words alone: a sentence around it names the file, and nobody reads its number."""
    return getattr(error, "strerror", None) or str(error)


def lazy_import(module: str, package: str | None = None) -> ModuleType:
    """Import `module` when it is first needed.

    `package` is what pip calls it, where that is not the module's top-level name.
    Raises RethinkError with the pip command when it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = package or module.partition(".")[0]
        raise RethinkError(f"This needs the package {package} ({error}): pip install {package}") from error
