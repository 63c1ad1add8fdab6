"""What a client calls itself: for metrics and logs only. It is free text from outside, and nothing is decided by it."""

# More than any client sends; Docker's own is about 150 characters.
USER_AGENT_MAX = 200
# In this order: Docker with the containerd store names both.
_KINDS = (
    ("docker", ("docker/",)),
    ("buildkit", ("buildkit/",)),
    ("containerd", ("containerd/", "containerd-client/")),
    ("containers_image", ("containers/", "libpod/", "podman/", "skopeo/", "buildah/", "cri-o/")),
)
KINDS = (*(kind for kind, _ in _KINDS), "other")


def client_kind(user_agent: str) -> str:
    """Return one of KINDS."""
    words = user_agent[:USER_AGENT_MAX].lower().split()
    for kind, beginnings in _KINDS:
        if any(word.startswith(beginnings) for word in words):
            return kind
    return "other"


def shown_user_agent(user_agent: str) -> str:
    """Return the text as printable ASCII, at most USER_AGENT_MAX characters."""
    return "".join(char if " " <= char <= "~" else "?" for char in user_agent[:USER_AGENT_MAX])
