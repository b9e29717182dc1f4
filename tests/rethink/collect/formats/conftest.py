"""A row of a data set with its images."""

import pytest

from rethink.collect.rows import rows_of
from rethink.collect.runs import facts_of
from tests.support.trajectories import draw_images, write_trajectory


@pytest.fixture
def rows(tmp_path):
    """The rows of a run of two turns, whose instruction has a letter beyond ASCII; the data set lies in `tmp_path`."""
    run = write_trajectory(tmp_path / "run", (2, 9), images=draw_images(0, 2), instruction="make it <image> … ü")
    return list(rows_of(facts_of(run.folder, "0", run, None), [0, 1], tmp_path))
