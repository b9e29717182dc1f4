"""Every solver arrives at what the model knows."""

import pytest
import torch

from rethink.editors.loading import load_editor
from rethink.editors.samplers import SAMPLERS
from rethink.editors.settings import Settings
from tests.support import miniatures

FEW = Settings(steps=3)


def pictures(*sizes):
    height, width = sizes[-2:]
    batch = sizes[0] if len(sizes) == 3 else 1
    return torch.rand(batch, height, width, 3, generator=torch.Generator().manual_seed(7))


def edit(editor, images, instruction="make it red", seed=1, settings=FEW, **options):
    return editor.edit(editor.prepare(images), [instruction] * len(images), [seed] * len(images), settings, **options)


@pytest.fixture(scope="module")
def predicting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predicting")
    zero_snr = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return {
        (prediction, bool(options)): load_editor(
            miniatures.write_folder(
                folder / f"{prediction}{len(options)}", miniatures.INSTRUCT, prediction=prediction, **options
            )
        )
        for prediction in ("epsilon", "v_prediction", "sample")
        for options in ({}, zero_snr)
        if not (prediction == "epsilon" and options)  # at zero signal the noise says nothing: no such model exists
    }


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    "kind",
    [("epsilon", False), ("v_prediction", False), ("v_prediction", True), ("sample", False), ("sample", True)],
)
def test_every_solver_finds_what_the_model_knows(predicting, monkeypatch, sampler, kind):
    """With a model that always predicts one and the same picture, every solver must arrive at that picture."""
    from rethink.editors.samplers import Schedule
    from rethink.editors.sampling import denoise

    editor = predicting[kind]
    wanted = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(5)) * 0.8
    # As this model comes, its own solver takes a single step at the least noise: no step at all.
    for steps in (2, 8) if sampler == "default" else (1, 2, 8):
        schedule = Schedule(sampler, editor._pipeline.scheduler, steps)

        def predict(model_input, timestep, schedule=schedule):
            signal, noise = schedule.alpha_sigma(schedule.timesteps.tolist().index(float(timestep)))
            if kind[0] == "sample":
                return wanted
            if kind[0] == "v_prediction":
                return (signal * model_input - wanted) / noise
            return (model_input - signal * wanted) / noise

        generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
        latents, first = schedule.init_latents(torch.cat([torch.randn(1, 4, 16, 16, generator=g) for g in generators]))
        guesses = []
        result = denoise(
            predict,
            schedule,
            latents,
            first,
            generators,
            after_step=lambda s, n, clean, guesses=guesses: guesses.append(clean()),
        )
        # Its own solver also ends at the first noise level of training instead of at none.
        assert torch.allclose(result, wanted, atol=0.2 if sampler == "default" else 1e-2)
        assert len(guesses) == steps and torch.allclose(guesses[-1], wanted, atol=2e-2)
    edited = edit(editor, pictures(32, 32), settings=Settings(steps=2, sampler=sampler))
    assert torch.isfinite(edited).all() and edited.std() > 0
