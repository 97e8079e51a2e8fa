"""Bodies as they arrive: plain, in signed chunks, with trailers; whole, in pieces, and wrong in every way."""

import asyncio
import base64
import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from gateway.body import REST_BYTES_MAX, WINDOW_BYTES, Body, ClientGone
from gateway.chunked import LINE_BYTES_MAX
from gateway.errors import S3Error
from gateway.request import Request
from gateway.sigv4 import Signing
from tests.gateway.chunks import (
    DATA,
    DATE,
    FRAMED,
    KEY,
    SCOPE,
    SEED,
    SIGNED,
    TRAILED,
    TRAILER,
    UNSIGNED,
    asked,
    chunked,
    crc32,
    sha256,
    sign,
    whole,
)  # fmt: skip
from tests.gateway.requests import request


@pytest.fixture(params=["on the loop", "beside it"], autouse=True, scope="module")
def _hashed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Beside the loop also what is small, in windows that chunks straddle."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "beside it":
            patch.setattr("gateway.body.WINDOW_BYTES", 7)
            patch.setattr("gateway.body.BESIDE_BYTES_MIN", 0)
        yield


def read(made: Request) -> bytes:
    async def whole() -> bytes:
        body = Body(made)
        data = b"".join([chunk async for chunk in body.windows()])
        body.digests.finish(body.trailers)
        return data

    return asyncio.run(whole())


def refused(made: Request) -> str:
    with pytest.raises(S3Error) as raised:
        read(made)
    return raised.value.code


def test_the_example_of_the_s3_api() -> None:
    """The text on payloads in multiple chunks: 66,560 bytes of "a" in chunks of 64 KiB and 1 KiB."""
    framed = chunked([b"a" * 65_536, b"a" * 1024])
    assert b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" in framed
    assert b"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" in framed
    assert b"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n" in framed
    made = asked(SIGNED, 66_560, [framed])
    assert read(made) == b"a" * 66_560
    assert made.is_drained


