"""The InstructPix2Pix trainer on a miniature: widening, dropout, learning, resuming, and the folder it leaves."""

import pytest
import torch
from safetensors.torch import load_file

from rethink.editors.loading import load_editor
from rethink.training.instruct_pix2pix import (
    InstructPix2PixLoss,
    LatentReplayBuffer,
    LossConfig,
    main,
    train,
    widen_conv_in,
)
from rethink.training.pair_dataset import PairFolder, make_collate_fn
from rethink.training.train_loop import TrainConfig
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
    model = InstructPix2PixLoss(pipe, LossConfig())
    torch.manual_seed(0)
    tokens = torch.full((20_000, pipe.tokenizer.model_max_length), 3)
    kept_text, kept_image = model.drop_conditions(tokens, torch.ones(20_000, 1, 1, 1))
    text, image = (kept_text != tokens).any(1), kept_image[:, 0, 0, 0] == 0
    for share in (text & ~image, image & ~text, text & image):
        assert share.float().mean().item() == pytest.approx(0.05, abs=0.008)


def test_trains_saves_and_resumes(pipe, pairs, tmp_path):
    before = pipe.unet.conv_out.weight.clone()
    data, lines = PairFolder(pairs, 32), []
    plan = TrainConfig(steps=4, batch=2, workers=0, warmup=1, log_every=1, save_every=2)
    train(pipe, data, LossConfig(), plan, tmp_path / "out", report=lines.append)
    assert not torch.equal(before, pipe.unet.conv_out.weight) and len(lines) == 4
    editor = load_editor(tmp_path / "out")
    assert editor.family.id == "instruct_pix2pix"
    names = load_file(tmp_path / "out" / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in names)  # as transformers 4 looks for them
    train(pipe, data, LossConfig(), TrainConfig(**{**vars(plan), "steps": 6}), tmp_path / "out", report=lines.append)
    assert lines[4] == "going on from step 4" and len(lines) == 7


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path), str(tmp_path / "out")]) == 2
    assert "model_index.json" in capsys.readouterr().err


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
    data = PairFolder(pairs, 32)
    model(make_collate_fn(pipe.tokenizer)([data[0], data[1]])).backward()
    assert sizes == [6]
