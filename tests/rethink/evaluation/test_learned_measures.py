"""Measures of other packages: by stand-ins for these, and DINO by a miniature with random weights."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from rethink.errors import RethinkError
from rethink.evaluation import learned_measures
from rethink.evaluation.learned_measures import MEASURES, measure, no_downloads, open_measure

ROWS = {row.name: row for row in MEASURES}


@pytest.fixture
def images():
    return tuple(torch.rand(1, 20, 30, 3, generator=torch.Generator().manual_seed(n)) for n in range(2))


@pytest.fixture
def package(monkeypatch):
    """package(name, **contents): a module of that name."""

    def install(name, **contents):
        module = ModuleType(name)
        module.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, module)

    return install


@pytest.fixture
def models(tmp_path):
    for name in ("dreamsim", "editscore/base", "editscore/lora", "editreward"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "module"),
    [("LPIPS", "lpips"), ("DreamSim", "dreamsim"), ("EditScore", "editscore"), ("EditReward", "EditReward")],
)
def test_a_package_that_is_missing_is_the_reason(models, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RethinkError, match=f"^the package {module} is not installed$"):
        open_measure(ROWS[name], models)


@pytest.mark.parametrize("name", ["DINO similarity", "DreamSim", "EditScore", "EditReward"])
def test_files_that_are_missing_are_the_reason(tmp_path, name):
    for models in (None, tmp_path):
        with pytest.raises(RethinkError, match="there is no folder"):
            open_measure(ROWS[name], models)


def test_lpips_sees_the_images_as_it_was_trained(package, monkeypatch, images, tmp_path):
    shown = []

    class LPIPS(torch.nn.Module):
        def __init__(self, net, verbose):
            super().__init__()

        def forward(self, a, b):
            shown.append((a, b))
            return (a - b).abs().mean()[None, None, None, None]

    package("lpips", LPIPS=LPIPS)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(RethinkError, match=r"alexnet-owt-7be5be79.pth is not in"):
        open_measure(ROWS["LPIPS"], None)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / learned_measures.ALEXNET).touch()
    compare = open_measure(ROWS["LPIPS"], None)
    expected = 2 * float((images[0] - images[1]).abs().mean())
    assert measure(compare, *images, "x") == pytest.approx(expected, rel=1e-5)
    assert shown[0][0].shape == (1, 3, 20, 30) and float(shown[0][0].min()) < -0.5


@pytest.mark.parametrize("pooling", [False, True])
def test_dino_is_the_cosine_of_class_tokens(images, tmp_path, pooling):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=16)
    transformers.ViTModel(config, add_pooling_layer=pooling).save_pretrained(tmp_path / "dino")
    compare = open_measure(ROWS["DINO similarity"], tmp_path)
    assert measure(compare, images[0], images[0], "") == pytest.approx(1, abs=1e-5)
    assert -1 <= measure(compare, *images, "") < 1


def test_dino_is_no_other_model(clip_folder, tmp_path):
    (tmp_path / "dino").symlink_to(clip_folder)
    with pytest.raises(RethinkError, match="holds a clip; a vit or dinov2"):
        open_measure(ROWS["DINO similarity"], tmp_path)


def test_dreamsim_keeps_to_its_folder(package, models, images):
    opened = []

    def dreamsim(pretrained, device, cache_dir):
        opened.append(cache_dir)
        return (lambda a, b: (a - b).abs().amax()[None]), None

    package("dreamsim", dreamsim=dreamsim)
    compare = open_measure(ROWS["DreamSim"], models)
    assert measure(compare, images[0], images[0], "") == 0 and opened == [str(models / "dreamsim")]


def test_edit_score_has_its_base_and_its_lora_from_the_folder(package, models, images):
    opened = []

    class EditScore:
        def __init__(self, **options):
            opened.append(options)

        def evaluate(self, shown, instruction):
            assert [image.size for image in shown] == [(30, 20)] * 2
            return {"final_score": 7.5 if instruction == "make it red" else 0}

    package("editscore", EditScore=EditScore)
    assert measure(open_measure(ROWS["EditScore"], models), *images, "make it red") == 7.5
    base, lora = str(models / "editscore" / "base"), str(models / "editscore" / "lora")
    assert (opened[0]["model_name_or_path"], opened[0]["lora_path"]) == (base, lora)
    (models / "editscore" / "lora").rmdir()
    with pytest.raises(RethinkError, match="lacks the folder “lora”"):
        open_measure(ROWS["EditScore"], models)


def test_edit_reward_is_the_mean_that_it_gives(package, models, images):
    class EditRewardInferencer:
        def __init__(self, config_path, checkpoint_path, **options):
            assert config_path.endswith("settings.yaml")

        def reward(self, prompts, image_src, image_paths):
            assert prompts == ["x"] and image_src[0].endswith("source.png") and image_paths[0].endswith("edited.png")
            return [torch.tensor([-1.25, 0.5])]

    package("EditReward", EditRewardInferencer=EditRewardInferencer)
    with pytest.raises(RethinkError, match=r"needs one \.yaml"):
        open_measure(ROWS["EditReward"], models)
    (models / "editreward" / "settings.yaml").touch()
    assert measure(open_measure(ROWS["EditReward"], models), *images, "x") == -1.25


def test_nothing_is_downloaded(package, models, tmp_path):
    import huggingface_hub

    def fetch(**_):
        torch.hub.load_state_dict_from_url("https://example.com/weights.pth", model_dir=str(tmp_path))

    package("dreamsim", dreamsim=fetch)
    with pytest.raises(RethinkError, match=r"^weights.pth is not on this machine, and nothing is downloaded$"):
        open_measure(ROWS["DreamSim"], models)
    with no_downloads(), pytest.raises(Exception, match="(?i)offline|cannot find"):
        huggingface_hub.hf_hub_download("owner/name", "config.json", cache_dir=str(tmp_path))
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(("value", "why"), [(float("nan"), "gave nan"), (ZeroDivisionError("odd"), "it failed: Zero")])
def test_what_fails_is_no_number(images, value, why):
    def compare(*_):
        if isinstance(value, Exception):
            raise value
        return value

    with pytest.raises(RethinkError, match=why):
        measure(compare, *images, "")


def test_what_cannot_be_opened_says_why(package, models):
    package("dreamsim", dreamsim=SimpleNamespace())
    with pytest.raises(RethinkError, match="it cannot be opened: TypeError"):
        open_measure(ROWS["DreamSim"], models)
