"""Text that somebody unpacks: tar archives written so that they are JSON as well (docs/threats.md).

A runtime may ignore a layer's media type and unpack what it can. What is served without a verdict is therefore text, in
which no tar reader finds a header. Compressed archives need no look of their own where the text is a JSON object: the
first bytes of gzip, zstd, xz and lz4 are no UTF-8, or are control characters, and no format begins with `{` or a space.
Other text may begin as bzip2 or as one of the archives that libarchive, which is bsdtar, reads from text.
"""

import re

BLOCK_BYTES = 512
# Where a header states its sum (POSIX.1-1988, ustar), and how far node-tar reads for it: 12 bytes, the others 8.
_SUM = slice(148, 156)
_SUM_DIGITS = slice(148, 160)
_NOT_OCTAL = bytes(set(range(256)) - set(b"01234567"))
# The field itself is summed as spaces, so no sum of a block of ASCII is less than 256, which is three digits.
_SUM_DIGITS_MIN = 3
# Control characters but for white space. Among them are the first bytes of zstd's skippable frames.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
# Formats whose first bytes are text: bzip2, lzip, lrzip, grzip; ar, cpio, WARC, mtree. uuencode may begin at any line.
_BEGINNINGS = (b"BZh", b"LZIP", b"LRZI", b"GRZip", b"!<arch>", b"0707", b"WARC/", b"#")
_ENCODED = re.compile(rb"^begin", re.MULTILINE)
# libarchive ends a line of uuencode and of mtree at a carriage return too.
_LONE_RETURN = re.compile(rb"\r(?!\n)")
# Keywords of mtree, which lists names and keywords in lines (libarchive, archive_read_support_format_mtree.c).
_MTREE = frozenset(
    b"cksum content contents dev device flags gid gname ignore inode link md5 md5digest mode nlink nochange optional"
    b" resdevice rmd160 rmd160digest sha1 sha1digest sha256 sha256digest sha384 sha384digest sha512 sha512digest size"
    b" symlink tags time type uid uname".split()
)


def is_text(content: bytes) -> bool:
    """Return whether this is text in UTF-8 in which no tar reader finds a header."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return False
    return not _NO_TEXT.search(text) and not reads_as_tar(content)


def is_prose(content: bytes) -> bool:
    """Return whether this is text that no reader takes for an archive, plain or compressed.

    Its first line must have two words, neither of them a keyword of mtree, which takes almost any other text; nor may
    it begin or go on as one that mtree skips: a blank before a comment, `/unset`, a backslash at the end of a keyword.
    """
    first = content.partition(b"\n")[0]
    words = first.split()[:2]
    return (
        is_text(content)
        and not content.startswith(_BEGINNINGS)
        and not _ENCODED.search(content)
        and not _LONE_RETURN.search(content)
        and b"\\" not in first
        and len(words) > 1
        and first[:1].isalnum()
        and words[1][:1].isalnum()
        and not any(word.partition(b"=")[0] in _MTREE for word in words)
    )


def reads_as_tar(content: bytes) -> bool:
    """Return whether some tar reader could take one of the 512-byte blocks of this text for a header.

    Readers recognize a header by its checksum. All take the number from the digits of its field in their order, but
    they differ in what they skip before (spaces, tabs, NUL, signs, zeros, `0o`), in what ends it, in what a blank field
    is (Go, libarchive: 0), and whether bytes are summed unsigned or signed. Each of these numbers, written in octal,
    begins the digits of the field, and that is looked for. GNU tar skips blocks to find a header; hence all of them.

    Base-256 numbers have NUL bytes where they are as small as a sum, so that content with NUL is never text.
    """
    return b"\0" in content or any(
        _is_header(content[start : start + BLOCK_BYTES]) for start in range(0, len(content), BLOCK_BYTES)
    )


def _is_header(block: bytes) -> bool:
    digits = block[_SUM_DIGITS].translate(None, _NOT_OCTAL).lstrip(b"0")
    if block.isascii() and len(digits) < _SUM_DIGITS_MIN:
        return False
    others = block[: _SUM.start] + b" " * 8 + block[_SUM.stop :]
    unsigned = sum(others)
    signed = unsigned - 256 * sum(byte > 127 for byte in others)  # noqa: PLR2004 (the sign of a byte)
    return any(digits.startswith(b"%o" % abs(one) if one else b"") for one in (unsigned, signed))
