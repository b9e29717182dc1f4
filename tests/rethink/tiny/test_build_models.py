"""The command that makes the built-in models, from nothing to folders that load, in a few steps."""

import torch

from rethink.editors.loading import load_editor
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import Thinker, critique
from rethink.tiny import build_models, render, sample_task, train_thinker


def test_it_builds_models_that_load(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train_thinker, "CHECKED", 1)
    arguments = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    arguments += ["--scale", "0.0001", "--batch", "8", "--workers", "0", "--precision", "no"]
    assert build_models.main(arguments) == 0

    editor = load_editor(tmp_path / "out" / "editor")
    assert editor.defaults.steps == build_models.DEFAULTS["steps"]
    task = sample_task(0)
    source = render([task.source])
    image = editor.edit(editor.prepare(source), [task.instruction], [0])
    assert image.shape == source.shape and torch.isfinite(image).all()

    from transformers import CLIPModel, CLIPTokenizer

    clip = CLIPModel.from_pretrained(tmp_path / "out" / "clip")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "out" / "clip")
    words = tokenizer([task.source.caption], return_tensors="pt", padding=True)
    logits = clip(**words, pixel_values=source.permute(0, 3, 1, 2) * 2 - 1).logits_per_text
    assert logits.shape == (1, 1) and torch.isfinite(logits).all()

    thinker = load_thinker(tmp_path / "out" / "thinker", dtype="fp32")
    assert sum(weight.numel() for weight in thinker.module.parameters()) * 2 < 12e6  # bytes in fp16
    said = critique(Thinker(thinker, max_tokens=5), source, [image], task.instruction, [task.instruction], [0])
    assert len(said) == 1 and next((tmp_path / "work" / "trajectories").iterdir()).is_dir()

    named = [path for path in (tmp_path / "out").rglob("*.json") if str(tmp_path) in path.read_text(encoding="utf-8")]
    assert not named, "what ships says where it was made"

    capsys.readouterr()
    assert build_models.main(arguments) == 0  # every stage finds its checkpoint
    assert "resuming from step" in capsys.readouterr().out
