"""A text encoder learns with its denoiser, or alone: what it was said in the words of a run is what it is to read in the user's."""

from dataclasses import replace

import pytest
import torch

from rethink.builtin import EDITOR_FOLDER
from rethink.editors.loading import load_editor
from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from rethink.pairs.store import EditPair, PairStore
from rethink.tiny import judge, render, sample_task
from rethink.tiny.teacher import plain_requests
from rethink.training.edit_model import EditModel
from rethink.training.example import TEXT
from rethink.training.lora_pairs import generator_of, read_pairs
from rethink.training.lora_settings import LoraSettings
from rethink.training.text_learning import PROMPT, TOKENS, Reading, by_prompts
from tests.support import editor_miniatures
from tests.support.lora_training import make_job, open_training, write_pairs

FEW = {"steps": 6, "save_every": 6, "batch": 4, "hold_out": 0.0, "learning_rate": 2e-2, "text_encoder": True}
SAID = "make the cat red"


@pytest.fixture
def editor(tmp_path):
    return editor_miniatures.opened("instruct_pix2pix", tmp_path)


@pytest.fixture
def pairs(tmp_path):
    """Of runs: what was asked for is “dye it” in every one, and all know other words for it but the first."""
    plain = write_pairs(tmp_path / "plain", 8)
    store = PairStore(tmp_path / "runs-pairs")
    with store.writing():
        for number, pair in enumerate(plain):
            for path in (pair.input, pair.target):
                store.file(path).parent.mkdir(parents=True, exist_ok=True)
                store.file(path).write_bytes(plain.file(path).read_bytes())
            known = {"prompt": SAID, "turn": 2, "base": "source" if number else "previous"}
            store.add(replace(pair, instruction="dye it", operation="thinking", parameters=known))
    return store


def open_learning(editor, tmp_path, pairs, **options):
    return open_training(editor, make_job(tmp_path, pairs, **{**FEW, **options}))


def test_an_example_has_tokens_from_which_the_denoiser_gets_what_it_gets_in_edits(editor):
    image = torch.rand(1, 32, 32, 3)
    model, frozen = EditModel(editor), EditModel(editor)
    model.learn_text()
    here, there = (each.encode(image, image, "dye it") for each in (model, frozen))
    assert here.inputs[TOKENS].shape == here.null[TOKENS].shape and not here.inputs[TOKENS].is_floating_point()
    noisy, times = torch.randn(here.target.shape), torch.tensor([500])
    with torch.no_grad(), editor.pipeline():
        assert torch.allclose(model.predict(noisy, times, here), frozen.predict(noisy, times, there), atol=1e-5)
    assert model.encoders != frozen.encoders, "latents without tokens are no examples for it"


def test_other_words_are_those_of_a_turn_that_edited_the_source(pairs, tmp_path):
    assert sorted(pair.prompt for pair in read_pairs(pairs)) == ["", *[SAID] * 7]
    assert {pair.prompt for pair in read_pairs(write_pairs(tmp_path / "others", 4, operation="recolor"))} == {""}


def test_rows_without_other_words_keep_their_own(editor):
    model = EditModel(editor)
    model.learn_text()
    rows = [model.text.inputs(text, prompt) for text, prompt in (("dye it", SAID), ("make it red", ""))]
    inputs, known = by_prompts({name: torch.cat([row[name] for row in rows]) for name in (TOKENS, PROMPT)})
    assert known.tolist() == [True, False]
    expected = torch.cat([model.text.inputs(text)[TOKENS] for text in (SAID, "make it red")])
    assert torch.equal(inputs[TOKENS], expected)


def test_another_text_is_as_far_as_the_layers_say_of_the_rows_that_count(editor):
    torch.manual_seed(0)
    texts, rows = torch.randn(2, 3, 5, 32), torch.tensor([True, True, False])
    unet, source = editor.module["unet"], torch.randn(3, 8, 8, 8)
    reading = Reading(unet)
    with torch.no_grad():
        with reading.recorded():
            unet(source, 500, texts[0])
        assert reading.distance(texts[0], rows).item() == 0
        other = torch.cat([texts[0, :2], texts[1, 2:]])
        assert reading.distance(other, rows).item() == 0 < reading.distance(texts[1], rows).item()
        nothing = torch.zeros(3, dtype=torch.bool)
        assert reading.distance(texts[1], nothing).item() == 0
        layers = [layer for name, layer in unet.named_modules() if name.endswith(".attn2")]
        seen = {}
        for layer in layers:
            layer.register_forward_pre_hook(lambda layer, args: seen.setdefault(layer, args[0]))
        unet(source, 500, texts[0])
        errors = []
        for layer in layers:
            wanted, found = (layer(seen[layer], encoder_hidden_states=text) for text in texts)
            errors.append((found - wanted)[:2].square().mean() / wanted.square().mean())
    assert reading.distance(texts[1], rows).item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-4)


def test_it_reads_the_users_words_as_the_thinkers_and_its_file_does_so_in_the_pack_and_in_diffusers(
    editor, pairs, tmp_path
):
    training = open_learning(editor, tmp_path, pairs, steps=30, save_every=30, layers="none", rank=4)
    before = distance(training)
    report = training.run()
    assert distance(training) < before / 2
    assert report.check.matched == report.record.layers == len(training.lora.names) and not report.check.unmatched
    assert all(name.startswith("text_encoder.") for name in training.lora.names)
    image = torch.rand(1, 32, 32, 3, generator=generator_of("image"))
    taught = editor.with_lora(report.output, 1.0)[0]
    base, ours = (edit(each, image) for each in (editor, taught))
    assert not torch.allclose(ours, base, atol=1e-3)
    pipeline = editor._pipeline
    pipeline.load_lora_weights(report.output.parent, weight_name=report.output.name)
    try:
        editor._texts.clear()
        assert torch.allclose(ours, edit(editor, image), atol=2e-4)
    finally:
        pipeline.unload_lora_weights()


