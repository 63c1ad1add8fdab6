"""Text that a tar reader takes for an archive: by models of the readers, and by those that are here."""

import io
import json
import shutil
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tar_text import FIELDS, READERS, as_json, blank, twelve

from proxy.oci.archives import reads_as_tar

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
