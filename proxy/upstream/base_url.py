"""The `url` of an upstream: the location of the registry's API, and the prefix of its repositories.

Harbor's projects, Artifactory's and Nexus' repositories and ECR's pull-through caches are paths of one host. `url` then
has that path, as a client would write it in an image name (`https://harbor.corp/dockerhub`) or in a request
(`https://harbor.corp/v2/dockerhub`); what stands before `/v2` is where the API is (`https://art.corp/api/docker/x/v2`).
"""

import re
from dataclasses import dataclass

from yarl import URL

from proxy.oci.errors import MalformedError
from proxy.oci.reference import Repository
from proxy.upstream.origins import read_origin

# RFC 3986, section 2.3: what is the same percent-encoded or not, so that nobody needs to decode it.
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)
_API = "v2"


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """`origin` is scheme, host and port, `api` the URL of the API's `/v2`, `prefix` empty or ends in a slash."""

    origin: URL
    api: URL
    prefix: str

    @classmethod
    def parse(cls, text: str) -> "BaseUrl":
        """Read the configured URL of a registry; raises MalformedError where it is none, or has a path that is none."""
        origin = read_origin(text)
        segments = [one for one in URL(text, encoded=True).raw_path.strip("/").split("/") if one]
        if not all(_SEGMENT.fullmatch(one) and one.strip(".") for one in segments):
            raise MalformedError(
                "the path in the URL of a registry is not plain; "
                "write letters, digits, '.', '_', '~' and '-' between the slashes, nothing percent-encoded"
            )
        at = segments.index(_API) if _API in segments else None
        before, after = (segments[:at], segments[at + 1 :]) if at is not None else ([], segments)
        api = URL("/".join([str(origin), *before, _API]), encoded=True)
        return cls(origin, api, f"{_checked('/'.join(after))}/" if after else "")

    def path(self, repository: Repository) -> str:
        """Return the repository's path at the registry: in requests and in the scope of tokens."""
        return self.prefix + repository.path

    def url(self, repository: Repository, below: str) -> URL:
        """Return the URL of something in a repository. All parts were checked: nothing needs percent-encoding."""
        return URL(f"{self.api}/{self.path(repository)}/{below}", encoded=True)


def _checked(prefix: str) -> str:
    try:
        return Repository.of("registry.invalid", prefix).path
    except MalformedError:
        raise MalformedError(
            f"{prefix[:80]!r} in the URL of a registry cannot begin the name of a repository; "
            "write what stands between host and repository in image names there, in lower case"
        ) from None