def test_the_example_of_the_s3_api_with_a_trailer() -> None:
    seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    signed = (
        (b"a" * 65_536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
        (b"a" * 1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
        (b"", "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
    )
    framed = b"\r\n".join(f"{len(data):x};chunk-signature={mark}\r\n".encode() + data for data, mark in signed)
    last = b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
    for line in (b"x-amz-checksum-crc32c:sOO8/Q==\r\n", b"x-amz-checksum-crc32c:sOO8/Q==\n\r\n"):  # the text has "\n"
        made = asked(TRAILED, 66_560, [framed + line + last], "x-amz-checksum-crc32c")
        made.signing = Signing(KEY, DATE, SCOPE, seed)
        assert read(made) == b"a" * 66_560


@pytest.mark.parametrize("mode", FRAMED)
def test_pieces_may_end_anywhere(mode: str) -> None:
    framed = FRAMED[mode]
    assert read(whole(mode, [framed])) == DATA
    assert read(whole(mode, [framed[at : at + 1] for at in range(len(framed))])) == DATA
    for cut in range(1, len(framed)):
        assert read(whole(mode, [framed[:cut], framed[cut:]])) == DATA


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 50))
def test_any_chunks_in_any_pieces(chunks: list[bytes], size: int) -> None:
    framed = chunked(chunks)
    pieces = [framed[at : at + size] for at in range(0, len(framed), size)]
    assert read(asked(SIGNED, len(b"".join(chunks)), pieces)) == b"".join(chunks)


@pytest.mark.parametrize("mode", FRAMED)
def test_a_body_that_ends_early_is_incomplete(mode: str) -> None:
    framed = FRAMED[mode].removesuffix(b"\r\n\r\n")
    for cut in range(len(framed)):
        assert refused(whole(mode, [framed[:cut]])) in (
            "IncompleteBody",
            "SignatureDoesNotMatch",
            "InvalidRequest",
            "BadDigest",
        )
    if mode == UNSIGNED:  # before its trailer, where nothing else than the end is amiss
        assert refused(whole(mode, [framed[: framed.index(TRAILER)]])) == "IncompleteBody"


@pytest.mark.parametrize("mode", [SIGNED, TRAILED])
def test_a_flipped_byte_of_a_signed_body_is_noticed(mode: str) -> None:
    framed = FRAMED[mode]
    for at in range(len(framed) - 4):
        other = framed[:at] + bytes([framed[at] ^ 1]) + framed[at + 1 :]
        with pytest.raises(S3Error):
            read(whole(mode, [other]))


@pytest.mark.parametrize(
    ("framed", "code"),
    [
        (chunked([DATA], is_signed=False), "InvalidRequest"),
        (chunked([DATA]).replace(b"13;", b"zz;"), "InvalidRequest"),
        (f"{1 << 60:x};chunk-signature={'0' * 64}\r\n".encode() + bytes(100), "IncompleteBody"),
        (chunked([DATA]).replace(b"\r\n", b"\n"), "InvalidRequest"),
        (b"1" * 5000, "InvalidRequest"),
        (chunked([DATA]).replace(DATA + b"\r\n", DATA + b"xx"), "InvalidRequest"),
        (chunked([DATA[:-1]]), "IncompleteBody"),
        (chunked([DATA + b"!"]), "IncompleteBody"),
    ],
    ids=["unsigned", "no size", "too large", "line feeds", "a long line", "no line end", "short", "long"],
)
def test_what_is_no_signed_body(framed: bytes, code: str) -> None:
    assert refused(asked(SIGNED, len(DATA), [framed])) == code


def test_trailers() -> None:
    wrong = f"x-amz-checksum-crc32:{crc32(b'other')}".encode()
    assert refused(whole(UNSIGNED, [chunked([DATA], wrong, is_signed=False)])) == "BadDigest"
    assert refused(whole(TRAILED, [chunked([DATA], wrong)])) == "BadDigest"
    assert refused(whole(UNSIGNED, [chunked([DATA], is_signed=False)])) == "MalformedTrailerError"
    twice = TRAILER + b"\r\n" + TRAILER
    assert refused(whole(UNSIGNED, [chunked([DATA], twice, is_signed=False)])) == "MalformedTrailerError"
    for line in (b"nothing", b":", b": value", TRAILER + b"\r\nnothing"):
        assert refused(whole(UNSIGNED, [chunked([DATA], line, is_signed=False)])) == "MalformedTrailerError"
    unsigned = chunked([DATA]).removesuffix(b"\r\n") + TRAILER + b"\r\n\r\n"
    assert refused(whole(TRAILED, [unsigned])) == "SignatureDoesNotMatch"
    many = b"".join(b"x-amz-meta-%d:1\r\n" % number for number in range(40))
    assert refused(whole(UNSIGNED, [b"13\r\n" + DATA + b"\r\n0\r\n" + many + b"\r\n"])) == "MalformedTrailerError"
    assert refused(asked(UNSIGNED, 1, [b""], "x-amz-meta-colour")) == "InvalidRequest"


def test_a_trailer_is_signed_in_its_canonical_form() -> None:
    spaced = TRAILER.replace(b"x-amz-checksum-crc32:", b"X-Amz-Checksum-CRC32:  ")
    assert read(whole(TRAILED, [FRAMED[TRAILED].replace(TRAILER, spaced)])) == DATA
    assert read(whole(TRAILED, [FRAMED[TRAILED].replace(TRAILER + b"\r\n", TRAILER + b"\r\n\r\n")])) == DATA


def test_nothing_counts_behind_the_signature_of_trailers() -> None:
    wrong = f"x-amz-checksum-crc32:{crc32(b'other')}\r\n\r\n".encode()
    framed = FRAMED[TRAILED].removesuffix(b"\r\n") + wrong
    assert read(whole(TRAILED, [framed])) == DATA
    nothing = sign("AWS4-HMAC-SHA256-TRAILER", last_of(DATA), sha256(b""))
    early = (
        chunked([DATA]).removesuffix(b"\r\n") + f"x-amz-trailer-signature:{nothing}\r\n".encode() + TRAILER + b"\r\n\r\n"
    )
    assert refused(whole(TRAILED, [early])) == "MalformedTrailerError"


def last_of(data: bytes) -> str:
    """The signature of the empty chunk behind `data`."""
    first = sign("AWS4-HMAC-SHA256-PAYLOAD", SEED, sha256(b""), sha256(data))
    return sign("AWS4-HMAC-SHA256-PAYLOAD", first, sha256(b""), sha256(b""))


@pytest.mark.parametrize("name", ["crc32", "x-amz-crc32", "x-amz-checksum-md4", "x-amz-checksum-crc32,x-amz-meta-a"])
def test_a_trailer_that_is_no_checksum_is_refused(name: str) -> None:
    assert refused(asked(UNSIGNED, len(DATA), [FRAMED[UNSIGNED]], name)) == "InvalidRequest"


def test_a_checksum_in_the_header_does_not_hide_a_wrong_one_in_the_trailer() -> None:
    wrong = f"x-amz-checksum-crc32:{crc32(b'other')}".encode()
    framed = chunked([DATA], wrong, is_signed=False)
    made = asked(UNSIGNED, len(DATA), [framed], "x-amz-checksum-crc32", x_amz_checksum_crc32=crc32(DATA))
    assert refused(made) == "BadDigest"


@pytest.mark.parametrize("mode", [SIGNED, TRAILED])
def test_signed_chunks_need_a_signed_request(mode: str) -> None:
    """Of a presigned URL of version 2 there is no key to check them with."""
    made = whole(mode, [FRAMED[mode]])
    made.signing = None
    assert refused(made) == "InvalidRequest"


def test_a_plain_body_is_as_long_as_announced() -> None:
    assert read(asked(sha256(DATA), len(DATA), [DATA[:3], DATA[3:]])) == DATA
    assert read(asked("UNSIGNED-PAYLOAD", 0, [])) == b""
    assert refused(asked("UNSIGNED-PAYLOAD", len(DATA) + 1, [DATA])) == "IncompleteBody"
    assert refused(asked("UNSIGNED-PAYLOAD", len(DATA) - 1, [DATA])) == "IncompleteBody"
    assert refused(asked(sha256(b"other"), len(DATA), [DATA])) == "XAmzContentSHA256Mismatch"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content_md5": base64.b64encode(hashlib.md5(b"other").digest()).decode()}, "BadDigest"),
        ({"content_md5": "AAAA"}, "InvalidDigest"),
        ({"content_md5": "?"}, "InvalidDigest"),
        ({"content_md5": "ü"}, "InvalidDigest"),
        ({"x_amz_checksum_crc32": "ü"}, "InvalidRequest"),
        ({"x_amz_checksum_crc32": crc32(b"other")}, "BadDigest"),
        ({"x_amz_checksum_crc32": "AAAA"}, "InvalidRequest"),
        ({"x_amz_checksum_crc32": crc32(DATA), "x_amz_checksum_sha1": "A"}, "InvalidRequest"),
        ({"x_amz_sdk_checksum_algorithm": "MD4"}, "InvalidRequest"),
    ],
)
def test_digests_that_do_not_hold(headers: dict[str, str], code: str) -> None:
    assert refused(asked("UNSIGNED-PAYLOAD", len(DATA), [DATA], **headers)) == code


