"""Documents of XML: what is read and what is refused, and what is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import delete, multipart, xml
from gateway.errors import S3Error


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<a>",
        b"<Delete>",
        b"<Other></Other>",
        b"\xff\xfe",
        b'<!DOCTYPE Delete [<!ENTITY a "b">]><Delete>&a;</Delete>',
        '<!DOCTYPE Delete [<!ENTITY a "b">]><Delete>&a;</Delete>'.encode("utf-16"),
        '<!DOCTYPE Delete [<!ENTITY a "b">]><Delete>&a;</Delete>'.encode("utf-16-le"),
        '<!DOCTYPE Delete [<!ENTITY a "b">]><Delete>&a;</Delete>'.encode("utf-16-be"),
        b'<!DOCTYPE Delete SYSTEM "file:///etc/passwd"><Delete></Delete>',
    ],
)
def test_what_is_no_document(data: bytes) -> None:
    with pytest.raises(S3Error, match="MalformedXML"):
        xml.parse(data, "Delete")


def test_documents_with_and_without_a_namespace() -> None:
    plain = "<Delete><Quiet>true</Quiet></Delete>"
    for document in (plain, f'<Delete xmlns="{xml.NAMESPACE}"><Quiet>true</Quiet></Delete>', f"\ufeff{plain}"):
        assert xml.child(xml.parse(document.encode(), "Delete"), "Quiet") == "true"


def test_text_that_must_be_escaped() -> None:
    assert xml.text("Key", "<&>\n\x01") == "<Key>&lt;&amp;&gt;&#xA;&#x1;</Key>"


BOMB = """<!DOCTYPE Delete [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>
<Delete><Quiet>&c;</Quiet></Delete>"""


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- first -->\n{BOMB}',
        f"  \n{BOMB}",
        BOMB.replace("<!DOCTYPE Delete [", "<!DOCTYPE Delete\t["),
        BOMB.replace("<!DOCTYPE", "<!doctype"),
        '<!DOCTYPE Delete [<!ENTITY % a SYSTEM "http://example.com/a.dtd">%a;]><Delete></Delete>',
        '<!DOCTYPE Delete PUBLIC "-//a//b" "http://example.com/a.dtd"><Delete></Delete>',
        '<!DOCTYPE Delete [<!ATTLIST Delete a CDATA "b">]><Delete></Delete>',
        "<Delete>&undefined;</Delete>",
        "<Delete>&#0;</Delete>",
    ],
)
def test_no_entity_is_ever_declared(text: str) -> None:
    with pytest.raises(S3Error, match="MalformedXML"):
        xml.parse(text.encode(), "Delete")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"])
def test_a_bomb_in_another_encoding(encoding: str) -> None:
    for head in ("", f'<?xml version="1.0" encoding="{encoding}"?>'):
        with pytest.raises(S3Error, match="MalformedXML"):
            xml.parse((head + BOMB).encode(encoding), "Delete")


@pytest.mark.parametrize("encoding", ["UTF-8", "utf-8", "UTF-16", "ISO-8859-1", "no-such-encoding"])
def test_a_document_is_utf_8_whatever_it_says(encoding: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?><Delete><Key>ü</Key></Delete>'
    assert xml.child(xml.parse(document.encode(), "Delete"), "Key") == "ü"


@pytest.mark.parametrize(
    "text",
    [
        "<Delete></Delete><Delete></Delete>",
        "<Delete><Key></Delete></Key>",
        "<Delete></delete>",
        "<delete></delete>",
        "<DeleteResult></DeleteResult>",
        "<Other><Delete></Delete></Other>",
        "<x:Delete></x:Delete>",
        "<Delete a='1' a='2'></Delete>",
        "<Delete>\x01</Delete>",
        "<Delete>\0</Delete>",
        "<Delete></Delete>rest",
        "Delete",
        "{}",
    ],
)
def test_another_root_or_none(text: str) -> None:
    with pytest.raises(S3Error, match="MalformedXML"):
        xml.parse(text.encode(), "Delete")


def test_namespaces_do_not_matter() -> None:
    document = '<x:Delete xmlns:x="urn:a"><Key xmlns="urn:b">k</Key><!-- no --><?no no?></x:Delete>'
    tree = xml.parse(document.encode(), "Delete")
    assert [each.tag for each in tree.iter()] == ["Delete", "Key"]
    assert (xml.child(tree, "Key"), xml.child(tree, "Quiet")) == ("k", None)
    assert xml.child(xml.parse(b"<Delete><Key/></Delete>", "Delete"), "Key") == ""


def test_a_document_as_deep_as_may_be_sent() -> None:
    depth = xml.BODY_BYTES_MAX // len("<a></a>") - len("<Delete></Delete>")
    tree = xml.parse(b"<Delete>" + b"<a>" * depth + b"</a>" * depth + b"</Delete>", "Delete", depth + 1)
    assert sum(1 for _ in tree.iter()) == depth + 1
    with pytest.raises(S3Error, match="MalformedXML"):
        xml.parse(b"<Delete>" + b"<a>" * depth, "Delete")


TOO_MANY = [
    b"<Delete>" + b"<a/>" * 500_000 + b"</Delete>",
    b"<Delete>" + b"<a></a>" * 250_000 + b"</Delete>",
    b"<Delete>" + b"<!---->" * 250_000 + b"</Delete>",
    b"<Delete " + b" ".join(b"a%d=''" % number for number in range(150_000)) + b"/>",
    b"<Delete>" + (b"<a " + b" ".join(b'a%d = ""' % number for number in range(300)) + b"/>") * 600 + b"</Delete>",
]


@pytest.mark.parametrize("data", TOO_MANY, ids=["empty", "closed", "comments", "attributes", "attributes of many"])
def test_a_document_of_too_many_things_is_refused_before_any_is_made(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fromstring(_: str) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr("gateway.xml.ElementTree.fromstring", fromstring)
    assert len(data) <= xml.BODY_BYTES_MAX
    with pytest.raises(S3Error, match="MalformedXML"):
        xml.parse(data, "Delete", delete.ELEMENTS_MAX)


def test_the_largest_documents_that_clients_send_are_taken() -> None:
    entry = '<Object><Key>year=2026/a="b"</Key><VersionId>null</VersionId><ETag>"e"</ETag><Size>1</Size></Object>'
    tree = xml.parse(f"<Delete>{entry * 1000}<Quiet>true</Quiet></Delete>".encode(), "Delete", delete.ELEMENTS_MAX)
    assert len(tree) == 1001
    part = "<Part><PartNumber>1</PartNumber><ETag>e</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>"
    root = "CompleteMultipartUpload"
    assert len(xml.parse(f"<{root}>{part * 10_000}</{root}>".encode(), root, multipart.ELEMENTS_MAX)) == 10_000


@given(st.binary(max_size=60))
def test_whatever_is_sent_is_an_answer(data: bytes) -> None:
    with pytest.raises(S3Error, match="MalformedXML"):
        xml.parse(data, "Delete")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")))
def test_text_comes_back(value: str) -> None:
    written = xml.document("Delete", [xml.element("Object", [xml.text("Key", value), xml.text("Size", 5)])])
    found = xml.parse(written, "Delete").find("Object")
    assert found is not None
    assert [each.text or "" for each in found] == [value, "5"]


def test_line_ends_of_text_come_back() -> None:
    tree = xml.parse(xml.document("Delete", [xml.text("Key", "a\r\nb\tc\rd")]), "Delete")
    assert xml.child(tree, "Key") == "a\r\nb\tc\rd"


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_800_000_000_007, "2027-01-15T08:00:00.007Z"),
        (1_800_000_000_999, "2027-01-15T08:00:00.999Z"),
    ],
)
def test_timestamps(time_ms: int, text: str) -> None:
    assert xml.timestamp(time_ms) == text
