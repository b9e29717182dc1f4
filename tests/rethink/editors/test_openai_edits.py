"""The form of OpenAI's image edits endpoint, what its errors say, and the image in its answer."""

import base64
import json

import numpy as np
import pytest

from rethink.editors.openai_edits import EditedFile, encode_form, find_refused, find_sizes, read_edit, read_fetched
from rethink.servers.address import parse_origin
from rethink.servers.exchange import Reply
from rethink.servers.faults import Fault, read_fault
from tests.support.edit_servers import png, read_form

SENT = {"size": "1280x864", "seed": "1", "n": "1", "response_format": "b64_json", "num_inference_steps": "8"}
SENT |= {"guidance_scale": "30"}
PIXELS = np.full((6, 4, 3), 99, np.uint8)
HERE = parse_origin("http://127.0.0.1:8000")


def error(status, record):
    return Reply(status, {}, json.dumps(record).encode())


def test_a_form_holds_any_text_and_any_bytes():
    fields = {"model": "m", "prompt": "“schön”\r\n--x\r\nand \ud83d"}
    body, kind = encode_form(fields, [b"\r\n--\0", b"\x89PNG\r\n"])
    found, images, names = read_form(kind, body)
    assert found == {"model": "m", "prompt": "“schön”\r\n--x\r\nand ?"}
    assert images == [b"\r\n--\0", b"\x89PNG\r\n"] and names == {"image[]"}


@pytest.mark.parametrize(
    ("status", "record", "refused"),
    [
        (
            400,
            {"error": {"message": "Unknown parameter: 'response_format'.", "param": "response_format"}},
            "response_format",
        ),
        (400, {"error": {"message": "Unknown parameter: 'response_format'.", "param": None}}, "response_format"),
        (422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}, "seed"),
        (400, {"error": "num_inference_steps is not supported by this model"}, "num_inference_steps"),
        (400, {"error": {"message": "Invalid value: '1280x864'. Supported values are: 'auto'."}}, "size"),
        (400, {"detail": "n: unexpected field"}, "n"),
        (400, {"error": {"message": "Your prompt “plant a seed” was rejected: invalid content."}}, None),
        (400, {"error": {"message": "The image size is too large, unsupported."}}, None),
        (400, {"error": {"message": "The prompt is unsupported", "param": "prompt"}}, None),
        (500, {"error": {"message": "Unknown parameter: 'response_format'."}}, None),
        (422, {"detail": [{"loc": ["body", "num_inference_steps"], "msg": "Input should be at most 100"}]}, None),
        (400, {"error": {"message": "Invalid value.", "param": "size"}}, "size"),
        (400, {"error": "num_inference_steps 8 is not supported, the maximum is 5"}, None),
        (400, {"error": "num_inference_steps=8 is not supported by this model"}, None),
        (400, {"error": "Unknown parameter: 'seed'. Expected one of: model, prompt, image, size."}, "seed"),
        (400, {"error": "got an unexpected keyword argument 'num_inference_steps=8'"}, "num_inference_steps"),
        (400, {"error": "num_inference_steps 80 is unknown"}, "num_inference_steps"),
        (400, {"error": {"message": "Invalid parameter: num_inference_steps must be at most 5"}}, None),
        (400, {"error": {"message": "Unsupported value.", "param": "num_inference_steps"}}, None),
        (400, {"error": {"message": "Unsupported value.", "param": "response_format"}}, "response_format"),
        (400, {"error": "Unsupported value: guidance_scale=30 exceeds 20"}, None),
        (400, {"error": "An image could not be extracted: num_inference_steps"}, None),
        (400, ["odd"], None),
        (422, {"detail": ["odd"]}, None),
    ],
)
def test_which_field_is_refused_follows_from_the_error(status, record, refused):
    reply = error(status, record)
    assert find_refused(reply, read_fault(status, {}, reply.data, False).why, SENT) == refused


