"""Folders of runs that never ran."""

import pytest

from tests.support.trajectories import write_trajectory


@pytest.fixture
def runs(tmp_path):
    """runs(*scores) writes a run for each list of scores, “0”, “1”, …; returns their folder."""

    def write(*scores, **options):
        for number, each in enumerate(scores):
            write_trajectory(tmp_path / "runs" / str(number), each, **{"instruction": f"make {number} red", **options})
        return tmp_path / "runs"

    return write
