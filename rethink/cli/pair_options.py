"""What several commands about pairs share: the thinker and the other models that arguments name, and where the work runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RethinkError
from .arguments import add_field
from .editor_options import BUILT_IN, add_loras, open_editor, parse_lora

if TYPE_CHECKING:
    from ..editors.protocol import Editor
    from ..evaluation.clip_similarity import Clip
    from ..pairs.engine import Engine
    from ..pairs.from_captions.text_to_image import TextToImageModel
    from ..pairs.models import ModelSource
    from ..pairs.ray_cluster import WorkerResources
    from ..thinkers.asking import ChatFn
    from ..thinkers.critique import Thinker
    from ..thinkers.loading import ThinkerConfig


def add_engine(parser: argparse.ArgumentParser, names: str) -> None:
    from ..pairs.engine import Engine

    for name in ("workers", "engine", "address"):
        add_field(parser, Engine, name)
    parser.add_argument(
        "--share",
        nargs="+",
        default=[],
        metavar="STAGE=CPUS[:GPUS[:JOBS]]",
        help=f"the CPUs and GPUs that a worker of a stage uses, and how many jobs it claims at once; stages: {names}",
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


# The thinker options of the commands about pairs. They have no template, because they do not ask for critiques, and they
# set the temperature themselves.
THINKER_FLAGS = {
    "model": "--model",
    "key_variable": "--key-variable",
    "concurrency": "--concurrency",
    "max_tokens": "--max-tokens",
    "timeout": "--thinker-timeout",
    "retries": "--thinker-retries",
    "dtype": "--thinker-dtype",
    "quantization": "--thinker-quantization",
}


def add_thinker(parser: argparse.ArgumentParser, role: str = "", flag: str = "--thinker") -> None:
    from ..thinkers.loading import ThinkerConfig

    kinds = "built-in, a transformers folder of a vision-language model, or the URL of a server (…/v1)"
    parser.add_argument(flag, dest="thinker", help=f"{role}{kinds}")
    parser.set_defaults(thinker_flag=flag)
    for name, flag in THINKER_FLAGS.items():
        add_field(parser, ThinkerConfig, name, flag, dest=f"thinker_{name}")


def thinker_from(options) -> ModelSource[ChatFn] | None:
    """The requested thinker; it is opened later, here or on a machine of a cluster."""
    from ..pairs.models import ModelSource
    from ..thinkers.loading import find_backend

    if not options.thinker:
        return None
    config, by_owner = _thinker_config(options)
    load = partial(open_chat, config, by_owner)
    if find_backend(options.thinker).remote:
        return ModelSource(config.model, load, config.concurrency)
    return ModelSource(name_model(options.thinker), load)


def open_thinker_from(options) -> Thinker | None:
    """The requested thinker, opened for critiques; None without one."""
    from ..thinkers import loading

    if not options.thinker:
        return None
    config, by_owner = _thinker_config(options)
    trust = loading.typed_trust(config) if by_owner else None
    return loading.open_thinker(config, trust, options.thinker_flag.removeprefix("--"))


def _thinker_config(options) -> tuple[ThinkerConfig, bool]:
    """(which thinker and how to open it, whether the server's address and the name of its key were typed on the command line)."""
    from ..thinkers.loading import ThinkerConfig

    values = {name: getattr(options, f"thinker_{name}") for name in THINKER_FLAGS}
    config = ThinkerConfig(options.thinker, device=options.device, **values)
    named = {options.thinker_flag} | ({"--key-variable"} if config.key_variable else set())
    return config, options.config is None or named <= options.typed


def open_chat(config: ThinkerConfig, by_owner: bool) -> ChatFn:
    """Open a chat. by_owner: whether the server's address and the name of its key were typed on the command line."""
    from ..thinkers import loading
    from ..thinkers.asking import chat_fn

    chat = loading.open_chat(config, loading.typed_trust(config) if by_owner else None)
    return chat_fn(chat, config.max_tokens)


def editor_from(options) -> ModelSource[Editor] | None:
    """The editor for --inverse, with its LoRAs; it is loaded later, here or on a machine of a cluster."""
    from ..pairs.models import ModelSource

    if bool(options.editor) != bool(options.inverse):
        raise RethinkError("--editor and --inverse go together; give both or neither.")
    if not options.editor:
        return None
    name = name_model(options.editor, options.lora, options.editor_model)
    return ModelSource(name, partial(open_editor, options))


def text_to_image_from(options) -> ModelSource[Any]:
    """The model of --sd, with its LoRAs; it is loaded later, here or on a machine of a cluster."""
    from ..pairs.models import ModelSource

    name = name_model(options.sd, options.lora)
    return ModelSource(name, partial(_open_text_to_image, options.sd, options.device, tuple(options.lora)))


def _open_text_to_image(folder: Path, device: str, loras: Sequence[str]) -> TextToImageModel:
    from ..pairs.from_captions.text_to_image import open_text_to_image

    return add_loras(open_text_to_image(folder, device), loras)


def _worker(parts: str) -> WorkerResources:
    from ..pairs.ray_cluster import WorkerResources

    values: list[Any] = [kind(part) for kind, part in zip((float, float, int), parts.split(":"), strict=False)]
    return WorkerResources(*values)


def clip_from(options) -> ModelSource[Clip] | None:
    from ..builtin import CLIP_FOLDER
    from ..evaluation.clip_similarity import Clip
    from ..pairs.models import ModelSource

    if not options.clip:
        return None
    folder = CLIP_FOLDER if options.clip == BUILT_IN else Path(options.clip)
    return ModelSource(name_model(options.clip), partial(Clip, folder, options.device))


def name_model(where: str | Path, loras: Sequence[str] = (), model: str = "") -> str:
    """The name of a model in records and ids, with LoRAs in the form of --lora. where: its folder, its file, built-in, or the
    address of a server, which calls it `model`."""
    from ..editors.loading import name_with_lora
    from ..model_files import model_name, snapshot_of
    from ..names import name_on_server
    from ..pairs.models import model_id
    from ..servers.address import is_address, parse_address

    if is_address(str(where)):
        name = model_id(name_on_server(model, str(parse_address(str(where))[0])))
    else:
        name = model_id(BUILT_IN if where == BUILT_IN else model_name(snapshot_of(Path(where))))
    for path, strength in map(parse_lora, loras):
        name = name_with_lora(name, path.stem, strength)
    return name