def test_the_sizes_that_an_error_offers():
    why = "Invalid value: '1280x864'. Supported values are: '1024x1024', '1536x1024', and 'auto'. 1024x1024 is the default."
    assert find_sizes(why, (864, 1280)) == ((1024, 1024), (1024, 1536))
    for other in (
        "divisible by 16",
        "not supported: at most 3840x2160",
        "between 512x512 and 2048x2048",
        "1024x1024 too",
    ):
        assert find_sizes(f"size must be {other}", (864, 1280)) == ()


@pytest.mark.parametrize(
    ("why", "sizes"),
    [
        ("1280x864 is not supported for an image of 1279x863 pixels", ()),
        ("1280x864 isn't a valid size for an image of 1279x863 pixels", ()),
        ("1280x864 is not supported. Supported: 1024x1024", ((1024, 1024),)),
        ("'1280x864' is not one of ['1024x1024', '1536x1024']", ((1024, 1024), (1024, 1536))),
        ("1280x864 is not among the supported sizes: 1024x1024", ((1024, 1024),)),
        ("supported: 60000x60000, 4097x1024, 63x64, 64x4096", ((4096, 64),)),
    ],
)
def test_what_is_no_offer_or_cannot_be_sent_is_none_of_them(why, sizes):
    assert find_sizes(why, (864, 1280)) == sizes


def read(item):
    return read_edit(error(200, {"data": [item]}), HERE)


def test_an_image_comes_as_base64_in_whatever_wrapping():
    text = base64.b64encode(png(PIXELS)).decode()
    for item in ({"b64_json": text, "url": "http://elsewhere/"}, {"b64_json": f"data:image/png;base64,{text}"}):
        assert read(item).shape == (1, 6, 4, 3)
    assert read({"b64_json": "", "url": f"data:image/png;base64,{text}"}).shape == (1, 6, 4, 3)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/v1/images/1/content?variant=0", "/v1/images/1/content?variant=0"),
        ("http://127.0.0.1:8000/a.png", "/a.png"),
        ("http://127.0.0.1:8000", "/"),
        ("http://127.0.0.1:8001/a.png", None),
        ("https://127.0.0.1:8000/a.png", None),
        ("//127.0.0.2:8000/a.png", None),
        ("http://me@127.0.0.1:8000/a.png", None),
        ("http://127.0.0.1:8000@evil.com/a.png", None),
        ("file:///etc/passwd", None),
        ("ftp://127.0.0.1:8000/a.png", None),
        ("/a b\r\nHost: x", None),
    ],
)
def test_only_addresses_on_the_server_itself_are_fetched(url, path):
    found = read({"url": url})
    assert found == EditedFile(path) if path else "on another server" in found.why


def test_what_is_fetched_is_an_image_or_fails_for_now_or_for_good():
    assert read_fetched(Reply(200, {}, png(PIXELS)), False).shape == (1, 6, 4, 3)
    assert "cannot be read" in read_fetched(Reply(200, {}, b"odd"), False).why
    assert read_fetched(Reply(503, {"retry-after": "7"}, b""), False) == Fault(
        "its edited image cannot be fetched from there (error 503)", True, 7
    )
    assert not read_fetched(Reply(404, {}, b""), False).retryable


def test_an_error_within_an_answer_is_an_error():
    assert isinstance(read_edit(error(200, {"data": [], "error": {"message": "no"}}), HERE), Fault)


@pytest.mark.parametrize("record", [{"id": "job-1", "status": "queued"}, {"data": []}, {"data": [1]}, [], "odd", 7])
def test_a_whole_answer_without_an_image_is_not_asked_for_again(record):
    found = read_edit(error(200, record), HERE)
    assert found.why.startswith("the answer contains no image") and not found.retryable


@pytest.mark.parametrize("data", [b"<html>starting</html>", b'{"data": [{"b64_json": "iVBOR', b""])
def test_a_web_page_or_half_an_answer_is(data):
    assert read_edit(Reply(200, {}, data), HERE).retryable
