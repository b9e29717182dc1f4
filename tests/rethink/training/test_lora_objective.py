"""The losses of a LoRA: written out for the families in test_edit_lora.py; here what holds for all of them."""

import pytest
import torch

from rethink.training.example import changed_places
from rethink.training.lora_objective import LoraObjective
from rethink.training.lora_pairs import generator_of
from tests.support import editor_miniatures
from tests.support.lora_training import make_job, open_training, write_pairs


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    root = tmp_path_factory.mktemp("objective")
    editor = editor_miniatures.opened("instruct_pix2pix", root)
    return open_training(editor, make_job(root, write_pairs(root / "pairs", 8)))


@pytest.fixture
def attached(training):
    with training.model.editor.pipeline(), training.lora.attached():
        yield training


def test_a_lora_that_does_nothing_yet_drifts_nowhere(attached):
    examples, objective = attached.examples, attached.objective
    batch = examples.load(examples.keys[:2])
    assert objective.drift(batch, generator_of("drift")).item() == 0
    with torch.no_grad():
        attached.lora.ups[0].add_(0.1)
        assert objective.drift(batch, generator_of("drift")).item() > 0
        attached.lora.ups[0].zero_()


def test_drift_is_held_where_the_text_or_the_source_is_lost_too(attached):
    model, lora, examples = attached.model, attached.lora, attached.examples
    batch = examples.load(examples.keys[:2])

    def draw(seed):
        generator = generator_of("lost", seed)
        times = model.noise.draw_times(2, generator, batch.tokens)
        noise = torch.randn(batch.target.shape, generator=generator)
        return model.noise.add_noise(batch.target, noise, times), times, model.drop_conditions(batch, generator)

    seed = next(seed for seed in range(1000) if not torch.equal(draw(seed)[2].source, batch.source))
    noisy, times, seen = draw(seed)
    with torch.no_grad():
        base = model.predict(noisy, times, seen)
        lora.ups[0].add_(0.1)
        expected = (model.predict(noisy, times, seen) - base).square().mean()
        found = attached.objective.drift(batch, generator_of("lost", seed))
        lora.ups[0].zero_()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_held_out_loss_is_the_same_every_time_and_in_batches_of_any_size(attached):
    found = [attached.objective.held_out_losses(attached.examples, batch) for batch in (1, 5, 5)]
    assert len(found[0]) == len(attached.examples.held_out) * len(attached.model.noise.fixed_times(0))
    assert found[0] == pytest.approx(found[1], rel=1e-4) and found[1] == found[2]


def test_what_the_edit_changes_counts_more_and_the_rest_is_held_to_the_base(attached):
    model, lora, examples = attached.model, attached.lora, attached.examples
    batch = examples.load(examples.keys[:2])
    changed = changed_places(batch)
    assert 0 < changed.mean() < 1
    generator = generator_of("weights")
    times = model.noise.draw_times(2, generator, batch.tokens)
    noise = torch.randn(batch.target.shape, generator=generator)
    noisy, seen = model.noise.add_noise(batch.target, noise, times), model.drop_conditions(batch, generator)
    with torch.no_grad():
        base = model.predict(noisy, times, seen)
        lora.ups[0].add_(0.1)
        answer = model.predict(noisy, times, seen)
        expected = ((answer - noise) ** 2 * torch.where(changed > 0, 5.0, 1.0)).mean()
        expected += 3 * ((answer - base) ** 2 * (1 - changed)).mean()
        found = LoraObjective(model, lora, 5.0, 3.0).loss(batch, generator_of("weights"))
        lora.ups[0].zero_()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
