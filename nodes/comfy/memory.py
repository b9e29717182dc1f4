"""Models in memory: one copy of each however many nodes ask for it, on the device while it works, ComfyUI's otherwise."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...rethink.errors import OutOfMemoryError
from .model_folders import editor_path, files_fingerprint, lora_path, thinker_path
from .progress import stop_if_cancelled

OFFLOADS = ("none", "model", "sequential")
BYTES_PER_PIXEL = (
    1024  # of a row, while it is edited: three passes of Stable Diffusion's UNet, by ComfyUI's own estimate
)
KV_CACHE_SHARE = 1 / 16  # of a thinker's weights, an answer: what Qwen3-VL's keys and values of two large pictures take

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
    from ...rethink.editors.loading import load_editor as load

    path = editor_path(name)
    device = model_management.get_torch_device()
    if device.type == "cpu":
        offload = "none"  # there is nothing to move
    elif quantize != "none" and offload == "none":
        offload = "model"
    if dtype == "auto":
        dtype = _best_dtype(device)  # where it will compute, not where it waits
    key = (path.resolve(), files_fingerprint(path), dtype, offload, quantize, str(device))
    editor = _editors.get(key)
    if editor is None:
        managed = offload == "none"
        home = model_management.unet_offload_device() if managed else device
        tokenizer = Path(model_management.__file__).parent / "sd1_tokenizer"  # for single files, which have none
        editor = load(path, dtype=dtype, device=home, offload=offload, quantize=quantize, tokenizer=tokenizer)
        editor.name = name  # as it was chosen, in errors and in records
        _editors[key] = editor
        if managed:
            _patchers[editor] = ModelPatcher(editor.module, load_device=device, offload_device=home)
    return editor


def add_lora(editor, name: str, strength: float) -> tuple:
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
    from ...rethink.thinkers.loading import load_thinker

    path = thinker_path(name)
    device = model_management.get_torch_device()
    if dtype == "auto" and device.type != "cpu":  # where it will compute, not where it waits
        dtype = "bf16" if model_management.should_use_bf16(device) else "fp16"
    key = (path.resolve(), files_fingerprint(path), dtype, quantization, str(device))
    chat = _thinkers.get(key)
    if chat is None:
        managed = quantization == "none"  # quantized layers stay where they were made
        home = model_management.text_encoder_offload_device() if managed else device
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
        with self._loaded(1):
            return self._chat.chat(messages, images, **options)

    def chat_all(self, requests, **options) -> list:
        with self._loaded(len(requests)):
            return self._chat.chat_all(requests, **options)

    def forget(self) -> None:
        """Give back what the device holds beside the weights."""
        self._chat.forget()

    def _loaded(self, answers: int) -> AbstractContextManager[None]:
        return loaded_on_device(self, int(answers * model_management.module_size(self.module) * KV_CACHE_SHARE))


def release_caches(*thinkers) -> None:
    """Give back what the Chats of thinkers have remembered of a run that is over. None is no thinker."""
    for thinker in thinkers:
        if isinstance(getattr(thinker, "chat", None), ManagedChat):
            thinker.chat.forget()


def editor_on_device(editor, images: Tensor, rows: int) -> AbstractContextManager[None]:
    """Within it the editor can edit `rows` pictures of the size of `images`. See `loaded_on_device`."""
    room = rows * min(images.shape[1] * images.shape[2], 2**20) * BYTES_PER_PIXEL  # larger ones are scaled down to edit
    return loaded_on_device(editor, room)


@contextmanager
def loaded_on_device(model, room: int) -> Iterator[None]:
    """Within it the weights of an Editor or Chat are where it computes, with `room` bytes to work in.

    Afterwards ComfyUI may take the memory back at any time. When memory runs out within, everything that ComfyUI holds
    is unloaded before the error goes on, so that the next run works.
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
    except torch.cuda.OutOfMemoryError as error:  # models have sentences for their work: these are the weights alone
        model_management.unload_all_models()
        raise OutOfMemoryError(
            f"{model.name} as a whole is larger than the video memory; choose an offload or a quantization where it is "
            "loaded. The help page of Load Editor has a table."
        ) from error
    except OutOfMemoryError:  # the tensors are gone by now, but other models may still fill the device
        model_management.unload_all_models()
        raise
    finally:
        if patcher is None:
            model_management.soft_empty_cache()


class ManagedEditor:
    """An Editor whose weights are on the device while it works, and only then: for loops that also use other models.

    Cancel ends its edits, also those of who knows nothing of it.
    """

    def __init__(self, editor):
        self._editor = editor

    def __getattr__(self, name: str):  # what needs no weights is the editor's own
        return getattr(self._editor, name)

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()):
        with editor_on_device(self._editor, images, len(images)):
            return self._editor.prepare(images, references)

    def edit(self, prepared, instructions: Sequence[str], seeds: Sequence[int], *arguments, **options) -> Tensor:
        options = {"on_step": lambda *_: stop_if_cancelled()} | options
        with editor_on_device(self._editor, prepared.images, len(seeds)):
            return self._editor.edit(prepared, instructions, seeds, *arguments, **options)


def compute_device() -> torch.device:
    """Where ComfyUI computes."""
    return model_management.get_torch_device()


def _best_dtype(device: torch.device) -> str:
    fp16, bf16 = model_management.should_use_fp16(device), model_management.should_use_bf16(device)
    if fp16 and bf16:
        return "half"
    return "fp16" if fp16 else "bf16" if bf16 else "fp32"
