"""How images are noised for training, against the formulas of the papers."""

import pytest
import torch

from rethink.training.lora_pairs import generator_of
from rethink.training.noising import DiffusionNoise, FlowNoise

ALPHAS = torch.linspace(0.99, 0.01, 100)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_clean_latents_follow_from_the_target_of_a_diffusion(prediction):
    process = DiffusionNoise(ALPHAS, prediction)
    clean, noise, times = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2), torch.tensor([0, 50, 99])
    noisy, target = process.add_noise(clean, noise, times), process.target(clean, noise, times)
    alpha = ALPHAS[times].view(3, 1, 1, 1)
    signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
    found = {
        "epsilon": (noisy - sigma * target) / signal,
        "v_prediction": signal * noisy - sigma * target,
        "sample": target,
    }[prediction]
    assert torch.allclose(found, clean, atol=1e-4)


def test_clean_latents_follow_from_the_target_of_a_flow():
    clean, noise, times = torch.randn(3, 8, 4), torch.randn(3, 8, 4), torch.tensor([0.1, 0.5, 0.9])
    noisy, velocity = FlowNoise().add_noise(clean, noise, times), FlowNoise().target(clean, noise, times)
    assert torch.allclose(noisy - times.view(3, 1, 1) * velocity, clean, atol=1e-6)


def test_larger_images_are_trained_at_more_noise():
    small, large = (FlowNoise().draw_times(4000, generator_of("t"), tokens) for tokens in (256, 4096))
    assert small.logit().mean().item() == pytest.approx(0.5, abs=0.06)
    assert large.logit().mean().item() == pytest.approx(1.15, abs=0.06)
    assert FlowNoise().fixed_times(4096)[2].logit().item() == pytest.approx(1.15, abs=1e-4)  # the median


def test_an_editor_of_few_steps_is_trained_at_the_times_it_visits():
    process = DiffusionNoise(ALPHAS, "sample", (99, 74, 49, 24))
    times = process.draw_times(4000, generator_of("t"), 64)
    share = sum((times == time).float().mean().item() for time in process.visited)
    assert share == pytest.approx(0.52, abs=0.03) and times.unique().numel() > 90
    assert process.fixed_times(64).tolist() == [99, 74, 49, 24]
