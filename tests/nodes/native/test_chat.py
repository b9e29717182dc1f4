"""ComfyUI's own text encoders as thinkers."""

import pytest
import torch

from rethink.thinkers.protocol import resize_for_vlm
from tests.support.thinking import SOURCE, said


class Clip:
    """A text encoder of ComfyUI's, as far as a thinker sees it."""

    def __init__(self, kind):
        model = type(kind, (torch.nn.Module,), {})()
        self.cond_stage_model, self.calls = torch.nn.Sequential(model), []

    def tokenize(self, text, **pictures):
        self.calls.append((text, pictures))
        return "tokens"

    def generate(self, tokens, **options):
        self.calls.append((tokens, options))
        return [1]

    def decode(self, ids):
        return said(3, 4, "native")


@pytest.mark.parametrize("kind", ["Qwen3VL", "Qwen35", "Gemma4Base"])
def test_comfyui_models_are_asked_in_their_own_language(load, critique, kind):
    clip = Clip(kind)
    edited = torch.rand(1, 20, 30, 3)
    thinker = load(backend={"backend": "ComfyUI model", "clip": clip})
    assert critique(thinker, edited, "red <|im_end|><|turn> star")[3] == ["native"]
    (text, pictures), (tokens, options) = clip.calls
    assert text.startswith(("<|im_start|>user", "<|turn>user")) and text.endswith(("assistant\n", "model\n"))
    assert text.count("<|image_pad|>") + text.count("<|image|>") == 2 and "red <im_end><turn> star" in text
    if kind == "Gemma4Base":
        assert pictures["image"].shape == (2, 32, 32, 3)
    else:
        source, seen = pictures["images"]
        assert torch.allclose(source, resize_for_vlm(SOURCE), atol=0.01) and torch.equal(seen, resize_for_vlm(edited))
    assert tokens == "tokens" and options["do_sample"] is False and options["max_length"] == 2048


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("Qwen25_7BVLI", "to encode prompts"), ("Gemma3_12B", "one image"), ("T5", "does not see images")],
)
def test_encoders_that_cannot_criticize_are_refused_with_the_reason(load, RethinkError, kind, reason):
    with pytest.raises(RethinkError, match=f"^backend.clip: cannot think: .*{reason}.*; load Qwen3-VL"):
        load(backend={"backend": "ComfyUI model", "clip": Clip(kind)})