def test_digests_that_hold() -> None:
    md5 = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    assert read(asked("UNSIGNED-PAYLOAD", len(DATA), [DATA], content_md5=md5, x_amz_checksum_crc32=crc32(DATA))) == DATA


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "MissingContentLength"),
        ({"transfer-encoding": "chunked"}, "MissingContentLength"),
        ({"content-length": "-1"}, "MissingContentLength"),
        ({"content-length": "5", "x-amz-content-sha256": SIGNED}, "MissingContentLength"),
        ({"content-length": "5", "x-amz-content-sha256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}, "NotImplemented"),
        ({"content-length": "5", "x-amz-content-sha256": "abc"}, "InvalidArgument"),
    ],
)
def test_headers_that_announce_no_body(headers: dict[str, str], code: str) -> None:
    assert refused(request("PUT", "/b/k", headers, body=[DATA])) == code


def test_a_client_that_breaks_off_is_gone() -> None:
    for mode, pieces in (("UNSIGNED-PAYLOAD", [DATA]), (SIGNED, [FRAMED[SIGNED][:30]])):
        headers = {"content-length": "100", "x-amz-decoded-content-length": "100", "x-amz-content-sha256": mode}
        made = request("PUT", "/b/k", headers, body=pieces, breaks_off=True)
        made.signing = Signing(KEY, DATE, SCOPE, SEED)
        with pytest.raises(ClientGone):
            read(made)


