"""Opens a thinker: its options, and the table of backends, one row per module of `backends/`.

To add a backend, add a module there that defines `BACKEND`; the command line, the pairs and Load Thinker find it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..errors import RethinkError
from ..options import Dtype, check_limits, option
from ..servers.address import is_address
from . import backends
from .critique import TEMPLATE, Thinker

if TYPE_CHECKING:
    from ..servers.trust import Trust
    from .protocol import Chat

BUILT_IN = "built-in"
Quantization = Literal["none", "8bit", "4bit"]


@dataclass(frozen=True)
class ThinkerConfig:
    """Which thinker to open, and how to ask it. Each backend reads the options that its row names.

    template: the critique prompt, see `critique.Thinker`.
    """

    where: str = option(BUILT_IN, "built-in, a transformers folder, or a server address (…/v1).")
    model: str = option("", "The model name that the server uses.")
    key_variable: str = option(
        "",
        "The NAME of the environment variable with the key, never the key itself. Leave empty if the server needs "
        "none. A provider's own variable is sent only to that provider; the help page says how to pair others.",
    )
    timeout: int = option(120, "Timeout of one attempt, in seconds.", low=1, high=3600, advanced=True)
    retries: int = option(
        4,
        "How many times to retry, with growing pauses, if the server is busy or unreachable.",
        low=0,
        high=20,
        advanced=True,
    )
    concurrency: int = option(
        4,
        "How many questions to send at once: candidates of a turn, descriptions of pairs.",
        low=1,
        high=64,
        advanced=True,
    )
    dtype: Dtype = option(
        "auto",
        "Number format of the weights. auto picks the best one for this machine.",
        choices=get_args(Dtype),
        advanced=True,
    )
    device: str = option("cpu", "Device to run the model on: cpu, cuda, mps, …", advanced=True)
    quantization: Quantization = option(
        "none",
        "Use fewer bits per weight, for less memory and slightly less accuracy. Needs the package bitsandbytes.",
        choices=get_args(Quantization),
        advanced=True,
    )
    template: str = TEMPLATE
    max_tokens: int = option(
        2048,
        "Maximum length of an answer, in tokens. An answer that is cut off has no scores; models that reason at length "
        "need more.",
        low=1,
        high=2**17,
        advanced=True,
    )
    temperature: float = option(
        0.0,
        "0: the most likely answer, the same every time. Higher: more varied prompts.",
        low=0.0,
        high=2.0,
        step=0.1,
        advanced=True,
    )

    def __post_init__(self):
        check_limits(self)


@dataclass(frozen=True)
class Location:
    """How the user chooses a backend's model.

    name, default, help: of the node's input. kind: an entry of ComfyUI's model folders, or a text such as an address.
    """

    kind: Literal["model folder", "text"]
    name: str
    help: str
    default: str = ""


@dataclass(frozen=True)
class Backend:
    """A row of the table: one way to run a vision-language model.

    name, help: in the menu of Load Thinker. recognizes: whether `ThinkerConfig.where` means this backend; the first row
    that says so counts. None: it takes what no other row takes, addresses if it is `remote`, else folders. open: makes
    the Chat; the `Trust` says which servers may be sent images and keys, and is None for backends that are not
    `remote`, which send nothing. location: None if there is only one model, whose files are in `folder`, if any.
    options: the fields of `ThinkerConfig` that it reads besides `where`. has_templates: whether its models may have
    their own prompts.
    """

    name: str
    help: str
    recognizes: Callable[[str], bool] | None
    open: Callable[[ThinkerConfig, Trust | None], Chat]
    location: Location | None = None
    folder: Path | None = None
    options: tuple[str, ...] = ()
    has_templates: bool = False
    remote: bool = False


@cache
def list_backends() -> tuple[Backend, ...]:
    """All rows, in the order of their modules' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(backends.__path__))
    return tuple(import_module(f"{backends.__name__}.{name}").BACKEND for name in names)


def find_backend(where: str) -> Backend:
    """The row that a `ThinkerConfig.where` refers to."""
    rows = list_backends()
    found = [row for row in rows if row.recognizes and row.recognizes(where)]
    return (found or [row for row in rows if row.recognizes is None and row.remote == is_address(where)])[0]


def open_chat(config: ThinkerConfig, trust: Trust | None = None, role: str = "thinker") -> Chat:
    """Open the model of a thinker.

    trust: which servers may be sent images and keys; by default those in the settings of this machine's owner.
    role: what it is used as, such as a judge: the input's name in errors.
    Raises RethinkError for anything that is missing, broken, unsafe, or not allowed.
    """
    try:
        return _open_chat(config, trust)
    except RethinkError as error:
        if not str(error).startswith("thinker: "):
            raise
        raise type(error)(str(error).replace("thinker", role, 1)) from error


def _open_chat(config: ThinkerConfig, trust: Trust | None) -> Chat:
    if not config.where.strip():
        raise RethinkError("thinker: is empty; give built-in, a transformers folder, or the address of a server.")
    row = find_backend(config.where)
    if row.remote and trust is None:
        from ..servers.trust import read_trust

        trust = read_trust()
    return row.open(config, trust)


def open_thinker(config: ThinkerConfig = ThinkerConfig(), trust: Trust | None = None, role: str = "thinker") -> Thinker:
    """Open a thinker: the model from `open_chat`, and how it is asked."""
    return Thinker(open_chat(config, trust, role), config.template, config.max_tokens, config.temperature)


def is_critic(thinker: Thinker) -> bool:
    """Whether a thinker was trained on critiques alone, with or without boxes, and can answer no other question."""
    taught = thinker.chat.name == BUILT_IN or getattr(thinker.chat, "only_critiques", False)
    return taught or thinker.template != TEMPLATE


def can_point(thinker: Thinker) -> bool:
    """Whether a thinker can be asked for boxes: not if it has its own template.

    The built-in one has learned that question, and a thinker trained from it on runs without boxes still answers it, as
    `benchmarks/focus.py --thinker` measures.
    """
    return thinker.template == TEMPLATE


def is_same_model(name: str, other: Any) -> bool:
    """Whether two names, possibly preceded by folders of this machine, belong to the same model."""
    return isinstance(other, str) and Path(name.replace("\\", "/")).name == Path(other.replace("\\", "/")).name


def typed_trust(config: ThinkerConfig) -> Trust | None:
    """Trust for a thinker that the owner of this machine has named on the command line: that server, with that key.

    None if nothing leaves the machine.
    """
    if not find_backend(config.where).remote:
        return None
    from ..servers.address import parse_address
    from ..servers.trust import trust_command_line

    origin, _ = parse_address(config.where)
    return trust_command_line(origin, config.key_variable)
