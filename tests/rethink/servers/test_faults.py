"""Why a server gave no answer: its own words, wherever they stand, and how long it asks to wait."""

import json
import re
import time
from email.utils import formatdate

import pytest

from rethink.servers.faults import LONGEST_EXCERPT, Fault, find_fault, make_excerpt, parse_span, read_fault, read_json


def fault_of(body, headers=(), status=429, has_key=False):
    data = body if isinstance(body, str) else json.dumps(body)
    return read_fault(status, dict(headers), data.encode(), has_key)


def gemini(delay, message="You exceeded your current quota."):
    return {
        "error": {
            "code": 429,
            "message": message,
            "details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": delay}],
        }
    }


def words(message):
    return {"error": {"message": message}}


def choice(finish="stop", **more):
    message = {"role": "assistant", "content": None, **more.pop("message", {})}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": finish, **more}]})


@pytest.mark.parametrize(
    ("header", "wait"), [("7", 7.0), ("0", 0.0), ("9999", 60.0), ("-3", 0.0), ("nan", None), ("soon", None)]
)
def test_a_header_says_how_long_to_wait(header, wait):
    assert fault_of({}, {"retry-after": header}) == Fault("error 429: nothing said", True, wait)


def test_retry_after_may_be_a_date():
    date = formatdate(time.time() + 20, usegmt=True)
    assert 10 < fault_of({}, {"retry-after": date}).wait <= 20


@pytest.mark.parametrize(
    ("body", "headers", "waits"),
    [
        (gemini("34s"), {}, 34),
        ([gemini("3.5s")], {}, 3.5),
        (gemini("86400s"), {}, 60),
        (words("Please retry in 34.07s."), {}, 34.07),
        (words("Please try again in 2m3.5s."), {}, 60),
        (words("Limit 3, Used 3. Please try again in 20s. Visit"), {}, 20),
        (words("try again in 120ms"), {}, 0.12),
        (words("Rate limited. Please wait 45 seconds before another request"), {}, 45),
        (words("Please retry after 1 minute"), {}, 60),
        ({"error": "busy", "retry_after": 7.5}, {}, 7.5),
        (words("x" * 400 + " Please retry in 34.07s."), {}, 34.07),
        (gemini("34s"), {"retry-after": "2"}, 34),
        ({}, {"retry-after-ms": "2500"}, 2.5),
        ({}, {"x-ratelimit-reset-tokens": "6m0s"}, 60),
        (
            {},
            {
                "x-ratelimit-reset-requests": "9s",
                "x-ratelimit-remaining-requests": "5",
                "x-ratelimit-reset-tokens": "2.5s",
                "x-ratelimit-remaining-tokens": "0",
            },
            2.5,
        ),
        ("Slow down; retry in 7 s", {}, 7),
        ({"error": "Model is loading", "estimated_time": 12.5}, {}, 12.5),
        (words("Quota of 10 requests in 24 hours reached"), {}, None),
        (gemini("soon"), {}, None),
        (gemini(["5s"]), {}, None),
    ],
)
def test_waits_that_stand_in_the_body_or_follow_from_limits_are_kept(body, headers, waits):
    fault = fault_of(body, headers)
    assert fault.retryable and (fault.wait is waits or fault.wait == pytest.approx(waits))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("34s", 34),
        ("2m3.5s", 123.5),
        ("1 hour and 2 minutes", 3720),
        ("1d", 86400),
        ("120 milliseconds", 0.12),
        ("7.5", 7.5),
        ("soon", None),
        ("-3s", None),
        ("", None),
    ],
)
def test_a_span_of_time_is_read_as_people_write_it(text, seconds):
    assert parse_span(text) == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_moment_is_as_far_away_as_it_is(unit):
    assert 10 < parse_span(f"{(time.time() + 20) * unit:.0f}") <= 21


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "why it is"}},
        [{"error": {"message": "why it is"}}],
        {"error": "why it is"},
        {"message": "why it is"},
        {"detail": "why it is"},
        {"detail": [{"msg": "why it is", "loc": ["body"]}]},
        {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": {"message": "why it is"}}'}}},
    ],
)
def test_the_server_is_quoted_wherever_it_says_why(body):
    assert "why it is" in fault_of(body, status=403).why


@pytest.mark.parametrize(
    ("reply", "sentence", "retryable"),
    [
        (choice(message={"refusal": "I can't judge people."}), "declines to answer: I can't judge people", False),
        (choice("content_filter"), r"its filter stopped the answer \(content_filter\)", False),
        (choice("content_filter", message={"content": "It is"}), "its filter stopped the answer", False),
        ('{"choices": [], "promptFeedback": {"blockReason": "SAFETY"}}', "stopped the question: .*SAFETY", False),
        ('{"error": {"code": 429, "message": "used up"}}', r"error 429: used up", True),
        ('{"error": {"code": 403, "message": "moderated"}}', "error 403: moderated", False),
        ('{"error": {"message": "no such model"}}', "error: no such model", False),
        ('{"object": "error", "code": 400, "message": "too long"}', "error 400: too long", False),
        ('{"detail": "the queue is full"}', "error: the queue is full", False),
        (
            '{"base_resp": {"status_code": 1026, "status_msg": "input is sensitive"}, "choices": null}',
            "error: input is sensitive",
            False,
        ),
        ('{"status": 503, "message": "upstream"}', r"error 503: upstream", True),
        (choice("error", error={"code": 502, "message": "upstream"}), r"error 502: upstream", True),
    ],
)
def test_what_stands_in_the_way_of_an_answer_within_a_200_is_quoted(reply, sentence, retryable):
    record = json.loads(reply)
    choices = record.get("choices") or [None]
    fault = find_fault(record, choices[0])
    assert re.search(sentence, fault.why) and fault.retryable == retryable


def test_an_answer_is_no_fault():
    assert find_fault({"choices": [{}]}, {"message": {"content": "fine"}, "finish_reason": "stop"}) is None


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (404, False), (408, True), (500, True), (501, False)])
def test_a_status_says_whether_another_try_makes_sense(status, retryable):
    assert fault_of({"error": "no"}, status=status).retryable == retryable


def test_where_money_is_missing_another_try_makes_no_sense():
    error = {"message": "You exceeded your quota.", "type": "insufficient_quota", "code": "insufficient_quota"}
    assert fault_of({"error": error}) == Fault("error 429: You exceeded your quota.")


def test_a_key_is_to_blame_only_where_one_was_sent():
    with_key, without = (fault_of(words("no"), status=401, has_key=has_key).why for has_key in (True, False))
    assert "rejects the key (401: no); check the environment variable" in with_key
    assert "needs a key (401: no); name the environment variable" in without


def test_an_excerpt_is_short_and_on_one_line_without_markup():
    page = "<html><style>p { color: red }</style><p>Bad\n\tGateway</p><script>alert(1)</script></html>"
    assert make_excerpt(page) == "Bad Gateway"
    assert make_excerpt("x" * 1000) == "x" * LONGEST_EXCERPT + " …" and make_excerpt(None) == "nothing said"


@pytest.mark.parametrize(
    ("data", "record"), [(b"\xef\xbb\xbf{}", {}), (b"{", None), (b"[" * 100_000, None), (b'"\xff"', "\ufffd")]
)
def test_what_is_no_json_is_none(data, record):
    assert read_json(data) == record
