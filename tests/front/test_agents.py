"""What a User-Agent says of a client: only Docker goes on to Docker Hub."""

import pytest

from proxy.front.agents import Docker, docker_of
from proxy.oci.platforms import Platform

DEBIAN = (
    "docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0-13-amd64 os/linux arch/amd64 "
    r"UpstreamClient(Docker-Client/25.0.1 \(linux\) os/windows arch/arm64)"
)
WINDOWS = (
    "docker/24.0.7 go/go1.20.10 git-commit/311b9ff kernel/10.0 17763 (17763.1.amd64fre.rs5_release.180914-1434) "
    "os/windows arch/amd64 UpstreamClient()"
)
AMD64, WINDOWS_AMD64 = Platform("linux", "amd64"), Platform("windows", "amd64")


@pytest.mark.parametrize(
    ("agent", "docker"),
    [
        (DEBIAN, Docker(named=True, version=(20, 10), platform=AMD64)),
        ("docker/29.0.0 os/linux arch/arm64", Docker(named=True, version=(29, 0), platform=Platform("linux", "arm64"))),
        ("docker/18.06.1-ce os/linux arch/arm", Docker(named=True, version=(18, 6), platform=Platform("linux", "arm"))),
        (WINDOWS, Docker(named=True, version=(24, 0), platform=WINDOWS_AMD64, build=17763)),
        ("docker/dev os/linux arch/amd64", Docker(named=True, platform=AMD64)),
        ("docker/20.10.24", Docker(named=True, version=(20, 10))),
        ("docker/99999.1 os/linux", Docker(named=True)),
        ("docker/20.10.24 os/linux arch/amd64!", Docker(named=True, version=(20, 10))),
        ("docker/", Docker(named=True)),
        ("", Docker(named=False)),
        ("Python/3.11 aiohttp/3.14.5", Docker(named=False)),
        ("my-curl/1", Docker(named=False)),
        ("curl/7.88.1", None),
        ("crane/v0.20.2 go-containerregistry/v0.20.2", None),
        ("something go-containerregistry/v0.20.2", None),
        ("regclient/regctl (v0.7.1)", None),
        ("oras/1.2.0", None),
        ("ORAS/1.2.0", None),
        ("cosign/v2.4.1 (linux; amd64) go-containerregistry/v0.20.2", None),
        ("docker/20.10.24 go-containerregistry/v1", Docker(named=True, version=(20, 10))),
    ],
)
def test_what_is_read(agent, docker):
    assert docker_of(agent) == docker
