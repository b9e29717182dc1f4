"""A LoRA is trained on miniatures of every family: it learns, its gradient is the formula's, and its file loads everywhere."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from rethink.editors.settings import Settings
from rethink.training.edit_model import EditModel
from rethink.training.example import TEXT_MASK, join_examples
from rethink.training.lora_families import TRAINED
from rethink.training.lora_pairs import generator_of
from tests.support import editor_miniatures
from tests.support.lora_training import make_job, open_training, write_pairs

FEW = Settings(steps=2)
WITH_REFERENCES = ["qwen_image_edit_plus", "flux2", "flux2_klein"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    editor_miniatures.shrink(monkeypatch)


@pytest.fixture(params=TRAINED)
def editor(request, root):
    return editor_miniatures.opened_or_skipped(request.param, root)


@pytest.fixture(scope="module")
def store(root):
    return write_pairs(root / "pairs", 8)


@torch.no_grad()
def loss_of(training):
    with training.model.editor.pipeline(), training.lora.attached():
        return training.objective.loss(training.examples.load(training.examples.keys), generator_of("fixed")).item()


def test_it_learns_eight_pairs_and_its_file_does_the_same_in_the_pack_and_in_diffusers(editor, store, tmp_path):
    settings = {"steps": 6, "save_every": 6, "batch": 4, "hold_out": 0.0, "learning_rate": 5e-2}
    training = open_training(editor, make_job(tmp_path, store, **settings))
    before = loss_of(training)
    gradients_are_the_formulas(training, training.examples.load(training.examples.keys[:2]))
    report = training.run()
    assert loss_of(training) < 0.99 * before
    assert report.check.matched == report.record.layers and not report.check.unmatched
    image = torch.rand(1, 32, 32, 3, generator=generator_of("image"))
    base, ours = (
        each.edit(each.prepare(image), ["make it red"], [1], FEW) for each in (editor, with_lora(editor, report))
    )
    assert not torch.allclose(ours, base, atol=1e-3)
    with in_diffusers(editor, report.output):
        theirs = editor.edit(editor.prepare(image), ["make it red"], [1], FEW)
    assert torch.allclose(ours, theirs, atol=2e-4)


def gradients_are_the_formulas(training, batch):
    """Against a loss that is written out, with the LoRA's products added to the weights themselves."""
    model, lora = training.model, training.lora
    torch.manual_seed(0)
    for up in lora.ups:
        torch.nn.init.normal_(up, std=0.1)
    with model.editor.pipeline(), lora.attached():
        training.objective.loss(batch, generator_of("gradient")).backward()
    generator, tokens = generator_of("gradient"), batch.tokens
    times = model.noise.draw_times(len(batch.target), generator, tokens)
    noise = torch.randn(batch.target.shape, generator=generator)
    batch = model.drop_conditions(batch, generator)
    downs, ups = (
        [weight.detach().clone().requires_grad_() for weight in weights] for weights in (lora.downs, lora.ups)
    )
    weights = {
        f"{name}.weight": model.denoiser.get_submodule(name).weight + up @ down
        for name, down, up in zip(lora.names, downs, ups)
    }
    if model.row.layout == "channels":
        alpha = model.noise.alphas[times].view(-1, 1, 1, 1)
        noisy, target = alpha.sqrt() * batch.target + (1 - alpha).sqrt() * noise, noise
        inputs = {"sample": torch.cat([noisy, batch.source], 1)}
    else:
        time = times.view(-1, 1, 1)
        noisy, target = (1 - time) * batch.target + time * noise, noise - batch.target
        inputs = {"hidden_states": torch.cat([noisy, batch.source, *batch.references], 1)}
    inputs |= {**batch.inputs, "timestep": times, "return_dict": False}
    output = torch.func.functional_call(model.denoiser, weights, (), inputs)[0]
    output = output if model.row.layout == "channels" else output[:, :tokens]
    ((output - target) ** 2).mean().backward()
    pairs = list(zip(lora.parameters(), (*downs, *ups)))
    assert sum(found.grad is not None for found, _ in pairs) > len(pairs) / 2
    for found, expected in pairs:
        if found.grad is None or expected.grad is None:  # what the last block says of the text is of no use
            assert found.grad is expected.grad
            continue
        assert torch.allclose(found.grad, expected.grad, rtol=1e-3, atol=1e-4)
    lora.zero_grad()
    for up in lora.ups:
        torch.nn.init.zeros_(up)


@pytest.mark.parametrize("kind", WITH_REFERENCES)
def test_it_learns_pairs_with_two_references(kind, root, tmp_path):
    editor = editor_miniatures.opened_or_skipped(kind, root)
    store = write_pairs(tmp_path / "pairs", 4, references=(2,))
    settings = {"steps": 6, "save_every": 6, "batch": 2, "hold_out": 0.0, "learning_rate": 5e-2, "previews": 1}
    training = open_training(editor, make_job(tmp_path, store, **settings))
    before = loss_of(training)
    batch = training.examples.load(training.examples.keys[:2])
    assert sum(part.shape[1] for part in batch.references) > batch.tokens / 2
    gradients_are_the_formulas(training, batch)
    report = training.run()
    assert loss_of(training) < 0.99 * before and report.record.references == 2
    assert (report.folder / report.record.saves[0].previews[0]).is_file()


