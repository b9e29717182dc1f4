"""How images are noised for training, against the formulas of the papers."""

import pytest
import torch

from rethink.training.lora_pairs import generator_of
from rethink.training.noising import DiffusionNoise, FlowNoise, choose_times

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


def test_times_may_be_others_than_the_familys():
    flow, generator = FlowNoise(), torch.Generator().manual_seed(0)
    assert choose_times(flow, "family", 0.0) == flow
    uniform = choose_times(flow, "uniform", 0.0).draw_times(20_000, generator, 4096)
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01) and uniform.std().item() == pytest.approx(
        12**-0.5, abs=0.01
    )
    shifted = choose_times(flow, "uniform", 3.0)
    assert shifted.fixed_times(9)[2].item() == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))  # s t / (1 + (s − 1) t)
    middle = choose_times(flow, "logit-normal", 1.0).draw_times(20_000, generator, 4096)
    assert middle.median().item() == pytest.approx(0.5, abs=0.01) and middle.std() < uniform.std()


def test_times_of_diffusion_may_lie_in_the_middle():
    noise, generator = DiffusionNoise(torch.linspace(1, 0, 100), "epsilon", (99,)), torch.Generator().manual_seed(0)
    middle = choose_times(noise, "logit-normal", 0.0).draw_times(20_000, generator, 64)
    assert middle.dtype == torch.long and middle.min() >= 0 and middle.max() < 100
    assert middle.float().mean().item() == pytest.approx(49.5, abs=1) and middle.float().std() < 25
    assert choose_times(noise, "uniform", 0.0).visited == ()
