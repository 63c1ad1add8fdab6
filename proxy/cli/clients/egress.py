"""The egress rule for a node: the boundary that no client configuration replaces, as an nftables ruleset."""

from proxy.cli.clients.model import Endpoint

# The user of deploy/systemd/sealgate.service.
SERVICE_USER = "sealgate"
_WHY = """\
No client configuration stops root on the node, a second client, or curl. The boundary that does is the
network: nodes may reach Sealgate, only Sealgate may reach registries and their CDNs. On a node, as a file for nft -f:
"""


def egress_rule(endpoint: Endpoint) -> str:
    """Return the explanation and the ruleset, indented by four spaces; `nft -f` may load it again after a change.

    Where the endpoint is on loopback Sealgate runs on the node itself, and its user is let out. Elsewhere that line is
    a comment, because nft refuses a file that names a user whom the node does not have.
    """
    own = f'meta skuid "{SERVICE_USER}" accept'
    if endpoint.is_loopback:
        own = f"{own}  # Sealgate itself: the user that it runs as, by name or number (65532 in the container image)"
    else:
        own = f"# {own}  # only if Sealgate also runs on this node"
    return (
        f"{_WHY}\n"
        "    table inet sealgate\n"
        "    flush table inet sealgate\n"
        "    table inet sealgate {\n"
        "      chain output {\n"
        "        type filter hook output priority filter; policy accept;\n"
        '        oifname "lo" accept\n'
        f"        {own}\n"
        f"        {endpoint.nft_match} accept  # Sealgate\n"
        "        # accept here what else the node needs: its API server, package mirrors, time\n"
        "        tcp dport { 80, 443, 5000 } reject with tcp reset\n"
        "      }\n"
        "    }\n"
    )
