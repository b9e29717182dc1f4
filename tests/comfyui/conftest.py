"""A real ComfyUI as a subprocess with its own Python, in a base directory of its own: the user's one is not touched."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import pytest

from rethink.editors.loading import load_editor
from tests.comfyui.native_graphs import FAMILIES
from tests.support.editor_miniatures import as_diffusers, factors, write_lora
from tests.support.hosts import PACK_ROOT, comfyui_python, find_comfyui
from tests.support.miniatures import write_clip, write_folder

LORA = "miniature.safetensors"  # for the editor of that name


KEY = "sk-planted-0123456789abcdef"


class Server:
    """What a headless user does: post prompts, read the history, fetch pictures."""

    def __init__(self, address: str, log: Path, pid: int):
        self.address, self.log, self.pid = address, log, pid

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.address + path, timeout=30) as reply:
            return reply.read()

    def json(self, path: str):
        return json.loads(self.get(path))

    def post(self, path: str, data: dict) -> tuple[int, dict]:
        body = json.dumps(data).encode()
        request = urllib.request.Request(self.address + path, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.loads(reply.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def run(self, prompt: dict, seconds: float = 120) -> dict:
        """Posts a prompt and returns its history entry."""
        code, answer = self.post("/prompt", {"prompt": prompt, "client_id": uuid.uuid4().hex})
        assert code == 200, answer
        return self.wait(answer["prompt_id"], seconds)

    def wait(self, prompt_id: str, seconds: float = 120) -> dict:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            history = self.json(f"/history/{prompt_id}")
            if prompt_id in history and history[prompt_id]["status"]:
                return history[prompt_id]
            time.sleep(0.1)
        raise TimeoutError(self.log.read_text(errors="replace")[-3000:])

    def view(self, image: dict) -> bytes:
        return self.get("/view?" + urllib.parse.urlencode(image))


def read_run(server: Server, name: str) -> dict:
    """The record of a run by the name that a node puts out: “output/rethink/thinking_00001_”."""
    kind, _, subfolder = name.partition("/")
    return json.loads(server.view({"filename": "trajectory.json", "subfolder": subfolder, "type": kind}))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    root = find_comfyui()
    python = root and comfyui_python(root)
    if not python:
        pytest.skip("no ComfyUI with a virtual environment of its own was found")
    base = tmp_path_factory.mktemp("comfyui")
    install_pack(python, base / "custom_nodes" / "rethink")
    shutil.copytree(Path(__file__).parent / "miniature_nodes", base / "custom_nodes" / "miniature_nodes")
    miniature = write_folder(base / "models" / "diffusers" / "miniature", "StableDiffusionInstructPix2PixPipeline")
    (base / "models" / "loras").mkdir()
    write_lora(
        as_diffusers(factors(load_editor(miniature))), base / "models" / "loras", LORA.removesuffix(".safetensors")
    )
    write_folder(base / "models" / "diffusers" / "stable-diffusion-v1-5", "StableDiffusionPipeline")
    write_clip(base / "models" / "clip_vision" / "clip-vit-large-patch14")
    for name in ("input", "output", "temp", "user"):
        (base / name).mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = base / "log.txt"
    command = [python, "main.py", "--cpu", "--port", str(port), "--base-directory", base, "--disable-auto-launch"]
    command += ["--database-url", "sqlite:///:memory:"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=root,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RETHINK_TEST_KEY": KEY},
        )
    try:
        yield ready(Server(f"http://127.0.0.1:{port}", log, process.pid), process)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """The tests of one family come one after another, so that its models are loaded once for all of them."""
    return request.param


def install_pack(python: Path, folder: Path) -> None:
    """As ComfyUI-Manager does: the files, then each line of requirements.txt with ComfyUI's own Python."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=PACK_ROOT, capture_output=True, text=True
    ).stdout.splitlines()
    left_out = tuple((PACK_ROOT / ".comfyignore").read_text().split())
    for name in names:
        if not name.startswith(left_out) and (PACK_ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACK_ROOT / name, folder / name)
    needs = (PACK_ROOT / "requirements.txt").read_text().split()
    subprocess.run([python, "-m", "pip", "install", "--quiet", *needs], check=True)


def ready(server: Server, process: subprocess.Popen) -> Server:
    end = time.monotonic() + 300  # a busy machine needs more than two minutes
    while time.monotonic() < end and process.poll() is None:
        try:
            server.json("/system_stats")
            return server
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"ComfyUI did not start:\n{server.log.read_text(errors='replace')[-3000:]}")
