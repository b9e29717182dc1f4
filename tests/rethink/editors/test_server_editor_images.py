"""What of images an editor behind a server is sent, and what of its answers: sizes, references, previews, memory."""

import gc
import io
import threading
import weakref

import pytest
import torch
from PIL import Image

from rethink import images
from rethink.editors import server_editor
from rethink.editors.openai_edits import MAX_SIDE
from rethink.editors.server_editor import ServerEditor
from rethink.errors import RethinkError
from tests.support.edit_servers import answer, edit, edit_server, is_inverted, png, refusal, run, source
from tests.support.waiting import SOON

SUPPORTED = "Invalid value: '1280x832'. Supported values are: '1024x1024', '1024x1536', '1536x1024', and 'auto'."


@pytest.fixture
def server():
    with edit_server() as running:
        yield running


@pytest.fixture
def editor(server):
    return ServerEditor(server.url, "painter", retries=0)


def test_references_go_after_the_image_at_their_own_aspect_and_never_larger(server, editor):
    prepared = editor.prepare(source(), [source(40, 60), source(2000, 1000)])
    editor.edit(prepared, ["put the hat on the man"], [0])
    (request,) = server.requests
    sizes = [Image.open(io.BytesIO(image)).size for image in request.images]
    assert sizes == [(1280, 864), (60, 40), (724, 1448)] and request.names == {"image[]"}
    with pytest.raises(RethinkError, match="references: got 16 images, but an editor on a server takes at most 15"):
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


def test_larger_answers_than_chats_give_are_taken(server, editor):
    server.replies = [answer(png((torch.rand(1400, 1400, 3) * 255).to(torch.uint8).numpy()))]
    assert run(editor, torch.rand(1, 100, 100, 3)).shape == (1, 100, 100, 3)


def test_previews_scale_the_source_once(server, editor, monkeypatch):
    calls, looks = spy(monkeypatch, "_scale_down"), threading.Semaphore(0)
    server.replies = [lambda request: [looks.acquire(timeout=SOON) for _ in range(3)] and edit(request)]

    def look(done, total, preview):
        preview()
        looks.release()

    run(editor, on_step=look)
    assert len(calls) <= 2, "the source, and its edit where it was seen to be there"
