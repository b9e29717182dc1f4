"""A model in fp16 is trained over in fp32 and is afterwards what it was."""

import pytest
import torch
from torch import nn

from rethink.training.edit_model import EditModel
from rethink.training.full_precision import can_be_raised, in_full_precision
from rethink.training.lora_objective import LoraObjective
from tests.support import editor_miniatures
from tests.support.lora_training import make_job, write_pairs

EXTREMES = torch.tensor([65504.0, -6.0e-8, 6.1e-5, 1 / 3, 0.0, float("inf")], dtype=torch.float16)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(EXTREMES.clone(), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)
        self.register_buffer("shift", EXTREMES.clone())

    def forward(self, x, more=None):
        return x, more["text"], more["ids"]


def test_within_it_all_is_in_fp32_and_afterwards_as_it_was():
    model = Model()
    halves, ids = torch.ones(2, dtype=torch.float16), torch.ones(2, dtype=torch.long)
    with pytest.raises(KeyboardInterrupt), in_full_precision(model):
        assert model.weight.dtype == model.shift.dtype == model.scale.dtype == torch.float32
        kinds = [value.dtype for value in model(halves, more={"text": halves, "ids": ids})]
        assert kinds == [torch.float32, torch.float32, torch.long]
        raise KeyboardInterrupt
    assert torch.equal(model.weight, EXTREMES) and torch.equal(model.shift, EXTREMES)
    assert model.weight.dtype == torch.float16 and model.scale.dtype == torch.float32
    assert model(halves, more={"text": halves, "ids": ids})[0] is halves


def test_what_is_not_there_or_in_another_format_cannot_be_raised():
    model = Model()
    assert can_be_raised(model)
    assert not can_be_raised(nn.Linear(1, 1, device="meta", dtype=torch.float16))
    model.weight.data = model.weight.data.to(torch.float8_e4m3fn)
    assert not can_be_raised(model)


@pytest.mark.parametrize("kind", ["instruct_pix2pix", "instruct_pix2pix_xl"])
def test_an_editor_in_fp16_learns_and_stays_bit_for_bit(kind, tmp_path, monkeypatch):
    store = write_pairs(tmp_path / "pairs", 6)
    editor = editor_miniatures.opened(kind, tmp_path, dtype="fp16")
    unet = editor.module["unet"]
    before = {name: weight.clone() for name, weight in unet.state_dict().items()}
    options = {"steps": 6, "save_every": 6, "batch": 2, "learning_rate": 5e-2, "hold_out": 0.4}
    record = make_job(tmp_path, store, **options).run(editor).record
    full = make_job(tmp_path / "full", store, **options).run(editor_miniatures.opened(kind, tmp_path)).record
    assert record.losses == pytest.approx(full.losses, rel=0.02) and record.losses[-1] < record.losses[0]

    def is_as_before():
        now = unet.state_dict()
        return all(now[name].dtype == torch.float16 and torch.equal(now[name], before[name]) for name in before)

    assert is_as_before()

    def cancel(*_):
        assert next(unet.parameters()).dtype == torch.float32
        raise KeyboardInterrupt

    monkeypatch.setattr(LoraObjective, "loss", cancel)
    with pytest.raises(KeyboardInterrupt):
        make_job(tmp_path / "cancelled", store, **options).run(editor)
    assert is_as_before() and EditModel(editor).dtype == torch.float32
