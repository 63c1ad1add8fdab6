"""TLS to upstreams: who is trusted."""

import ssl

from proxy.oci.errors import MalformedError
from proxy.upstream.endpoint import Endpoint


def client_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return what an upstream is dialled with; raises MalformedError where a file of it cannot be used."""
    context = ssl.create_default_context()
    if endpoint.ca_file is not None:
        try:
            context.load_verify_locations(endpoint.ca_file)
        except (OSError, ssl.SSLError) as err:
            raise MalformedError(f"the CA file {endpoint.ca_file} cannot be used: {err}") from None
    return context
