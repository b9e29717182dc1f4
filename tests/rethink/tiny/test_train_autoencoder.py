"""The loss of the built-in autoencoder: edges weigh more, and the scaling factor gives latents of unit variance."""

import torch

from rethink.tiny import render, sample_task
from rethink.tiny.architectures import make_vae
from rethink.tiny.train_autoencoder import detail, distance, train
from rethink.training.train_loop import TrainConfig


def test_an_error_at_an_edge_weighs_more_than_one_on_a_plain_surface():
    image = torch.full((1, 3, 64, 64), -1.0)
    image[:, :, 40:] = 1.0
    assert detail(image)[0, 0, 39].all() and not detail(image)[0, 0, :30].any()
    at_edge, plain = image.clone(), image.clone()
    at_edge[:, :, 39] += 0.5
    plain[:, :, 5] += 0.5
    assert distance(image, image) == 0 and distance(at_edge, image) > 4 * distance(plain, image) > 0


def test_latents_have_unit_variance_after_training(tmp_path):
    torch.manual_seed(0)
    images = render([sample_task(seed).source for seed in range(4)])
    vae = make_vae()
    config = TrainConfig(steps=1, batch=2, workers=0)
    train(vae, [{"image": image} for image in images], config, tmp_path, report=lambda line: None)
    with torch.no_grad():
        latents = vae.encode(images.permute(0, 3, 1, 2) * 2 - 1).latents
    assert abs(latents.std().item() * vae.config.scaling_factor - 1) < 0.05
