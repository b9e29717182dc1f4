"""What several commands of the pairs share: the thinker and the other models that arguments name, and where the work is
done."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RethinkError
from .arguments import add_field

if TYPE_CHECKING:
    from ..editors.protocol import Editor
    from ..evaluation.clip_similarity import Clip
    from ..pairs.engine import Engine
    from ..pairs.models import ModelSource
    from ..pairs.ray_cluster import WorkerResources
    from ..thinkers.asking import ChatFn
    from ..thinkers.loading import ThinkerConfig

BUILT_IN = "built-in"


def add_engine(parser: argparse.ArgumentParser, names: str) -> None:
    from ..pairs.engine import Engine

    for name in ("workers", "engine", "address"):
        add_field(parser, Engine, name)
    parser.add_argument(
        "--share",
        nargs="+",
        default=[],
        metavar="STAGE=CPUS[:GPUS[:JOBS]]",
        help=f"what a worker of a stage takes of its machine, and jobs it claims at once; the stages: {names}",
    )


def engine_from(options) -> Engine:
    from ..pairs.engine import Engine

    return Engine(options.engine, options.workers, options.address, _shares(options.share))


def _shares(texts: list[str]) -> dict[str, WorkerResources]:

    try:
        return {stage: _worker(parts) for stage, parts in (text.split("=") for text in texts)}
    except RethinkError:
        raise
    except ValueError as error:
        raise RethinkError(f"--share: expected STAGE=CPUS[:GPUS[:JOBS]], got {' '.join(texts)}.") from error


def add_thinker(parser: argparse.ArgumentParser, role: str = "") -> None:
    kinds = "built-in, a transformers folder of a vision-language model, or the URL of a server (…/v1)"
    parser.add_argument("--thinker", help=f"{role}{kinds}")
    parser.add_argument("--model", default="", help="the model's name on the server")
    parser.add_argument(
        "--key-variable",
        default="",
        help="NAME of the environment variable that holds the server's key, which is sent to that server alone",
    )
    parser.add_argument("--concurrency", type=int, default=4, help="questions to the server at once")
    parser.add_argument("--device", default="cpu", help="where the models compute: cpu, cuda, mps, …")


def thinker_from(options) -> ModelSource[ChatFn] | None:
    """The thinker that was asked for; it is opened later, here or on a machine of a cluster."""
    from ..pairs.models import ModelSource
    from ..thinkers.loading import ThinkerConfig, find_backend

    if not options.thinker:
        return None
    config = ThinkerConfig(
        options.thinker,
        options.model,
        options.key_variable,
        concurrency=options.concurrency,
        device=options.device,
    )
    named = {"--thinker"} | ({"--key-variable"} if options.key_variable else set())
    load = partial(open_chat, config, options.config is None or named <= options.typed)
    if find_backend(options.thinker).remote:
        return ModelSource(options.model, load, options.concurrency)
    return ModelSource(name_model(options.thinker), load)


def open_chat(config: ThinkerConfig, by_owner: bool) -> ChatFn:
    """by_owner: who runs the command has typed the server's address, and the name of its key."""
    from ..thinkers import loading

    return loading.open_chat(config, loading.typed_trust(config) if by_owner else None).chat


def editor_from(options) -> ModelSource[Editor] | None:
    from ..editors.loading import load_editor
    from ..pairs.models import ModelSource

    if bool(options.editor) != bool(options.inverse):
        raise RethinkError("--editor and --inverse go together.")
    if not options.editor:
        return None
    path = _path(options.editor, "EDITOR_FOLDER")
    return ModelSource(name_model(options.editor), partial(load_editor, path, device=options.device))


def _worker(parts: str) -> WorkerResources:
    from ..pairs.ray_cluster import WorkerResources

    values: list[Any] = [kind(part) for kind, part in zip((float, float, int), parts.split(":"), strict=False)]
    return WorkerResources(*values)


def clip_from(options) -> ModelSource[Clip] | None:
    from ..evaluation.clip_similarity import Clip
    from ..pairs.models import ModelSource

    if not options.clip:
        return None
    return ModelSource(name_model(options.clip), partial(Clip, _path(options.clip, "CLIP_FOLDER"), options.device))


def name_model(given: str | Path) -> str:
    """What a model is called that was given by its folder or file, or as built-in."""
    from ..model_files import model_name, snapshot_of
    from ..pairs.models import model_id

    return model_id(BUILT_IN if given == BUILT_IN else model_name(snapshot_of(Path(given))))


def _path(given: str, built_in: str) -> Path:
    from .. import builtin

    return getattr(builtin, built_in) if given == BUILT_IN else Path(given)
