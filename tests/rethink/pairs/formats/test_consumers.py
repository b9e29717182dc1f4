"""The exports through the trainers' own loading code, for whoever has it: each test runs where RETHINK_CONSUMERS names a
folder with a checkout of the trainer under its repository's name, in an environment with what its loader imports.

    git clone https://github.com/timothybrooks/instruct-pix2pix CONSUMERS/instruct-pix2pix   # torchvision einops
    git clone https://github.com/kohya-ss/musubi-tuner CONSUMERS/musubi-tuner                # toml voluptuous opencv av
    git clone https://github.com/modelscope/DiffSynth-Studio CONSUMERS/DiffSynth-Studio      # torchvision einops imageio pandas
    git clone https://github.com/ostris/ai-toolkit CONSUMERS/ai-toolkit                      # torchvision opencv pyyaml
    git clone https://github.com/bghira/SimpleTuner CONSUMERS/SimpleTuner
    RETHINK_CONSUMERS=CONSUMERS python -m pytest tests/rethink/pairs/formats/test_consumers.py

Last run against their states of 2023-01-31, 2026-06-24, 2026-08-20, 2026-08-21 and 2026-08-22. HF `datasets`, with which
diffusers' scripts load, and `webdataset` are in test_formats.py. Modules that reading pictures does not take (of audio,
models, quantization) are replaced by empty ones.
"""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

CONSUMERS = os.environ.get("RETHINK_CONSUMERS")
pytestmark = pytest.mark.skipif(not CONSUMERS, reason="RETHINK_CONSUMERS names no checkouts of trainers")


