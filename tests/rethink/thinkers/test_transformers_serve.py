"""The built-in thinker behind `transformers serve`, an OpenAI-compatible server that others wrote: it says there what it
says here."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from rethink.builtin import THINKER_FOLDER
from rethink.cli.main import main
from rethink.images import save_image
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import TEMPLATE, Thinker, critique, critique_messages
from rethink.thinkers.critique_format import parse_critique
from rethink.thinkers.openai_chat import OpenAIChat
from rethink.thinkers.protocol import Request, chat_all
from rethink.tiny import render, sample_task
from rethink.tiny.teacher import draw_example
from rethink.trajectory import load_trajectory
from tests.support.servers import held_port

SECONDS = 300  # to wait until it serves: a busy machine takes minutes to import what else takes seconds


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(address, name of the model) of a running server."""
    pytest.importorskip("transformers", "5.0")  # `transformers serve` of version 4 takes other options
    if any(importlib.util.find_spec(package) is None for package in ("fastapi", "uvicorn")):
        pytest.skip("`transformers serve` needs: pip install transformers[serving]")
    base = tmp_path_factory.mktemp("served")
    model = shutil.copytree(THINKER_FOLDER, base / "thinker")
    if importlib.util.find_spec("torchvision") is None:
        # Qwen3-VL's processor insists on torchvision, for videos. This one does the same with pictures.
        (model / "processor_config.json").write_text('{"processor_class": "PaddleOCRVLProcessor"}', encoding="utf-8")
    log = base / "log.txt"
    with held_port() as port, log.open("w") as out:
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", model, "--host", "127.0.0.1"]
        command += ["--port", port, "--device", "cpu", "--dtype", "float32"]  # as load_thinker opens it on the CPU
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1", str(model)
        finally:
            process.kill()
            process.wait()


def wait_for(url, process, log):
    give_up = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            return urllib.request.urlopen(url, timeout=SECONDS).close()
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"`transformers serve` does not serve:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def local():
    return Thinker(load_thinker(THINKER_FOLDER), max_tokens=256)


def test_it_says_there_what_it_says_here(served, local):
    far = OpenAIChat(*served, retries=0)
    example = draw_example(0, split="test")
    messages = critique_messages(TEMPLATE, instruction=example.task.instruction, prompt=example.prompt)
    requests = [Request(messages, [example.source, edited], 0) for edited in (example.edited, example.source)]
    there, here = (chat_all(chat, requests, max_tokens=256, temperature=0.0) for chat in (far, local.chat))
    # The server hands the reasoning over apart, without the line's end after it.
    assert there == [answer.replace("</think>\n", "</think>") for answer in here] and len(set(here)) == len(here)
    assert [parse_critique(answer).status for answer in there] == ["ok"] * len(there)


def test_the_command_line_thinks_through_it(served, local, tmp_path):
    url, model = served
    task = sample_task(5, "unusual")
    save_image(render([task.source]), tmp_path / "scene.png")
    command = ["think", tmp_path / "scene.png", task.instruction, "--thinker", url, "--model", model, "--steps", 2]
    command += ["--turns", 1, "--accept", 10, 10, "-o", tmp_path / "run"]
    assert main([str(word) for word in command]) == 0
    run = load_trajectory(tmp_path / "run")
    assert run.steps and run.stopped in ("turns", "accepted")
    for step in run.steps:
        asked = (run.source, [run.image(step)], task.instruction, [step.prompt], [step.seed])
        assert [step.critique] == critique(local, *asked) and step.critique.status == "ok"
