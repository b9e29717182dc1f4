"""Everything of ComfyUI that the pack touches, but for the folders of `folders`: models, memory, progress, messages."""

import asyncio
import inspect
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
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

from ..rethink.errors import OutOfMemoryError, RethinkError, describe_error
from ..rethink.images import to_pil
from ..rethink.model_files import model_files
from ..rethink.records import harmless, parse_json
from .comfy.model_folders import find_folders

BUILT_IN = "built-in"
OFFLOADS = ("none", "model", "sequential")
BYTES_A_PIXEL = 1024  # of a row, while it is edited: three passes of Stable Diffusion's UNet, by ComfyUI's own estimate
KV_CACHE_SHARE = 1 / 16  # of a thinker's weights, an answer: what Qwen3-VL's keys and values of two large pictures take
PREVIEW_SIDE = 512  # pixels of a preview on a film strip, at most
PREVIEW_SECONDS = 0.1  # between two previews: a fast editor shall not spend its time on JPEGs
LARGEST_BODY = 2**20  # bytes of a request
LONGEST_ECHO = 500  # characters of an answer that says what is wrong
LINE_SECONDS = 0.5  # between two lines of progress


# Model folders

folder_paths.add_model_folder_path("LLM", os.path.join(folder_paths.models_dir, "LLM"))  # as other packs call it


def editor_names() -> list[str]:
    """What Load Editor offers: the built-in editor, diffusers folders, single .safetensors files of checkpoints."""
    return [BUILT_IN, *find_folders("diffusers", "model_index.json"), *_safetensors("checkpoints")]


def editor_path(name: str) -> Path:
    """Where an editor of `editor_names` lies. Raises RethinkError for any other name."""
    if name == BUILT_IN:
        from ..rethink.builtin import EDITOR_FOLDER

        return EDITOR_FOLDER
    # Looked up among what is there, so that no name climbs out with ".." or is a path of its own.
    path = find_folders("diffusers", "model_index.json").get(name) or _safetensors("checkpoints").get(name)
    if path is None:
        raise RethinkError(
            f"editor: there is no “{name}” in ComfyUI's model folders; put a diffusers folder into models/diffusers or "
            "a .safetensors file into models/checkpoints, then choose it from the list."
        )
    return path


def thinker_names() -> list[str]:
    """The transformers folders in models/LLM, those further down as “owner/name”."""
    return list(find_folders("LLM", "config.json"))


def thinker_path(name: str) -> Path:
    """Where a thinker of `thinker_names` lies, or the built-in one; RethinkError as from `editor_path`."""
    if name == BUILT_IN:
        from ..rethink.builtin import THINKER_FOLDER

        return THINKER_FOLDER
    path = find_folders("LLM", "config.json").get(name)
    if path is None:
        raise RethinkError(
            f"folder: there is no “{name}” in ComfyUI's model folders; put the transformers folder of a model that sees "
            "into models/LLM, then choose it from the list."
        )
    return path


def template_names() -> list[str]:
    """The .txt files within the folders of thinkers, as “thinker/file.txt”."""
    folders = find_folders("LLM", "config.json")
    return sorted(f"{name}/{file.name}" for name, folder in folders.items() for file in folder.glob("*.txt"))


