"""The InstructPix2Pix trainer on miniatures: widening, dropout, learning, resuming, and the folder it leaves."""

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rethink.editors.loading import load_editor
from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from rethink.training.instruct_pix2pix import (
    InstructPix2PixLoss,
    LatentReplayBuffer,
    LossConfig,
    add_old_prefix,
    open_model,
    train,
    widen_conv_in,
)
from rethink.training.lora_pairs import generator_of
from rethink.training.pair_dataset import PairCollator, PairSamples, read_pair_folder
from rethink.training.train_loop import TrainConfig
from tests.support import family_miniatures
from tests.support.mapped_files import is_mapped
from tests.support.miniatures import write_folder
from tests.support.pair_folders import write_pair_folder


@pytest.fixture
def pipe(tmp_path):
    from diffusers import StableDiffusionPipeline

    folder = write_folder(tmp_path / "sd", "StableDiffusionPipeline")
    return StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, safety_checker=None)


@pytest.fixture
def pairs(tmp_path):
    return write_pair_folder(tmp_path / "pairs")


def test_widening_changes_nothing_at_first(pipe):
    channels = pipe.vae.config.latent_channels
    old = pipe.unet.conv_in
    image = torch.randn(1, channels, 8, 8)
    before = old(image)
    widen_conv_in(pipe.unet, channels)
    after = pipe.unet.conv_in(torch.cat([image, torch.randn(1, channels, 8, 8)], 1))
    assert torch.allclose(before, after, atol=1e-6) and pipe.unet.config.in_channels == 2 * channels
    widen_conv_in(pipe.unet, channels)  # an InstructPix2Pix U-Net stays as it is
    assert pipe.unet.conv_in.in_channels == 2 * channels


def test_text_image_and_both_are_dropped_equally_often(pipe):
    torch.manual_seed(0)
    text, image = InstructPix2PixLoss(pipe, LossConfig()).draw_lost(20_000)
    for share in (text & ~image, image & ~text, text & image):
        assert share.float().mean().item() == pytest.approx(0.05, abs=0.008)


def test_trains_saves_and_resumes(pipe, pairs, tmp_path):
    before = pipe.unet.conv_out.weight.clone()
    data, lines = PairSamples(read_pair_folder(pairs), 32), []
    plan = TrainConfig(steps=4, batch=2, workers=0, warmup=1, log_every=1, save_every=2)
    train(pipe, data, LossConfig(), plan, tmp_path / "out", report=lines.append)
    assert not torch.equal(before, pipe.unet.conv_out.weight) and len(lines) == 4
    editor = load_editor(tmp_path / "out")
    assert editor.family.id == "instruct_pix2pix"
    names = load_file(tmp_path / "out" / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in names)  # as transformers 4 looks for them
    train(pipe, data, LossConfig(), TrainConfig(**{**vars(plan), "steps": 6}), tmp_path / "out", report=lines.append)
    assert lines[4] == "resuming from step 4" and len(lines) == 7


def test_an_editor_that_is_in_use_on_windows_is_said_and_its_training_kept(pipe, pairs, tmp_path, monkeypatch):
    from diffusers import StableDiffusionInstructPix2PixPipeline

    def refuse(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: The requested operation cannot … (os error 1224)")

    data, plan, lines = PairSamples(read_pair_folder(pairs), 32), TrainConfig(steps=1, batch=2, workers=0), []
    with monkeypatch.context() as patched:
        patched.setattr(StableDiffusionInstructPix2PixPipeline, "save_pretrained", refuse)
        with pytest.raises(RethinkError, match="^output: .* cannot be replaced .*: nothing has to be trained again"):
            train(pipe, data, LossConfig(), plan, tmp_path / "out", report=lines.append)
    train(pipe, data, LossConfig(), plan, tmp_path / "out", report=lines.append)
    assert lines == ["resuming from step 1"] and (tmp_path / "out" / "model_index.json").is_file()


def test_a_text_encoder_is_not_in_memory_as_its_file_while_that_is_written_over(tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    save_file({"embeddings.weight": torch.ones(3)}, file)
    mapped = []
    monkeypatch.setattr("safetensors.torch.save_file", lambda *_, **__: mapped.append(is_mapped(file)))
    add_old_prefix(file)
    assert mapped == [False]


def test_xl_is_widened_trained_and_opens_as_an_editor(pairs, tmp_path):
    pipe = open_model(family_miniatures.write("sdedit_xl", tmp_path / "xl"))
    plan = TrainConfig(steps=2, batch=2, workers=0, warmup=1, ema=0.0)
    train(pipe, PairSamples(read_pair_folder(pairs), 32), LossConfig(drop=0.3), plan, tmp_path / "out", report=str)
    editor = load_editor(tmp_path / "out")
    assert editor.family.id == "instruct_pix2pix_xl"
    source = torch.rand(1, 32, 32, 3)
    edited = editor.edit(editor.prepare(source), ["make it red"], [0], settings=Settings(steps=1))
    assert edited.shape == source.shape and torch.isfinite(edited).all()


def test_the_held_out_loss_is_the_same_for_the_same_noise_and_falls_with_learning(pipe, pairs):
    widen_conv_in(pipe.unet, pipe.vae.config.latent_channels)
    model, data = InstructPix2PixLoss(pipe, LossConfig()), PairSamples(read_pair_folder(pairs), 32, at_random=False)
    batch = PairCollator([pipe.tokenizer])([data[0]])
    latents = model.encode(batch["source"]), model.encode(batch["edited"]), batch["tokens"]
    first, second = (model.held_out_loss(*latents, generator_of("noise")) for _ in range(2))
    assert first == second
    optimizer = torch.optim.AdamW(model.unet.parameters(), 3e-3)
    torch.manual_seed(0)
    for _ in range(12):
        model(batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert model.held_out_loss(*latents, generator_of("noise")) < first


def test_a_model_that_cannot_be_started_from_is_named(tmp_path):
    with pytest.raises(RethinkError, match="model_index.json"):
        open_model(tmp_path)
    write_folder(tmp_path / "upscaler", "StableDiffusionPipeline")
    index = tmp_path / "upscaler" / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDiffusionUpscalePipeline"))
    with pytest.raises(RethinkError, match="StableDiffusionUpscalePipeline; training starts from one of"):
        open_model(tmp_path / "upscaler")


def test_a_replay_buffer_visits_every_pair_about_as_often_as_asked():
    torch.manual_seed(0)
    buffer, visits = LatentReplayBuffer(reuse=4, size=64), torch.zeros(400)
    for step in range(100):
        fresh = torch.arange(4 * step, 4 * step + 4)
        left, right = buffer.exchange((fresh, fresh * 2))
        assert left.shape == (16,) and torch.equal(right, left * 2)
        assert left.max() < 4 * step + 4 and left.min() >= 4 * step + 4 - 64
        visits += torch.bincount(left, minlength=400)
    assert visits[100:300].mean().item() == pytest.approx(4, abs=0.4)


def test_reuse_trains_on_more_than_it_encodes(pipe, pairs):
    model = InstructPix2PixLoss(pipe, LossConfig(), reuse=3)
    widen_conv_in(pipe.unet, pipe.vae.config.latent_channels)
    sizes = []
    pipe.unet.register_forward_pre_hook(lambda unet, inputs: sizes.append(len(inputs[0])))
    data = PairSamples(read_pair_folder(pairs), 32)
    model(PairCollator([pipe.tokenizer])([data[0], data[1]])).backward()
    assert sizes == [6]
