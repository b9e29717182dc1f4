"""Stand-in for ComfyUI's memory: one device, the CPU, and a record of what is loaded on it."""

import weakref

import torch

loaded: list = []  # weak references to the ModelPatchers that are loaded, as ComfyUI holds them
asked = 0  # bytes that the last load wanted beside the weights
cleared = 0  # how often everything was unloaded
_interrupted = False


class InterruptProcessingException(BaseException):
    pass


def interrupt_current_processing(value=True):
    global _interrupted
    _interrupted = value


def throw_exception_if_processing_interrupted():
    if _interrupted:
        interrupt_current_processing(False)
        raise InterruptProcessingException


def get_torch_device():
    return torch.device("cpu")


def unet_offload_device():
    return torch.device("cpu")


def text_encoder_offload_device():
    return torch.device("cpu")


def should_use_fp16(device):
    return device.type != "cpu"


def should_use_bf16(device):
    return device.type != "cpu"


def module_size(module):
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def load_models_gpu(patchers, memory_required=0, force_full_load=False):
    global asked
    asked = memory_required
    for patcher in patchers:
        patcher.model.to(patcher.load_device)
        patcher.model.device = patcher.load_device
        patcher.loads += 1
        if not any(ref() is patcher for ref in loaded):
            loaded.append(weakref.ref(patcher))


def free_memory(required, device):
    unload_all_models()


def unload_all_models():
    global cleared
    cleared += 1
    for ref in loaded:
        patcher = ref()
        if patcher is not None:
            patcher.model.to(patcher.offload_device)
    loaded.clear()


def soft_empty_cache():
    pass
