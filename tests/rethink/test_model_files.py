"""What is no data is refused in every folder that is opened; models in the hub's cache are found and called by name.

Tried by hand with diffusers 0.35.0 and transformers 4.57.0: there `StableDiffusionPipeline.from_pretrained` runs
unet/diffusers.py and `AutoModelForImageTextToText.from_pretrained` runs custom_generate/generate.py, neither of them asked
to; load_editor and load_thinker refuse both folders.
"""

import json
import os
import shutil
import time

import pytest
import torch

from rethink.errors import RethinkError
from rethink.model_files import check_data, fingerprint_files, model_name, read_json, snapshot_of
from tests.support.miniature_thinkers import write_thinker
from tests.support.miniatures import PLAIN, write_cache, write_clip, write_folder

SPOILT = {
    "diffusers.py": ("raise SystemExit('run!')", "diffusers.py is code"),
    "unet/diffusers.pyc": ("", "unet/diffusers.pyc is code"),
    "unet/diffusers.cpython-312-x86_64-linux-gnu.so": ("", "linux-gnu.so is code"),
    "unet/diffusers.py": ("raise SystemExit('run!')", "unet/diffusers.py is code"),
    "unet/Transformers.PY": ("raise SystemExit('run!')", "Transformers.PY is code"),
    "custom_generate/generate.py": ("raise SystemExit('run!')", "generate.py is code"),
    "adapter_config.json": ("{}", "adapter of another model"),
    "text_encoder/adapter_config.json": ("{}", "adapter of another model"),
    "tokenizer_config.json": ({"auto_map": {"AutoTokenizer": ["a/b--c.D", None]}}, "code of its own"),
    "generation_config.json": ({"a": [{"auto_map": {"AutoConfig": "c.D"}}]}, "code of its own"),
    "processor_config.json": ({"audio_tokenizer": {"audio_tokenizer_name_or_path": "a/b"}}, "another model"),
    "preprocessor_config.json": ({"text": {"_attn_implementation": "kernels/flash"}}, "code from the hub"),
    "scheduler_config.json": ("[" * 100_000, "nested too deep|cannot be read"),
    "video_preprocessor_config.json": ('{"a":' * 5_000 + "1" + "}" * 5_000, "nested too deep|cannot be read"),
}


def spoil(folder, file):
    content, sentence = SPOILT[file]
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return sentence


@pytest.mark.parametrize("file", SPOILT)
def test_what_is_no_data_is_refused(tmp_path, file):
    sentence = spoil(tmp_path, file)
    with pytest.raises(RethinkError, match=f"^model: .*({sentence})"):
        check_data("model", tmp_path)


def test_what_published_folders_hold_besides_is_fine(tmp_path):
    (tmp_path / ".git" / "hooks").mkdir(parents=True)
    (tmp_path / ".git" / "hooks" / "hook.py").write_text("")  # nothing opens it
    (tmp_path / "README.md").write_text("```py\nimport os\n```")
    (tmp_path / "training_args.bin").write_bytes(b"\x80\x04.")
    (tmp_path / "config.json").write_text('{"auto_map": null, "_attn_implementation": "sdpa", "architectures": ["A"]}')
    (tmp_path / "tokenizer.json").write_text("[]")
    check_data("model", tmp_path)


