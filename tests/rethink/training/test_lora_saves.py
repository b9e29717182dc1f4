"""The saves of a run: each by its step, the best under its name."""

from dataclasses import replace

import pytest

from rethink.training.best_save import Save
from tests.support import editor_miniatures
from tests.support.lora_training import make_job, open_training, write_pairs


@pytest.fixture
def training(tmp_path):
    editor = editor_miniatures.opened("instruct_pix2pix", tmp_path)
    editor.defaults = replace(editor.defaults, steps=1)
    return open_training(editor, make_job(tmp_path, write_pairs(tmp_path / "pairs", 8), previews=2))


def test_the_best_is_published(training):
    pairs, saves = training.examples.training, []
    for step, held_out in ((1, 0.2), (2, 0.1), (3, 0.3)):
        training.lora.ups[0].data.fill_(step)
        path = training.saves.write_lora(replace(training.record, step=step), pairs)
        saves.append(Save(step, training.run_folder.relative(path), 0.5, held_out))
    report = training.saves.publish(replace(training.record, step=3, saves=tuple(saves)).choose_best())
    assert report.output.read_bytes() == training.run_folder.save_path(2).read_bytes()
    assert "The LoRA of step 2 of 3" in str(report) and (report.folder / "report.html").is_file()
