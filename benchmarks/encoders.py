"""Count what an editor encodes again for a later edit of the same image: every family, against its plain pipeline.

    python benchmarks/encoders.py

Uses miniatures with random weights and the code of the real models, and counts how often the VAE's encoder (“vae”), the
vision tower (“sight”) and the text encoders (“text”) run. Prints a table for people; the last line is one JSON object of figures.
"""

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pytest
import torch

from rethink.editors.families import DenoisingLoop
from rethink.editors.settings import Settings
from rethink.images import to_pil
from tests.support import editor_miniatures
from tests.support.editor_miniatures import NEED_TORCHVISION, OWN, count_encodes, opened
from tests.support.family_miniatures import MINIATURES, SIDE

STEPS = 4
EDITS = {"first": ("make it red", 1), "another seed": ("make it red", 2), "another instruction": ("make it blue", 1)}


def plain_edit(editor, image, instruction, seed):
    engine, images = editor.family.engine, to_pil(image)
    ours = isinstance(engine, DenoisingLoop)
    arguments = {"image": images[0]} if ours else engine.image_arguments(images, (SIDE, SIDE))
    editor._pipeline(
        prompt=instruction,
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
        **arguments,
    )


def our_edit(editor, image, instruction, seed):
    editor.edit(editor.prepare(image), [instruction], [seed], Settings(steps=STEPS))


def counts(edit, editor, image):
    """{edit: {encoder: number of runs}}."""
    calls = count_encodes(editor, setattr)
    result = {}
    for name, (instruction, seed) in EDITS.items():
        calls.clear()
        edit(editor, image, instruction, seed)
        texts = sum(count for part, count in calls.items() if part.startswith("text"))
        result[name] = {"vae": calls["vae"], "sight": calls["sight"], "text": texts}
    return result


def shown(runs):
    return ", ".join(f"{count} {name}" for name, count in runs.items() if count) or "nothing"


def main():
    patch = pytest.MonkeyPatch()
    editor_miniatures.shrink(patch)
    torch.manual_seed(0)
    image = torch.rand(1, SIDE, SIDE, 3)
    print(f"{'family':<24} {'plain, each edit':<26} {'ours: ' + 'first':<26} {'another seed':<16} another instruction")
    ours, plain = {}, {}
    with tempfile.TemporaryDirectory() as root:
        for kind in [*OWN, *MINIATURES]:
            if kind in NEED_TORCHVISION and importlib.util.find_spec("torchvision") is None:
                print(f"{kind:<24} left out: its processor needs torchvision")
                continue
            plain[kind] = counts(plain_edit, opened(kind, Path(root)), image)
            ours[kind] = counts(our_edit, opened(kind, Path(root)), image)
            columns = [shown(ours[kind][edit]) for edit in EDITS]
            each = shown(plain[kind]["another instruction"])
            print(f"{kind:<24} {each:<26} {columns[0]:<26} {columns[1]:<16} {columns[2]}", flush=True)
    patch.undo()
    later = [runs[edit] for runs in ours.values() for edit in ("another seed", "another instruction")]
    figures = {
        "families": len(ours),
        "picture_encodes_of_later_edits": sum(run["vae"] + run["sight"] for run in later),
        "picture_encodes_of_later_edits_plain": sum(
            runs[edit]["vae"] + runs[edit]["sight"]
            for runs in plain.values()
            for edit in ("another seed", "another instruction")
        ),
        "text_encodes_of_another_seed": sum(runs["another seed"]["text"] for runs in ours.values()),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