def edit(editor, image):
    return editor.edit(editor.prepare(image), ["dye it"], [1], Settings(steps=2))


@torch.no_grad()
def distance(training):
    """How far what the denoiser reads in “dye it” is from what it reads, without the LoRA, in the words of the runs."""
    model, batch = training.model, training.examples.load(training.examples.keys)
    reading, (inputs, known) = Reading(model.denoiser), by_prompts(batch.inputs)
    noisy, times = torch.zeros_like(batch.target), torch.full((len(batch.target),), 500)
    with model.editor.pipeline(), training.lora.attached():
        with reading.recorded(), training.lora.off():
            model.predict(noisy, times, replace(batch, inputs=inputs))
        return reading.distance(model.encoded(batch.inputs, noisy)[TEXT], known).item()


def test_denoiser_and_text_encoder_learn_together_and_a_run_goes_on(editor, pairs, tmp_path):
    whole = open_learning(editor, tmp_path / "whole", pairs, layers="all", rank=2).run()
    assert {name.startswith("text_encoder.") for name in open_names(editor, pairs, tmp_path)} == {True, False}
    job = make_job(tmp_path / "parts", pairs, **{**FEW, "steps": 3, "save_every": 3, "layers": "all", "rank": 2})
    job.run(editor)
    parts = replace(job, settings=replace(job.settings, steps=6)).run(editor)
    assert parts.record.losses == pytest.approx(whole.record.losses)


def open_names(editor, pairs, tmp_path):
    return open_learning(editor, tmp_path / "names", pairs, layers="all", rank=2).lora.names


def test_lost_text_is_not_read_as_other_words(editor):
    model = EditModel(editor)
    model.learn_text()
    assert (model.text.inputs("")[PROMPT] < 0).all()


@pytest.mark.parametrize("kind", ["instruct_pix2pix_xl", "flux_kontext"])
def test_other_text_encoders_are_refused_before_any_work(kind, tmp_path):
    editor = editor_miniatures.opened_or_skipped(kind, tmp_path)
    with pytest.raises(RethinkError, match="^text_encoder: that of .* cannot be trained; leave it off"):
        make_job(tmp_path, write_pairs(tmp_path / "pairs", 4), text_encoder=True).run(editor)


def test_nothing_at_all_to_learn_is_refused():
    with pytest.raises(RethinkError, match="^layers: none leaves only the text encoder"):
        LoraSettings(layers="none")


def test_a_text_encoder_in_fp16_learns_in_fp32_and_is_afterwards_what_it_was(pairs, tmp_path):
    editor = editor_miniatures.opened("instruct_pix2pix", tmp_path, dtype="fp16")
    before = {name: weight.clone() for name, weight in editor.module.state_dict().items()}
    report = make_job(tmp_path, pairs, **{**FEW, "rank": 2}).run(editor)
    assert all(torch.equal(weight, before[name]) for name, weight in editor.module.state_dict().items())
    assert report.check.matched == report.record.layers


@pytest.mark.skipif(not EDITOR_FOLDER.exists(), reason="the built-in editor is not trained yet")
def test_the_built_in_editor_learns_words_from_runs_and_keeps_the_plain_ones(tmp_path):
    """By the oracle: instructions that it did not understand, it follows at once."""
    editor = load_editor(EDITOR_FOLDER)
    tasks = [
        task
        for task in (sample_task(seed, "unusual", split="train") for seed in range(12))
        if not follows(editor, task)
    ]
    prompts = [plain_requests(task)[0] for task in tasks]
    store = PairStore(tmp_path / "pairs")
    with store.writing():
        for number, (task, prompt) in enumerate(zip(tasks, prompts)):
            id, source = f"{number:016x}", render([task.source])
            paths = [store.image_path(id, role) for role in ("input", "target")]
            for path, image in zip(paths, (source, editor.edit(editor.prepare(source), [prompt], [0]))):
                store.write_image(path, (image[0] * 255).round().byte().numpy())
            known = {"prompt": prompt, "turn": 2, "base": "source"}
            store.add(EditPair(id, *paths, task.instruction, operation="thinking", parameters=known, source=id))
    settings = {"steps": 80, "save_every": 80, "batch": 12, "learning_rate": 6e-3, "rank": 16, "hold_out": 0.0}
    kept = tuple(sample_task(seed, split="train").instruction for seed in range(24))
    settings |= {"keep": "high", "keep_instructions": kept, "replay": 24, "layers": "none", "text_encoder": True}
    job = make_job(tmp_path, store, **settings)
    taught = editor.with_lora(job.run(editor).output, 1.0)[0]
    assert len(tasks) >= 8 and sum(follows(taught, task) for task in tasks) >= 0.7 * len(tasks)
    plain = [sample_task(seed) for seed in range(10)]
    assert sum(follows(taught, task) for task in plain) >= sum(follows(editor, task) for task in plain) - 1


def follows(editor, task):
    return judge(editor.edit(editor.prepare(render([task.source])), [task.instruction], [0]), task).success
