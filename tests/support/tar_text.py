"""Tar headers that are text, and how the readers that people have take the sum of one."""

import re
from collections.abc import Callable
from itertools import product

BLANK = b" " * 8


def sums(block: bytes) -> tuple[int, int]:
    """The sum of a header with its own field as spaces: of unsigned bytes, and of signed ones."""
    others = block[:148] + BLANK + block[156:512]
    return sum(others), sum(byte - 256 * (byte > 127) for byte in others)


def go(block: bytes) -> bool:
    """archive/tar, getFormat: a blank field is 0."""
    text = block[148:156].strip(b" \0").split(b"\0")[0]
    return re.fullmatch(rb"[0-7]*", text) is not None and int(text or b"0", 8) in sums(block)


def libarchive(block: bytes) -> bool:
    """archive_read_support_format_tar.c, checksum: digits, spaces and NULs only; the leading digits count."""
    field = block[148:156]
    if re.fullmatch(rb"[0-7 \0]*", field) is None:
        return False
    return int((re.match(rb" *([0-7]*)", field) or [b"", b"0"])[1] or b"0", 8) in sums(block)


def gnu(block: bytes) -> bool:
    """GNU tar, list.c, from_header with octal_only: white space, digits, then white space, NUL or the end."""
    found = re.fullmatch(rb"[ \t\n\v\f\r]*([0-7]+)(?:[ \t\n\v\f\r\0].*)?", block[148:156], re.DOTALL)
    return found is not None and int(found[1], 8) in sums(block)


def busybox(block: bytes) -> bool:
    """busybox, get_header_tar.c: strtoul, which takes a sign, then a space, NUL or the end."""
    found = re.match(rb"[ \t\n\v\f\r]*\+?([0-7]*)(.?)", block[148:156], re.DOTALL)
    return found is not None and found[2] in (b"", b" ", b"\0") and int(found[1] or b"0", 8) in sums(block)


def python(block: bytes) -> bool:
    """tarfile, nti: int() with base 8, which takes a sign, `0o` and underscores."""
    try:
        stated = int(block[148:156].split(b"\0")[0].decode("ascii").strip() or "0", 8)
    except ValueError:
        return False
    return stated in sums(block)


def node(block: bytes) -> bool:
    """node-tar, decSmallNumber: parseInt of twelve bytes, whatever comes after the digits."""
    found = re.match(rb"\s*[+-]?([0-7]+)", block[148:160].split(b"\0")[0])
    return found is not None and int(found[1], 8) in sums(block)


READERS: dict[str, Callable[[bytes], bool]] = {
    one.__name__: one for one in (go, libarchive, gnu, busybox, python, node)
}
# How the field may be written, as a format of the sum.
FIELDS = (
    b"%06o  ", b"  %06o", b"%08o", b" %06o,", b'%06o" ', b"%07o ", b"0o%06o", b"+%06o ", b"\t%06o\n", b"\r\n%06o",
    b"%06oab", b" +%06o", b" %o ", b"%o", b"0_0%o ",
)  # fmt: skip


def as_json(name: bytes, field: bytes = b"%06o  ", *, signed: bool = False, tail: bytes = b"") -> bytes:
    """An empty file with this in its name, whose header is the beginning of a JSON object; no byte of it is NUL."""
    block = _header(name)
    block[148:156] = (field % abs(sums(block)[signed]))[:8].ljust(8)
    return bytes(block) + tail + b'"}'


def blank(tail: bytes = b"") -> bytes:
    """The same with a blank field and a signed sum of 0: letters of two bytes, both negative, in place of spaces."""
    pairs = {sum(pair) - 512: pair for pair in (chr(code).encode() for code in range(0x80, 0x800))}
    block = _header(b"blank")
    total = sums(block)[1]
    count = -(-total // (64 - min(pairs)))
    for n in range(count):
        change = total // count + (n < total % count)
        block[257 + 2 * n : 259 + 2 * n] = pairs[64 - change]
    return bytes(block) + tail + b'"}'


def twelve() -> bytes:
    """The sum ends in the bytes behind its field, which node-tar reads too."""
    letters = _header(b"twelve")
    for last, more in product(range(0o10000), range(20)):
        block = letters[:]
        block[99] += more
        block[156:160] = b"%04o" % last
        total = sums(block)[0]
        if total % 0o10000 == last:
            block[148:156] = b"%8o" % (total // 0o10000)
            return bytes(block) + b'"}'
    raise AssertionError("no such header was found")


def _header(name: bytes) -> bytearray:
    fields = b"0000644 " + b"0000000 " * 2 + b"00000000000 " * 2 + BLANK + b"0"
    return bytearray(((b'{"x":"' + name).ljust(100, b"a") + fields).ljust(512))