@pytest.mark.parametrize("kind", WITH_REFERENCES)
def test_its_denoiser_is_called_with_what_an_edit_with_references_calls_it_with(kind, root):
    """The tokens, their places and the text of a real edit; and its answer, at the same noise and time."""
    editor, calls = editor_miniatures.opened_or_skipped(kind, root), []
    generator = generator_of("images")
    source, hat, coat = (torch.rand(1, *size, 3, generator=generator) for size in ((32, 32), (24, 40), (40, 24)))
    model = EditModel(editor)
    example = model.encode(source, source.flip(1), "put on the hat of image 2", [hat, coat])
    hook = model.denoiser.register_forward_hook(
        lambda module, args, options, output: calls.append((options, output[0])), with_kwargs=True
    )
    settings = Settings(steps=1, text_guidance=1.0)
    editor.edit(editor.prepare(source, [hat, coat]), ["put on the hat of image 2"], [0], settings)
    hook.remove()
    [(called, answer)] = calls
    tokens = called["hidden_states"]
    assert torch.equal(torch.cat([example.source, *example.references], 1), tokens[:, example.tokens :])
    for name, value in example.inputs.items():
        same = called.get(name)
        if same is None:  # no mask: all of it is text
            assert name == TEXT_MASK and value.all()
        else:
            assert torch.equal(value, same) if isinstance(value, torch.Tensor) else value == same
    with torch.no_grad(), editor.pipeline():
        ours = model.predict(tokens[:, : example.tokens], called["timestep"], join_examples([example]))
    assert torch.equal(ours, answer[:, : example.tokens].float())


@pytest.mark.parametrize("kind", WITH_REFERENCES)
def test_pairs_with_other_references_are_never_in_one_batch(kind, root, tmp_path):
    """Two of 32 × 64 and 64 × 32 pixels are as many tokens as two the other way round."""
    editor = editor_miniatures.opened_or_skipped(kind, root)
    store = write_pairs(tmp_path / "pairs", 8, references=(0, 1, 2, 2))
    for number, pair in enumerate(list(store)[2::4] + list(store)[3::4]):
        sizes = [(32, 64), (64, 32)][:: 1 if number < 2 else -1]
        for path, (height, width) in zip(pair.references, sizes):
            (store.folder / path).unlink()
            store.write_image(path, np.full((height, width, 3), 40 * number, np.uint8))
    training = open_training(editor, make_job(tmp_path, store, batch=8, hold_out=0.0))
    batches = [sorted(int(id, 16) for id in training.examples.ids(number)) for number in range(12)]
    assert {tuple(batch) for batch in batches} == {(0, 4), (1, 5), (2, 6), (3, 7)}
    assert training.examples.most_references == 2 and training.step(0)[0] > 0


@pytest.mark.parametrize("kind", ["instruct_pix2pix", "flux_kontext"])
def test_less_memory_gives_the_same_gradients(kind, root, store, tmp_path):
    training = open_training(editor_miniatures.opened(kind, root), make_job(tmp_path, store, batch=2, hold_out=0.0))
    batch, found = training.examples.load(training.examples.keys[:2]), []
    for memory in (nullcontext(), training.model.less_memory()):
        with memory, training.model.editor.pipeline(), training.lora.attached():
            training.objective.loss(batch, generator_of("same")).backward()
        found.append([weight.grad.clone() for weight in training.lora.ups])
        training.lora.zero_grad()
    assert any(grad.abs().sum() > 0 for grad in found[0])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*found))
    assert not training.model.denoiser.is_gradient_checkpointing


@pytest.mark.parametrize("kind", ["instruct_pix2pix", "flux_kontext"])
def test_the_gradients_over_an_fp8_editor_are_those_of_its_rounded_weights(kind, root, store, tmp_path):
    small, rounded = (editor_miniatures.opened(kind, root, quantize=name) for name in ("fp8", "none"))
    found = []
    for number, editor in enumerate((small, rounded)):
        training = open_training(editor, make_job(tmp_path / str(number), store, batch=2, hold_out=0.0))
        parts = [dict(each.module[each.denoiser_name].named_parameters()) for each in (editor, small)]
        with torch.no_grad():
            for name, weight in parts[0].items():
                weight.copy_(parts[1][name].to(weight.dtype))
            for up in training.lora.ups:
                torch.nn.init.normal_(up, std=0.1, generator=generator_of("up"))
        batch = training.examples.load(training.examples.keys[:2])
        assert training.model.dtype == torch.float32
        with training.model.editor.pipeline(), training.lora.attached(), training.model.less_memory():
            training.objective.loss(batch, generator_of("same")).backward()
        found.append([up.grad for up in training.lora.ups if up.grad is not None])
    assert found[0] and all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*found))


def with_lora(editor, report):
    return editor.with_lora(report.output, 1.0)[0]


class in_diffusers:
    """Within it the editor's own pipeline has the LoRA by diffusers' loader."""

    def __init__(self, editor, file):
        self.pipeline, self.file = editor._pipeline, file

    def __enter__(self):
        pytest.importorskip("peft")
        if hasattr(self.pipeline, "load_lora_weights"):
            self.pipeline.load_lora_weights(str(self.file.parent), weight_name=self.file.name)
        else:
            from safetensors.torch import load_file

            self.pipeline.transformer.load_lora_adapter(load_file(self.file), prefix="transformer")

    def __exit__(self, *error):
        denoiser = getattr(self.pipeline, "transformer", None) or self.pipeline.unet
        denoiser.unload_lora()