def template_text(name: str) -> str:
    """What is in a file of `template_names`."""
    if name not in template_names():
        raise RethinkError(
            f"template: there is no “{name}”; put the .txt file into the thinker's folder in models/LLM."
        )
    thinker, _, file = name.rpartition("/")
    try:
        return (thinker_path(thinker) / file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RethinkError(f"template: {name} cannot be read: {error}") from error


def lora_names() -> list[str]:
    """The .safetensors files of models/loras."""
    return list(_safetensors("loras"))


def lora_path(name: str) -> Path:
    """Where a LoRA of `lora_names` lies, or RethinkError."""
    path = _safetensors("loras").get(name)
    if path is None:
        raise RethinkError(f"lora: there is no “{name}” in ComfyUI's models/loras; put the .safetensors file there.")
    return path


def stamp(path: Path) -> tuple[int, int]:
    """Changes whenever a file of the model at `path` does: (newest modification in nanoseconds, bytes in all)."""
    files = [path] if path.is_file() else [file for file in model_files(path) if file.is_file()]
    stats = [file.stat() for file in files]
    return max((s.st_mtime_ns for s in stats), default=0), sum(s.st_size for s in stats)


def _safetensors(kind: str) -> dict[str, Path]:
    """Name → .safetensors file of everything of a kind, links too where they lead to a file."""
    names = [name for name in folder_paths.get_filename_list(kind) if name.lower().endswith(".safetensors")]
    paths = {name.replace(os.sep, "/"): folder_paths.get_full_path(kind, name) for name in names}
    return {name: Path(path) for name, path in paths.items() if path}


# Memory

_editors = WeakValueDictionary()  # what it was loaded from and how → Editor: one copy, however many nodes ask for it
_thinkers = WeakValueDictionary()  # the same for the Chats of transformers folders
_base_editors = (
    WeakKeyDictionary()
)  # Editor with a LoRA → the one it lies over, which lives, and is found, as long as it
_patchers = WeakKeyDictionary()  # Editor or Chat → the ModelPatcher through which ComfyUI moves its weights


def load_editor(name: str, dtype: str, offload: str, quantize: str = "none"):
    """The editor called `name`, loaded once however many nodes ask for it, and let go when the last lets go.

    With offload "none" its weights come and go as ComfyUI's own models do; with the others it moves them itself, and
    so it does when quantized: not every quantized layer can be moved from outside.
    """
    from ..rethink.editors.loading import load_editor as load

    path = editor_path(name)
    device = memory.get_torch_device()
    if device.type == "cpu":
        offload = "none"  # there is nothing to move
    elif quantize != "none" and offload == "none":
        offload = "model"
    if dtype == "auto":
        dtype = _best_dtype(device)  # where it will compute, not where it waits
    key = (path.resolve(), stamp(path), dtype, offload, quantize, str(device))
    editor = _editors.get(key)
    if editor is None:
        managed = offload == "none"
        home = memory.unet_offload_device() if managed else device
        tokenizer = Path(memory.__file__).parent / "sd1_tokenizer"  # for single files, which have none
        editor = load(path, dtype=dtype, device=home, offload=offload, quantize=quantize, tokenizer=tokenizer)
        editor.name = name  # as it was chosen, in errors and in records
        _editors[key] = editor
        if managed:
            _patchers[editor] = ModelPatcher(editor.module, load_device=device, offload_device=home)
    return editor


def with_lora(editor, name: str, strength: float) -> tuple:
    """(`editor` with a LoRA of `lora_names` over it, the report). Both are moved as one: they share their weights.

    Its name says so: what was begun with the one is not taken for the other's.
    """
    changed, report = editor.with_lora(lora_path(name), strength)
    changed.name = f"{editor.name} + {report.name} × {strength:g}"
    _base_editors[changed] = editor
    if editor in _patchers:
        _patchers[changed] = _patchers[editor]
    return changed, report


def load_chat(name: str, dtype: str = "auto", quantization: str = "none"):
    """The Chat of the thinker in the model folder `name`, loaded once however many nodes ask for it."""
    from ..rethink.thinkers.loading import load_thinker

    path = thinker_path(name)
    device = memory.get_torch_device()
    if dtype == "auto" and device.type != "cpu":  # where it will compute, not where it waits
        dtype = "bf16" if memory.should_use_bf16(device) else "fp16"
    key = (path.resolve(), stamp(path), dtype, quantization, str(device))
    chat = _thinkers.get(key)
    if chat is None:
        managed = quantization == "none"  # quantized layers stay where they were made
        home = memory.text_encoder_offload_device() if managed else device
        chat = ManagedChat(load_thinker(path, dtype=dtype, device=home, quantization=quantization), name)
        _thinkers[key] = chat
        if managed:
            # Within a list, as the patcher notes its `device` on what it is given, which transformers' models do not allow.
            within = torch.nn.ModuleList([chat.module])
            _patchers[chat] = ModelPatcher(within, load_device=device, offload_device=home)
    return chat


class ManagedChat:
    """A Chat whose weights are on the device while it answers, and only then. name: as it was chosen."""

    def __init__(self, chat, name: str):
        self._chat, self.name = chat, name
        self.module = chat.module

    def chat(self, messages, images, **options) -> str:
        with self._placed(1):
            return self._chat.chat(messages, images, **options)

    def chat_all(self, requests, **options) -> list:
        with self._placed(len(requests)):
            return self._chat.chat_all(requests, **options)

    def forget(self) -> None:
        """Give back what the device holds beside the weights."""
        self._chat.forget()

    def _placed(self, answers: int) -> AbstractContextManager[None]:
        return placed(self, int(answers * memory.module_size(self.module) * KV_CACHE_SHARE))


def forget(*thinkers) -> None:
    """Give back what the Chats of thinkers have remembered of a run that is over. None is no thinker."""
    for thinker in thinkers:
        if isinstance(getattr(thinker, "chat", None), ManagedChat):
            thinker.chat.forget()


def on_device(editor, images: Tensor, rows: int) -> AbstractContextManager[None]:
    """Within it the editor can edit `rows` pictures of the size of `images`. See `placed`."""
    room = rows * min(images.shape[1] * images.shape[2], 2**20) * BYTES_A_PIXEL  # larger ones are scaled down to edit
    return placed(editor, room)


@contextmanager
def placed(model, room: int) -> Iterator[None]:
    """Within it the weights of an Editor or Chat are where it computes, with `room` bytes to work in.

    Afterwards ComfyUI may take the memory back at any time. When memory runs out within, everything that ComfyUI holds
    is unloaded before the error goes on, so that the next run works.
    """
    patcher = _patchers.get(model)
    try:
        if patcher is not None:
            memory.load_models_gpu([patcher], memory_required=room, force_full_load=True)
            model.module.to(patcher.load_device)  # --novram leaves plain modules behind
        elif not getattr(model, "moves_itself", False):  # as editors of ComfyUI's own models do
            memory.free_memory(memory.module_size(model.module) + room, memory.get_torch_device())
        yield
    except torch.cuda.OutOfMemoryError as error:  # models have sentences for their work: these are the weights alone
        memory.unload_all_models()
        raise OutOfMemoryError(
            f"{model.name} as a whole is larger than the video memory; choose an offload or a quantization where it is "
            "loaded. The help page of Load Editor has a table."
        ) from error
    except OutOfMemoryError:  # the tensors are gone by now, but other models may still fill the device
        memory.unload_all_models()
        raise
    finally:
        if patcher is None:
            memory.soft_empty_cache()


class ManagedEditor:
    """An Editor whose weights are on the device while it works, and only then: for loops that also use other models.

    Cancel ends its edits, also those of who knows nothing of it.
    """

    def __init__(self, editor):
        self._editor = editor

    def __getattr__(self, name: str):  # what needs no weights is the editor's own
        return getattr(self._editor, name)

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()):
        with on_device(self._editor, images, len(images)):
            return self._editor.prepare(images, references)

    def edit(self, prepared, instructions: Sequence[str], seeds: Sequence[int], *arguments, **options) -> Tensor:
        options = {"on_step": lambda *_: stop_if_cancelled()} | options
        with on_device(self._editor, prepared.images, len(seeds)):
            return self._editor.edit(prepared, instructions, seeds, *arguments, **options)


