"""Stable Diffusion by our own loop, proved on miniatures with random weights."""

import warnings

import pytest
import torch

from rethink.editors import stable_diffusion
from rethink.editors.families import FAMILIES
from rethink.editors.loading import load_editor
from rethink.editors.settings import Settings
from rethink.editors.stable_diffusion import StableDiffusionEditor
from rethink.errors import RethinkError
from tests.support import miniatures
from tests.support.editor_miniatures import forgetful

FEW = Settings(steps=2)


@pytest.fixture(scope="module", params=["instruct_pix2pix", "sdedit"])
def editor(request, folders):
    return load_editor(folders[request.param])


@pytest.fixture(scope="module")
def instruct(folders):
    return load_editor(folders["instruct_pix2pix"])


def pictures(*sizes):
    height, width = sizes[-2:]
    batch = sizes[0] if len(sizes) == 3 else 1
    return torch.rand(batch, height, width, 3, generator=torch.Generator().manual_seed(7))


def edit(editor, images, instruction="make it red", seed=1, settings=FEW, **options):
    return editor.edit(editor.prepare(images), [instruction] * len(images), [seed] * len(images), settings, **options)


def count_calls(monkeypatch, module, method):
    calls = []
    original = getattr(module, method)

    def counted(*args, **options):
        calls.append(args)
        return original(*args, **options)

    monkeypatch.setattr(module, method, counted)
    return calls


# ── the same as the plain pipelines ──────────────────────────────────────────────────────────────────────────────────


def test_equals_the_plain_instruct_pix2pix_pipeline(folders, instruct):
    import diffusers

    plain = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(
        folders["instruct_pix2pix"], safety_checker=None
    )
    for steps, text, image, negative in [(5, 7.5, 1.5, None), (3, 3.0, 1.0, "blue"), (4, 2.0, 2.0, None)]:
        expected = plain(
            "make the sky red",
            image=pictures(32, 32).movedim(-1, 1),
            num_inference_steps=steps,
            guidance_scale=text,
            image_guidance_scale=image,
            negative_prompt=negative,
            generator=torch.Generator().manual_seed(3),
            output_type="pt",
        ).images.movedim(1, -1)
        settings = Settings(steps=steps, text_guidance=text, image_guidance=image, negative_prompt=negative or "")
        ours = edit(instruct, pictures(32, 32), "make the sky red", 3, settings)
        assert torch.allclose(ours, expected, atol=2e-5)