def test_a_small_body_has_its_bound() -> None:
    async def bounded() -> None:
        with pytest.raises(S3Error, match="MaxMessageLengthExceeded"):
            await Body(asked("UNSIGNED-PAYLOAD", 11, [bytes(11)])).whole(10)

    asyncio.run(bounded())


def outcome(made: Request) -> bytes | str:
    try:
        return read(made)
    except S3Error as error:
        return error.code


@pytest.mark.parametrize("mode", FRAMED)
@given(at=st.integers(0, 1000), byte=st.sampled_from(b"0aZ;:\r\n\0\xff"), cut=st.integers(1, 50))
def test_pieces_make_no_difference_to_what_is_wrong(mode: str, at: int, byte: int, cut: int) -> None:
    framed = bytearray(FRAMED[mode])
    framed[at % len(framed)] = byte
    pieces = [bytes(framed[start : start + cut]) for start in range(0, len(framed), cut)]
    assert outcome(whole(mode, pieces)) == outcome(whole(mode, [bytes(framed)]))


@pytest.mark.parametrize(("length", "code"), [(LINE_BYTES_MAX, ""), (LINE_BYTES_MAX + 1, "InvalidRequest")])
@pytest.mark.parametrize("cut", [1, 100, LINE_BYTES_MAX, 1 << 20])
def test_a_line_has_its_bound_in_whatever_pieces(length: int, code: str, cut: int) -> None:
    line = b"x-amz-meta-a:".ljust(length, b"x") + b"\r\n"
    framed = chunked([DATA], line + TRAILER, is_signed=False)
    pieces = [framed[start : start + cut] for start in range(0, len(framed), cut)]
    assert outcome(whole(UNSIGNED, pieces)) == (code or DATA)


@pytest.mark.parametrize("size", ["13", "0013", "00000013"])
def test_the_forms_of_a_chunks_size(size: str) -> None:
    framed = f"{size}\r\n".encode() + DATA + b"\r\n000\r\n" + TRAILER + b"\r\n\r\n"
    assert read(whole(UNSIGNED, [framed])) == DATA


@pytest.mark.parametrize("size", ["", " 13", "+13", "-1", "0x13", "1_3", "000000013", "13;", "13;chunk-signature=1"])
def test_what_is_no_size_of_a_chunk(size: str) -> None:
    framed = f"{size}\r\n".encode() + DATA + b"\r\n0\r\n" + TRAILER + b"\r\n\r\n"
    assert refused(whole(UNSIGNED, [framed])) == "InvalidRequest"


def test_chunks_cannot_change_places() -> None:
    framed = chunked([b"first", b"other"])
    first, other, last = framed[:91], framed[91:182], framed[182:]
    assert read(asked(SIGNED, 10, [first, other, last])) == b"firstother"
    for pieces in ([other, first, last], [first, first, last], [first, last], [other, last]):
        assert refused(asked(SIGNED, 10, pieces)) == "SignatureDoesNotMatch"


