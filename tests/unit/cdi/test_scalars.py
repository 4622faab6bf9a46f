"""Scalars: what YAML text is in Go, and what Go makes of it where a string or integer is due."""

from __future__ import annotations

import pytest

from ocishim.cdi.document import goscalars, yamlscalars


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x1F", 31),
        ("0b11", 3),
        ("010", 8),
        ("0o17", 15),
        ("1_000", 1000),
        ("+5", 5),
        ("-0", 0),
        ("0b-11", -3),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 18446744073709551616.0),
        ("089", 89.0),
        ("1.5", 1.5),
        (".5_0", 0.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        (".1e999", ".1e999"),
        ("9" * 6000, "9" * 6000),
        ("y", True),
        ("Off", False),
        ("yEs", "yEs"),
        ("", None),
        ("Null", None),
        ("12:30:45", "12:30:45"),
        ("2001-01-01", "2001-01-01"),
        ("0o8", "0o8"),
        ("0xg", "0xg"),
        ("_1", "_1"),
        ("\u0661", "\u0661"),
        ("+", "+"),
        (".", "."),
        ("<<", "<<"),
    ],
)
def test_plain_scalars(text: str, value: object) -> None:
    found = yamlscalars.resolve("", text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("tag", "text", "value"),
    [
        ("str", "5", "5"),
        ("int", "0x10", 16),
        ("float", "3", 3.0),
        ("bool", "on", True),
        ("null", "~", None),
        ("binary", "w6k=", "é"),
        ("binary", "/w==", "\ufffd"),
        ("timestamp", "2001-01-01", "2001-01-01"),
        ("timestamp", "2001-1-2T3:4:5.6Z", "2001-1-2T3:4:5.6Z"),
        ("set", "x", "x"),
    ],
)
def test_tagged_scalars(tag: str, text: str, value: object) -> None:
    found = yamlscalars.resolve(f"tag:yaml.org,2002:{tag}", text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("tag", "text"),
    [("int", "1.0"), ("bool", "5"), ("null", "x"), ("timestamp", "2001-02-30"), ("float", "x")],
)
def test_tags_that_do_not_fit(tag: str, text: str) -> None:
    with pytest.raises(goscalars.DialectError, match="cannot decode"):
        yamlscalars.resolve(f"tag:yaml.org,2002:{tag}", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (2**64 - 1, "18446744073709551615"),
        (1.50, "1.5"),
        (1000.0, "1000"),
        (1e6, "1e+06"),
        (123456.0, "123456"),
        (123456789.123, "1.2345679e+08"),
        (16777217.5, "1.6777218e+07"),
        (0.5, "0.5"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-0.0, "-0"),
        (1e100, "+Inf"),
        (-1e100, "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_what_strings_values_become(value: float, text: str) -> None:
    assert goscalars.text_of(value) == text


@pytest.mark.parametrize(
    ("value", "number"),
    [(1.0, 1), (3e0, 3), (1.5, None), (2.0**62, 4611686018427388000), (1e21, None)],
)
def test_which_floats_are_integers(value: float, number: int | None) -> None:
    assert goscalars.integral(value) == number
