"""User agents of real clients, and of nobody."""

import pytest

from proxy.ops.clients import KINDS, USER_AGENT_MAX, client_kind, shown_user_agent


@pytest.mark.parametrize(
    ("user_agent", "kind"),
    [
        ("docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 UpstreamClient(Docker-Client/20.10.24)", "docker"),
        ("docker/29.0.0 go/go1.25 containerd-client/v2.3.3 storage-driver/overlayfs", "docker"),
        ("containerd/1.6.20~ds1", "containerd"),
        ("containerd/v2.1.4", "containerd"),
        ("buildkit/v0.25", "buildkit"),
        ("containers/5.23.1 (github.com/containers/image)", "containers_image"),
        ("libpod/4.3.1", "containers_image"),
        ("skopeo/1.9.3", "containers_image"),
        ("Buildah/1.28.2", "containers_image"),
        ("cri-o/1.30.0 go/go1.22 os/linux arch/amd64", "containers_image"),
        ("Python-urllib/3.11", "other"),
        ("mydocker/1", "other"),
        ("", "other"),
        ("x" * USER_AGENT_MAX + " docker/1", "other"),
    ],
)
def test_kinds(user_agent, kind):
    assert client_kind(user_agent) == kind
    assert kind in KINDS


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [("docker/1", "docker/1"), ("a\x1b[31m\r\nb\u202ec\x7f", "a?[31m??b?c?"), ("x" * 500, "x" * USER_AGENT_MAX)],
)
def test_what_is_shown_is_safe_for_a_terminal(user_agent, shown):
    assert shown_user_agent(user_agent) == shown
