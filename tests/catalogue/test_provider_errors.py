"""Errors that providers report with status 200 are recognised in all formats that vendors use, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.catalogue.provider_errors import error_in_event, error_in_response
from tests.catalogue.test_any_body import ANYTHING
from tests.support.recordings import WITH_REPLY, WITH_STREAM, Recording

BUSY = "upstream busy"

FAILURES: list[tuple[str, Any, int]] = [
    ("a number", {"error": {"message": BUSY, "code": 502}}, 502),
    ("a number as text (Azure, LiteLLM)", {"error": {"message": BUSY, "code": "429", "type": "None"}}, 429),
    ("a number beside it (Bifrost)", {"error": {"message": BUSY}, "status_code": 503}, 503),
    ("OpenAI", {"error": {"message": BUSY, "type": "server_error", "param": None, "code": None}}, 500),
    ("OpenAI's code", {"error": {"message": BUSY, "type": "tokens", "code": "rate_limit_exceeded"}}, 429),
    ("OpenAI's key", {"error": {"message": BUSY, "type": "invalid_request_error", "code": "invalid_api_key"}}, 401),
    ("OpenAI's length", {"error": {"message": BUSY, "code": "context_length_exceeded"}}, 400),
    ("Azure's filter", {"error": {"message": BUSY, "code": "content_filter", "status": 400}}, 400),
    ("a text (Ollama)", {"error": "server busy, please try again. upstream busy"}, 503),
    ("a text of no kind", {"error": "it broke"}, 500),
    ("true", {"error": True, "message": BUSY, "status": 503}, 503),
    ("TGI", {"error": "Model is overloaded", "error_type": "overloaded"}, 529),
    ("TGI's input", {"error": "Input validation error: upstream busy", "error_type": "validation"}, 400),
    ("llama.cpp", {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, 503),
    ("vLLM", {"object": "error", "message": BUSY, "type": "BadRequestError", "param": None, "code": 400}, 400),
    ("vLLM without a code", {"object": "error", "message": BUSY, "type": "InternalServerError"}, 500),
    ("FastChat", {"text": BUSY, "error_code": 50001}, 503),
    ("Mistral", {"object": "error", "message": BUSY, "type": "rate_limited", "code": "1300"}, 429),
    ("FastAPI", {"detail": "Too Many Requests"}, 429),
    ("FastAPI's list", {"detail": [{"loc": ["body"], "msg": BUSY}]}, 503),
    ("OpenRouter", {"id": "g", "choices": [], "error": {"code": 408, "message": BUSY}}, 408),
    (
        "OpenRouter's choice",
        {"choices": [{"index": 0, "finish_reason": "error", "error": {"code": 502, "message": BUSY}}]},
        502,
    ),
    (
        "OpenRouter's metadata",
        {"error": {"message": BUSY, "metadata": {"error_type": "provider_overloaded"}}},
        529,
    ),
    ("Google", {"error": {"code": 429, "message": BUSY, "status": "RESOURCE_EXHAUSTED"}}, 429),
    ("Google's word", {"error": {"message": BUSY, "status": "UNAVAILABLE"}}, 503),
    ("Google's list", [{"error": {"code": 503, "message": BUSY, "status": "UNAVAILABLE"}}], 503),
    ("Anthropic, overloaded", {"type": "error", "error": {"type": "overloaded_error", "message": BUSY}}, 529),
    ("Anthropic, limited", {"type": "error", "error": {"type": "rate_limit_error", "message": BUSY}}, 429),
    ("Anthropic, broken", {"type": "error", "error": {"type": "api_error", "message": BUSY}}, 500),
    ("Anthropic, late", {"type": "error", "error": {"type": "timeout_error", "message": BUSY}}, 504),
    ("Anthropic, key", {"type": "error", "error": {"type": "authentication_error", "message": BUSY}}, 401),
    ("Anthropic, right", {"type": "error", "error": {"type": "permission_error", "message": BUSY}}, 403),
    ("Anthropic, bill", {"type": "error", "error": {"type": "billing_error", "message": BUSY}}, 402),
    ("Anthropic, model", {"type": "error", "error": {"type": "not_found_error", "message": BUSY}}, 404),
    ("Anthropic, size", {"type": "error", "error": {"type": "request_too_large", "message": BUSY}}, 413),
    ("Anthropic, question", {"type": "error", "error": {"type": "invalid_request_error", "message": BUSY}}, 400),
    ("Databricks", {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": BUSY}, 429),
    ("Databricks, away", {"error_code": "TEMPORARILY_UNAVAILABLE", "message": BUSY}, 503),
    ("Baidu", {"error_code": 18, "error_msg": "Open api qps rate limit reached"}, 429),
    ("MiniMax", {"choices": None, "base_resp": {"status_code": 1002, "status_msg": BUSY}}, 429),
    ("DashScope", {"code": "Throttling.RateQuota", "message": BUSY, "request_id": "r"}, 429),
    ("Cohere", {"message": BUSY, "status": 503}, 503),
    ("AWS", {"__type": "com.amazon.coral.service#ThrottlingException", "message": BUSY}, 429),
    ("AWS Lambda", {"errorMessage": BUSY, "errorType": "TimeoutError"}, 504),
    ("Cloudflare", {"success": False, "result": None, "errors": [{"code": 7003, "message": BUSY}]}, 503),
    ("an error in capitals (AWS)", {"Error": {"Code": "ThrottlingException", "Message": BUSY}}, 429),
    ("Tencent", {"Response": {"Error": {"Code": "LimitExceeded", "Message": BUSY}, "RequestId": "r"}}, 429),
    ("Tencent's kind", {"Response": {"Error": {"Code": "RequestLimitExceeded.GlobalRegion", "Message": BUSY}}}, 429),
    ("Apigee", {"fault": {"faultstring": "Rate limit quota violation", "detail": {"errorcode": "policies.ratelimit.QuotaViolation"}}}, 429),
    ("iFlytek", {"header": {"code": 10013, "message": BUSY, "sid": "s"}}, 503),
    ("RFC 9457", {"type": "about:blank", "title": "Service unavailable", "status": 503}, 503),
    ("AWS Lambda behind a gateway", {"statusCode": 503, "body": BUSY}, 503),
    ("a status in words", {"status": "error", "message": BUSY}, 503),
    ("no success", {"success": False, "message": BUSY}, 503),
    ("a status and a message", {"status": "failed", "error_message": BUSY}, 503),
    ("an error message", {"error_message": "out of memory"}, 500),
    ("err", {"err": BUSY}, 503),
    ("an exception", {"exception": "ValueError"}, 500),
    ("errors beside counts", {"errors": [BUSY], "usage": {"prompt_tokens": 1}}, 503),
    ("a response that failed", {"object": "response", "status": "failed", "error": {"code": "server_error", "message": BUSY}}, 500),
    ("the event of one", {"type": "response.failed", "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": BUSY}}}, 429),
    ("the error event of one", {"type": "error", "code": "server_error", "message": BUSY, "param": None}, 500),
]  # fmt: skip

NAMED: list[tuple[str, Any, int]] = [
    ("throttlingException", {"message": BUSY}, 429),
    ("serviceUnavailableException", {"message": BUSY}, 503),
    ("internalServerException", {"message": BUSY}, 500),
    ("validationException", {"message": BUSY}, 400),
    ("accessDeniedException", {"message": BUSY}, 403),
    ("modelTimeoutException", {"message": BUSY}, 504),
    ("modelNotReadyException", {"message": BUSY}, 429),
    ("modelStreamErrorException", {"message": BUSY}, 424),
    ("modelStreamErrorException", {"message": "m", "originalStatusCode": 503, "originalMessage": BUSY}, 503),
    ("error", {"error": {"message": BUSY, "code": 504}}, 504),
    ("error", {"message": BUSY}, 503),
    ("error", BUSY, 503),
]

FINE: list[Any] = [
    {"choices": [{"message": {"content": "error"}, "finish_reason": "stop"}], "error": None},
    {"choices": [{"delta": {"content": "a"}, "error": None, "finish_reason": None}], "error": {}},
    {"choices": [], "usage": {"prompt_tokens": 1}},
    {"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "content_filter"}]},
    {"choices": [{"text": "a"}], "code": 0, "message": "success", "status": "ok"},
    {"object": "list", "data": [{"embedding": [0.1]}], "message": "ok"},
    {"object": "response", "status": "completed", "error": None, "output": []},
    {"object": "response", "status": "incomplete", "error": None, "incomplete_details": {"reason": "max_tokens"}},
    {"type": "response.created", "response": {"status": "in_progress", "error": None}},
    {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "No."}, "usageMetadata": {}},
    {"base_resp": {"status_code": 0, "status_msg": ""}, "choices": [{"delta": {}}]},
    {"type": "ping"},
    {"header": {"code": 0, "message": "Success", "status": 2}, "payload": {}},
    {"type": "response.code_interpreter_call_code.done", "code": "print('message')", "item_id": "i"},
    {"type": "response.mcp_call.failed", "item_id": "i"},
    {"success": True, "message": {"content": "a"}},
    {"status": "queued", "id": "x"},
    {"a": 1},
    {},
    [],
    [1],
    "error",
    None,
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "status"), [each[1:] for each in FAILURES], ids=[each[0] for each in FAILURES]
)
def test_each_error_format_is_recognised_in_a_reply_and_in_an_event(content: Any, status: int):
    for failed in (error_in_response(content), error_in_event(content)):
        assert failed is not None
        assert failed.status == status
        quoted = json.dumps(str(failed))[1:-1]
        assert quoted in json.dumps(content) or json.loads(str(failed)) in content.values()


@pytest.mark.parametrize(("name", "content", "status"), NAMED)
def test_an_event_can_be_an_error_by_its_name(name: str, content: Any, status: int):
    failed = error_in_event(content, name)
    assert failed is not None
    assert (failed.status, str(failed)) == (status, BUSY)


@pytest.mark.parametrize(
    "name", ["error", "Error", "ERROR", "exception", "response.error", "throttlingException"]
)
def test_the_message_of_an_event_without_text_is_its_name(name: str):
    failed = error_in_event({}, name)
    assert failed is not None and name in str(failed)


def test_a_finish_reason_alone_can_be_an_error():
    failed = error_in_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]})
    assert failed is not None and failed.status == 500


def test_a_reply_that_is_only_a_message_is_an_error():
    failed = error_in_response({"message": "no capacity"})
    assert failed is not None and str(failed) == "no capacity"
    assert error_in_event({"message": "thinking"}) is None


@pytest.mark.parametrize("content", FINE, ids=str)
def test_other_replies_are_not_errors(content: Any):
    assert error_in_response(content) is None
    assert error_in_event(content) is None


@pytest.mark.parametrize("recorded", WITH_REPLY, ids=str)
def test_no_recorded_reply_is_an_error(recorded: Recording):
    assert error_in_response(recorded.reply) is None


@pytest.mark.parametrize("recorded", WITH_STREAM, ids=str)
def test_no_recorded_event_is_an_error(recorded: Recording):
    assert [error_in_event(event.data, event.name) for event in recorded.events()] == [None] * len(
        recorded.events()
    )


KEYS = st.sampled_from(
    ["error", "errors", "code", "status", "message", "detail", "choices", "type", "object", "response", "base_resp",
     "error_code", "status_code", "finish_reason", "metadata", "data"]
)  # fmt: skip
OBJECTS = st.recursive(
    ANYTHING | st.sampled_from(["error", "failed", "response", 429, "503"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(content=OBJECTS, name=st.sampled_from(["", "error", "someException"]))
def test_any_json_is_read_without_an_exception(content: Any, name: str):
    for failed in (error_in_event(content, name), error_in_response(content)):
        if failed is not None:
            assert 400 <= failed.status < 600
            assert str(failed)
