"""ComfyUI's own Qwen3-VL, as small as it goes and with random weights, through the thinker: two pictures, one answer."""

import json
import subprocess

import pytest

from tests.support.hosts import PACK_ROOT, comfyui_python, find_comfyui

SCRIPT = """
import json, sys
root, pack_root, base = sys.argv[1:]
sys.path.insert(0, root)
sys.argv = ["main.py", "--cpu", "--base-directory", base]
import comfy.options
comfy.options.enable_args_parsing()
import importlib.util, types
from dataclasses import dataclass
import torch
import comfy.sd, comfy_api.latest
from comfy.text_encoders import qwen3vl, qwen_image

@dataclass
class Tiny(qwen3vl.Qwen3VL_4BConfig):
    hidden_size: int = 64
    intermediate_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 2
    num_key_value_heads: int = 1

name = "qwen3vl_4b"
qwen3vl.QWEN3VL_CONFIGS[name] = Tiny
qwen3vl.QWEN3VL_VISION[name] = {"hidden_size": 64, "intermediate_size": 64, "depth": 2, "deepstack_visual_indexes": [0]}
qwen3vl.QWEN3VL_VISION_COMMON |= {"num_heads": 2}

def clip(model, tokenizer):
    target = types.SimpleNamespace(params={}, clip=model, tokenizer=tokenizer)
    made = comfy.sd.CLIP(target, disable_dynamic=True)
    torch.manual_seed(0)
    for weights in made.cond_stage_model.parameters():
        torch.nn.init.normal_(weights, 0, 0.3)
    return made

spec = importlib.util.spec_from_file_location("pack", pack_root + "/__init__.py", submodule_search_locations=[pack_root])
pack = importlib.util.module_from_spec(spec)
sys.modules["pack"] = pack
spec.loader.exec_module(pack)
from pack.nodes.native.chat import NativeChat
from pack.rethink.thinkers.critique import critique_messages

chat = NativeChat(clip(qwen3vl.te(model_type=name), qwen3vl.tokenizer(name)))
messages = critique_messages("See {source} and {edited}: {instruction}", instruction="make it red")

def ask(edited, **options):
    with torch.inference_mode():
        return chat.chat(messages, [torch.rand(1, 64, 64, 3), edited], **{"max_tokens": 6, "seed": 1, "temperature": 0} | options)

torch.manual_seed(1)
source = torch.rand(1, 64, 96, 3)
dark = torch.zeros(1, 32, 64, 3)
torch.manual_seed(2); one = ask(source)
torch.manual_seed(2); same = ask(source)
torch.manual_seed(2); other = ask(dark)
torch.manual_seed(2); drawn = [ask(source, temperature=1.0, seed=seed) for seed in (1, 2)]
print(json.dumps([one, same, other, *drawn]))
"""


def test_comfyuis_own_model_answers_about_two_pictures(tmp_path):
    root = find_comfyui()
    python = root and comfyui_python(root)
    if python is None:
        pytest.skip("no ComfyUI with its own Python was found")
    command = [python, "-c", SCRIPT, root, PACK_ROOT, tmp_path / "base"]
    done = subprocess.run(list(map(str, command)), cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    one, same, other, first, second = json.loads(done.stdout.splitlines()[-1])
    assert one == same != other and first != second
