"""A real ComfyUI as a subprocess with its own Python, in a base directory of its own: the user's one is not touched."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from tests.support.hosts import PACK_ROOT, comfyui_python
from tests.support.servers import held_port

LORA = "miniature.safetensors"  # for the editor of the name “miniature”
KEY = "sk-planted-0123456789abcdef"
PATIENCE = 500  # seconds: a busy machine takes minutes for what else takes seconds


class Server:
    """What a headless user does: post prompts, read the history, fetch pictures."""

    def __init__(self, address: str, log: Path, pid: int):
        self.address, self.log, self.pid = address, log, pid

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.address + path, timeout=120) as reply:
            return reply.read()

    def json(self, path: str):
        return json.loads(self.get(path))

    def post(self, path: str, data: dict) -> tuple[int, dict]:
        body = json.dumps(data).encode()
        request = urllib.request.Request(self.address + path, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return reply.status, json.loads(reply.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def run(self, prompt: dict, seconds: float = PATIENCE) -> dict:
        """Posts a prompt and returns its history entry."""
        code, answer = self.post("/prompt", {"prompt": prompt, "client_id": uuid.uuid4().hex})
        assert code == 200, answer
        return self.wait(answer["prompt_id"], seconds)

    def wait(self, prompt_id: str, seconds: float = PATIENCE) -> dict:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            history = self.json(f"/history/{prompt_id}")
            if prompt_id in history and history[prompt_id]["status"]:
                return history[prompt_id]
            time.sleep(0.05)
        raise TimeoutError(self.log.read_text(errors="replace")[-3000:])

    def interrupt(self, prompt_id: str) -> dict:
        """Cancels a prompt and returns its history entry. ComfyUI forgets what it is told before it has begun: it is told again."""
        end = time.monotonic() + PATIENCE
        while prompt_id not in (history := self.json(f"/history/{prompt_id}")):
            assert time.monotonic() < end, "it did not end"
            self.post("/interrupt", {})
            time.sleep(0.5)
        return history[prompt_id]

    def view(self, image: dict) -> bytes:
        return self.get("/view?" + urllib.parse.urlencode(image))


def read_run(server: Server, name: str) -> dict:
    """The record of a run by the name that a node puts out: “output/rethink/thinking_00001_”."""
    kind, _, subfolder = name.partition("/")
    return json.loads(server.view({"filename": "trajectory.json", "subfolder": subfolder, "type": kind}))


@contextmanager
def running_comfyui(root: Path, base: Path, meanwhile: Callable[[], None] = lambda: None) -> Iterator[Server]:
    """The ComfyUI that lies in `root`, with `base` for all that it reads and writes. meanwhile: done while it starts."""
    for name in ("input", "output", "temp", "user"):
        (base / name).mkdir(exist_ok=True)
    log = base / "log.txt"
    with held_port() as port, log.open("wb") as out:
        command = [comfyui_python(root), "main.py", "--cpu", "--port", port, "--base-directory", base]
        command += ["--disable-auto-launch", "--database-url", "sqlite:///:memory:"]
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=root,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RETHINK_TEST_KEY": KEY},
        )
        try:
            meanwhile()
            yield wait_until_ready(Server(f"http://127.0.0.1:{port}", log, process.pid), process)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def install_pack(root: Path, base: Path) -> None:
    """As ComfyUI-Manager does: the files, then each line of requirements.txt with ComfyUI's own Python."""
    folder = base / "custom_nodes" / "rethink"
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=PACK_ROOT, capture_output=True, text=True
    ).stdout.splitlines()
    left_out = tuple((PACK_ROOT / ".comfyignore").read_text().split())
    for name in names:
        if not name.startswith(left_out) and (PACK_ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACK_ROOT / name, folder / name)
    needs = (PACK_ROOT / "requirements.txt").read_text().split()
    look = f"from importlib.metadata import version; [version(name) for name in {needs}]"
    if not subprocess.run([comfyui_python(root), "-c", look], capture_output=True).returncode:
        return  # pip takes five seconds to see that everything is there
    with FileLock(Path(tempfile.gettempdir()) / "rethink-tests-install.lock"):  # another test process may be at it
        subprocess.run([comfyui_python(root), "-m", "pip", "install", "--quiet", *needs], check=True)


def wait_until_ready(server: Server, process: subprocess.Popen) -> Server:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            server.json("/system_stats")
            return server
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"ComfyUI did not start:\n{server.log.read_text(errors='replace')[-3000:]}")