def test_a_body_ends_well_only_if_its_last_signature_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.body.WINDOW_BYTES", 3)
    framed = chunked([b"first", b"other"]).replace(b"other", b"OTHER")

    async def passed() -> list[bytes]:
        seen: list[bytes] = []
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            async for data in Body(asked(SIGNED, 10, [framed])).windows():
                seen.append(data)
        return seen

    assert asyncio.run(passed())[:3] == [b"fir", b"stO", b"THE"]  # as they come: who takes them undoes it


@pytest.mark.parametrize("mode", FRAMED)
def test_no_chunk_is_held_back(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go, Rust and CRT SDKs frame a whole body as one chunk: it is passed on while it arrives."""
    size = 40 << 20
    data = bytes(size)
    trailer = b"" if mode == SIGNED else f"x-amz-checksum-crc32:{crc32(data)}".encode()
    framed = chunked([data], trailer, is_signed=mode != UNSIGNED)
    pieces = [framed[at : at + 65_536] for at in range(0, len(framed), 65_536)]

    async def count() -> tuple[int, int, int]:
        made = whole(mode, pieces, size)
        body, received, longest, held = Body(made), 0, 0, 0
        async for each in body.windows():
            received, longest = received + len(each), max(longest, len(each))
            held = max(held, made.received_bytes - received)
        body.digests.finish(body.trailers)
        return received, longest, held

    monkeypatch.setattr("gateway.body.WINDOW_BYTES", WINDOW_BYTES)
    received, longest, held = asyncio.run(count())
    assert (received, longest) == (size, WINDOW_BYTES)
    assert held <= WINDOW_BYTES


def test_what_follows_the_trailers_is_not_read_for_ever() -> None:
    rest = [bytes(REST_BYTES_MAX)] * 8
    made = asked(SIGNED, len(DATA), [FRAMED[SIGNED], *rest])
    assert read(made) == DATA
    assert not made.is_drained  # so the connection ends
    assert made.received_bytes <= len(FRAMED[SIGNED]) + 2 * REST_BYTES_MAX


@pytest.mark.parametrize("mode", FRAMED)
def test_a_client_may_break_off_anywhere(mode: str) -> None:
    framed = FRAMED[mode].removesuffix(b"\r\n")
    for cut in range(len(framed)):
        made = whole(mode, [])
        made.receive = request("PUT", "/b/k", body=[framed[:cut]], breaks_off=True).receive
        with pytest.raises(ClientGone):
            read(made)
        assert not made.is_drained


def test_a_client_that_sends_nothing_more_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent() -> Message:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    monkeypatch.setattr("gateway.body.IDLE_S_MAX", 0.0)
    for mode in (SIGNED, "UNSIGNED-PAYLOAD"):
        made = asked(mode, len(DATA), [])
        made.receive = silent
        assert refused(made) == "RequestTimeout"


def test_a_trailer_that_nobody_announced() -> None:
    for name, code in (("x-amz-meta-a:1", ""), (TRAILER.decode(), "BadDigest"), ("nothing", "MalformedTrailerError")):
        made = asked(UNSIGNED, len(DATA), [chunked([DATA], name.encode(), is_signed=False)])
        assert outcome(made) == (code or DATA)


@pytest.mark.parametrize("cut", [10_000, 65_536, 262_144])
@pytest.mark.parametrize("wrong", [None, 0, 7, 99])
def test_a_large_body_is_hashed_beside_the_loop_and_no_signature_is_passed_over(
    wrong: int | None, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.body.WINDOW_BYTES", WINDOW_BYTES)
    chunks = [bytes([number]) * 65_536 for number in range(100)]
    data = b"".join(chunks)
    framed = bytearray(chunked(chunks, f"x-amz-checksum-crc32:{crc32(data)}".encode()))
    if wrong is not None:
        framed[wrong * (len(framed) // 100) + 1000] ^= 1
    pieces = [bytes(framed[at : at + cut]) for at in range(0, len(framed), cut)]
    assert outcome(whole(TRAILED, pieces, len(data))) == ("SignatureDoesNotMatch" if wrong is not None else data)
