"""An image, and an edit of its corner."""

import pytest
import torch


@pytest.fixture
def source():
    return torch.rand(1, 32, 48, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def edited(source):
    image = source.clone()
    image[:, :12, :12] = torch.tensor([1.0, 0, 0])
    return image