def test_code_behind_a_link_is_code_and_a_circle_has_an_end(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "diffusers.py").write_text("")
    folder = tmp_path / "model"
    folder.mkdir()
    try:
        (folder / "above").symlink_to(tmp_path / "model", target_is_directory=True)
        check_data("model", folder)
        (folder / "unet").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    with pytest.raises(RethinkError, match="unet/diffusers.py is code"):
        check_data("model", folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {
        "pipeline": write_folder(root / "pipeline", PLAIN),
        "clip": write_clip(root / "clip"),
        "thinker": write_thinker(root / "thinker"),
    }


def _openers():
    from rethink.editors.loading import load_editor
    from rethink.evaluation.clip_similarity import Clip
    from rethink.pairs.from_captions.text_to_image import load_text_to_image
    from rethink.thinkers.backends.local_folder import load_thinker
    from rethink.training.instruct_pix2pix import open_model

    return {
        "editor": ("pipeline", load_editor),
        "Prompt-to-Prompt": ("pipeline", load_text_to_image),
        "trainer": ("pipeline", open_model),
        "CLIP": ("clip", Clip),
        "thinker": ("thinker", load_thinker),
    }


@pytest.mark.parametrize("who", ["editor", "Prompt-to-Prompt", "trainer", "CLIP", "thinker"])
def test_all_that_opens_a_folder_asks_first(folders, tmp_path, who):
    """And in the hub's cache all of them open what the same folder holds, by links."""
    kind, opens = _openers()[who]
    folder = tmp_path / "model"
    for file in ("custom_generate/generate.py", "adapter_config.json", "tokenizer_config.json"):
        shutil.copytree(folders[kind], folder)
        sentence = spoil(folder, file)
        with pytest.raises(RethinkError, match=sentence):
            opens(folder)
        shutil.rmtree(folder)
    try:
        cached = write_cache(tmp_path, folders[kind])
    except OSError:
        pytest.skip("this system lets nobody make links")
    found = opens(cached)
    assert getattr(found, "name", "owner/name") == "owner/name"


@pytest.mark.parametrize("who", ["editor", "Prompt-to-Prompt", "trainer", "CLIP", "thinker"])
def test_nothing_opens_with_random_weights(folders, tmp_path, who):
    from safetensors.torch import load_file, save_file

    kind, opens = _openers()[who]
    folder = shutil.copytree(folders[kind], tmp_path / "model")
    for file in sorted(folder.rglob("*.safetensors")):
        weights = load_file(file)
        lost = sorted(weights)[-1]
        save_file({key: value for key, value in weights.items() if key != lost}, file, {"format": "pt"})
        with pytest.raises(
            RethinkError, match=f"^(editor|model|clip|thinker): .*{file.parent.name} is not a complete .* lacks"
        ):
            opens(folder)
        save_file(weights | {"surprise": torch.zeros(1)}, file, {"format": "pt"})
        with pytest.raises(RethinkError, match="contains surprise, which does not belong there"):
            opens(folder)
        save_file(weights, file, {"format": "pt"})


def test_the_snapshot_is_the_one_that_main_names_or_the_newest(tmp_path):
    cached = tmp_path / "models--owner--some-name"
    for commit in ("aa", "bb"):
        (cached / "snapshots" / commit).mkdir(parents=True)
    later = time.time() + 10
    os.utime(cached / "snapshots" / "aa", (later, later))
    assert snapshot_of(cached) == cached / "snapshots" / "aa"
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("bb\n")
    assert snapshot_of(cached) == cached / "snapshots" / "bb"
    assert model_name(snapshot_of(cached)) == model_name(cached) == "owner/some-name"
    for wrong in ("../..", "/etc", "..", "cc", "", "b\0b"):
        (cached / "refs" / "main").write_text(wrong)
        assert snapshot_of(cached) == cached / "snapshots" / "aa"
    assert snapshot_of(tmp_path) == tmp_path and model_name(tmp_path / "model-v1.5") == "model-v1.5"


def test_json_that_cannot_be_read_is_one_sentence(tmp_path):
    file = tmp_path / "config.json"
    for content in (b"[" * 10**6, b'{"a":' * 10**5, b"\xff\xfe{", b"", b"[]", b"1e400"):
        file.write_bytes(content)
        with pytest.raises(RethinkError, match="config.json (cannot be read|does not hold)"):
            read_json("model", file)
    with open(file, "wb") as large:
        large.truncate(2**27)
    with pytest.raises(RethinkError, match="more than 64 MiB"):
        read_json("model", file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_configuration_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(RethinkError, match=r"config\.json cannot be read \(it is not a file\)"):
        check_data("editor", tmp_path)


def test_a_fingerprint_changes_with_the_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "weights.safetensors").write_bytes(b"one")
    before = fingerprint_files(tmp_path / "a")
    assert fingerprint_files(tmp_path / "a") == before
    (tmp_path / "a" / "weights.safetensors").write_bytes(b"other")
    assert fingerprint_files(tmp_path / "a") != before
    with pytest.raises(RethinkError, match="gone cannot be read"):
        fingerprint_files(tmp_path / "gone")