def test_equals_the_plain_pipeline_with_a_distilled_autoencoder(folders):
    """AutoencoderTiny encodes to latents without a distribution; zero-SNR models predict the clean sample."""
    import diffusers

    plain = miniatures.make_pipeline(
        miniatures.INSTRUCT,
        folders["sdedit"] / "tokenizer",
        prediction="sample",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    channels, blocks = (32, 32), (1, 1)
    plain.register_modules(
        vae=diffusers.AutoencoderTiny(
            encoder_block_out_channels=channels,
            decoder_block_out_channels=channels,
            num_encoder_blocks=blocks,
            num_decoder_blocks=blocks,
        )
    )
    expected = plain(
        "make it red",
        image=pictures(32, 32).movedim(-1, 1),
        num_inference_steps=4,
        guidance_scale=3.0,
        image_guidance_scale=1.5,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
    ).images.movedim(1, -1)
    editor = StableDiffusionEditor(plain, FAMILIES[0], FAMILIES[0].defaults, "distilled")
    settings = Settings(steps=4, text_guidance=3.0, image_guidance=1.5)
    previews = []
    edited = edit(
        editor, pictures(32, 32), seed=3, settings=settings, on_step=lambda _, __, preview: previews.append(preview())
    )
    assert torch.allclose(edited, expected, atol=2e-5)
    assert torch.allclose(previews[-1], edited, atol=0.02)  # its decoder costs so little that it draws the preview


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler"])
def test_equals_the_plain_image_to_image_pipeline(folders, scheduler):
    import diffusers

    editor = load_editor(folders["sdedit"])
    solver = getattr(diffusers, scheduler)
    editor._pipeline.scheduler = solver.from_config(editor._pipeline.scheduler.config, skip_prk_steps=True)
    plain = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(
        folders["sdedit"], safety_checker=None, scheduler=solver.from_config(editor._pipeline.scheduler.config)
    )
    prepared = editor.prepare(pictures(32, 32))
    for steps, strength in [(10, 0.6), (7, 1.0), (5, 0.25)]:
        expected = plain(
            "make it red",
            image=prepared.encoded.latents.clone() * 0.18215,  # the pipeline would draw them; ours takes the mode
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=6.0,
            generator=torch.Generator().manual_seed(3),
            output_type="pt",
        ).images.movedim(1, -1)
        settings = Settings(steps=steps, strength=strength, text_guidance=6.0)
        ours = editor.edit(prepared, ["make it red"], [3], settings)
        assert torch.allclose(ours, expected, atol=2e-5)


# ── nothing is computed twice, nothing in vain ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text, image, passes", [(7.5, 1.5, 3), (7.5, 1.0, 2), (1.5, 1.5, 2), (1.0, 1.0, 1)])
def test_passes_without_weight_are_not_run(instruct, monkeypatch, text, image, passes):
    calls = count_calls(monkeypatch, instruct.module["unet"], "forward")
    edit(instruct, pictures(32, 32), settings=Settings(steps=2, text_guidance=text, image_guidance=image))
    assert [len(call[0]) for call in calls] == [passes] * 2


def test_the_source_is_encoded_once(editor, monkeypatch):
    encoded = count_calls(monkeypatch, editor.module["vae"], "encode")
    images = pictures(32, 32)
    for turn in range(3):
        editor.edit(editor.prepare(images), ["make it red", "make it blue"], [turn, turn + 1], FEW)
    assert len(encoded) == 1
    images[0, 0, 0] = 0.5  # written to: no longer the same picture
    editor.prepare(images)
    assert len(encoded) == 2
    with torch.inference_mode():  # as in ComfyUI
        images = pictures(32, 32)
        editor.prepare(images), editor.prepare(images)
    assert len(encoded) == 3
    editor.prepare(pictures(32, 32))
    assert len(encoded) == 4


def test_the_picture_may_be_freed_though_its_latents_are_remembered(editor):
    import weakref

    images = pictures(32, 32)
    gone = weakref.ref(images)
    editor.prepare(images)
    del images
    assert gone() is None


def test_equal_texts_are_encoded_once(instruct, monkeypatch):
    editor = forgetful(instruct)
    calls = count_calls(monkeypatch, editor.module["text_encoder"], "forward")
    prepared = editor.prepare(pictures(32, 32))
    editor.edit(prepared, ["make it red"] * 3, [1, 2, 3], FEW)
    editor.edit(prepared, ["make it red"], [4], FEW)
    assert len(calls) == 1
    editor.edit(prepared, ["make it blue"], [4], FEW)
    assert len(calls) == 2
    monkeypatch.setattr(stable_diffusion, "_MAX_TEXTS", 4)
    editor.edit(prepared, [f"number {i}" for i in range(8)], [0] * 8, Settings(steps=1))
    assert len(editor._texts) == 4


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sampler", ["default", "euler_ancestral", "dpmpp_2m_sde"])
def test_a_row_does_not_depend_on_the_others(editor, sampler):
    settings = Settings(steps=4, sampler=sampler, randomize_guidance=True)
    prepared = editor.prepare(pictures(32, 32))
    texts, seeds = ["make it red", "make it blue", "make it red"], [11, 12, 2**63 + 5]
    batch = editor.edit(prepared, texts, seeds, settings)
    for row in range(3):
        alone = editor.edit(prepared, [texts[row]], [seeds[row]], settings)
        assert torch.allclose(batch[row], alone[0], atol=1e-4)
    assert (batch[0] - batch[2]).abs().mean() > 1e-3


def test_rows_are_grouped_by_image(editor):
    images = pictures(2, 32, 32)
    batch = editor.edit(editor.prepare(images), list("abcd"), [1, 2, 3, 4], FEW)
    for row, letter in enumerate("abcd"):
        assert torch.allclose(batch[row], edit(editor, images[row // 2][None], letter, row + 1)[0], atol=1e-4)


@pytest.mark.parametrize(
    "texts, seeds, complaint",
    [
        ([], [], "empty"),
        (["", "a"], [1, 2], "empty"),
        (["  \n"], [1], "empty"),
        (["a", "b"], [1], "2 instruction.* 1 seed"),
        (["a", "b", "c"], [1, 2, 3], "evenly among 2 images"),
    ],
)
def test_counts_that_do_not_match(instruct, texts, seeds, complaint):
    with pytest.raises(RethinkError, match=f"^instruction: .*{complaint}"):
        instruct.edit(instruct.prepare(pictures(2, 32, 32)), texts, seeds, FEW)


def test_randomized_guidance_is_drawn_from_the_seed(instruct):
    from rethink.editors.stable_diffusion import _draw_scales

    settings = Settings(text_guidance=7.5, image_guidance=1.5, randomize_guidance=True)
    generators = [torch.Generator().manual_seed(seed) for seed in range(200)]
    text, image = _draw_scales(settings, generators)
    assert 6.0 <= text.min() < 6.2 and 8.8 < text.max() <= 9.0
    assert 1.2 <= image.min() < 1.25 and 1.75 < image.max() <= 1.8
    first = edit(instruct, pictures(32, 32), settings=Settings(steps=2, randomize_guidance=True))
    assert torch.equal(first, edit(instruct, pictures(32, 32), settings=Settings(steps=2, randomize_guidance=True)))
    assert not torch.equal(first, edit(instruct, pictures(32, 32), settings=Settings(steps=2)))


# ── sizes and masks ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(32, 32), (1, 1), (33, 47), (2000, 50), (64, 48)])
def test_the_source_size_comes_back(editor, size):
    edited = edit(editor, pictures(*size))
    assert edited.shape == (1, *size, 3) and edited.dtype == torch.float32
    assert edited.min() >= 0 and edited.max() <= 1


def test_a_giant_ribbon(instruct):
    assert edit(instruct, pictures(8000, 200), settings=Settings(steps=1)).shape == (1, 8000, 200, 3)


def test_results_can_be_written_to(instruct):
    edit(instruct, pictures(32, 32))[:] = 0


@pytest.mark.parametrize("size", [(32, 32), (50, 70)])
def test_outside_the_mask_nothing_changes(editor, size):
    images = pictures(2, *size)
    mask = torch.zeros(*size)
    mask[5:20, 6:21] = 1
    edited = edit(editor, images, mask=mask)
    outside = mask == 0
    assert torch.equal(edited[:, outside], images[:, outside])
    assert (edited - images)[:, ~outside].abs().mean() > 0.01


def test_outside_the_mask_the_latents_are_held(editor):
    images = pictures(32, 32)
    mask = torch.zeros(32, 32)
    mask[:8, :8] = 1
    free = edit(editor, images)
    full = edit(editor, images, mask=torch.ones(32, 32))
    assert torch.equal(free, full)
    assert not torch.equal(edit(editor, images, mask=mask)[:, :8, :8], free[:, :8, :8])


def test_a_mask_an_image(instruct):
    images = pictures(2, 32, 32)
    masks = torch.stack([torch.zeros(32, 32), torch.ones(32, 32)])
    edited = instruct.edit(instruct.prepare(images), list("abcd"), [1, 2, 3, 4], FEW, mask=masks)
    assert torch.equal(edited[:2], images[:1].expand(2, -1, -1, -1))
    assert not torch.equal(edited[2], images[1])


def test_bad_masks(instruct):
    with pytest.raises(RethinkError, match="^mask: "):
        edit(instruct, pictures(32, 32), mask=torch.full((32, 32), float("nan")))


# ── progress, cancel, memory, bad input ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(32, 32), (40, 20)])
def test_progress_and_preview(editor, size):
    steps = []
    settings = Settings(steps=5, strength=1.0)
    edit(editor, pictures(*size), settings=settings, on_step=lambda *step: steps.append((*step[:2], step[2]())))
    assert [step[:2] for step in steps] == [(i + 1, 5) for i in range(5)]
    preview = steps[-1][2]
    assert preview.ndim == 4 and preview.shape[0] == 1 and preview.shape[-1] == 3 and max(preview.shape[1:3]) <= 32
    assert preview.shape[1] / preview.shape[2] == pytest.approx(size[0] / size[1], rel=0.1)
    assert preview.min() >= 0 and preview.max() <= 1


class Interrupted(BaseException):
    """As ComfyUI's own: no Exception."""


def test_cancel_ends_the_run_and_leaves_the_editor_usable(editor):
    before = edit(editor, pictures(32, 32))
    steps = []

    def cancel(step, total, preview):
        steps.append(step)
        if step == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        edit(editor, pictures(32, 32), settings=Settings(steps=6, strength=1.0), on_step=cancel)
    assert steps == [1, 2]
    assert torch.equal(edit(editor, pictures(32, 32)), before)


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory"), MemoryError()]
)
@pytest.mark.parametrize("part, method", [("unet", "forward"), ("vae", "decode")])
def test_out_of_memory_in_the_middle(instruct, monkeypatch, error, part, method):
    editor = forgetful(instruct)
    before = edit(editor, pictures(32, 32))

    def fail(*args, **options):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(editor.module[part], method, fail)
        with pytest.raises(RethinkError, match="ran out of memory on cpu; edit fewer") as caught:
            edit(editor, pictures(32, 32))
    assert caught.value.__context__ is None  # no traceback that holds tensors
    assert torch.equal(edit(editor, pictures(32, 32)), before)


def test_other_errors_are_not_dressed_up(instruct, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("something else")

    monkeypatch.setattr(instruct.module["unet"], "forward", fail)
    with pytest.raises(RuntimeError, match="something else"):
        edit(instruct, pictures(32, 32))


def test_nan_from_the_model_is_named(folders):
    editor = load_editor(folders["instruct_pix2pix"])
    editor.module["vae"].decoder.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(RethinkError, match="NaN.*fp32"):
        edit(editor, pictures(32, 32))


def test_nan_pixels(instruct):
    with pytest.raises(RethinkError, match="^image: .*NaN"):
        instruct.prepare(torch.full((1, 32, 32, 3), float("nan")))


def test_very_long_instructions_are_cut_and_said_so(instruct):
    beginning = "make it red and then "
    with pytest.warns(UserWarning, match="instruction: .*reads the first 22"):
        cut = edit(instruct, pictures(32, 32), beginning + "and blue " * 1200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(cut, edit(instruct, pictures(32, 32), beginning + "and blue " * 1200))


@pytest.mark.parametrize("instruction", ["把天空变成红色", "🦊➡️🐼", "Käse & <b>\n\t", "<|endoftext|>"])
def test_any_script(instruct, instruction):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert edit(instruct, pictures(32, 32), instruction).shape == (1, 32, 32, 3)


def test_memory_stays_flat_over_many_edits(instruct):
    psutil = pytest.importorskip("psutil")
    process, images = psutil.Process(), pictures(32, 32)
    used = []
    for turn in range(40):
        prepared = instruct.prepare(images if turn % 2 else images.clone())
        instruct.edit(prepared, [f"turn {turn}"], [turn], Settings(steps=1), on_step=lambda s, n, preview: preview())
        used.append(process.memory_info().rss)
    assert max(used) < max(used[:10]) + 30 * 2**20


def test_an_unknown_sampler_is_named(instruct):
    with pytest.raises(RethinkError, match="^sampler: .*nonesuch.*euler"):
        edit(instruct, pictures(32, 32), settings=Settings(sampler="nonesuch"))
