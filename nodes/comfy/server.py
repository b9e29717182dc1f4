"""Messages between the front end and the pack: events, requests to its addresses, and who queued the running prompt."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from pathlib import Path

from comfy_execution.utils import get_executing_context
from server import PromptServer

from ...rethink.errors import RethinkError, describe_error
from ...rethink.records import parse_json

LARGEST_BODY = 2**20  # bytes of a request
LONGEST_ECHO = 500  # characters of an answer that says what is wrong


def send_event(event: str, data: dict, client: str | None, workflow: str) -> None:
    """Send a message to the page that queued a prompt; if it is closed, to every page, since another may show its
    workflow by now.

    A prompt without a workflow comes from a program, and no page shows its nodes: only the sender gets the message.
    """
    to_everyone = workflow and not is_connected(client)
    PromptServer.instance.send_sync(event, data, None if to_everyone else client)


def client_id() -> str | None:
    """The id of the page or program that queued the running prompt; None if it gave none."""
    return PromptServer.instance.client_id


def is_connected(client: str | None) -> bool:
    """Whether the page or program with that id is connected."""
    return client in getattr(PromptServer.instance, "sockets", {})


def prompt_id() -> str:
    """The id of the prompt whose node is running; to be called on that node's thread."""
    return get_executing_context().prompt_id


def display_id(hidden) -> str:
    """The id under which users see a node; it must declare the hidden inputs unique_id and dynprompt."""
    return hidden.dynprompt.get_display_node_id(hidden.unique_id)


def is_running(prompt: str) -> bool:
    """Whether the prompt with that id is running."""
    running, _ = PromptServer.instance.prompt_queue.get_current_queue()
    return any(item[1] == prompt for item in running)


def workflow_id(prompt: str) -> str:
    """The id of the workflow that the running prompt with that id was queued from; "" if it came from elsewhere."""
    running, _ = PromptServer.instance.prompt_queue.get_current_queue()
    extra = next((item[3] for item in running if item[1] == prompt), {})
    return ((extra.get("extra_pnginfo") or {}).get("workflow") or {}).get("id", "")


class TooLarge(RethinkError):
    """Raised for a request body that is larger than anything here needs."""


def add_route(method: str, path: str, reply: Callable[..., dict | list | bytes | None]) -> None:
    """Answer the front end's requests to `path` with what `reply` returns for their parameters (from the path, the
    query and the JSON body, by name): a record as JSON, bytes as a WebP image that never changes.

    `reply` runs in its own thread. A RethinkError becomes a reply with status 400 and its sentence under "error", and
    so does any other exception: none may do more than fail its own request.
    """

    async def handle(request):
        from aiohttp import web  # ComfyUI's server is built on it

        try:
            params = {**request.query, **await _body(request), **request.match_info}
            _check_names(reply, params)
            answer = await asyncio.to_thread(reply, **params)
            if isinstance(answer, bytes):
                headers = {"Cache-Control": "private, max-age=86400, immutable"}
                return web.Response(body=answer, content_type="image/webp", headers=headers)
            return web.json_response(answer)
        except TooLarge as error:
            return web.json_response({"error": str(error)}, status=413)
        except RethinkError as error:
            return web.json_response({"error": _cut(str(error))}, status=400)
        except Exception as error:
            logging.warning("Rethink could not answer %s %s.", method, path, exc_info=error)
            return web.json_response(
                {"error": _cut(f"request: cannot be answered ({describe_error(error)}).")}, status=400
            )

    if hasattr(PromptServer, "instance"):  # otherwise some tool is inspecting the pack without a server
        PromptServer.instance.routes.route(method, path)(handle)


async def _body(request) -> dict:
    """The JSON object in a request's body, {} if there is none. It is read as UTF-8, whatever the request says."""
    if not request.can_read_body:
        return {}
    data = b""
    while (request.content_length or 0) <= LARGEST_BODY and len(data) <= LARGEST_BODY:
        part = await request.content.readany()  # a chunked body does not announce its size
        if not part:
            break
        data += part
    else:
        raise TooLarge(f"request: its body is larger than {LARGEST_BODY // 2**20} MB, which nothing here needs.")
    try:
        body = parse_json(data)
    except ValueError as error:
        raise RethinkError(f"request: its body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise RethinkError("request: its body is not a JSON object.")
    return body


def _check_names(reply: Callable, params: dict) -> None:
    try:
        inspect.signature(reply).bind(**params)
    except TypeError as error:
        raise RethinkError(f"request: {error}.") from error


def _cut(sentence: str) -> str:
    """Shorten a sentence: what is wrong with a request may be its size."""
    return sentence if len(sentence) <= LONGEST_ECHO else f"{sentence[:LONGEST_ECHO]} …"


def forbid_framing(page: str) -> None:
    """Keep other sites from embedding a page of the pack's web folder, where they could steer the user's clicks.

    The page itself sets the rest of its policy; only this has to be a header.
    """
    _add_headers(f"/{page}", {"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY"})


def revalidate_modules() -> None:
    """Make browsers check whether a module of the pack's web folder has changed, as ComfyUI does only for .js files.

    Otherwise an update could mix modules of two versions.
    """
    _add_headers(".mjs", {"Cache-Control": "no-cache"})


def _add_headers(ending: str, headers: dict[str, str]) -> None:
    """Add headers to the responses for files of the pack's web folder whose names have that ending."""
    folder = f"/{Path(__file__).parents[2].name}/"

    async def add(request, response) -> None:
        if folder in request.path and request.path.endswith(ending):
            response.headers.update(headers)

    app = getattr(getattr(PromptServer, "instance", None), "app", None)
    if app is not None:
        app.on_response_prepare.append(add)