class Nothing(types.ModuleType):
    """A module in which everything is there, and is nothing."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=name)


class Hollow(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path, target=None):
        if any(name == hollow or name.startswith(f"{hollow}.") for hollow in self.names):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return Nothing(spec.name)

    def exec_module(self, module):
        pass


@pytest.fixture
def trainer(monkeypatch):
    """trainer(repository, its Python's folder, packages whose __init__ is passed over, modules that are nothing)."""

    def use(name, inside="", bare=(), hollow=()):
        root = Path(CONSUMERS, name, inside)
        if not root.is_dir():
            pytest.skip(f"there is no {root}")
        monkeypatch.syspath_prepend(str(root))
        for package in bare:
            module = types.ModuleType(package)
            module.__path__ = [str(root / package.replace(".", "/"))]
            monkeypatch.setitem(sys.modules, package, module)
        monkeypatch.setattr(sys, "meta_path", [Hollow(hollow), *sys.meta_path])
        return importlib.import_module

    return use


@pytest.fixture
def known(store):
    """known(instruction, input, target): whether such a pair was exported; its pictures may be scaled and cut."""
    pairs = [
        (p.instruction, mean(store.read_image(p.input)), mean(store.read_image(p.target))) for p in store.accepted()
    ]

    def call(instruction, *sides):
        found = [mean(side) for side in sides]
        return any(
            instruction == told and all(np.abs(a - b).max() < 4 for a, b in zip(found, pixels))
            for told, *pixels in pairs
        )

    return call


def mean(picture):
    """The mean color of 0…255; trainers' tensors are of -1…1."""
    pixels = np.asarray(picture, np.float32)
    pixels = pixels.transpose(1, 2, 0) if pixels.shape[0] == 3 else pixels
    return (pixels if pixels.max() > 1 else (pixels + 1) * 127.5).reshape(-1, 3).mean(0)


def test_instruct_pix2pix(trainer, exported, known):
    module = trainer("instruct-pix2pix")("edit_dataset")
    read = module.EditDataset(str(exported["instruct-pix2pix"]), splits=(1.0, 0.0, 0.0))
    assert len(read) == 6
    assert all(known(item["edit"]["c_crossattn"], item["edit"]["c_concat"], item["edited"]) for item in read)
    shown = module.EditDatasetEval(str(exported["instruct-pix2pix"]), splits=(1.0, 0.0, 0.0))
    assert ("a red cat", "a blue cat") in {(item["input_prompt"], item["output_prompt"]) for item in shown}


@pytest.mark.parametrize("architecture", ["ARCHITECTURE_QWEN_IMAGE_EDIT", "ARCHITECTURE_FLUX_KONTEXT"])
def test_musubi_tuner(trainer, exported, known, architecture):
    load = trainer("musubi-tuner", "src")
    config, kinds = load("musubi_tuner.dataset.config_utils"), load("musubi_tuner.dataset.architectures")
    given = config.load_user_config(str(exported["musubi-tuner"] / "dataset.toml"))
    plan = config.BlueprintGenerator(config.ConfigSanitizer()).generate(
        given, argparse.Namespace(debug_dataset=False), architecture=getattr(kinds, architecture)
    )
    (dataset,) = config.generate_dataset_group_by_blueprint(plan.dataset_group).datasets
    items = [item for _, batch in dataset.retrieve_latent_cache_batches(1) for item in batch]
    assert len(items) == 6
    assert all(known(item.caption, *item.control_content, item.content) for item in items)


@pytest.mark.parametrize("column", ["edit_image", "kontext_images"])
def test_diffsynth_studio(trainer, exported, known, column):
    load = trainer("DiffSynth-Studio", "", ["diffsynth", "diffsynth.core"])
    Dataset, folder = load("diffsynth.core.data").UnifiedDataset, str(exported["diffsynth"])
    read = Dataset(
        base_path=folder,
        metadata_path=f"{folder}/metadata.csv",
        data_file_keys=["image", column],
        main_data_operator=Dataset.default_image_operator(base_path=folder, max_pixels=2**20),
    )
    assert len(read) == 6
    assert all(known(item["prompt"], item[column], item["image"]) for item in (read[index] for index in range(6)))


def test_ai_toolkit(trainer, exported, known):
    load = trainer(
        "ai-toolkit",
        hollow=[
            "albumentations",
            "torchaudio",
            "torchao",
            "av",
            "toolkit.audio",
            "toolkit.control_generator",
            "toolkit.models",
            "toolkit.train_tools",
            "toolkit.metadata",
            "toolkit.accelerator",
            "toolkit.prompt_utils",
        ],
    )
    yaml, mixins = load("yaml"), load("toolkit.dataloader_mixins")
    mixins.inject_trigger_into_prompt = lambda prompt, *_, **__: prompt
    config, loader = load("toolkit.config_modules"), load("toolkit.data_loader")
    given = yaml.safe_load((exported["ai-toolkit"] / "dataset.yaml").read_text(encoding="utf-8"))
    given[0]["cache_latents_to_disk"] = False  # needs a VAE
    plain = types.SimpleNamespace(config=types.SimpleNamespace())
    model = MagicMock(
        get_bucket_divisibility=lambda: 32,
        is_audio_model=False,
        vae=plain,
        unet=plain,
        adapter=None,
        use_raw_control_images=False,
        has_multiple_control_images=False,
        encode_control_in_text_embeddings=False,
    )
    for entry in config.preprocess_dataset_raw_config(given):
        read = loader.AiToolkitDataset(config.DatasetConfig(**entry), batch_size=1, sd=model)
        read.setup_epoch()
        items = [item for index in range(len(read)) for item in read[index]]
        assert len(items) == 6
        for item in items:
            instruction = item.caption.replace(",  ", ", ")  # it splits captions at their commas
            assert known(instruction, item.control_tensor * 2 - 1, item.tensor)


def test_simpletuner(trainer, exported):
    load = trainer(
        "SimpleTuner",
        "",
        ["simpletuner", "simpletuner.helpers", "simpletuner.helpers.data_backend", "simpletuner.helpers.training"],
        [
            "simpletuner.helpers.training.state_tracker",
            "simpletuner.helpers.training.multi_process",
            "simpletuner.helpers.models",
        ],
    )
    create = load("simpletuner.helpers.data_backend.config").create_backend_config
    given = {
        "model_type": "lora",
        "model_family": "qwen_image",
        "model_flavour": "edit-v1",
        "resolution": 1024,
        "controlnet": False,
        "resolution_type": "pixel_area",
        "minimum_image_size": 0,
        "caption_strategy": "textfile",
        "compress_disk_cache": False,
    }
    kinds = []
    for backend in json.loads((exported["simpletuner"] / "multidatabackend.json").read_text(encoding="utf-8")):
        config = create(backend, given)
        config.validate(given)
        kinds.append(config.to_dict()["dataset_type"])
    assert kinds == ["image", "conditioning", "text_embeds"]
    translate = load("simpletuner.helpers.metadata.utils.duplicator").DatasetDuplicator._translate_conditioning_path
    target, control = (exported["simpletuner"] / side for side in ("target", "control"))
    for path in target.glob("*.png"):
        assert Path(translate(str(path), str(target), str(control), None)).is_file(), "the reference of a target"
