"""Mistakes on the command line: the message in one line and in our words, and the option that was meant."""

import re

_CONFIG_OPTIONS = frozenset({"-c", "--config", "-f", "--config-file", "--file", "--conf"})
# By what other tools are told on the command line (cosign, podman, skopeo, docker), and here in the configuration.
_CONFIGURED = {
    "--key": "the signers that count are in the configuration, [signers.NAME]",
    "-k": "the signers that count are in the configuration, [signers.NAME]",
    "--certificate-identity": "the signers that count are in the configuration, [signers.NAME]",
    "--insecure": "certificates are always checked: ca_file in [upstreams] names the registry's authority",
    "--tls-verify": "certificates are always checked: ca_file in [upstreams] names the registry's authority",
    "--allow-insecure-registry": "insecure_http in [upstreams] is for plain http",
    "--port": "listen is in the configuration, [server]",
    "--listen": "listen is in the configuration, [server]",
    "--username": "username and password_file are in the configuration, [upstreams]",
    "--creds": "username and password_file are in the configuration, [upstreams]",
    "--verbose": "log_level is in the configuration, [server]; sealgate --version prints the version",
    "--debug": "log_level is in the configuration, [server]",
    "-v": "sealgate --version prints the version, log_level in [server] says how much is logged",
    "-V": "sealgate --version prints the version",
}


def usage_fault(message: str) -> str:
    """Return a message of the command line's library without its own words, in one line."""
    plain = re.sub(r"(?:Value error|Assertion failed), ", "", message).replace("Input should be", "should be")
    plain = plain.replace("got unexpected extra argument(s)", "too many arguments:")
    plain = plain.replace("Got unexpected extra argument(s)", "Too many arguments:")
    return re.sub(r",?\s*\n\s*", ", ", plain.strip()).replace(":, ", ": ")


def usage_hint(message: str, command: str) -> str:
    """Return what was most likely meant, or where it says what there is."""
    helped = f"{command} --help says what there is"
    option = re.match(r"No such option: (--?[\w-]+)", message)
    extra = re.match(r"Too many arguments: \((.*)\)", message)
    if option is not None and option[1] in _CONFIG_OPTIONS:
        place = f"{command} COMMAND" if " " not in command else command
        return f"the configuration is given by --config, after the command: {place} --config FILE"
    if option is not None:
        return _CONFIGURED.get(option[1], helped)
    if extra is not None and extra[1].endswith((".toml", ".conf", ".yaml", ".yml")):
        return f"the configuration is given by --config: {command} --config {extra[1]}"
    return helped
