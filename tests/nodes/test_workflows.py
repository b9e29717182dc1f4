"""Every workflow runs as posted to the API, and its drag-and-drop twin describes the same graph."""

import json
import shutil

import pytest
from PIL import Image

from rethink.editors.loading import load_editor
from tests.standin.executor import DYNAMIC, run, validate
from tests.support import editor_miniatures, family_miniatures
from tests.support.editor_miniatures import as_diffusers, factors, write_lora
from tests.support.hosts import PACK_ROOT
from tests.support.miniatures import PLAIN, QUICK, write_folder

WORKFLOWS = PACK_ROOT / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
NOTES = ("Note", "MarkdownNote")
TITLE = 30  # height of the bar above a node
# ComfyUI's own models run in ComfyUI itself: tests/comfyui/test_native.py
RUNNABLE = [n for n in NAMES if "UNETLoader" not in (WORKFLOWS / f"{n}.json").read_text(encoding="utf-8")]
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
MODELS = {"FLUX.1-Kontext-dev": "flux_kontext", "Qwen-Image-Edit-2511": "qwen_image_edit_plus"}  # → their miniatures
EDIT = "make it snow\n%%\na street in the snow"  # what a miniature of a language model would not think of
TEXT_TO_IMAGE = ("stable-diffusion-v1-5",)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def graph_of_api(prompt):
    """A prompt without the widgets that have no value."""
    inputs = {i: {name: value for name, value in node["inputs"].items() if value != {}} for i, node in prompt.items()}
    return {i: (node["class_type"], inputs[i]) for i, node in prompt.items()}


