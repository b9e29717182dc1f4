"""Requests to OpenAI's image edits endpoint (POST …/images/edits), and their replies.

Open servers accept the same form, plus fields named after diffusers' arguments: both SGLang's diffusion server and
vLLM-Omni (docs.vllm.ai, Image Edit API) do. OpenAI's own rejects unknown fields, and names them.
"""

import base64
import binascii
import io
import re
import secrets
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import torch
from torch import Tensor

from ..errors import RethinkError
from ..image_files import read_rgb
from ..images import as_image
from ..servers.address import Origin, parse_origin
from ..servers.exchange import Reply
from ..servers.faults import Fault, find_fault, make_excerpt, read_fault, read_json

# The fields that may be left out.
OPTIONAL = (
    "n",
    "size",
    "response_format",
    "output_format",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "true_cfg_scale",
    "negative_prompt",
)
# Those of them whose values are not the user's choice.
_OURS = ("n", "size", "response_format", "output_format")
MIN_SIDE, MAX_SIDE = 64, 4096  # pixels of a requested image; a larger answer is scaled down when it is read
_REFUSAL = re.compile(
    r"unknown|unrecogni[sz]ed|unexpected|unsupported|not supported|not permitted|\bextra\b|does not (?:support|accept)"
    r"|invalid (?:parameter|field|argument|option)",
    re.IGNORECASE,
)
_NO_FIELD = re.compile(
    r"\b(?:unknown|unrecogni[sz]ed|unexpected|unsupported|extra) (?:\w+ )?(?:parameter|field|argument|option|input|key)s?\b",
    re.IGNORECASE,
)
_OFFER = re.compile(r"\b(?:supported|one of|available|allowed|valid)\b", re.IGNORECASE)
_NO_OFFER = re.compile(
    r"(?:\bnot|n't)(?!\s+(?:one|among)\b)(?:\s+\w+){0,3}?\s+(?:supported|available|allowed|valid)\b", re.IGNORECASE
)
_LIMIT = re.compile(r"\b(?:between|at most|at least|exceed\w*|max\w*|min\w*|larger|smaller)\b", re.IGNORECASE)
_VALUE = re.compile(
    rf"{_LIMIT.pattern}|\b(?:values?|range|must be|should be|expected|permitted:|greater|less|fewer|too \w+)(?!\w)",
    re.IGNORECASE,
)
_SIZE = re.compile(r"(?<!\d)(\d{2,5})\s?[x×]\s?(\d{2,5})(?!\d)")

Size = tuple[int, int]  # height, width


def format_size(size: Size) -> str:
    """A size in the servers' notation, width first."""
    return f"{size[1]}x{size[0]}"


def encode_form(fields: Mapping[str, str], images: Sequence[bytes]) -> tuple[bytes, str]:
    """(body, Content-Type) of a multipart form (RFC 7578) with these fields and PNGs, the image to edit first."""
    boundary = secrets.token_hex(16)
    name = "image" if len(images) == 1 else "image[]"
    parts = [(f'name="{field}"', value.encode(errors="replace")) for field, value in fields.items()]
    for number, image in enumerate(images, 1):
        parts.append((f'name="{name}"; filename="image-{number}.png"\r\nContent-Type: image/png', image))
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def find_refused(reply: Reply, why: str, sent: Mapping[str, str]) -> str | None:
    """Which of the sent optional fields a server does not support, if that is what its error says.

    A rejected value is not such a field, since the user has to know about it, except the size, which was not the user's
    choice. why: the text of the error.
    """
    if reply.status not in (400, 422):
        return None
    optional = [name for name in OPTIONAL if name in sent]
    named = _named(read_json(reply.data))
    if "size" in optional and (named == "size" or sent["size"] in why):
        return "size"
    if not _REFUSAL.search(why):
        return None
    if named not in optional:
        named = next((name for name in optional if _names(why, name)), None)
    return None if named is None or _is_of_value(why, named, sent[named]) else named


def _is_of_value(why: str, name: str, value: str) -> bool:
    """Whether an error is about the user's value of a field, and not about the field."""
    told = rf"\b{name}['\"`”]?(?:\s+(?:of|is)\s+|\s*[=:]\s*|\s+)['\"`“]?{re.escape(value)}(?![\w.]*\w)"
    if name in _OURS or _NO_FIELD.search(why):
        return False
    return bool(_VALUE.search(why) or re.search(told, why))


