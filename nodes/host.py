"""Everything of ComfyUI that the pack touches: model folders, memory, progress, interrupt."""

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

import comfy.cli_args
import comfy.model_management as memory
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_execution.utils import get_executing_context
from server import PromptServer
from torch import Tensor

from ..rethink.errors import OutOfMemory, RethinkError
from ..rethink.images import to_pil

BUILT_IN = "built-in"
OFFLOADS = ("none", "model", "sequential")
BYTES_A_PIXEL = 1024  # of a row, while it is edited: three passes of Stable Diffusion's UNet, by ComfyUI's own estimate
PREVIEW_SECONDS = 0.1  # between two previews: a fast editor shall not spend its time on JPEGs
LINE_SECONDS = 0.5  # between two lines of progress


# Model folders


def editor_names() -> list[str]:
    """What Load Editor offers: the built-in editor, diffusers folders, single .safetensors files of checkpoints."""
    files = [name.replace(os.sep, "/") for name in folder_paths.get_filename_list("checkpoints")]
    return [BUILT_IN, *sorted(_diffusers_folders()), *filter(_is_safetensors, files)]


def editor_path(name: str) -> Path:
    """Where an editor of `editor_names` lies.

    Raises RethinkError for any other name, and for one that a link leads out of the model folders.
    """
    if name == BUILT_IN:
        from ..rethink.tiny import EDITOR_FOLDER

        return EDITOR_FOLDER
    path = None
    if name in editor_names():  # and so nothing that climbs out with ".." or names a path of its own
        kind = "checkpoints" if _is_safetensors(name) else "diffusers"
        path = folder_paths.get_full_path(kind, name) if kind == "checkpoints" else _diffusers_folders()[name]
    if path is None:
        raise RethinkError(
            f"editor: there is no “{name}” in ComfyUI's model folders; put a diffusers folder into models/diffusers or "
            "a .safetensors file into models/checkpoints, then choose it from the list."
        )
    if not any(folder_paths.is_within_directory(base, str(path)) for base in folder_paths.get_folder_paths(kind)):
        raise RethinkError(
            f"editor: “{name}” is a link that leads out of ComfyUI's model folders; "
            "name the folder it leads to in extra_model_paths.yaml instead."
        )
    return Path(path)


