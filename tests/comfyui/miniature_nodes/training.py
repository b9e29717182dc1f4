"""What an editor's model is trained with, beside what an edit calls it with."""

from dataclasses import replace
from unittest.mock import patch

import torch


class TrainedAsEdited:
    """Whether an editor's model is trained with what an edit with references calls it with, shown: the latents of all images,
    and its answer at the same noise. The largest differences of both; and how many images it sees."""

    INPUT_TYPES = classmethod(
        lambda cls: {"required": {"editor": ("RETHINK_EDITOR",), "image": ("IMAGE",), "others": ("IMAGE",)}}
    )
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, editor, image, others):
        references, text = others.split(1), "put on the hat of image 2"
        base, calls = editor.parts[0].model, []
        original = base.apply_model

        def seen(x, t, **options):
            clean = original(x, t, **options)
            calls.append((x.clone(), t.clone(), clean.clone(), options["ref_latents"]))
            return clean

        plain = replace(editor.defaults, steps=1, text_guidance=1.0, image_guidance=1.0)
        with patch.object(base, "apply_model", seen):
            editor.edit(editor.prepare(image, references), [text], [0], plain)
        x, t, clean, latents = calls[0]
        model = editor.edit_model()
        example = model.encode(image, image.flip(1), text, references)
        ours = (example.source, *example.references)
        with torch.no_grad(), model.computing(1, len(references)):
            answer = model.predict(x, t, example.to(x.device))
        velocity = (x - clean) / t.view(-1, *(1,) * (x.ndim - 1))
        differences = [(one.to(other) - other).abs().max().item() for one, other in zip(ours, latents, strict=True)]
        return {
            "ui": {
                "latents": [max(differences)],
                "answer": [(answer - velocity).abs().max().item()],
                "images": [len(ours)],
            }
        }
