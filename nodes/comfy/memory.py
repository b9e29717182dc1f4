"""Models in memory: one copy of each however many nodes ask for it, on the device only while it computes."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...rethink.editors.protocol import Editor, EditorFamily, LoraReport, Prepared
from ...rethink.editors.quantization import QuantizerName
from ...rethink.editors.settings import Offload, Settings
from ...rethink.errors import OutOfMemoryError
from ...rethink.options import Dtype
from ...rethink.thinkers.critique import Thinker
from ...rethink.thinkers.loading import Backend, ThinkerConfig
from ...rethink.thinkers.protocol import Chat, Messages, Placement, Request, ThinkerError, chat_all, clear_cache
from .model_folders import editor_path, files_fingerprint, lora_path
from .progress import stop_if_cancelled

# Memory for one row while it is edited: three passes of Stable Diffusion's UNet, by ComfyUI's own estimate.
BYTES_PER_PIXEL = 1024
KV_CACHE_SHARE = 1 / 16  # of a thinker's weights, per answer: what Qwen3-VL's keys and values of two large images take

_editors = WeakValueDictionary()  # what it was loaded from and how → Editor: one copy, however many nodes ask for it
_thinkers = WeakValueDictionary()  # the same for the Chats of transformers folders
# Editor with a LoRA → the editor beneath it, which stays alive, and can be found, as long as it does
_base_editors = WeakKeyDictionary()
_patchers = WeakKeyDictionary()  # Editor or Chat → the ModelPatcher through which ComfyUI moves its weights


def load_editor(name: str, dtype: Dtype, offload: Offload, quantize: QuantizerName = "none") -> Editor:
    """Load the editor called `name`, once however many nodes ask for it; it is released with the last of them.

    With offload "none", ComfyUI moves its weights like those of its own models. Otherwise, and when it is quantized,
    the editor moves them itself: not every quantized layer can be moved from outside.
    """
    from ...rethink.editors.loading import is_best_in_full
    from ...rethink.editors.loading import load_editor as load

    path = editor_path(name)
    device = model_management.get_torch_device()
    if device.type == "cpu":
        offload = "none"  # there is nothing to move
    elif quantize != "none" and offload == "none":
        offload = "model"
    weights = dtype
    if dtype == "auto":  # where it will compute, not where it waits
        weights = "fp32" if is_best_in_full(path) else _best_dtype(device)
    key = (path.resolve(), files_fingerprint(path), weights, offload, quantize, str(device))
    editor = _editors.get(key)
    if editor is None:
        managed = offload == "none"
        home = model_management.unet_offload_device() if managed else device
        tokenizer = Path(model_management.__file__).parent / "sd1_tokenizer"  # for single files, which have none
        editor = load(path, dtype=weights, device=home, offload=offload, quantize=quantize, tokenizer=tokenizer)
        editor.name = name  # as it was chosen, in errors and in records
        _editors[key] = editor
        if managed:
            _patchers[editor] = ModelPatcher(editor.module, load_device=device, offload_device=home)
    return editor


def add_lora(editor: Editor, name: str, strength: float) -> tuple[Editor, LoraReport]:
    """Return (`editor` with a LoRA of `lora_names`, the report). Both are moved as one: they share their weights."""
    return add_lora_of(editor, lora_path(name), strength)


def add_lora_of(editor: Editor, path: Path, strength: float) -> tuple[Editor, LoraReport]:
    """Like `add_lora`, for a file anywhere."""
    from ...rethink.editors.loading import add_lora as add_lora_file

    changed, report = add_lora_file(editor, path, strength)
    _base_editors[changed] = editor
    if editor in _patchers:
        _patchers[changed] = _patchers[editor]
    return changed, report


def load_chat(backend: Backend, config: ThinkerConfig, name: str, path: Path | None = None) -> Chat:
    """Load the Chat of a thinker on this machine, once however many nodes ask for it, to compute where ComfyUI does.

    name: as it was chosen. path: the files of the model, if they are known.
    """
    device = model_management.get_torch_device()
    if config.dtype == "auto" and device.type != "cpu":  # where it will compute, not where it waits
        config = replace(config, dtype="bf16" if model_management.should_use_bf16(device) else "fp16")
    home = model_management.text_encoder_offload_device()
    # Quantized layers stay where they were made.
    config = replace(config, device=str(home if config.quantization == "none" else device))
    weights = path and (path.resolve(), files_fingerprint(path))
    key = (backend.name, config.where, weights, config.dtype, config.quantization, str(device))
    chat = _thinkers.get(key)
    if chat is None:
        chat = _manage(backend.open(config, None), name, path, device, home)
        _thinkers[key] = chat
    return chat


def _manage(chat: Chat, name: str, path: Path | None, device: torch.device, home: torch.device) -> Chat:
    """Return the Chat with its weights managed by ComfyUI, as far as its placement allows."""
    if chat.placement == "elsewhere":
        return chat
    managed = ManagedChat(chat, name, path)
    if chat.placement == "movable":
        # Wrapped in a list: the patcher sets `device` on its argument, which transformers' models do not allow.
        within = torch.nn.ModuleList([managed.module])
        _patchers[managed] = ModelPatcher(within, load_device=device, offload_device=home)
    return managed


class ManagedChat:
    """A Chat whose weights are on the device only while it answers. name: as it was chosen. folder: its files."""

    def __init__(self, chat: Any, name: str, folder: Path | None = None):
        self._chat, self.name, self.folder = chat, name, folder
        self.module: torch.nn.Module = chat.module
        self.placement: Placement = chat.placement
        self.only_critiques: bool = getattr(chat, "only_critiques", False)

    def chat(self, messages: Messages, images: Sequence[Tensor], **options: Any) -> str:
        with self._loaded(1):
            return self._chat.chat(messages, images, **options)

    def chat_all(self, requests: Sequence[Request], **options: Any) -> list[str | ThinkerError]:
        with self._loaded(len(requests)):
            return chat_all(self._chat, requests, **options)

    def clear_cache(self) -> None:
        """Free everything on the device except the weights."""
        clear_cache(self._chat)

    def _loaded(self, answers: int) -> AbstractContextManager[None]:
        return loaded_on_device(self, int(answers * model_management.module_size(self.module) * KV_CACHE_SHARE))


class ChatBesides:
    """A Chat that answers while an editor is at work. ComfyUI may take the editor off the device for it; after every
    answer the editor is back, with `room` bytes to work in."""

    name: str  # these two come from the chat, by `__getattr__`
    placement: Placement

    def __init__(self, chat: Chat, editor: Editor, room: int):
        self._chat, self._editor, self._room = chat, editor, room

    def __getattr__(self, name: str):
        return getattr(self._chat, name)

    def chat(self, messages: Messages, images: Sequence[Tensor], **options: Any) -> str:
        try:
            return self._chat.chat(messages, images, **options)
        finally:
            self._bring_back()

    def chat_all(self, requests: Sequence[Request], **options: Any) -> list[str | ThinkerError]:
        try:
            return chat_all(self._chat, requests, **options)
        finally:
            self._bring_back()

    def _bring_back(self) -> None:
        clear_cache(self._chat)
        with loaded_on_device(self._editor, self._room):
            pass


def release_caches(*thinkers: Thinker | None) -> None:
    """Free what the Chats of thinkers have cached during a run that is over."""
    for thinker in thinkers:
        if thinker is not None:
            clear_cache(thinker.chat)


def editor_on_device(editor: Editor, images: Tensor, rows: int) -> AbstractContextManager[None]:
    """Keep the editor on the device, with room to edit `rows` images as large as `images`. See `loaded_on_device`."""
    room = rows * min(images.shape[1] * images.shape[2], 2**20) * BYTES_PER_PIXEL  # larger ones are scaled down to edit
    return loaded_on_device(editor, room)


@contextmanager
def loaded_on_device(model, room: int) -> Iterator[None]:
    """Keep the weights of an Editor or Chat on its device, with `room` bytes to work in.

    Afterward ComfyUI may take the memory back at any time. When memory runs out, everything that ComfyUI holds is
    unloaded before the error is raised, so that the next run works.
    """
    patcher = _patchers.get(model)
    try:
        if patcher is not None:
            model_management.load_models_gpu([patcher], memory_required=room, force_full_load=True)
            model.module.to(patcher.load_device)  # --novram leaves plain modules behind
        elif not getattr(model, "moves_itself", False):  # as editors of ComfyUI's own models do
            model_management.free_memory(
                model_management.module_size(model.module) + room, model_management.get_torch_device()
            )
        yield
    except torch.cuda.OutOfMemoryError as error:  # editors and chats word their own: this is about the weights alone
        model_management.unload_all_models()
        raise OutOfMemoryError(
            f"{model.name} does not fit into video memory as a whole; choose an offload mode or a quantization where "
            "it is loaded. The help page of Load Editor has a table."
        ) from error
    except OutOfMemoryError:  # the tensors are gone by now, but other models may still fill the device
        model_management.unload_all_models()
        raise
    finally:
        if patcher is None:
            model_management.soft_empty_cache()


@contextmanager
def device_lent(editor: Editor, room: int) -> Iterator[None]:
    """Let ComfyUI take an editor that is at work off the device for other models; afterward it is back, with `room`
    bytes to work in."""
    yield
    with loaded_on_device(editor, room):
        pass


class ManagedEditor:
    """An Editor whose weights are on the device only while it works, for loops that also use other models.

    Cancel ends its edits even if the caller does not check for it.
    """

    # Whatever needs no weights comes from the editor, by `__getattr__`.
    name: str
    defaults: Settings
    module: torch.nn.Module
    family: EditorFamily
    device: torch.device
    effective_settings: Callable[..., list[Settings]]

    def __init__(self, editor: Editor):
        self._editor = editor

    def __getattr__(self, name: str):
        return getattr(self._editor, name)

    def with_lora(self, path: str | PathLike, strength: float) -> tuple["ManagedEditor", LoraReport]:
        changed, report = add_lora_of(self._editor, Path(path), strength)
        return ManagedEditor(changed), report

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()) -> Prepared:
        with editor_on_device(self._editor, images, len(images)):
            return self._editor.prepare(images, references)

    def edit(
        self, prepared: Prepared, instructions: Sequence[str], seeds: Sequence[int], *arguments: Any, **options: Any
    ) -> Tensor:
        options = {"on_step": lambda *_: stop_if_cancelled()} | options
        with editor_on_device(self._editor, prepared.images, len(seeds)):
            return self._editor.edit(prepared, instructions, seeds, *arguments, **options)


@contextmanager
def device_to_itself() -> Iterator[None]:
    """Free the whole device for a model that ComfyUI does not manage; others reload themselves when they are used."""
    model_management.unload_all_models()
    try:
        yield
    finally:
        gc.collect()  # what trained the model has reference cycles
        model_management.soft_empty_cache()


def compute_device() -> torch.device:
    """The device that ComfyUI computes on."""
    return model_management.get_torch_device()


def _best_dtype(device: torch.device) -> Literal["half", "fp32", "fp16", "bf16"]:
    fp16, bf16 = model_management.should_use_fp16(device), model_management.should_use_bf16(device)
    if fp16 and bf16:
        return "half"
    return "fp16" if fp16 else "bf16" if bf16 else "fp32"