def stamp(path: Path) -> tuple[int, int]:
    """Changes whenever a file of the model at `path` does: (newest modification in nanoseconds, bytes in all)."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    stats = [file.stat() for file in files]
    return max((s.st_mtime_ns for s in stats), default=0), sum(s.st_size for s in stats)


def _diffusers_folders() -> dict[str, Path]:
    """Name → folder of every pipeline in the diffusers folders, those one level down as “owner/name”."""
    found: dict[str, Path] = {}
    for base in map(Path, folder_paths.get_folder_paths("diffusers")):
        for pattern in ("*/model_index.json", "*/*/model_index.json"):
            for index in base.glob(pattern):
                found.setdefault(index.parent.relative_to(base).as_posix(), index.parent)
    return found


def _is_safetensors(name: str) -> bool:
    return name.lower().endswith(".safetensors")


# Memory

_editors = WeakValueDictionary()  # what it was loaded from and how → Editor: one copy, however many nodes ask for it
_patchers = WeakKeyDictionary()  # Editor → the ModelPatcher through which ComfyUI moves its weights


def load_editor(name: str, dtype: str, offload: str):
    """The editor called `name`, loaded once however many nodes ask for it, and let go when the last lets go.

    With offload "none" its weights come and go as ComfyUI's own models do; with the others it moves them itself.
    """
    from ..rethink.editors.loading import load_editor as load

    path = editor_path(name)
    device = memory.get_torch_device()
    if device.type == "cpu":
        offload = "none"  # there is nothing to move
    if dtype == "auto":
        dtype = _best_dtype(device)  # where it will compute, not where it waits
    key = (path.resolve(), stamp(path), dtype, offload, str(device))
    editor = _editors.get(key)
    if editor is None:
        managed = offload == "none"
        home = memory.unet_offload_device() if managed else device
        tokenizer = Path(memory.__file__).parent / "sd1_tokenizer"  # for single files, which have none
        editor = load(path, dtype=dtype, device=home, offload=offload, tokenizer=tokenizer)
        _editors[key] = editor
        if managed:
            _patchers[editor] = ModelPatcher(editor.module, load_device=device, offload_device=home)
    return editor


@contextmanager
def on_device(editor, images: Tensor, rows: int) -> Iterator[None]:
    """Within it the editor's weights are where it computes, with room to edit `rows` pictures of the size of `images`.

    Afterwards ComfyUI may take the memory back at any time. When memory runs out within, everything that ComfyUI holds
    is unloaded before the error goes on, so that the next run works.
    """
    patcher = _patchers.get(editor)
    room = rows * min(images.shape[1] * images.shape[2], 2**20) * BYTES_A_PIXEL  # larger ones are scaled down to edit
    if patcher is None:
        memory.free_memory(memory.module_size(editor.module) + room, memory.get_torch_device())
    else:
        memory.load_models_gpu([patcher], memory_required=room, force_full_load=True)
        editor.module.to(patcher.load_device)  # --novram leaves plain modules behind
    try:
        yield
    except OutOfMemory:  # the tensors are gone by now, but other models may still fill the device
        memory.unload_all_models()
        raise
    finally:
        if patcher is None:
            memory.soft_empty_cache()


def device() -> torch.device:
    """Where ComfyUI computes."""
    return memory.get_torch_device()


def _best_dtype(device: torch.device) -> str:
    if memory.should_use_fp16(device):
        return "fp16"
    return "bf16" if memory.should_use_bf16(device) else "fp32"


# Progress and interrupt


def stop_if_cancelled() -> None:
    """Raise what ends the run in ComfyUI when the user has pressed Cancel."""
    memory.throw_exception_if_processing_interrupted()


def on_step(run: int, runs: int, *, previews: bool = True) -> Callable[[int, int, Callable[[], Tensor]], None]:
    """The callback for run `run` of `runs` edits of one node: progress over all of them, previews, Cancel.

    A node that shows its result on itself asks for no previews: the front end would go on showing the last of them.
    """
    bar = comfy.utils.ProgressBar(runs)
    shown = -math.inf

    def report(step: int, total: int, preview: Callable[[], Tensor]) -> None:
        nonlocal shown
        stop_if_cancelled()
        picture = None
        if previews and time.monotonic() - shown >= PREVIEW_SECONDS:
            picture = ("JPEG", to_pil(_sheet(preview()))[0], comfy.cli_args.args.preview_size)
            shown = time.monotonic()
        bar.update_absolute(run * total + step, runs * total, picture)

    return report


def on_count() -> Callable[..., None]:
    """The callback of a run that counts: (done, total, a line to show on the node, a picture of what was just made)."""
    bar = comfy.utils.ProgressBar(1)
    shown = -math.inf

    def report(done: int, total: int, line: str, preview: Callable[[], Tensor | None] = lambda: None) -> None:
        nonlocal shown
        stop_if_cancelled()
        if done < total and time.monotonic() - shown < LINE_SECONDS:
            return
        picture = preview()
        shown = time.monotonic()
        if picture is not None:
            picture = ("JPEG", to_pil(picture)[0], comfy.cli_args.args.preview_size)
        bar.update_absolute(done, total, picture)
        say(line)

    return report


def say(line: str) -> None:
    """Show a line on the node that is running."""
    context = get_executing_context()
    if context is not None:
        server = PromptServer.instance
        server.send_progress_text(line, context.node_id, server.client_id)


def _sheet(images: Tensor) -> Tensor:
    """[B, h, w, 3] laid out as one picture [1, rows·h, columns·w, 3], as near to a square as it gets."""
    count, height, width, _ = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = images.new_zeros(rows * columns, height, width, 3)
    sheet[:count] = images
    sheet = sheet.view(rows, columns, height, width, 3).transpose(1, 2)
    return sheet.reshape(1, rows * height, columns * width, 3)


# What the front end asks for


def answer(method: str, path: str, reply: Callable[..., dict | bytes]) -> None:
    """Answer requests to `path` with what `reply` makes of their parameters (of the path, the query and the JSON body,
    by name): a record as JSON, bytes as a picture that never changes. It runs beside the event loop.

    A RethinkError is answered with status 400 and its sentence; so are parameters that `reply` does not know.
    """

    async def handle(request):
        from aiohttp import web

        try:
            body = await request.json() if request.can_read_body else {}
            found = await asyncio.to_thread(reply, **{**request.query, **body, **request.match_info})
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        if isinstance(found, bytes):
            kept = {"Cache-Control": "private, max-age=86400, immutable"}
            return web.Response(body=found, content_type="image/webp", headers=kept)
        return web.json_response(found)

    if server := getattr(PromptServer, "instance", None):  # tools that only describe the nodes start none
        server.routes.route(method, path)(handle)