def graph_of_ui(workflow, classes):
    """What the front end posts for a workflow: links by origin, widget values in the order of the schema."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        if node["type"] in NOTES:
            continue
        values = iter(node["widgets_values"])
        inputs = widget_values(classes[node["type"]].describe()["input"], values)
        assert next(values, None) is None
        inputs |= {socket["name"]: links[socket["link"]] for socket in node["inputs"] if socket["link"] is not None}
        graph[str(node["id"])] = (node["type"], inputs)
    return graph


def widget_values(described, values, prefix=""):
    """Those of the inputs that a choice brings along come behind it."""
    inputs = {}
    for name, (io_type, options) in {**described["required"], **described.get("optional", {})}.items():
        if io_type == DYNAMIC:
            inputs[prefix + name] = key = next(values)
            chosen = next(option["inputs"] for option in options["options"] if option["key"] == key)
            inputs |= widget_values(chosen, values, f"{prefix}{name}.")
        elif io_type in WIDGETS:
            inputs[prefix + name] = next(values)
            if options.get("control_after_generate"):
                assert next(values) in ("fixed", "increment", "decrement", "randomize")
    return inputs


@pytest.fixture
def prompt(request, part, models, results, miniature, vision_folder, clip_folder, monkeypatch):
    """An API workflow of few steps; miniatures take the place of its models, but of the trained built-in ones."""
    prompt = read_json(WORKFLOWS / "api" / f"{request.param}.json")
    builtin = part("rethink.builtin")
    for node in prompt.values():
        inputs = node["inputs"]
        few = {"steps": 2, "turns": 2, "variations": 2, "count": 2, "pairs": 3}
        inputs |= {
            name: min(inputs[name] or most, most) for name, most in few.items() if isinstance(inputs.get(name), int)
        }
        if node["class_type"] == "RethinkLoadEditor" and inputs["editor"] in MODELS:
            kind = MODELS[inputs["editor"]]
            if kind in editor_miniatures.NEED_TORCHVISION:
                pytest.importorskip("torchvision")
            editor_miniatures.shrink(monkeypatch)
            base = family_miniatures.write(kind, models.diffusers / inputs["editor"])
        elif node["class_type"] == "RethinkLoadEditor" and inputs["editor"] in TEXT_TO_IMAGE:
            write_folder(models.diffusers / inputs["editor"], PLAIN)
        elif node["class_type"] == "RethinkLoadEditor" and not builtin.EDITOR_FOLDER.exists():
            inputs["editor"] = shutil.copytree(miniature, models.diffusers / "miniature").name
        elif node["class_type"] == "RethinkPromptToPromptPairs":
            shutil.copytree(clip_folder, models.clip_vision / inputs["clip"])
            inputs |= QUICK
        elif node["class_type"] == "RethinkTrainEditLora":
            inputs |= {"steps": 1, "save_every": 1, "replay": 1, "batch": 2, "previews": 0}
        elif node["class_type"] == "RethinkLoadEditDataset":
            write_sides(part("nodes.comfy.folders").dataset_roots()[0] / inputs["format.dataset"])
        elif node["class_type"] == "RethinkEditLoraLoader":
            weights = as_diffusers(factors(load_editor(base)))
            write_lora(weights, models.loras, inputs["lora"].removesuffix(".safetensors"))
        elif node["class_type"] == "RethinkCaptionToEdit":
            monkeypatch.setattr(
                part("nodes.comfy.memory").ManagedChat, "chat", lambda self, messages, images, **options: EDIT
            )
        elif node["class_type"] == "RethinkLoadThinker" and not (
            inputs["backend"] == "built-in" and builtin.THINKER_FOLDER.exists()
        ):
            folder = inputs.get("backend.folder", "miniature")
            shutil.copytree(vision_folder, models.LLM / folder)
            node["inputs"] = {
                "backend": "local folder",
                "backend.folder": folder,
                "backend.dtype": "auto",
                "backend.quantization": "none",
                "backend.template": "Rethink's own",
                "max_tokens": 16,
            }
    return prompt


def write_sides(folder):
    """Two images before and after."""
    for side, blue in (("before", 40), ("after", 200)):
        (folder / side).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (64, 64), (90 * number, 40, blue)).save(folder / side / f"{number}.png")


def test_there_are_workflows():
    assert {
        "built_in_edit",
        "edit_chain",
        "variations",
        "flux_kontext",
        "qwen_image_edit",
        "lora_stack",
        "keep_unchanged_pixels",
        "built_in_think",
        "think_any_graph",
        "kontext_think",
        "qwen_server_think",
        "native_think",
        "inverse_edit_pairs",
        "inverse_edit_with_editor",
        "filter_and_save_pairs",
        "prompt_to_prompt_pairs",
        "caption_edit_pairs",
        "learn_black_squares",
        "learn_from_runs",
        "kontext_lora",
        "qwen_image_edit_lora",
        "resume_and_compare_saves",
        "benchmark_ten_items",
        "score_edit",
        "trade_off_curve",
        "compare_loras_blind",
    } <= set(NAMES)


ENDS = {
    "SaveImage": "images",
    "RethinkTrainEditLora": "rethink_training",
    "RethinkCompareEditors": "rethink_comparison",
    "RethinkRunBenchmark": "rethink_text",
}  # and what they show


@pytest.mark.parametrize("prompt", RUNNABLE, indirect=True)
def test_runs(prompt, classes):
    results = run(prompt, classes)
    ends = [(i, ENDS[node["class_type"]]) for i, node in prompt.items() if node["class_type"] in ENDS]
    assert ends and all(results["ui"][i][shown] for i, shown in ends)


@pytest.mark.parametrize("name", NAMES)
def test_the_twins_describe_the_same_graph(name, classes, models):
    workflow = read_json(WORKFLOWS / f"{name}.json")
    assert graph_of_ui(workflow, classes) == graph_of_api(read_json(WORKFLOWS / "api" / f"{name}.json"))


@pytest.mark.parametrize("name", NAMES)
def test_the_drag_and_drop_file_is_whole_and_explained(name, classes, models):
    workflow = read_json(WORKFLOWS / f"{name}.json")
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert any(node["type"] in NOTES for node in nodes.values())
    for link, origin, slot, target, input_slot, io_type in workflow["links"]:
        assert link in nodes[origin]["outputs"][slot]["links"]
        assert nodes[target]["inputs"][input_slot]["link"] == link
        assert nodes[origin]["outputs"][slot]["type"] == io_type
    assert all(group["title"] for group in workflow["groups"])
    boxes = [(*node["pos"], *node["size"]) for node in nodes.values()]
    corners = [(left, top - TITLE, left + width, top + height) for left, top, width, height in boxes]
    for i, (left, top, right, bottom) in enumerate(corners):
        for other in corners[:i]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top, "nodes overlap"


@pytest.mark.parametrize("name", NAMES)
def test_has_a_thumbnail(name, part):
    if not part("rethink.builtin").EDITOR_FOLDER.exists():
        pytest.skip("there is no built-in editor yet that could draw it")
    with Image.open(WORKFLOWS / f"{name}.jpg") as thumbnail:
        assert thumbnail.width == 640


def test_wrong_prompts_are_refused_node_by_node(classes, models):
    prompt = read_json(WORKFLOWS / "api" / "variations.json")
    prompt["1"]["inputs"]["editor"] = "../../secret"
    prompt["4"]["inputs"] |= {"variations": 1000, "steps": -1, "image": ["1", 0]}
    del prompt["4"]["inputs"]["seed"]
    errors = validate(prompt, classes)
    assert set(errors) == {"1", "4"} and len(errors["4"]) == 4


PUBLIC = (
    "UNETLoader",
    "CLIPLoader",
    "DualCLIPLoader",
    "VAELoader",
    "RethinkEditLoraLoader",
)  # what loads a single file


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_says_where_every_file_that_it_loads_is_to_be_had(name):
    """ComfyUI offers to download what stands under properties.models. A folder of diffusers cannot be named there."""
    for node in read_json(WORKFLOWS / f"{name}.json")["nodes"]:
        files = [v for v in node.get("widgets_values") or () if isinstance(v, str) and v.endswith(".safetensors")]
        models = node["properties"].get("models", [])
        assert [model["name"] for model in models] == (files if node["type"] in PUBLIC else []), node["type"]
        for model in models:
            assert model["url"].startswith("https://huggingface.co/") and model["url"].endswith("/" + model["name"])
            assert model["directory"] in ("diffusion_models", "text_encoders", "vae", "loras")