def _named(record: Any) -> str | None:
    """The field that an error is about: OpenAI's "param", FastAPI's "loc"."""
    record = record if isinstance(record, dict) else {}
    error, details = record.get("error"), record.get("detail")
    if isinstance(error, dict):
        return error.get("param")
    place = details[0].get("loc") if isinstance(details, list) and details and isinstance(details[0], dict) else None
    return place[-1] if isinstance(place, list) and place else None


def _names(why: str, name: str) -> bool:
    """Whether a sentence mentions a field. One that is also a word must be in quotation marks or before a colon."""
    return bool(re.search(rf"\b{name}\b" if "_" in name else rf"['\"`“]{name}['\"`”]|\b{name}:", why))


def find_sizes(why: str, asked: Size) -> tuple[Size, ...]:
    """The sizes that an error lists in place of the requested one, if any, with sides that can be sent."""
    if _LIMIT.search(why) or not _OFFER.search(_NO_OFFER.sub("", why)):
        return ()
    found = ((int(height), int(width)) for width, height in _SIZE.findall(why))
    return tuple(
        dict.fromkeys(size for size in found if size != asked and min(size) >= MIN_SIDE and max(size) <= MAX_SIDE)
    )


@dataclass(frozen=True)
class EditedFile:
    """Where an edited image is on the server itself."""

    path: str


def read_edit(reply: Reply, origin: Origin) -> Tensor | EditedFile | Fault:
    """The image [1, h, w, 3] in an answer, or where to fetch it, or why there is none.

    An address on any server except the one at `origin` is not followed: the editing server is trusted with images and a
    key, but not the servers that it names. A retry makes sense only if the answer is incomplete, since it may have been
    paid for.
    """
    record = read_json(reply.data)
    if record is None:
        return Fault("the answer contains no image (a web page, or cut off); check the address", retryable=True)
    items = record.get("data") if isinstance(record, dict) else None
    item = items[0] if isinstance(items, list) and items else None
    if not isinstance(item, dict):
        return find_fault(record, None) or Fault(f"the answer contains no image: {make_excerpt(record)}")
    return _image_of(item, origin)


def read_fetched(reply: Reply, has_key: bool) -> Tensor | Fault:
    """The image [1, h, w, 3] in the reply to a GET of an `EditedFile`, or why there is none."""
    if reply.status == 200:
        return _decode(reply.data)
    fault = read_fault(reply.status, reply.headers, reply.data, has_key)
    return replace(fault, why=f"its edited image cannot be fetched from there (error {reply.status})")


def _decode(data: bytes) -> Tensor | Fault:
    try:
        pixels = read_rgb(io.BytesIO(data), MAX_SIDE)
    except RethinkError as error:
        return Fault(f"the edited image {error}" if str(error).startswith("cannot") else f"the edited image: {error}")
    return as_image(torch.from_numpy(pixels.copy() if pixels.ndim == 3 else pixels[..., None]))


def _image_of(item: Mapping[str, Any], origin: Origin) -> Tensor | EditedFile | Fault:
    text, url = item.get("b64_json"), item.get("url")
    if not (isinstance(text, str) and text) and isinstance(url, str) and url.startswith("data:"):
        text = url
    if isinstance(text, str) and text:
        try:
            data = base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text)
        except (binascii.Error, ValueError):
            return Fault("the edited image is not base64")
        return _decode(data)
    if not (isinstance(url, str) and url):
        return Fault("the answer contains no image, neither b64_json nor url; the model may not be an editor")
    path = _path_on(origin, url)
    if path is None:
        return Fault(
            "its edited image is on another server, which is not followed; configure it to answer with b64_json, or "
            f"with addresses that begin with {origin}"
        )
    return EditedFile(path)


def _path_on(origin: Origin, url: str) -> str | None:
    """The path, with its query, of an address on that server; None if it is on another one."""
    try:
        parts = urlsplit(urljoin(f"{origin}/", url))
        if parse_origin(f"{parts.scheme}://{parts.netloc}") != origin:
            return None
    except ValueError:
        return None
    path = f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}"
    return path if path.isascii() and path.isprintable() and " " not in path else None


def drop_refused(fields: Mapping[str, Any], refused: Container[str]) -> dict[str, str]:
    """The fields of a form as texts, without those that are None or that this server has rejected."""
    return {name: str(value) for name, value in fields.items() if value is not None and name not in refused}
