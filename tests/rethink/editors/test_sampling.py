"""The sampling loop and its previews."""

import torch


def test_the_preview_shows_the_colors_of_the_source():
    from rethink.editors.sampling import latents_to_rgb

    images = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4), size=(32, 32), mode="bilinear").movedim(1, -1)
    small = torch.nn.functional.interpolate(images.movedim(-1, 1), size=(16, 16), mode="area")
    latents = torch.cat([small.flip(1) * 3 - 1, small[:, :1] * -2], dim=1)
    assert torch.allclose(latents_to_rgb(latents, images)(latents), small.movedim(1, -1), atol=0.05)
