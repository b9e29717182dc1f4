"""CLIP similarities against transformers' own, and on the built-in world."""

import numpy as np
import pytest
import torch

from rethink.builtin import CLIP_FOLDER
from rethink.errors import RethinkError
from rethink.evaluation.clip_similarity import Clip, similarities
from rethink.tiny import render, sample_task
from tests.support.miniatures import TOKENS
from tests.support.pairs import draw_image


def test_similarities_are_the_cosines_of_what_transformers_says(clip_folder):
    import transformers

    clip, model = Clip(clip_folder), transformers.CLIPModel.from_pretrained(clip_folder).eval()
    pictures, captions = [draw_image(32, 32, seed) for seed in (0, 1)], ["the red make", "the blue make"]
    processor = transformers.CLIPImageProcessor.from_pretrained(clip_folder)
    with torch.inference_mode():
        pixels = processor(pictures, return_tensors="pt").pixel_values
        tokens = clip.tokenizer(captions, padding="max_length", max_length=TOKENS, return_tensors="pt")
        told = model(pixel_values=pixels, **tokens)
    images, texts = clip.images(pictures), clip.texts(captions)
    assert torch.allclose(images, told.image_embeds, atol=2e-3) and torch.allclose(texts, told.text_embeds, atol=1e-5)
    (found,) = similarities(images[:, None], texts[:, None])
    expected = torch.nn.functional.cosine_similarity(images[1] - images[0], texts[1] - texts[0], dim=0)
    assert abs(found["clip_sim_dir"] - float(expected)) < 1e-4
    assert set(similarities(images[:, None], None)[0]) == {"clip_sim_image"}


def test_a_folder_that_is_no_clip_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RethinkError, match="clip"):
        Clip(tmp_path)


@pytest.mark.skipif(not (CLIP_FOLDER / "model.safetensors").exists(), reason="the built-in CLIP is not built")
def test_the_built_in_clip_tells_done_edits_from_undone_and_from_others():
    clip = Clip(CLIP_FOLDER)
    assert clip.model.dtype == torch.float32  # its file has half precision, which a CPU only emulates
    tasks = [task for task in map(sample_task, range(60)) if task.kind in ("recolor", "reshape", "background")][:24]
    before = [(image * 255).byte().numpy() for image in render([task.source for task in tasks])]
    after = [(image * 255).byte().numpy() for image in render([task.target for task in tasks])]
    texts = clip.texts([t.source.caption for t in tasks] + [t.target.caption for t in tasks]).unflatten(0, (2, -1))
    right = similarities(torch.stack([clip.images(before), clip.images(after)]), texts)
    wrong = similarities(torch.stack([clip.images(before), clip.images(after[1:] + after[:1])]), texts)
    mean = lambda rows: np.mean([row["clip_sim_dir"] for row in rows])  # noqa: E731
    assert mean(right) > mean(wrong) + 0.15
