"""Prompt-to-Prompt pairs on miniatures: what is shared, what is not, and that a seed says everything."""

import pytest
import torch

from rethink.errors import RethinkError
from rethink.pairs.from_captions.prompt_to_prompt import (
    P2PConfig,
    _shared_attention,
    _Sharing,
    align,
    generate,
    preview_sample,
)
from tests.support.miniatures import PLAIN, TOKENS, make_pipeline, write_tokenizer

CAPTIONS = ("the red make", "the blue make")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def stable_diffusion(tokenizer):
    return make_pipeline(PLAIN, tokenizer)


@pytest.fixture(scope="module")
def stable_diffusion_xl(tokenizer):
    import diffusers
    import transformers

    small = make_pipeline(PLAIN, tokenizer)
    config = small.text_encoder.config
    unet = diffusers.UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=64,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
    )
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=small.vae,
        unet=unet,
        text_encoder=small.text_encoder,
        tokenizer=small.tokenizer,
        text_encoder_2=transformers.CLIPTextModelWithProjection(config).eval(),
        tokenizer_2=small.tokenizer,
        scheduler=small.scheduler,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(params=["stable_diffusion", "stable_diffusion_xl"])
def pipeline(request):
    return request.getfixturevalue(request.param)


def recipe(p, **options):
    return P2PConfig(**{"steps": 4, "sampler": "ddim", "threshold": (p, p), "guidance": (5, 5), **options})


def test_without_sharing_both_are_what_the_plain_pipeline_draws(pipeline):
    made = generate(pipeline, *CAPTIONS, [7], recipe(0, sampler="default"))
    for caption, picture in zip(CAPTIONS, (made.before, made.after)):
        plain = pipeline(
            caption,
            num_inference_steps=4,
            guidance_scale=5,
            generator=torch.Generator().manual_seed(7),
            output_type="pt",
        ).images.movedim(1, -1)
        assert torch.allclose(picture, plain, atol=1e-4)


@pytest.mark.parametrize("method", ["self", "replace", "refine"])
def test_sharing_changes_the_second_picture_alone(pipeline, method):
    alone = generate(pipeline, *CAPTIONS, [7], recipe(0, method=method))
    shared = generate(pipeline, *CAPTIONS, [7], recipe(1, method=method))
    assert torch.allclose(alone.before, shared.before, atol=1e-5)
    assert (alone.after - shared.after).abs().max() > 1e-3


def test_a_candidate_follows_from_its_seed_alone(pipeline):
    options = P2PConfig(steps=3)
    together, single = (generate(pipeline, *CAPTIONS, seeds, options) for seeds in ([3, 2**32 - 1, 5], [2**32 - 1]))
    assert together.thresholds[1] == single.thresholds[0] and together.guidances[1] == single.guidances[0]
    assert torch.allclose(together.before[1], single.before[0], atol=1e-4)
    assert torch.allclose(together.after[1], single.after[0], atol=1e-4)
    assert len(set(together.thresholds)) == len(set(together.guidances)) == 3
    assert all(0.1 <= p <= 0.9 for p in together.thresholds) and all(7.5 <= g <= 15 for g in together.guidances)


@pytest.mark.parametrize("method", ["self", "replace"])
def test_an_offloaded_pipeline_draws_the_same(tokenizer, method):
    """Sequentially: its weights rest on the meta device, and come when they are needed."""
    import accelerate

    pipeline = make_pipeline(PLAIN, tokenizer)
    whole = generate(pipeline, *CAPTIONS, [7], recipe(0.5, method=method))
    for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        accelerate.cpu_offload(part, torch.device("cpu"))
    assert pipeline.unet.device.type == "meta"
    offloaded = generate(pipeline, *CAPTIONS, [7], recipe(0.5, method=method))
    assert torch.equal(whole.after, offloaded.after) and torch.equal(whole.before, offloaded.before)


def test_ancestral_noise_is_shared(stable_diffusion):
    """Where the captions do not matter, both pictures of a pair are the same, however noisy the steps."""
    made = generate(stable_diffusion, *CAPTIONS, [1, 2], recipe(0, sampler="euler_ancestral", guidance=(0, 0)))
    assert torch.equal(made.before, made.after)
    assert not torch.equal(made.before[0], made.before[1])


def test_shared_self_attention_takes_who_attends_to_whom_and_keeps_what_is_there(stable_diffusion):
    layer = next(m for n, m in stable_diffusion.unet.named_modules() if n.endswith("attn1"))
    states = torch.randn(8, 9, layer.query_dim)  # [null, told] × [first, second] × two pairs
    sharing = _Sharing(True, None, None, torch.tensor([True, False]))
    got = sharing(layer, states)
    query, key, value = (
        part(states).unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (layer.to_q, layer.to_k, layer.to_v)
    )
    maps = (query @ key.mT * layer.scale).softmax(-1)
    maps[2], maps[6] = maps[0], maps[4]  # the first pair's second pictures, without and with text
    expected = layer.to_out[0]((maps @ value).transpose(1, 2).flatten(2))
    assert torch.allclose(got, expected, atol=1e-5)