def device() -> torch.device:
    """Where ComfyUI computes."""
    return memory.get_torch_device()


def _best_dtype(device: torch.device) -> str:
    fp16, bf16 = memory.should_use_fp16(device), memory.should_use_bf16(device)
    if fp16 and bf16:
        return "half"
    return "fp16" if fp16 else "bf16" if bf16 else "fp32"


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


def preview_bytes(images: Tensor) -> bytes:
    """IMAGE [B, H, W, 3] as one small WebP picture."""
    picture = to_pil(_sheet(images))[0]
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    stream = BytesIO()
    picture.save(stream, "WEBP", quality=80, method=0)
    return stream.getvalue()


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
    """Show a line on the node that is running; the front end takes it for HTML."""
    context = get_executing_context()
    if context is not None:
        server = PromptServer.instance
        server.send_progress_text(harmless(line), context.node_id, server.client_id)


def show_text(*lines: str) -> dict[str, list[str]]:
    """What a node shows in words when it has run, also after a reload: a part of its `ui`. Empty lines say nothing."""
    return {"rethink_text": ["\n".join(filter(None, lines))]}


def note_in_pictures(hidden, used: Any) -> None:
    """Have what a node has used written into every PNG that the run still saves, under “rethink” and the node's id.

    A prompt from a program brings no such notes: there it stands with the node, in what ComfyUI writes of the prompt.
    hidden: of a node that asked for the hidden unique_id, prompt and extra_pnginfo.
    """
    if isinstance(hidden.extra_pnginfo, dict):
        notes = hidden.extra_pnginfo.get("rethink") or {}
        hidden.extra_pnginfo["rethink"] = notes | {hidden.unique_id: used}
    elif hidden.unique_id in (hidden.prompt or {}):
        node = hidden.prompt[hidden.unique_id]
        node["_meta"] = node.get("_meta", {}) | {"rethink": used}


def warn_of_strangers(kind: str, name: str, images: Tensor) -> str:
    """What to say before a model works on pictures that it does not know; "" where there is nothing to say.

    kind: "editor" or "thinker". name: the model's, as it was chosen. Only the built-in ones know so little.
    """
    if name.split(" + ")[0] != BUILT_IN:  # a LoRA over it stands behind
        return ""
    from ..rethink.tiny.strangers import warn_of_strangers as about

    return about(kind, images)


def _sheet(images: Tensor) -> Tensor:
    """[B, h, w, 3] laid out as one picture [1, rows·h, columns·w, 3], as near to a square as it gets."""
    count, height, width, _ = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = images.new_zeros(rows * columns, height, width, 3)
    sheet[:count] = images
    sheet = sheet.view(rows, columns, height, width, 3).transpose(1, 2)
    return sheet.reshape(1, rows * height, columns * width, 3)


