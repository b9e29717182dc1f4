"""The layouts through the trainers' own loaders, for whoever has them: each test runs where RETHINK_CONSUMERS names a folder
with a checkout of the trainer under its repository's name. Where that folder has a `venv`, its Python runs the loaders:
they want older packages than Rethink.

    git clone https://github.com/hiyouga/LlamaFactory CONSUMERS/LlamaFactory
    git clone https://github.com/hiyouga/EasyR1 CONSUMERS/EasyR1
    git clone https://github.com/volcengine/verl CONSUMERS/verl
    python -m venv CONSUMERS/venv
    CONSUMERS/venv/bin/pip install torch torchvision torchaudio "transformers<5" "datasets<=4.0.0" "accelerate<=1.11" \\
        "peft<=0.18.1" "trl<=0.24" omegaconf qwen-vl-utils av codetiming tensordict ray scipy pandas sentencepiece
    RETHINK_CONSUMERS=CONSUMERS python -m pytest tests/rethink/collect/formats/test_consumers.py

Last run against their states of 2026-08-18, 2026-07-30 and 2026-01-29. The options are those that the data set's README names.
trl's own functions are in test_trl.py.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rethink.collect.formats import FORMATS
from tests.support.hosts import PACK_ROOT
from tests.support.miniature_thinkers import write_thinker

CONSUMERS = os.environ.get("RETHINK_CONSUMERS")
pytestmark = pytest.mark.skipif(not CONSUMERS, reason="RETHINK_CONSUMERS names no checkouts of trainers")

SCRIPTS = PACK_ROOT / "tests" / "support" / "trainer_loaders"
YAML = re.compile(r"`(\w+: [^`]+)`")
OPTION = re.compile(r"\bdata\.\w+=\S+[^\s`.,;]")
IMAGE = re.compile(r"<\|vision_start\|>(?:<\|image_pad\|>)+<\|vision_end\|>")


@pytest.fixture
def load(tmp_path):
    """load(repository, its Python's folder, script, options): what the trainer's own loader says of each row."""

    def call(name, inside, script, options):
        consumers = Path(CONSUMERS).resolve()
        root = consumers / name / inside
        if not root.is_dir():
            pytest.skip(f"there is no {root}")
        python, result = consumers / "venv" / "bin" / "python", tmp_path / "result.jsonl"
        program = [python if python.exists() else sys.executable, SCRIPTS / script]
        command = [*program, thinker_of_old(tmp_path / "thinker"), "\n".join(options), result]
        environment = os.environ | {"PYTHONPATH": str(root), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
        run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-4000:]
        return [json.loads(line) for line in result.read_text(encoding="utf-8").splitlines()]

    return call


def thinker_of_old(folder):
    """A thinker's folder whose every byte is a token, as transformers 4 reads it too."""
    write_thinker(folder)
    file = folder / "tokenizer_config.json"
    tokens = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    del tokens["extra_special_tokens"]  # tokenizer.json has them
    file.write_text(json.dumps(tokens), encoding="utf-8")
    return folder


def documented_options(layout, folder):
    """The options of the command line that the data set's README names."""
    return OPTION.findall(FORMATS[layout].use.replace("FOLDER", str(folder)))


def check_rows(found, rows, folder):
    """Whether the loader has every row, with its question, and its images in their places."""
    assert len(found) == len(rows) == 2
    for record, row in zip(found, rows, strict=True):
        parts = [part.get("text") for part in row.messages[0]["content"]]
        asked = "<image>".join(part for part in parts if part).replace("make it <image>", "make it < image>")
        assert asked in IMAGE.sub("<image>", record["text"])
        meant = [(np.asarray(Image.open(folder / name)) / 255).mean((0, 1)) for name in row.images]
        assert np.abs(np.array(record["images"]) - meant).max() < 0.01


def test_llama_factory(rows, tmp_path, load):
    layout = FORMATS["llama-factory"]
    layout.write("sft", rows, tmp_path)
    options = YAML.findall(layout.use.replace("FOLDER", str(tmp_path)))
    found = load("LlamaFactory", "src", "llama_factory.py", options)
    check_rows(found, rows, tmp_path)
    assert [record["learned"] for record in found] == [f"{row.answer}<|im_end|>\n" for row in rows]


@pytest.mark.parametrize(
    ("layout", "repository", "script"), [("easyr1", "EasyR1", "easyr1.py"), ("verl", "verl", "verl_parquet.py")]
)
def test_the_loaders_of_reinforcement_learning(rows, tmp_path, load, layout, repository, script):
    FORMATS[layout].write("rl", rows, tmp_path)
    found = load(repository, "", script, documented_options(layout, tmp_path))
    check_rows(found, rows, tmp_path)
    assert [json.loads(record["ground_truth"]) for record in found] == [row.task for row in rows]
