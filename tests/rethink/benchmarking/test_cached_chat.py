"""What a judge has said is found again, by what it was asked and shown."""

import pytest
import torch

from rethink.benchmarking.cached_chat import with_replies_in
from rethink.benchmarking.reply_log import NAME
from rethink.errors import RethinkError
from rethink.thinkers.critique import Thinker
from rethink.thinkers.protocol import Request, ThinkerError
from tests.support.thinking import Says

IMAGE = torch.rand((1, 4, 6, 3), generator=torch.Generator().manual_seed(1))
ASK = {"max_tokens": 9, "temperature": 0.0}


def request(text="Is it red?", image=IMAGE, seed=0):
    return Request([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}], (image,), seed)


def ask(folder, chat, *requests, **more):
    judge, cache = with_replies_in(Thinker(chat), folder)
    replies = judge.chat.chat_all(requests, **ASK | more)
    return replies, cache.known, cache.asked


def test_the_same_is_asked_once(tmp_path):
    assert ask(tmp_path, Says("yes"), request()) == (["yes"], 0, 1)
    assert ask(tmp_path, Says("no"), request()) == (["yes"], 1, 0)
    turned = IMAGE.reshape(1, 6, 4, 3)
    for other in (request("Is it blue?"), request(image=IMAGE / 2), request(image=turned), request(seed=1)):
        assert ask(tmp_path, Says("no"), other) == (["no"], 0, 1)
    assert ask(tmp_path, Says("hm"), request(), temperature=0.7) == (["hm"], 0, 1)
    other = Says("hm")
    other.name = "another"
    assert ask(tmp_path, other, request()) == (["hm"], 0, 1)


def test_what_was_said_before_a_kill_is_there(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path, Says("yes", KeyboardInterrupt()), request(), request(seed=1))
    with open(tmp_path / NAME, "ab") as file:
        file.write(b'{"id": "c", "rep')
    assert ask(tmp_path, Says("no"), request(), request(seed=1)) == (["yes", "no"], 1, 1)
    assert ask(tmp_path, Says(), request(), request(seed=1)) == (["yes", "no"], 2, 0)


def test_an_answer_that_never_came_is_asked_for_again(tmp_path):
    (error,), *counts = ask(tmp_path, Says(ThinkerError("gone")), request())
    assert str(error) == "gone" and counts == [0, 1]
    assert ask(tmp_path, Says("yes"), request()) == (["yes"], 0, 1)


def test_it_is_the_chat_in_all_else(tmp_path):
    chat = Says("yes")
    chat.concurrency, chat.chat_all = 3, lambda requests, **_: ["all"] * len(requests)
    judge, _ = with_replies_in(Thinker(chat), tmp_path)
    assert (judge.chat.name, judge.chat.concurrency) == ("says", 3) and not hasattr(judge.chat, "usage")
    assert judge.chat.chat_all([request(), request(seed=1), request()], **ASK) == ["all"] * 3
    assert judge.chat.chat(request().messages, [IMAGE], seed=0, **ASK) == "all" and not chat.asked


def test_two_may_write_at_once(tmp_path):
    judges = [with_replies_in(Thinker(Says(word)), tmp_path)[0] for word in ("one", "two")]
    for seed, judge in enumerate(judges):
        judge.chat.chat_all([request(seed=seed)], **ASK)
    assert ask(tmp_path, Says(), request(), request(seed=1)) == (["one", "two"], 2, 0)


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RethinkError, match=r"^output: cannot write to .*file"):
        with_replies_in(Thinker(Says()), tmp_path / "file")
