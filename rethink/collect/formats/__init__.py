"""The layouts of trainers for thinkers, one file per layout."""

from . import easyr1, llama_factory, trl, verl
from .core import DatasetFormat

FORMATS: dict[str, DatasetFormat] = {module.FORMAT.name: module.FORMAT for module in (trl, llama_factory, easyr1, verl)}
