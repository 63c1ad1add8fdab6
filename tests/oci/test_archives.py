"""Text that a tar reader takes for an archive: by models of the readers, and by those that are here."""

import binascii
import io
import json
import shutil
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tar_text import FIELDS, READERS, as_json, blank, twelve

from proxy.oci.archives import is_prose, is_text, reads_as_tar

HIGH = "\u00e4".encode()
MADE = {
    **{f"{field!r} {'signed' if signed else 'unsigned'}": as_json(HIGH * 9, field, signed=signed)
       for field in FIELDS for signed in (False, True)},
    "blank": blank(),
    "second block": b'{"x":"' + b"a" * 506 + as_json(b"second"),
    "twelve bytes": twelve(),
}  # fmt: skip
DOCUMENTS = {
    "small": b'{"critical":{}}',
    "spaces": b"{" + b" " * 4000 + b"}",
    "letters": json.dumps({"pad": "x" * 5000}).encode(),
    "sevens": json.dumps({"pad": "7" * 5000}).encode(),
    "indented": json.dumps([{"name": f"package {n}", "version": str(n)} for n in range(400)], indent=2).encode(),
    "other scripts": json.dumps({"pad": "\u65e5\u672c\u8a9e " * 900}, ensure_ascii=False).encode(),
    "empty": b"",
}


@pytest.mark.parametrize("made", MADE)
def test_a_header_is_found(made):
    assert reads_as_tar(MADE[made])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_other_text_has_none(document):
    assert not reads_as_tar(DOCUMENTS[document])


def test_what_has_nul_is_no_text():
    assert reads_as_tar(b'{"x":"\0"}')


@pytest.mark.parametrize("reader", READERS)
def test_each_reader_is_fooled_by_some(reader):
    """Else the models below prove nothing."""
    assert any(READERS[reader](content[at : at + 512]) for content in MADE.values() for at in (0, 512))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(text=TEXT, before=st.sampled_from([0, 1, 3]), field=st.sampled_from(FIELDS), signed=st.booleans())
def test_what_any_reader_takes_is_found(text, before, field, signed):
    content = (text.encode() * 512)[: 512 * before] + as_json(text.encode()[:90], field, signed=signed)
    block = content[512 * before :][:512]
    if any(reader(block) for reader in READERS.values()):
        assert reads_as_tar(content)


@given(st.binary(min_size=12, max_size=12).filter(lambda field: b"\0" not in field), st.booleans())
def test_no_field_is_read_by_one_and_passed_over(field, negative):
    """Any bytes in the field, over a block whose sum they may state."""
    block = bytearray((blank() if negative else as_json(b"any"))[:512])
    block[148:160] = field
    if any(reader(bytes(block)) for reader in READERS.values()):
        assert reads_as_tar(bytes(block))


@pytest.mark.parametrize("made", MADE)
def test_python_finds_nothing_that_is_passed_over(made):
    try:
        with tarfile.open(fileobj=io.BytesIO(MADE[made])) as archive:
            taken = bool(archive.getmembers())
    except tarfile.TarError:
        taken = False
    assert reads_as_tar(MADE[made]) or not taken


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("program", ["tar", "bsdtar", "busybox"])
def test_a_real_reader_finds_nothing_that_is_passed_over(program, made, tmp_path):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    (tmp_path / "it").write_bytes(MADE[made])
    command = [program, *(["tar"] if program == "busybox" else []), "-tf", str(tmp_path / "it")]
    done = subprocess.run(command, capture_output=True, check=False, timeout=20)  # noqa: S603
    assert reads_as_tar(MADE[made]) or not done.stdout


def test_text():
    assert is_text("a\tb\r\n\u65e5\x7f".encode())
    assert not is_text(b"\xff")
    assert not is_text(b"a\x1b[0m")
    assert not is_text(as_json(b"x"))


ENCODED = b"begin 644 x\n" + b"".join(
    binascii.b2a_uu(as_json(b"any")[at : at + 45]) for at in range(0, len(as_json(b"any")), 45)
) + b"`\nend\n"  # fmt: skip
SPDX = b"SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0\n"


@pytest.mark.parametrize(
    "content",
    [
        SPDX,
        b"A note about this image\n",
        b"hello world",
        "Gr\u00fc\u00dfe aus K\u00f6ln".encode(),
        SPDX + b"not the begin\n" * 99,
        SPDX.replace(b"\n", b"\r\n"),
        SPDX + b"PackageName: a\\b\n# a comment\n /unset all\n",
    ],
)
def test_prose(content):
    assert is_prose(content)


PROSE_SHAPED_AS = {
    "empty": b"",
    "one word": b"hello\nworld\n",
    "no text": b"hello \xff",
    "control characters": b"hello world\x00",
    "zstd, skippable": b"P*M\x18 hello",
    "gzip": b"\x1f\x8b\x08 hello",
    "bzip2": b"BZh91AY&SY hello",
    "lzip": b"LZIP hello",
    "ar": b"!<arch> \nhello/ 0 0 0 644 5 `\nhello",
    "cpio": b"070707000001000001000644 hello",
    "warc": b"WARC/1.0 hello",
    "mtree": b"#mtree v1\n./x type=file\n",
    "mtree without a signature": b"x type=link link=/etc/passwd\n" * 4,
    "mtree, names last": b"type=dir ./x\n" * 4,
    "mtree, bare keyword": b"x optional type=dir\n" * 4,
    "mtree, line goes on": b"x \\\ntype=dir\n" * 4,
    "mtree, line goes on after a keyword": b"x optional\\\n type=dir\n" * 4,
    "mtree, comment after a blank": b" # a note\n" + b"x type=link link=/etc/passwd\n" * 4,
    "mtree, comment after a tab": b"\t#mtree v1\n" + b"x type=dir\n" * 4,
    "mtree, comment after a return": b"\r# a note\n" + b"x type=dir\n" * 4,
    "mtree, names that end with a return": b"a\rb\rc\rx type=dir\n" * 4,
    "mtree, nothing unset": b"/unset all\n" + b"x type=dir\n" * 4,
    "mtree, name with a slash": b"/unset  nothing\n" + b"x type=dir\n" * 4,
    "uuencode after a return": b"A note\r" + ENCODED,
    "uuencode, all lines end with a return": b"A note\r" + ENCODED.replace(b"\n", b"\r"),
    "uuencode": SPDX + b"begin 644 x\n#86)C\n`\nend\n",
    "base64": SPDX + b"begin-base64 644 x\nYWJj\n====\n",
    "tar": b"hello world " + b"a" * 500 + as_json(b"second"),
}


@pytest.mark.parametrize("shape", PROSE_SHAPED_AS)
def test_what_some_reader_unpacks_is_no_prose(shape):
    assert not is_prose(PROSE_SHAPED_AS[shape])


@given(TEXT)
def test_any_text_is_prose_or_not(text):
    assert is_prose(text.encode()) <= is_text(text.encode())


@pytest.mark.skipif(shutil.which("bsdtar") is None, reason="bsdtar is not installed")
@pytest.mark.parametrize("shape", PROSE_SHAPED_AS)
def test_bsdtar_finds_nothing_in_prose(shape, tmp_path):
    for content in (PROSE_SHAPED_AS[shape], b"A note\n" + PROSE_SHAPED_AS[shape]):
        (tmp_path / "it").write_bytes(content)
        listed = subprocess.run(["bsdtar", "-tf", str(tmp_path / "it")], capture_output=True, check=False).stdout  # noqa: S603, S607
        assert not is_prose(content) or not listed
