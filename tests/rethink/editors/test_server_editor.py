"""An editor behind a server: what it is sent, what comes back, and what becomes of servers that fail."""

import gc
import io
import json
import threading
import time
import weakref

import pytest
import torch
from PIL import Image

from rethink import images
from rethink.editors import server_editor
from rethink.editors.openai_edits import MAX_SIDE
from rethink.editors.protocol import used_settings_by_row
from rethink.editors.server_editor import ServerEditor
from rethink.editors.settings import DEFAULT_SETTINGS, Settings, summarize_settings, used_settings
from rethink.errors import EditorUnavailable, RethinkError
from rethink.thinkers.trust import Trust
from tests.support.edit_servers import answer, edit, edit_server, png, refusal
from tests.support.servers import SOON

KEY = "sk-Zq7vKx93TmWp2Ld8"
SUPPORTED = "Invalid value: '1280x832'. Supported values are: '1024x1024', '1024x1536', '1536x1024', and 'auto'."


@pytest.fixture
def server():
    with edit_server() as running:
        yield running


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that were waited before other tries, in no time."""
    rests = []
    monkeypatch.setattr("rethink.thinkers.server_client._sleep", lambda seconds, over: rests.append(seconds))
    return rests


@pytest.fixture
def editor(server):
    return ServerEditor(server.url, "painter", timeout=20, retries=0)


def source(height=96, width=144, batch=1):
    """Images whose inversion is seen to be theirs: smooth, red to the right, green to the bottom."""
    red, green = torch.meshgrid(torch.linspace(0, 1, width), torch.linspace(0, 1, height), indexing="xy")
    one = torch.stack([red, green, torch.zeros_like(red)], -1)
    return torch.stack([one * (1 - 0.3 * number) for number in range(batch)])


def is_inverted(edited, image):
    return (edited[..., :2] - (1 - image[..., :2])).abs().max() < 0.05


def run(editor, image=None, prompts=("make it night",), seeds=(7,), settings=DEFAULT_SETTINGS, **options):
    return editor.edit(
        editor.prepare(source() if image is None else image), list(prompts), list(seeds), settings, **options
    )


def test_a_row_is_one_request_with_its_image_at_a_megapixel_and_comes_back_at_the_sources_size(server, editor):
    edited = run(editor, seeds=[2**33 + 7], settings=Settings(steps=8, text_guidance=4, negative_prompt="blur"))
    (request,) = server.requests
    assert request.path == "/v1/images/edits" and request.names == {"image"} and "authorization" not in request.headers
    assert request.fields == {
        "model": "painter",
        "prompt": "make it night",
        "n": "1",
        "size": "1280x864",
        "response_format": "b64_json",
        "output_format": "png",
        "seed": "7",
        "num_inference_steps": "8",
        "guidance_scale": "4",
        "true_cfg_scale": "4",
        "negative_prompt": "blur",
    }
    assert Image.open(io.BytesIO(request.images[0])).size == (1280, 864)
    assert edited.shape == (1, 96, 144, 3) and is_inverted(edited, source())
    assert (edited[..., 2] * 255).round().unique().tolist() == [7]


def test_what_is_left_open_is_not_sent(server, editor):
    run(editor)
    assert set(server.requests[0].fields) == {
        "model",
        "prompt",
        "n",
        "size",
        "response_format",
        "output_format",
        "seed",
    }
    assert used_settings(editor, Settings()) == {"sampler": "default"}
    assert summarize_settings(used_settings(editor, Settings())) == "as many steps as the server takes"


def test_rows_are_requests_a_few_at_once_each_with_its_own_seed_and_image(server):
    def slow(request):
        latest = time.monotonic() + 20
        while server.most_at_once < 3 and time.monotonic() < latest:
            time.sleep(0.01)
        return edit(request)

    server.replies = [slow]
    editor, images = ServerEditor(server.url, "painter", concurrency=3), source(batch=2)
    edited = run(editor, images, ["a", "b", "c", "d"], [1, 2, 3, 4])
    assert (edited[:, 0, 0, 2] * 255).round().tolist() == [1, 2, 3, 4] and server.most_at_once == 3
    assert is_inverted(edited[:2], images[:1]) and is_inverted(edited[2:], images[1:])
    assert {request.fields["prompt"]: request.fields["seed"] for request in server.requests}["c"] == "3"
    assert len({request.images[0] for request in server.requests}) == 2, "made a PNG once each"


def test_references_go_after_the_image_at_their_own_aspect_and_never_larger(server, editor):
    prepared = editor.prepare(source(), [source(40, 60), source(2000, 1000)])
    editor.edit(prepared, ["put the hat on the man"], [0])
    (request,) = server.requests
    sizes = [Image.open(io.BytesIO(image)).size for image in request.images]
    assert sizes == [(1280, 864), (60, 40), (724, 1448)] and request.names == {"image[]"}
    with pytest.raises(RethinkError, match="references: got 16 images, but an editor behind a server takes at most 15"):
        editor.prepare(source(), [source()] * 16)


def test_outside_the_mask_the_sources_pixels_stay_bit_for_bit(server, editor):
    image, mask = torch.rand(1, 96, 144, 3), torch.zeros(96, 144)
    mask[:, 72:] = 1
    edited = run(editor, image, mask=mask)
    assert torch.equal(edited[:, :, :72], image[:, :, :72]) and not torch.equal(edited[:, :, 72:], image[:, :, 72:])


@pytest.mark.parametrize(("width", "height"), [(640, 432), (1024, 1024), (1536, 1024), (64, 512)])
def test_an_answer_of_any_size_is_cropped_and_never_stretched(server, editor, width, height):
    """A circle in the middle of the answer is a circle in the middle of the edit."""
    yy, xx = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = (yy - height / 2) ** 2 + (xx - width / 2) ** 2 < (min(width, height) / 8) ** 2
    server.replies = [answer(png((inside[..., None].expand(-1, -1, 3) * 255).to(torch.uint8).numpy()))]
    edited = run(editor, torch.zeros(1, 270, 400, 3))
    circle = edited[0, ..., 0] > 0.5
    tall, wide = circle.any(1).sum(), circle.any(0).sum()
    assert edited.shape == (1, 270, 400, 3) and abs(tall - wide) <= 2 and circle[135, 200]


def spy(monkeypatch, name):
    """The arguments of every call of a function of the module."""
    calls, do = [], getattr(server_editor, name)
    monkeypatch.setattr(server_editor, name, lambda *arguments: calls.append(arguments) or do(*arguments))
    return calls


@pytest.mark.parametrize(("height", "width"), [(1024, 1), (1, 1024), (3, 1000)])
def test_an_answer_that_is_a_ribbon_is_cut_before_it_is_scaled(server, editor, monkeypatch, height, width):
    server.replies = [answer(png((torch.ones(height, width, 3) * 255).to(torch.uint8).numpy()))]

    def fit(image, plan):
        assert plan.scaled[0] * plan.scaled[1] < 2**23
        return images.fit(image, plan)

    monkeypatch.setattr(server_editor, "fit", fit)
    assert run(editor).min() > 0.999


@pytest.mark.parametrize(("height", "width"), [(40, 1200), (2000, 9), (1, 400)])
def test_of_a_ribbon_no_side_is_longer_than_what_is_read(server, editor, height, width):
    image = source(height, width)
    edited = run(editor, image)
    sent = tuple(map(int, server.requests[0].fields["size"].split("x")))
    assert max(sent) == MAX_SIDE and Image.open(io.BytesIO(server.requests[0].images[0])).size == sent
    assert edited.shape == image.shape and is_inverted(edited, image)


def test_what_was_sent_is_no_reason_to_keep_it_in_memory(editor):
    tensors = [source(), source()]
    editor.edit(editor.prepare(tensors[0], tensors[1:]), ["make it night"], [7])
    refs = [weakref.ref(tensor) for tensor in tensors]
    tensors.clear()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_references_are_encoded_once_for_all_images(server, editor, monkeypatch):
    calls = spy(monkeypatch, "_png")
    editor.edit(editor.prepare(source(batch=2), [source(40, 60)]), ["a", "b"], [1, 2])
    assert len(calls) == 3 and len({request.images[1] for request in server.requests}) == 1


def test_a_field_that_is_refused_is_left_out_from_then_on_and_the_record_says_so(server, editor):
    def strict(request):
        for name in ("response_format", "seed", "num_inference_steps", "guidance_scale", "true_cfg_scale"):
            if name in request.fields:
                return refusal(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        return edit(request)

    server.replies = [strict]
    settings = Settings(steps=8, text_guidance=3, negative_prompt="blur")
    run(editor, settings=settings)
    assert len(server.requests) == 6 and "seed" not in server.requests[-1].fields
    run(editor, prompts=["again"], settings=settings)
    assert len(server.requests) == 7
    (used,) = used_settings_by_row(editor, editor.prepare(source()), [1], settings)
    assert used == {"sampler": "default", "negative": "blur"}


def test_of_the_sizes_that_a_server_names_the_one_nearest_in_aspect_is_taken(server, editor):
    def fixed(request):
        sizes = ("1024x1024", "1024x1536", "1536x1024")
        return (
            edit(request)
            if request.fields["size"] in sizes
            else refusal(400, SUPPORTED.replace("1280x832", request.fields["size"]))
        )

    server.replies = [fixed]
    for height, width, size in ((96, 144, (1536, 1024)), (144, 96, (1024, 1536)), (100, 100, (1024, 1024))):
        edited = run(editor, source(height, width))
        assert server.requests[-1].fields["size"] == "{}x{}".format(*size)
        assert Image.open(io.BytesIO(server.requests[-1].images[0])).size == size
        assert edited.shape == (1, height, width, 3) and is_inverted(edited, source(height, width))
    assert len(server.requests) == 4


def test_where_a_size_is_not_taken_the_server_chooses_and_other_sizes_are_asked_for(server, editor):
    server.replies = [
        lambda r: refusal(400, "Invalid size.", param="size") if r.fields.get("size") == "1280x864" else edit(r)
    ]
    for _ in range(2):
        assert is_inverted(run(editor), source()) and "size" not in server.requests[-1].fields
    assert len(server.requests) == 3
    run(editor, source(100, 100))
    assert server.requests[-1].fields["size"] == "1024x1024"


def test_an_image_at_an_address_of_the_server_itself_is_fetched_with_the_key_and_no_other(server, monkeypatch):
    monkeypatch.setenv("RETHINK_TEST_KEY", KEY)
    editor = ServerEditor(
        server.url, "painter", "RETHINK_TEST_KEY", retries=0, trust=trusting(server, "RETHINK_TEST_KEY")
    )
    server.files["/files/1.png?x=1"] = png((torch.ones(64, 96, 3) * 255).to(torch.uint8).numpy())
    for url in ("/files/1.png?x=1", f"{server.origin}/files/1.png?x=1"):
        server.replies = [(200, json.dumps({"data": [{"url": url}]}), {})]
        assert run(editor).min() > 0.999 and server.gets[-1].headers["authorization"] == f"Bearer {KEY}"
    with edit_server() as other:
        server.replies = [(200, json.dumps({"data": [{"url": f"{other.origin}/files/1.png?token=secret"}]}), {})]
        with pytest.raises(
            RethinkError, match="lies on another server, which is not followed; have it answer with b64_json"
        ) as told:
            run(editor)
        assert not other.gets and "secret" not in str(told.value)
    server.replies = [(200, json.dumps({"data": [{"url": "/gone.png"}]}), {})]
    with pytest.raises(RethinkError, match=r"cannot be fetched from there \(error 404\)"):
        run(editor)


def test_an_edit_that_cannot_be_fetched_at_once_is_not_made_again(server, pauses):
    def drop():
        raise ConnectionError

    image = png((torch.ones(64, 96, 3) * 255).to(torch.uint8).numpy())
    replies = [lambda: (503, b"", {}), drop, lambda: (200, image, {})]
    server.files["/1.png"] = lambda: replies[len(server.gets) - 1]()
    server.replies = [(200, json.dumps({"data": [{"url": "/1.png"}]}), {})]
    assert run(ServerEditor(server.url, "painter")).min() > 0.999
    assert (len(server.requests), len(server.gets), len(pauses)) == (1, 3, 2)
    del server.gets[:], replies[1:]
    server.files["/1.png"] = replies[0]
    with pytest.raises(EditorUnavailable, match=r"cannot be fetched from there \(error 503\) \(after 5 tries\)"):
        run(ServerEditor(server.url, "painter"))
    assert (len(server.requests), len(server.gets)) == (2, 5)


def test_an_answer_without_an_image_is_not_asked_for_again(server, pauses):
    server.replies = [(200, json.dumps({"id": "job-1", "status": "queued"}), {})]
    with pytest.raises(RethinkError, match="the answer holds no image: .*queued") as told:
        run(ServerEditor(server.url, "painter"))
    assert len(server.requests) == 1 and not isinstance(told.value, EditorUnavailable)


def trusting(server, variable):
    from rethink.thinkers.address import parse_address

    return Trust(file=None).with_pair(variable, parse_address(server.url)[0])


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((200, "<html>hello</html>", {}), "the answer holds no image"),
        ((200, json.dumps({"data": []}), {}), "the answer holds no image"),
        (
            (200, json.dumps({"data": [{"b64_json": None, "url": None}]}), {}),
            "the answer holds no image, neither b64_json nor url",
        ),
        (answer(b"<!DOCTYPE html>"), "the edited image cannot be read as an image: it is a web page"),
        (answer(png((torch.rand(64, 64, 3) * 255).to(torch.uint8).numpy())[:3000]), "the edited image cannot be read"),
        ((200, json.dumps({"data": [{"b64_json": "!"}]}), {}), "the edited image"),
        ((200, json.dumps({"error": {"message": "the safety system"}}), {}), "error: the safety system"),
        (refusal(400, "Your request was rejected by the safety system."), "error 400: Your request was rejected"),
        (refusal(401, "no key"), r"wants a key \(401: no key\)"),
    ],
)
def test_what_is_no_edit_is_an_error_in_the_servers_own_words(server, editor, reply, why):
    server.replies = [reply]
    with pytest.raises(RethinkError, match=f"editor: painter at {server.url}: {why}"):
        run(editor)


def test_an_answer_without_end_is_not_read_to_it(server, editor, monkeypatch):
    monkeypatch.setattr("rethink.editors.server_editor.LONGEST_ANSWER", 2**20)
    server.replies = [(200, b" " * (2**20 + 1), {})]
    with pytest.raises(RethinkError, match="the answer is longer than 1 MB"):
        run(ServerEditor(server.url, "painter", retries=0))


def test_larger_answers_than_chats_give_are_taken(server, editor):
    server.replies = [answer(png((torch.rand(1400, 1400, 3) * 255).to(torch.uint8).numpy()))]
    assert run(editor, torch.rand(1, 100, 100, 3)).shape == (1, 100, 100, 3)


def test_a_busy_server_is_waited_for_as_long_as_it_asks(server, pauses):
    server.replies = [(429, "{}", {"Retry-After": "7"}), refusal(503, "loading"), edit]
    assert is_inverted(run(ServerEditor(server.url, "painter")), source()) and pauses == [7, 2]


def test_a_server_that_takes_too_long_or_is_gone_is_unavailable(server, pauses):
    hold = threading.Event()
    server.replies = [lambda request: hold.wait(SOON) and edit(request)]
    with pytest.raises(EditorUnavailable, match=r"no answer within 1 s\.$"):
        run(ServerEditor(server.url, "painter", timeout=1, retries=1))
    hold.set()
    assert len(server.requests) == 1, "it may still be making that one"
    server.stop()
    with pytest.raises(EditorUnavailable, match="cannot be reached"):
        run(ServerEditor(server.url, "painter", retries=1), prompts=["a"] * 9, seeds=range(9))


def test_what_the_other_rows_have_given_is_not_asked_for_again(server, editor):
    server.replies = [lambda request: refusal(400, "not this") if request.fields["prompt"] == "bad" else edit(request)]
    prepared = editor.prepare(source())
    with pytest.raises(RethinkError, match="error 400: not this") as told:
        editor.edit(prepared, ["good", "bad", "fine"], [1, 2, 3])
    assert not isinstance(told.value, EditorUnavailable) and len(server.requests) == 3
    assert editor.edit(prepared, ["good", "fine"], [1, 3])[:, 0, 0, 2].mul(255).round().tolist() == [1, 3]
    assert len(server.requests) == 3
    editor.edit(prepared, ["good"], [1])
    assert len(server.requests) == 4, "it was kept for that one time"


def test_what_is_there_when_it_is_canceled_is_not_asked_for_again(server):
    editor = ServerEditor(server.url, "painter", concurrency=1)
    prepared, hold = editor.prepare(source()), threading.Event()
    server.replies = [edit, edit, lambda request: hold.wait(SOON) and edit(request)]

    def cancel(done, *_):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        editor.edit(prepared, ["a", "b", "c"], [1, 2, 3], on_step=cancel)
    hold.set()
    server.requests.clear()
    server.replies = [edit]
    edited = editor.edit(prepared, ["a", "b", "c"], [1, 2, 3])
    assert (edited[:, 0, 0, 2] * 255).round().tolist() == [1, 2, 3]
    assert not {request.fields["prompt"] for request in server.requests} & {"a", "b"}


def test_previews_scale_the_source_once(server, editor, monkeypatch):
    calls, looks = spy(monkeypatch, "_scale_down"), threading.Semaphore(0)
    server.replies = [lambda request: [looks.acquire(timeout=SOON) for _ in range(3)] and edit(request)]

    def look(done, total, preview):
        preview()
        looks.release()

    run(editor, on_step=look)
    assert len(calls) <= 2, "the source, and its edit where it was seen to be there"


def test_whoever_waits_is_told_and_may_end_it(server, editor):
    hold, seen = threading.Event(), []
    server.replies = [edit, lambda request: hold.wait(SOON) and edit(request)]
    editor = ServerEditor(server.url, "painter", concurrency=1)

    def look(done, total, preview):
        seen.append((done, total, preview().shape))
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(editor, prompts=["a", "b", "c"], seeds=[1, 2, 3], on_step=look)
    hold.set()
    assert seen[-1] == (1, 3, (3, 96, 144, 3)) and len(server.requests) <= 2


def test_the_key_is_in_no_message(server, pauses, monkeypatch):
    monkeypatch.setenv("RETHINK_TEST_KEY", KEY)
    editor = ServerEditor(server.url, "painter", "RETHINK_TEST_KEY", trust=trusting(server, "RETHINK_TEST_KEY"))
    server.replies = [refusal(400, f"Incorrect API key provided: {KEY}.")]
    with pytest.raises(RethinkError, match="Incorrect API key provided: …") as told:
        run(editor)
    assert KEY not in str(told.value) and server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    with pytest.raises(RethinkError, match="key_variable: RETHINK_TEST_KEY is not paired with"):
        ServerEditor(server.url, "painter", "RETHINK_TEST_KEY", trust=Trust(file=None))


def test_only_what_is_allowed_is_opened():
    with pytest.raises(RethinkError, match="base_url: http://192.0.2.1 is not this machine"):
        ServerEditor("http://192.0.2.1/v1", "painter", trust=Trust(file=None))
    with pytest.raises(RethinkError, match="model: is empty"):
        ServerEditor("http://127.0.0.1/v1", " ")


def test_it_is_named_by_its_model_and_its_host_and_takes_no_memory(editor):
    assert editor.name == "painter @ 127.0.0.1" and editor.device == torch.device("cpu")
    assert list(editor.module.parameters()) == [] and editor.moves_itself


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (Settings(sampler="euler"), "sampler: a server samples with its own"),
        (Settings(randomize_guidance=True), "randomize_guidance: needs text_guidance"),
    ],
)
def test_what_no_server_can_be_told_is_refused(server, editor, settings, why):
    with pytest.raises(RethinkError, match=why):
        run(editor, settings=settings)
    assert server.requests == []


def test_a_lora_is_loaded_on_the_server(editor, tmp_path):
    with pytest.raises(
        RethinkError, match="lora: painter @ 127.0.0.1 has its weights on a server; load the LoRA there"
    ):
        editor.with_lora(tmp_path / "a.safetensors", 1.0)
