"""The page from its folder: votes are written there, and only the page itself may."""

import http.client
import json
import socket
import struct

import pytest

from rethink.comparison.page import PAGE
from rethink.comparison.server import VoteServer
from rethink.comparison.votes import current_votes, vote_log
from rethink.errors import RethinkError
from tests.support.comparisons import run, vote

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return run(tmp_path_factory.mktemp("served"))


@pytest.fixture
def server(report):
    with VoteServer(report.page.parent).running() as address:
        yield address.split("/")[2]


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection(server, timeout=30)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply.status, json.loads(data) if "json" in reply.headers["Content-Type"] else data


def test_votes_come_in_and_are_there_for_others(server, report):
    page, file = ask(server, "GET", "/")[1], next(iter(report.edits.found.values())).file
    assert report.page.read_bytes().startswith(page) and b"image/png;base64" not in page
    assert ask(server, "GET", f"/{file}") == (200, (report.page.parent / file).read_bytes())
    one, two = (row.variant for row in report.rows)
    body = json.dumps({"votes": [vote(report.tasks[0], one, two, "a")]})
    assert ask(server, "POST", "/votes", body, **JSON) == (200, {"written": 1})
    status, found = ask(server, "GET", "/votes")
    assert status == 200 and [line["winner"] for line in found["votes"]] == ["a"]
    assert len(current_votes(vote_log(report.page.parent))) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/", None, {"Host": "evil.example"}, 403),
        ("GET", "/comparison.json", None, {}, 404),
        ("GET", "/../../etc/passwd", None, {}, 404),
        ("GET", "/edits/../sources/x.png", None, {}, 404),
        ("GET", "/edits/gone.png", None, {}, 404),
        ("GET", "/edits/gone.png", None, {"Host": "evil.example"}, 403),
        ("POST", "/votes", "{}", {"Content_Type": "text/plain"}, 403),
        ("POST", "/votes", "{}", {"Origin": "http://evil.example", "Content_Type": "application/json"}, 403),
        ("POST", "/votes", "{}", {"Content_Type": "application/json"}, 400),
        ("POST", "/votes", "no json", {"Content_Type": "application/json"}, 400),
        ("POST", "/other", "{}", {"Content_Type": "application/json"}, 404),
        ("POST", "/votes", "", {"Content_Type": "application/json", "Content_Length": "99999999"}, 413),
    ],
)
def test_nobody_else_votes(server, method, path, body, headers, status):
    assert ask(server, method, path, body, **headers)[0] == status


def test_a_folder_without_a_page_is_said(tmp_path, server, report):
    with pytest.raises(RethinkError, match="run `rethink compare` with -o"):
        VoteServer(tmp_path)
    with pytest.raises(RethinkError, match="port: .* cannot be used"):
        VoteServer(report.page.parent, int(server.split(":")[1]))


def test_a_browser_that_goes_away_and_a_page_that_is_gone_leave_no_traceback(tmp_path, capfd):
    report = run(tmp_path)
    with VoteServer(tmp_path).running() as address:
        host, port = address.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by a reset
            gone.sendall(b"GET / HTTP/1.1\r\n")
        report.page.unlink()
        status, found = ask(f"{host}:{port}", "GET", "/")
    assert status == 404 and PAGE in found["error"]
    assert "Traceback" not in capfd.readouterr().err
