"""Stand-in for the wrapper through which ComfyUI moves a model's weights."""


class ModelPatcher:
    def __init__(self, model, load_device, offload_device):
        self.model, self.load_device, self.offload_device = model, load_device, offload_device
        self.loads = 0
