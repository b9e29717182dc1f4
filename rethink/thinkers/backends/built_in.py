"""The small built-in thinker, for the images of Built-in Scene."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...builtin import THINKER_FOLDER
from ..loading import BUILT_IN, Backend, ThinkerConfig
from .local_folder import open_folder

if TYPE_CHECKING:
    from ...servers.trust import Trust
    from ..transformers_chat import TransformersChat


def _open(config: ThinkerConfig, trust: Trust | None) -> TransformersChat:
    chat = open_folder(replace(config, where=str(THINKER_FOLDER)), trust)
    chat.name = BUILT_IN  # the name by which it is chosen, for records
    return chat


BACKEND = Backend(
    name=BUILT_IN,
    help="a small model for the images of Built-in Scene",
    recognizes=lambda where: where == BUILT_IN,
    open=_open,
    folder=THINKER_FOLDER,
)