def test_a_weighted_word_acts_on_the_second_picture_alone(stable_diffusion):
    plain = generate(stable_diffusion, *CAPTIONS, [7], recipe(0.5))
    less = generate(stable_diffusion, *CAPTIONS, [7], recipe(0.5, weights=(("blue", -2.0),)))
    assert torch.allclose(plain.before, less.before, atol=1e-6) and not torch.allclose(
        plain.after, less.after, atol=1e-3
    )
    with pytest.raises(RethinkError, match="green"):
        generate(stable_diffusion, *CAPTIONS, [7], recipe(0.5, weights=(("green", 2.0),)))


def test_words_correspond():
    end, fill = 99, 0
    a_cat, a_dog = [1, 10, 2, end, fill, fill], [1, 20, 21, 2, end, fill]
    mapping, taken = align(a_cat, a_dog, end, "replace")
    assert taken.tolist() == [1, 1, 1, 1, 1, 1]
    assert mapping[1].tolist() == [0, 0.5, 0.5, 0, 0, 0] and mapping[2, 3] == mapping[3, 4] == mapping[4, 5] == 1
    mapping, taken = align(a_cat, a_dog, end, "refine")
    assert taken.tolist() == [1, 0, 0, 1, 1, 1] and mapping[1].sum() == 0
    for method in ("replace", "refine"):  # an added word keeps its own attention with both
        mapping, taken = align(a_cat, [1, 30, 10, 2, end, fill], end, method)
        assert taken.tolist() == [1, 0, 1, 1, 1, 1] and mapping[1, 2] == 1


def test_the_pipeline_stays_as_it_was(stable_diffusion):
    before = stable_diffusion.unet.attn_processors

    def stop(step, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(stable_diffusion, *CAPTIONS, [7], recipe(1), stop)
    after = stable_diffusion.unet.attn_processors
    assert before.keys() == after.keys() and all(before[name] is after[name] for name in before)
    with _shared_attention(stable_diffusion.unet, _Sharing(False, None, None)):
        assert stable_diffusion.unet.attn_processors != before


def test_an_autoencoder_that_is_widened_to_decode_is_narrowed_again(tokenizer):
    pipeline = make_pipeline(PLAIN, tokenizer)
    pipeline.vae.register_to_config(force_upcast=True)
    pipeline.vae.half()
    made = generate(pipeline, *CAPTIONS, [7], recipe(1))
    assert pipeline.vae.dtype == torch.float16 and made.after.dtype == torch.float32


def test_an_offloaded_pipeline_gives_its_memory_back_after_a_cancel(stable_diffusion, monkeypatch):
    freed = []
    monkeypatch.setattr(stable_diffusion, "maybe_free_model_hooks", lambda: freed.append(True))

    def cancel(step, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(stable_diffusion, *CAPTIONS, [7], recipe(1), cancel)
    assert freed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "magic"}, "method"),
        ({"threshold": (0.9, 0.1)}, "threshold"),
        ({"guidance": (7.5, 1000)}, "guidance"),
    ],
)
def test_a_wrong_recipe_is_refused(options, said):
    with pytest.raises(RethinkError, match=said):
        P2PConfig(**options)


def test_equal_captions_are_refused(stable_diffusion):
    with pytest.raises(RethinkError, match="edited_caption"):
        generate(stable_diffusion, "the red", " the red ", [0], recipe(0))


def test_long_captions_are_cut_and_work(stable_diffusion):
    long = "the red make " * TOKENS
    made = generate(stable_diffusion, long, "the " + long, [0], recipe(1, method="refine"))
    assert torch.isfinite(made.after).all()


def apart(a, b):
    return float((a - b).abs().mean())


@pytest.mark.parametrize("sampler", ["ddim", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde"])
def test_a_sketch_shows_what_will_be_drawn(stable_diffusion, sampler):
    """Nearer than the same candidate with other noise is, and the nearer the more steps it has."""
    options = recipe(0.5, steps=20, sampler=sampler)
    made, other = (generate(stable_diffusion, *CAPTIONS, [seed], options) for seed in (7, 8))
    sketches = [preview_sample(stable_diffusion, *CAPTIONS, [7], steps, options) for steps in (3, 10)]
    for side in ("before", "after"):
        rough, fine = (apart(getattr(s, side), getattr(made, side)) for s in sketches)
        assert fine < rough < apart(getattr(made, side), getattr(other, side))
    assert sketches[0].thresholds == made.thresholds and sketches[0].guidances == made.guidances


@pytest.mark.parametrize("sampler", ["ddim", "euler_ancestral"])
def test_a_sketch_in_all_the_steps_is_the_picture(pipeline, sampler):
    options = recipe(0.5, steps=6, sampler=sampler)
    made, sketched = (
        generate(pipeline, *CAPTIONS, [7, 9], options),
        preview_sample(pipeline, *CAPTIONS, [7, 9], 6, options),
    )
    assert torch.allclose(made.before, sketched.before, atol=5e-3) and torch.allclose(
        made.after, sketched.after, atol=5e-3
    )


def test_the_steps_of_a_sketch_are_counted(stable_diffusion):
    seen = []
    preview_sample(
        stable_diffusion, *CAPTIONS, [7], 3, recipe(0.5, steps=8), lambda step, total: seen.append((step, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
