"""Train Edit LoRA: the file stands in the list of LoRAs, the editor has it, and Cancel keeps what there is."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from comfy import model_management

from tests.support.lora_training import write_pairs
from tests.support.thinking import said, thinker

QUICK = {
    "steps": 2,
    "rank": 2,
    "learning_rate": 0.01,
    "batch": 4,
    "accumulate": 1,
    "keep": "off",
    "replay": 1,
    "hold_out": 0.0,
    "save_every": 1,
    "previews": 0,
    "seed": 0,
}


@pytest.fixture
def train(classes, part, models, results, miniature, tmp_path):
    """train(name, **options): what the node puts out, run as ComfyUI runs nodes."""
    shutil.copytree(miniature, models.diffusers / "mini")

    @torch.inference_mode()
    def call(name="taught/mine", count=3, editor=None, **options):
        store = part("rethink.pairs.store").PairStore(tmp_path / "pairs")
        if not store.folder.exists():
            write_pairs(store.folder, count)
        editor = editor or part("nodes.comfy.memory").load_editor("mini", "auto", "none")
        hidden = SimpleNamespace(unique_id="6.0.0.6", dynprompt=SimpleNamespace(get_display_node_id=lambda id: "6"))
        node = type("Node", (classes["RethinkTrainEditLora"],), {"hidden": hidden})
        done = node.execute(editor, store, name, **{**QUICK, **options})
        call.ui = done.ui
        return done.result

    return call


def test_the_editor_comes_out_with_the_lora_and_loaders_list_it(train, part, results):
    editor, name, report = train()
    assert name == "taught/mine.safetensors" and editor.name == "mini + mine × 1"
    assert part("nodes.comfy.model_folders").lora_names() == [name]
    assert "32 of 32 layers fit" in report and "step 2 of 2" in report
    assert list((results.output / "rethink" / "training").glob("mine-*/report.html"))


def test_cancel_keeps_the_newest_and_the_same_inputs_go_on(train, part, monkeypatch):
    live = part("nodes.training_monitor").LiveTraining
    report = live.on_progress

    def cancel_at_first(self, now):
        if now.line.startswith("step 1 "):
            model_management.interrupt_current_processing(True)
        report(self, now)

    with monkeypatch.context() as patch:
        patch.setattr(live, "on_progress", cancel_at_first)
        with pytest.raises(model_management.InterruptProcessingException):
            train()
    model_management.interrupt_current_processing(False)
    assert part("nodes.comfy.model_folders").lora_names() == ["taught/mine.safetensors"]
    assert "step 2 of 2" in train()[2]


def test_a_thinker_scores_the_previews_and_the_node_shows_where_they_are(train, results, tmp_path):
    judge = thinker(said(6, 6, reasoning="Red enough."))
    train(hold_out=0.5, previews=1, count=6, thinker=judge)
    (shown,) = train.ui["rethink_training"]
    record = json.loads((results.output / shown["subfolder"] / shown["filename"]).read_text(encoding="utf-8"))
    assert [save["scores"][0]["thinker"] for save in record["saves"]] == [6, 6]
    assert record["saves"][0]["scores"][0]["note"] == "Red enough."
    assert len(judge.chat.asked) == 8 + 3, "four pairs both ways round, and what the editor alone makes once"


def test_previews_by_another_editor_have_the_device_while_they_are_made(train, part, models, miniature, results):
    shutil.copytree(miniature, models.diffusers / "other")
    other = part("nodes.comfy.memory").load_editor("other", "auto", "none")
    _, _, report = train(previews=1, preview_editor=other)
    assert "The previews were made by other." in report
    loads = [patcher() for patcher in model_management.loaded]
    assert part("nodes.comfy.memory")._patchers[other] in loads
    (shown,) = train.ui["rethink_training"]
    record = json.loads((results.output / shown["subfolder"] / shown["filename"]).read_text(encoding="utf-8"))
    assert [save["preview_editor"] for save in record["saves"]] == ["other", "other"]


def test_the_editor_that_learns_may_be_wired_to_its_previews_too(train, part):
    editor = part("nodes.comfy.memory").load_editor("built-in", "auto", "none")
    report = train(previews=1, editor=editor, preview_editor=editor)[2]
    assert "The previews" not in report


def test_fewer_megapixels_ask_for_less_room_and_references_for_more(part):
    room = part("nodes.train")._pixels_at_once
    settings = part("rethink.training.lora_settings").LoraSettings
    megapixel = 2**20
    assert room(settings(), 0) == 4 * megapixel and room(settings(batch=3), 0) == 12 * megapixel
    assert room(settings(megapixels=0.5), 0) == 2 * megapixel
    assert room(settings(megapixels=0.1), 0) == megapixel, "previews are as large as ever"
    assert room(settings(), 2) == 8 * megapixel and room(settings(megapixels=0.1), 1) == 1.5 * megapixel


@pytest.mark.parametrize("name", ["../mine", "", "a/../../b", "nul"])
def test_a_name_that_is_none_is_refused(train, name, RethinkError):
    with pytest.raises(RethinkError, match="^name: .*use, for example, my-edit"):
        train(name)


def test_a_small_learning_rate_is_not_rounded_away(classes):
    described = classes["RethinkTrainEditLora"].describe()["input"]
    assert described["optional"]["learning_rate"][1]["round"] <= 1e-6
