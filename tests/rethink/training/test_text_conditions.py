"""Instructions as a U-Net takes them: what the pipelines of diffusers call it with, kept and lost."""

import pytest
import torch

from rethink.editors.loading import edit_with
from rethink.editors.settings import Settings
from rethink.training.instruct_pix2pix import as_editor, open_model, widen_conv_in
from rethink.training.text_conditions import TextConditions, tokenize, tokenizers_of
from tests.support import family_miniatures
from tests.support.miniatures import write_folder


@pytest.fixture(params=["1", "XL"])
def pipe(request, tmp_path):
    folder = tmp_path / "model"
    if request.param == "1":
        write_folder(folder, "StableDiffusionPipeline")
    else:
        family_miniatures.write("sdedit_xl", folder)
    pipe = open_model(folder)
    widen_conv_in(pipe.unet, pipe.vae.config.latent_channels)
    return pipe


def test_the_unet_is_called_as_it_is_in_edits_with_its_text_and_without(pipe):
    editor, calls = edit_with(as_editor(pipe), "editor"), []
    hook = pipe.unet.register_forward_pre_hook(lambda _, args, options: calls.append((args, options)), with_kwargs=True)
    source = torch.rand(1, 32, 32, 3)
    editor.edit(editor.prepare(source), ["make it red"], [0], settings=Settings(steps=1))
    hook.remove()
    tokens = tokenize(tokenizers_of(pipe), ["make it red"] * 2)
    (args, options), *_ = calls
    latents = options.get("sample", args[0] if args else None)
    with torch.no_grad():
        found = TextConditions(pipe)(tokens, latents, torch.tensor([False, True]))
    assert not torch.equal(*found["encoder_hidden_states"])
    called = {
        **options,
        **(options.get("added_cond_kwargs") or {}),
    }  # rows with the text and without, in whatever order
    added = found.pop("added_cond_kwargs", {})
    for name, values in {**found, **added}.items():
        for value in values:
            assert any(torch.allclose(value, row, atol=1e-5) for row in called[name]), name


def test_the_encoders_learn_only_where_they_are_to(pipe):
    assert not any(weight.requires_grad for weight in TextConditions(pipe).parameters())
    assert all(weight.requires_grad for weight in TextConditions(pipe, trained=True).parameters())
