"""JSON from outside is bounded in size, depth and number of values, and has no NaN or Infinity."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.lib import json_text
from serving_ui.lib.json_text import JsonInvalid

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN)
def test_valid_json_is_read_unchanged(value):
    assert json_text.read(json.dumps(value).encode()) == value


@given(PLAIN)
def test_written_json_is_read_back(value):
    assert json_text.read(json_text.write(value)) == value


@pytest.mark.parametrize(
    "text",
    ["NaN", "[Infinity]", '{"a": -Infinity}', "1e400", '{"a": [-1E+400]}', "1" + "0" * 400 + ".5", "1e0400"],
)
def test_numbers_that_json_does_not_have_are_refused(text):
    with pytest.raises(JsonInvalid):
        json_text.read(text.encode())


def test_a_large_exponent_in_a_string_is_accepted():
    assert json_text.read(b'{"a": "1e400 NaN Infinity", "b": 1e300, "c": 1e-400}')["b"] == 1e300


def test_written_json_has_no_infinity_and_nan():
    assert json_text.write({"a": float("nan"), "b": [float("inf")]}) == b'{"a":null,"b":[null]}'


@pytest.mark.parametrize("one", [b"[]", b"{}", b'{"a":[]}'])
@pytest.mark.parametrize("bounds", [json_text.RESPONSE_BOUNDS, json_text.REQUEST_BOUNDS])
def test_too_many_parts_are_refused_before_they_are_parsed(one, bounds):
    many = b"[" + b",".join([one] * bounds.containers) + b"]"
    with pytest.raises(JsonInvalid, match=f"more than {bounds.containers} lists and objects"):
        json_text.read(many, bounds)


@pytest.mark.parametrize(
    "one",
    [b"1", b"1e5", b"null", b'""', b'"["', b'"\\\\"', b'"\\""', b'"a,b"', b'{"a":1,"b":2}'],
    ids=bytes.decode,
)
def test_too_many_values_are_refused_before_they_are_parsed(one):
    many = b"[" + b",".join([one] * (json_text.REQUEST_BOUNDS.values * 2 + 2)) + b"]"
    with pytest.raises(JsonInvalid, match="more than"):
        json_text.read(many, json_text.REQUEST_BOUNDS)


def test_too_many_empty_lists_are_refused_before_they_are_parsed():
    texts = [json.dumps([[]] * 10_000)] * 41
    with pytest.raises(JsonInvalid, match="400000 brackets"):
        json_text.read(json.dumps(texts).encode(), json_text.REQUEST_BOUNDS)
    assert json_text.read(json.dumps(texts).encode()) == texts


@pytest.mark.parametrize("bounds", [json_text.RESPONSE_BOUNDS, json_text.REQUEST_BOUNDS])
def test_too_many_names_are_refused_before_they_are_parsed(bounds):
    many = b'{"":1' + b',"":1' * bounds.names + b"}"
    with pytest.raises(JsonInvalid, match=f"more than {bounds.names} names"):
        json_text.read(many, bounds)


def test_the_largest_number_of_values_is_accepted():
    assert (
        len(json_text.read(b"[" + b",".join([b"1"] * json_text.REQUEST_BOUNDS.values) + b"]"))
        == json_text.REQUEST_BOUNDS.values
    )


def test_punctuation_in_strings_does_not_count():
    text = 'a[b] \\" " ,, : ' * (json_text.REQUEST_BOUNDS.values - 10) + "1" * 10_000
    assert json_text.read(json.dumps([text]).encode(), json_text.REQUEST_BOUNDS) == [text]


@pytest.mark.parametrize("number", [b"1" * 4000, b"-" + b"9" * 309, b"0." + b"1" * 400])
def test_a_number_with_many_digits_in_a_large_text_is_refused(number):
    with pytest.raises(JsonInvalid, match="too large"):
        json_text.read(b'["' + b"a" * 100_000 + b'",' + number + b"]")


@pytest.mark.parametrize("opening, closing", [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_bounded(opening, closing):
    max_depth = json_text.MAX_DEPTH
    assert json_text.read(opening * max_depth + b"1" + closing * max_depth)
    with pytest.raises(JsonInvalid, match="deeper"):
        json_text.read(opening * (max_depth + 1) + b"1" + closing * (max_depth + 1))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"a": "\\ud800"}', b"{'a': 1}"])
def test_invalid_json_is_refused_with_a_message(text):
    with pytest.raises(JsonInvalid, match=r"^It is not valid JSON: .*\.$"):
        json_text.read(text)


@pytest.mark.parametrize(
    "text, value",
    [
        ('{"a": NaN, "b": [-Infinity, 1e400, 1], "c": "NaN"}', {"a": None, "b": [None, None, 1], "c": "NaN"}),
        ("[Infinity]", [None]),
        ("1e400", None),
        ('{"a": 1.5}', {"a": 1.5}),
    ],
)
def test_lenient_reading_replaces_infinity_and_nan_by_null(text, value):
    assert json_text.read(text.encode(), lenient=True) == value


def test_lenient_reading_is_bounded():
    with pytest.raises(JsonInvalid, match="deeper"):
        json_text.read(b"[" * 300 + b"]" * 300, lenient=True)
    with pytest.raises(JsonInvalid):
        json_text.read(b'{"a": ', lenient=True)


@pytest.mark.parametrize(
    "text, proper",
    [
        (b'{"a":NaN, "b" : [ -Infinity,Infinity ]}', b'{"a":null, "b" : [ null,null ]}'),
        (rb'{"a": "NaN \" Infinity", "\\": NaN}', rb'{"a": "NaN \" Infinity", "\\": null}'),
        (b'{"NaN": 1.50, "a": "\\ud800 Infinity"}', b'{"NaN": 1.50, "a": "\\ud800 Infinity"}'),
        (b"", b""),
    ],
)
def test_without_infinity_keeps_everything_else(text, proper):
    assert json_text.without_infinity(text) == proper


@given(PLAIN)
def test_without_infinity_keeps_valid_json_byte_for_byte(value):
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert json_text.without_infinity(text.encode()) == text.encode()


def test_lone_surrogates_can_be_written():
    value = {"a": "\ud800", "b": float("inf"), "c": "Infinity"}
    assert json_text.write(value) == b'{"a":"\\ud800","b":null,"c":"Infinity"}'
