"""Small blobs that are looked at before they are sent: what signatures are made of, and configs.

Each is fetched once and kept by its digest. That it is kept gives nobody anything: a signature's blob is granted as any
other, and a config that nobody was granted is had from the store only where the repository itself has sent it before.
"""

import asyncio
from contextlib import aclosing, closing, suppress

from cachetools import LRUCache

from proxy.front.configs import CONFIG_BYTES_MAX
from proxy.gate import BlobGrant
from proxy.gate.transfers import Transfers
from proxy.oci.archives import is_text, reads_as_tar
from proxy.oci.artifacts import ARTIFACT_BLOB_BYTES_MAX
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, MalformedError, RegistryError, UnavailableError
from proxy.oci.manifest import Descriptor
from proxy.oci.members import CONFIG
from proxy.oci.reference import Repository
from proxy.oci.strict_json import loads_object
from proxy.stores.content import StoredBlob
from proxy.upstream.table import Upstreams

# As long as clients wait for a first byte, and for these there is nothing to send before the last.
SECONDS = 25.0
# Configs that a repository is known to have, some 300 bytes each. One that is forgotten is fetched again.
CONFIGS_MAX = 10_000
# Configs of refused images that are fetched and read at once, up to CONFIG_BYTES_MAX of memory each.
LOOKED_AT_ONCE = 8
# The beginning of a JSON object (RFC 8259, section 2): of anything else no more is read.
_JSON_STARTS = (b"{", b" ", b"\t", b"\n", b"\r")


class SmallBlobs:
    """Reads small blobs whole, from the store where they are kept."""

    def __init__(self, upstreams: Upstreams, transfers: Transfers) -> None:
        self._upstreams = upstreams
        self._transfers = transfers
        self._configs: LRUCache[tuple[Repository, Digest], int] = LRUCache(CONFIGS_MAX)
        self._looking = asyncio.Semaphore(LOOKED_AT_ONCE)

    async def artifact(self, repository: Repository, grant: BlobGrant) -> bytes:
        """Return a blob of an artifact: text, or MalformedError. Raises oci.errors.

        The gate has read the content of this digest. It is looked at again, for no layer may leave this way.
        """
        member = grant.member
        if member.size > ARTIFACT_BLOB_BYTES_MAX:
            raise CorruptError(f"blob {member.digest} has {member.size} bytes, more than {ARTIFACT_BLOB_BYTES_MAX}")
        try:
            async with asyncio.timeout(SECONDS):
                content = await self._kept(repository, member.digest, member.size)
        except TimeoutError:
            raise UnavailableError(f"the upstream does not send the blob within {SECONDS:g} s") from None
        if content is None:
            descriptor = Descriptor(member.media_type, member.digest, member.size)
            content = await self._upstreams.blob(repository, descriptor, ARTIFACT_BLOB_BYTES_MAX)
        if not await asyncio.to_thread(is_text, content):
            raise MalformedError("the blob of an artifact is not text")
        return content

    async def _kept(self, repository: Repository, digest: Digest, size: int) -> bytes | None:
        """Return the blob from the store, or while it comes into it; None where it has to be had straight."""
        found = await self._transfers.open(repository, digest, size)
        if found is None:
            return None
        with closing(found):
            if isinstance(found, StoredBlob):
                return await self._checked(found)
            async with aclosing(found.chunks(range(size))) as chunks:
                return b"".join([chunk async for chunk in chunks])

    async def _checked(self, stored: StoredBlob) -> bytes | None:
        content = b""
        with suppress(OSError):
            content = await asyncio.to_thread(stored.file.read, stored.size)
        if not stored.digest.matches(content):
            self._transfers.doubt(stored.digest)
            return None
        return content

    async def config(self, repository: Repository, digest: Digest) -> bytes | None:
        """Return a blob that is an image config and can be had; None for anything else."""
        with suppress(RegistryError):
            return await self.config_or_error(repository, digest)
        return None

    async def config_or_error(self, repository: Repository, digest: Digest) -> bytes | None:
        """Return a blob that is an image config (image-spec, config.md), None for what nobody can take for one.

        Only for Docker's classic store, which would go on to the next registry if it were refused. Raises oci.errors if
        it cannot be had, and MalformedError if it may be taken for a config and is not let through.
        """
        size = self._configs.get((repository, digest))
        if size is not None:
            stored = self._transfers.stored(digest, size)
            if stored is not None:
                with closing(stored):
                    content = await self._checked(stored)
                if content is not None:
                    return content
        async with self._looking:
            return await self._fetched_config(repository, digest)

    async def _fetched_config(self, repository: Repository, digest: Digest) -> bytes | None:
        pieces = bytearray()
        async with self._upstreams.open_blob(repository, digest, range_header=None) as stream:
            async for chunk in stream.chunks:
                pieces += chunk
                if not pieces.startswith(_JSON_STARTS):
                    return None
                if len(pieces) > CONFIG_BYTES_MAX:
                    raise MalformedError(f"more than {CONFIG_BYTES_MAX} bytes, of which none are let through")
        content = bytes(pieces)
        if not digest.matches(content):
            raise CorruptError(f"the upstream's bytes do not have the digest {digest}")
        await asyncio.to_thread(_check_config, content)
        self._configs[repository, digest] = len(content)
        self._transfers.put(repository, digest, content)
        return content


def _check_config(content: bytes) -> None:
    config = loads_object(content, "the config")
    CONFIG.check(config, "the config")
    if reads_as_tar(content):
        raise MalformedError("the config is an archive as well")
    if not isinstance(config.get("rootfs"), dict) or not isinstance(config.get("architecture"), str):
        raise MalformedError("no config of an image")
