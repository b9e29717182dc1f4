"""The one kind of error that is the user's to fix, how any error is described, and the lazy import that raises it."""

import importlib
from types import ModuleType


class RethinkError(ValueError):
    """A user's mistake in one clear sentence: what is wrong, where (the input's name), what to do."""


class OutOfMemoryError(RethinkError):
    """The device is out of memory; what was taken has been freed. The sentence says what to lower."""


def describe_error(error: Exception) -> str:
    """An error in one line, for the record of a run that goes on: our own sentence, or the kind and words of any other."""
    return str(error) if isinstance(error, RethinkError) else f"{type(error).__name__}: {error}"


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
