"""The record and the report of a whole editor's training, and the best of its weights."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from rethink.training.best_save import Save
from rethink.training.editor_run import EditorWatch, _choose_lowest
from rethink.training.instruct_pix2pix import InstructPix2PixLoss, LossConfig, open_model, widen_conv_in
from rethink.training.lora_run import LoraRecord
from rethink.training.loss_watch import Diverged
from rethink.training.pair_dataset import read_pair_folder
from rethink.training.train_loop import TrainStep
from tests.support.lora_training import take_one_step_for_previews
from tests.support.miniatures import write_folder
from tests.support.pair_folders import write_pair_folder

RECORD = LoraRecord("my editor", {"batch": 16, "accumulate": 1}, "sd", "InstructPix2Pix", 6, (), "data", steps=9)


@pytest.fixture
def watch(tmp_path, monkeypatch):
    take_one_step_for_previews(monkeypatch)
    pipe = open_model(write_folder(tmp_path / "sd", "StableDiffusionPipeline"))
    widen_conv_in(pipe.unet, pipe.vae.config.latent_channels)
    held_out = read_pair_folder(write_pair_folder(tmp_path / "pairs"))[:2]
    model = InstructPix2PixLoss(pipe, LossConfig(train_text=True))
    return EditorWatch(model, pipe, held_out, RECORD, tmp_path / "out", 32)


def open_again(watch, steps=20):
    """The watch of a run that goes on in the same folder."""
    record = replace(RECORD, steps=steps)
    return EditorWatch(watch._model, watch._pipe, watch._held_out, record, watch._run.folder.parent, 32)


def take_step(watch, step, shift):
    """One step, after which the U-Net answers so much more."""
    with torch.no_grad():
        watch._model.unet.conv_out.bias.add_(shift)
    watch.step(TrainStep(step, 0.5, 1e-4, ("7",)))


def test_saves_are_measured_and_the_best_weights_come_back(watch, tmp_path):
    folder, bias = tmp_path / "out" / "training", watch._model.unet.conv_out.bias
    watch.go_on(0)
    for step, shift in ((1, 0.0), (2, 3.0)):
        take_step(watch, step, shift)
        watch.save(step, step * 2.0)
    best = bias.detach() - 3.0
    record = watch.record
    assert [save.step for save in record.saves] == [1, 2] and record.best == 1 and record.seconds == 4.0
    assert record.saves[0].held_out < record.saves[1].held_out and record.losses == (0.5, 0.5)
    assert torch.allclose(load_file(folder / "best.safetensors")["unet.conv_out.bias"], best, atol=1e-5)
    assert len(record.saves[1].previews) == 2 and all((folder / name).is_file() for name in record.saves[1].previews)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Layers" not in page and "<th>file" not in page  # a LoRA's
    assert "make it red" in page and "step 1 ★" in page and page.count("data:image/png") == 2 * 5
    watch.end()
    assert torch.allclose(bias, best, atol=1e-5)


def test_what_was_recorded_after_the_newest_checkpoint_is_forgotten(watch):
    watch.go_on(0)
    for step in (1, 2, 3):
        take_step(watch, step, 0.01)
        watch.save(step, 1.0)
    again = open_again(watch)
    again.go_on(2)
    assert [save.step for save in again.record.saves] == [1, 2] and again.record.steps == 20
    take_step(again, 3, 0.01)
    again.save(3, 1.0)
    assert again.record.losses == (0.5, 0.5, 0.5) and [save.step for save in again.record.saves] == [1, 2, 3]


def test_the_best_weights_outlive_the_end_of_training(watch):
    bias = watch._model.unet.conv_out.bias
    watch.go_on(0)
    for step, shift in ((1, 0.0), (2, 3.0)):
        take_step(watch, step, shift)
        watch.save(step, 1.0)
    newest = bias.detach().clone()
    watch.end()
    best = bias.detach().clone()
    for steps in (2, 3):  # the same again, then one step more
        again = open_again(watch, steps)
        with torch.no_grad():
            bias.copy_(newest)
        again.go_on(2)
        for step in range(3, steps + 1):
            take_step(again, step, 0.1)
        again.save(steps, 1.0)
        again.end()
        assert again.record.best == 1 and torch.allclose(bias, best, atol=1e-5)
        assert [save.loss for save in again.record.saves] == [0.5] * steps


def test_the_text_encoder_that_was_trained_belongs_to_the_best(watch):
    norm = list(watch._model.text.parameters())[-1].detach()
    best = norm.clone()
    watch.go_on(0)
    for step, shift in ((1, 0.0), (2, 3.0)):
        take_step(watch, step, shift)
        norm.add_(shift)
        watch.save(step, 1.0)
    watch.end()
    assert watch.record.best == 1 and torch.allclose(norm, best, atol=1e-5)


def test_a_save_without_weights_is_not_the_best(watch):
    watch.go_on(0)
    take_step(watch, 1, 0.0)
    watch.save(1, 1.0)
    (watch._run.folder / "best.safetensors").unlink()
    for step in (2, 3):
        again = open_again(watch)
        again.go_on(step - 1)
        take_step(again, step, 1.0)
        again.save(step, 1.0)
        assert again.record.best == 2 and "the weights of a better save are gone" in again.record.why


def test_an_editor_that_explodes_is_not_looked_at_and_the_best_comes_back(watch):
    bias = watch._model.unet.conv_out.bias
    watch.go_on(0)
    assert not watch.rescue("there is no save yet")
    take_step(watch, 1, 0.0)
    watch.save(1, 1.0)
    best = bias.detach().clone()
    for shift, why in ((1e3, "has risen to .* at step 2[.]"), (float("nan"), "is not a number at step 2[.]")):
        take_step(watch, 2, shift)
        with pytest.raises(Diverged, match=f"^learning_rate: the loss on held-out pairs {why}"):
            watch.save(2, 1.0)
        assert watch.rescue(why) and torch.equal(bias, best)
        assert watch._run.read_record().stopped == why and watch.record.best == 1


def test_held_out_pairs_are_measured_when_their_files_have_gone(watch):
    watch.go_on(0)
    take_step(watch, 1, 0.0)
    watch.save(1, 1.0)
    watch._held_out[0].target.unlink()
    watch.save(2, 1.0)
    assert watch.record.saves[0].held_out == watch.record.saves[1].held_out and not watch.record.skipped
    again = open_again(watch)
    again.go_on(1)
    again.save(2, 1.0)
    assert again.record.skipped == (watch._held_out[0].id,)


def test_a_loss_that_explodes_at_once_ends_training(watch):
    watch.go_on(0)
    with pytest.raises(Diverged, match="step 10, with the pairs 7[.]"):
        for step in range(1, 11):
            watch.step(TrainStep(step, 1e6, 1e-4, ("7",)))


def test_without_held_out_pairs_the_newest_is_the_best():
    chosen = _choose_lowest(replace(RECORD, step=7))
    assert chosen.best == 7 and "too few pairs" in chosen.why


def test_a_held_out_pair_whose_files_were_gone_is_none_of_those_that_were_measured():
    record = replace(RECORD, held_out=("a", "b"), skipped=("b",), saves=(Save(1, "", 0.5, 0.25),))
    assert _choose_lowest(record).why == "the lowest loss of 1 save on 1 held-out pair (0.25000)"


def test_previews_leave_the_random_numbers_of_training_alone(watch):
    watch.go_on(0)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    take_step(watch, 1, 0.0)
    watch.save(1, 1.0)
    assert torch.equal(torch.rand(4), expected)
