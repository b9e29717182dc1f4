"""`rethink train-editor`."""

from rethink.cli.main import main
from tests.support.lora_training import take_one_step_for_previews, write_pairs
from tests.support.miniatures import write_folder


def test_it_trains_and_says_where_to_look(tmp_path, capsys, monkeypatch):
    take_one_step_for_previews(monkeypatch)
    write_pairs(tmp_path / "pairs", 8)
    model = write_folder(tmp_path / "sd", "StableDiffusionPipeline")
    options = ["--resolution", "32", "--steps", "1", "--batch", "2", "--workers", "0"]
    assert main(["train-editor", str(model), str(tmp_path / "pairs"), "-o", str(tmp_path / "editor"), *options]) == 0
    assert (tmp_path / "editor" / "model_index.json").is_file()
    assert (tmp_path / "editor" / "training" / "report.html").as_uri() in capsys.readouterr().out


def test_what_is_wrong_is_said_in_a_sentence(tmp_path, capsys):
    assert main(["train-editor", str(tmp_path), str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "metadata.jsonl" in capsys.readouterr().err
    for option in ("steps", "batch", "resolution"):
        assert main(["train-editor", str(tmp_path), str(tmp_path), "-o", str(tmp_path / "out"), f"--{option}=0"]) == 2
        assert f"{option}: expected" in capsys.readouterr().err
