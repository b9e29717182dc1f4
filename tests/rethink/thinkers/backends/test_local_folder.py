"""A transformers folder as a thinker: every kind that must be refused."""

import shutil

import pytest

from rethink.errors import RethinkError
from rethink.thinkers.backends.local_folder import load_thinker


@pytest.fixture
def copy(folders, tmp_path):
    return shutil.copytree(folders["Qwen3VL"], tmp_path / "copy")


def cut(file):
    file.write_bytes(file.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "config.json").write_text("[]"), "JSON object"),
        (
            lambda f: (f / "config.json").write_text('{"model_type": "nobody"}'),
            "cannot be opened as a vision-language model",
        ),
        (lambda f: (f / "config.json").write_text('{"auto_map": {"AutoModel": "a.B"}}'), "code of its own"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: cut(f / "model.safetensors"), "damaged or incomplete"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickles"),
        (lambda f: (f / "model.safetensors").rename(f / "model.safetensors.index.json"), "index.json cannot be read"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda f: (f / "preprocessor_config.json").unlink(), "cannot be opened"),
        (shutil.rmtree, "is not a folder"),
    ],
)
def test_a_folder_that_is_broken_is_told_so(copy, spoil, sentence):
    spoil(copy)
    with pytest.raises(RethinkError, match=sentence):
        load_thinker(copy)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dtype": "fp64"}, "dtype: “fp64” is unknown"),
        ({"quantization": "2bit"}, "quantization: “2bit” is unknown"),
        ({"device": "abacus"}, "device: “abacus” is unknown"),
    ],
)
def test_mistakes_are_one_sentence(folders, options, sentence):
    with pytest.raises(RethinkError, match=sentence):
        load_thinker(folders["Qwen3VL"], **options)
