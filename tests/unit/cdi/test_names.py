"""Device names: grammar, parts, messages, Go's quoting."""

from __future__ import annotations

import pytest

from ocishim.cdi import names
from ocishim.errors import DocumentError
from tests.unit.cdi.corpus import load_driver


def test_parts_of_a_qualified_name() -> None:
    name = names.parse("vendor.com/net-dev=eth0:1.2")
    assert (name.vendor, name.class_, name.name) == ("vendor.com", "net-dev", "eth0:1.2")
    assert name.kind == "vendor.com/net-dev"
    assert str(name) == "vendor.com/net-dev=eth0:1.2"
    assert repr(name) == "DeviceName('vendor.com/net-dev=eth0:1.2')"


def test_names_are_values() -> None:
    one, same = names.parse("a.com/b=c"), names.parse("a.com/b=c")
    assert one == same
    assert len({one, same, names.parse("a.com/b=d")}) == 2
    assert one != "a.com/b=c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", 'unqualified device "", missing vendor', id="empty"),
        pytest.param("a/b", 'unqualified device "a/b", missing vendor', id="no name"),
        pytest.param("/dev/x=0", 'unqualified device "/dev/x=0", missing vendor', id="a path"),
        pytest.param("a=b", 'unqualified device "a=b", missing vendor', id="no class"),
        pytest.param(
            "1.com/b=c",
            'invalid device "1.com/b=c": invalid vendor. "1.com", should start with letter',
            id="vendor begins with a digit",
        ),
        pytest.param(
            "a.com/b.=c",
            'invalid device "a.com/b.=c": invalid class. "b.", should end with a letter or digit',
            id="class ends with a dot",
        ),
        pytest.param(
            "a.com/b/c=d",
            'invalid device "a.com/b/c=d": invalid class. invalid character \'/\' in name "b/c"',
            id="second slash",
        ),
        pytest.param(
            "a.com/b=c\n",
            'invalid device "a.com/b=c\\n": invalid name "c\\n", should end with a letter or digit',
            id="newline at the end",
        ),
        pytest.param(
            "a.com/b=-c",
            'invalid device "a.com/b=-c": invalid class "-c", should start with a letter or digit',
            id="name begins with a dash",
        ),
        pytest.param(
            "a.com/b=c d",
            'invalid device "a.com/b=c d": invalid character \' \' in device name "c d"',
            id="blank inside",
        ),
        pytest.param(
            "a.com/b=1é",
            'invalid device "a.com/b=1é": invalid character \'\ufffd\' in device name "1é"',
            id="last character of two bytes, cut in half",
        ),
        pytest.param(
            "a.com\n/b=c",
            'invalid device "a.com\\n/b=c": invalid vendor. "a.com\\n", should end with a letter or digit',
            id="newline behind the vendor",
        ),
        pytest.param(
            "a.com/b\n=c",
            'invalid device "a.com/b\\n=c": invalid class. "b\\n", should end with a letter or digit',
            id="newline behind the class",
        ),
        pytest.param(
            "a.com/b=٣",
            'invalid device "a.com/b=٣": invalid class "٣", should start with a letter or digit',
            id="a digit, but not an ASCII one",
        ),
    ],
)
def test_what_is_no_name(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as e:
        names.parse(text)
    assert e.value.message == message
    assert not names.is_qualified(text)


@pytest.mark.parametrize("text", ["v/c=1", "V.com/C-_.9=a:b", "a/b=" + "x" * 300])
def test_what_is_one(text: str) -> None:
    assert str(names.parse(text)) == text
    assert names.is_qualified(text)


def test_empty_device_name_has_its_own_message() -> None:
    with pytest.raises(DocumentError, match=r"^invalid \(empty\) device name$"):
        names.validate_device_name("")


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('say "hi"\\', '"say \\"hi\\"\\\\"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\0\x1b\x7f", '"\\x00\\x1b\\x7f"'),
        ("grün €", '"grün €"'),
        ("\u00a0\u2028\ufeff", '"\\u00a0\\u2028\\ufeff"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("raw byte \udcff", '"raw byte \\xff"'),
    ],
)
def test_quoting_is_gos(text: str, quoted: str) -> None:
    assert names.goquote(text) == quoted


@pytest.mark.parametrize(
    ("transient_id", "name"), [(None, "a.com-b"), ("", "a.com-b_"), ("c/1", "a.com-b_c_1")]
)
def test_names_of_spec_files(transient_id: str | None, name: str) -> None:
    assert load_driver().spec_file_name("a.com", "b", transient_id) == name