# Messages


def send(event: str, data: dict, client: str | None, workflow: str) -> None:
    """Tell the page that queued a prompt; where it is closed, every page, as another may show its workflow by now.

    A prompt without a workflow comes from a program, and no page shows its nodes: only who queued it is told.
    """
    everyone = workflow and not is_connected(client)
    PromptServer.instance.send_sync(event, data, None if everyone else client)


def client_id() -> str | None:
    """The id of the page or program that queued the prompt which runs now; None where it has not said."""
    return PromptServer.instance.client_id


def is_connected(client: str | None) -> bool:
    """Whether the page or program of that id listens."""
    return client in getattr(PromptServer.instance, "sockets", {})


def prompt_id() -> str:
    """The id of the prompt whose node runs now; asked on that node's thread."""
    return get_executing_context().prompt_id


def display_id(hidden) -> str:
    """The id under which people see a node that asked for the hidden unique_id and dynprompt."""
    return hidden.dynprompt.get_display_node_id(hidden.unique_id)


def is_running(prompt: str) -> bool:
    """Whether the prompt of that id runs now."""
    running, _ = PromptServer.instance.prompt_queue.get_current_queue()
    return any(item[1] == prompt for item in running)


def workflow_id(prompt: str) -> str:
    """The id of the workflow that the running prompt of that id was queued from; "" for one from elsewhere."""
    running, _ = PromptServer.instance.prompt_queue.get_current_queue()
    extra = next((item[3] for item in running if item[1] == prompt), {})
    return ((extra.get("extra_pnginfo") or {}).get("workflow") or {}).get("id", "")


class TooLarge(RethinkError):
    """A request brings more than is ever needed."""


def serve(method: str, path: str, reply: Callable[..., dict | bytes]) -> None:
    """Answer the front end's requests to `path` with what `reply` makes of their parameters (of the path, the query and
    the JSON body, by name): a record as JSON, bytes as a WebP picture that never changes.

    It runs on a thread of its own. A RethinkError is a reply of status 400 with its sentence under "error"; so is
    whatever else goes wrong, since none of it is ever more than an answer that there is not.
    """

    async def handle(request):
        from aiohttp import web  # ComfyUI's server is made of it

        try:
            given = {**request.query, **await _body(request), **request.match_info}
            _check_names(reply, given)
            found = await asyncio.to_thread(reply, **given)
            if isinstance(found, bytes):
                kept = {"Cache-Control": "private, max-age=86400, immutable"}
                return web.Response(body=found, content_type="image/webp", headers=kept)
            return web.json_response(found)
        except TooLarge as error:
            return web.json_response({"error": str(error)}, status=413)
        except RethinkError as error:
            return web.json_response({"error": _cut(str(error))}, status=400)
        except Exception as error:
            logging.warning("Rethink could not answer %s %s.", method, path, exc_info=error)
            return web.json_response(
                {"error": _cut(f"request: cannot be answered ({describe_error(error)}).")}, status=400
            )

    if hasattr(PromptServer, "instance"):  # else the pack is looked at without a server, by some tool
        PromptServer.instance.routes.route(method, path)(handle)


async def _body(request) -> dict:
    """The JSON object that a request brings, {} where it brings nothing. It is UTF-8, whatever the request says."""
    if not request.can_read_body:
        return {}
    data = b""
    while (request.content_length or 0) <= LARGEST_BODY and len(data) <= LARGEST_BODY:
        part = await request.content.readany()  # what is sent in parts does not say how much it is
        if not part:
            break
        data += part
    else:
        raise TooLarge(f"request: brings more than {LARGEST_BODY // 2**20} MB, which nothing here needs.")
    try:
        body = parse_json(data)
    except ValueError as error:
        raise RethinkError(f"request: its body is no JSON: {error}.") from error
    if not isinstance(body, dict):
        raise RethinkError("request: its body is no JSON object.")
    return body


def _check_names(reply: Callable, given: dict) -> None:
    try:
        inspect.signature(reply).bind(**given)
    except TypeError as error:
        raise RethinkError(f"request: {error}.") from error


def _cut(sentence: str) -> str:
    """What is wrong with a request may be its size."""
    return sentence if len(sentence) <= LONGEST_ECHO else f"{sentence[:LONGEST_ECHO]} …"


def guard(page: str) -> None:
    """Keep other sites from showing a page of the pack's web folder within their own, where a click is theirs to place.

    The page says the rest itself; this alone a page cannot say.
    """
    address = f"/{Path(__file__).parent.parent.name}/{page}"

    async def add(request, response) -> None:
        if request.path.endswith(address):
            response.headers.update({"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY"})

    app = getattr(getattr(PromptServer, "instance", None), "app", None)
    if app is not None:
        app.on_response_prepare.append(add)
