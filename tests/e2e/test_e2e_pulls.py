"""What the product is for: a verified image arrives, a refused one does not, whatever the client tries."""

import base64
import json
import re
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar
from urllib.error import HTTPError

import pytest
from e2e import content
from e2e.clients import CLIENTS, Client, Containers, create_image, dockerd
from e2e.lab import DEAD, Outcome
from e2e.lab import sealgate as lab_sealgate
from e2e.stage import Stage, descriptor, put_signature

from proxy.demo.signing import classic_signature
from proxy.oci.digest import Digest

BY = ["by_tag", "by_digest"]
REFUSED = {
    "unsigned": "not signed",
    "unsigned-multi": "not signed",
    "stranger": "signed, but by nobody this rule trusts",
}
_ID = re.compile(r"\(id [0-9a-z]{6,}\)")
_each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
_each_way = pytest.mark.parametrize("by", BY)


@_each_client
@_each_way
@pytest.mark.parametrize("name", ["signed", "multi"])
def test_verified_image_arrives(the_stage: Stage, sealgate: str, client: Client, name: str, by: str) -> None:
    record = the_stage.lab.pull("verified", client, sealgate, the_stage.images[name], by)
    assert record.outcome is Outcome.OK, str(record)
    assert record.pull.code == 0, str(record)


@_each_client
@_each_way
@pytest.mark.parametrize("name", REFUSED)
def test_refused_image_is_held(the_stage: Stage, sealgate: str, client: Client, name: str, by: str) -> None:
    record = the_stage.lab.pull("refused", client, sealgate, the_stage.images[name], by)
    assert record.outcome is Outcome.HELD, str(record)
    assert REFUSED[name] in record.pull.output, str(record)
    assert _ID.search(record.pull.output), str(record)


@pytest.mark.parametrize("program", ["podman", "skopeo", "buildah"])
def test_a_login_does_not_say_that_a_password_was_checked(the_stage: Stage, sealgate: str, program: str) -> None:
    """A pull with credentials for the mirror, from before or from elsewhere, goes on as before."""
    image, proxy = the_stage.images["signed"], sealgate.removeprefix("http://")
    (client,) = (client for client in CLIENTS if client.name == f"{program} mirror")
    the_stage.lab.hub.settle()
    with the_stage.lab.box() as box:
        client.configure(box, sealgate)
        base = (f"--root={box.folder}/root", f"--runroot={box.folder}/runroot", "--storage-driver=vfs")
        options = () if program == "skopeo" else base
        file = str(box.folder / "auth.json")
        login = (program, *options, "login", "--tls-verify=false", f"--authfile={file}", "-u=user", "-p=secret", proxy)
        said = box.run(*login)
        assert said.code, said.output
        assert "Succeeded" not in said.output
        box.write("auth.json", json.dumps({"auths": {proxy: {"auth": "dXNlcjpzZWNyZXQ="}}}))
        pull = ("copy", f"--authfile={file}", f"docker://{image.by_tag}", f"dir:{box.folder}/image")
        pulled = box.run(
            program, *(pull if program == "skopeo" else (*options, "pull", f"--authfile={file}", image.by_tag))
        )
        assert pulled.code == 0, pulled.output
    assert the_stage.lab.hub.settle() == []


def test_docker_takes_any_login_for_a_success(the_stage: Stage, sealgate: str) -> None:
    """It sends no password where nothing asks for one; a challenge would send its pulls to Docker Hub."""
    with the_stage.lab.box() as box, dockerd(box, sealgate) as docker:
        said = docker("login", "-u", "user", "-p", "secret", sealgate.removeprefix("http://"))
    assert "Login Succeeded" in said.output, said.output


@_each_client
@_each_way
def test_what_cannot_be_verified_now_is_held(the_stage: Stage, blind: str, client: Client, by: str) -> None:
    record = the_stage.lab.pull("registry away", client, blind, the_stage.images["signed"], by)
    assert record.outcome is Outcome.HELD, str(record)
    assert "could not be verified now" in record.pull.output, str(record)
    assert _ID.search(record.pull.output), str(record)


_odd_names = pytest.mark.parametrize("namespace", ["localhost", "with.dot", "docker.io/library"])


@pytest.mark.parametrize("client", [it for it in CLIENTS if it.name != "docker"], ids=lambda client: client.name)
@_each_way
@_odd_names
def test_an_image_of_the_hub_whose_name_begins_with_a_registry_is_held(
    the_stage: Stage, sealgate: str, client: Client, namespace: str, by: str
) -> None:
    """The client leaves `docker.io` out where it asks its mirror; the hub would serve the image."""
    image = replace(the_stage.images["unsigned"], repository=f"{namespace}/unsigned")
    image.put(the_stage.lab.shelf)
    record = the_stage.lab.pull("odd name", client, sealgate, image, by)
    assert record.outcome is Outcome.HELD, str(record)
    assert "sealgate: " in record.pull.output, str(record)


@_odd_names
def test_docker_is_held_at_such_a_name_too(the_stage: Stage, sealgate: str, namespace: str) -> None:
    """By its API, as compose and SDKs use it: the command line makes another name of it and asks no mirror."""
    image, lab = replace(the_stage.images["unsigned"], repository=f"{namespace}/unsigned"), the_stage.lab
    image.put(lab.shelf)
    lab.hub.settle()
    for reference in (image.tag, str(image.image.digest)):
        with lab.box() as box, dockerd(box, sealgate) as docker:
            said = create_image(box.folder / "docker.sock", f"docker.io/{image.repository}", reference)
            assert docker("images", "-q").output == ""
        assert "sealgate: " in said
        assert lab.hub.settle() == [], said


@_each_client
@pytest.mark.parametrize("lost", ["layer", "child"])
def test_what_an_accepted_image_lacks_upstream_is_said(
    the_stage: Stage, sealgate: str, client: Client, lost: str
) -> None:
    """A blob or a child that the registry lost: the hub has it, and the client hears why it does not come."""
    make = content.single if lost == "layer" else content.multi
    lab, image = the_stage.lab, make(f"no-{lost}-{re.sub('[^a-z]', '-', client.name)}")
    place = content.PushTo(lab.upstream)
    image.put(lab.shelf)
    image.put(place)
    put_signature(place, image.repository, classic_signature(the_stage.key, descriptor(image)))
    gone = Digest.of(image.image.blobs[1]) if lost == "layer" else image.own_platform.digest
    data = lab.folder / "upstream" / "data" / "docker/registry/v2/blobs/sha256" / gone.hex[:2] / gone.hex / "data"
    data.unlink()
    record = lab.pull("lost upstream", client, sealgate, image, "by_tag")
    assert record.outcome is Outcome.HELD, str(record)
    if record.pull.code is None:  # BuildKit in Docker 20.10 tries a layer six times, in more than a minute
        return
    assert re.search("sealgate(: |, ).*not found", record.pull.output), str(record)


_containers = pytest.mark.parametrize("client", [it for it in CLIENTS if isinstance(it, Containers)], ids=str)


@_containers
def test_the_tag_of_a_signature_that_is_not_there_is_no_way_to_the_hub(
    the_stage: Stage, sealgate: str, client: Containers
) -> None:
    """The image has a bundle and no classic signature; the hub has an image under that tag."""
    lab, image = the_stage.lab, the_stage.images["multi"]
    evil = replace(
        the_stage.images["unsigned"], repository=image.repository, tag=f"sha256-{image.image.digest.hex}.sig"
    )
    evil.put(lab.shelf)
    record = lab.pull("no signature", client, sealgate, evil, "by_tag")
    assert record.outcome is Outcome.HELD, str(record)
    assert record.pull.code, str(record)
    assert "sealgate: " in record.pull.output, str(record)


@_containers
@pytest.mark.parametrize("required", [False, True])
def test_an_absent_signature_is_absent_to_who_looks_for_it(
    the_stage: Stage,
    sealgate: str,
    client: Containers,
    required: bool,  # noqa: FBT001 (a table)
) -> None:
    """With `use-sigstore-attachments` containers/image looks at the tag after each manifest, for its own policy."""
    image, lab, key = the_stage.images["multi"], the_stage.lab, base64.b64encode(the_stage.key.public_pem).decode()
    wanted = {"type": "sigstoreSigned", "keyData": key} if required else {"type": "insecureAcceptAnything"}
    lab.hub.settle()
    with lab.box() as box:
        box.write("/etc/containers/registries.d/x.yaml", "default-docker:\n  use-sigstore-attachments: true\n")
        pull = client.pull(box, sealgate, image.by_tag, json.dumps({"default": [wanted]}))
    assert lab.hub.settle() == [], pull.output
    assert (pull.code == 0) is not required, pull.output
    assert not required or "no signature exists" in pull.output


@_each_way
def test_docker_is_denied_a_refused_image_by_its_explicit_name(the_stage: Stage, sealgate: str, by: str) -> None:
    image = the_stage.images["unsigned"]
    name = f"{sealgate.removeprefix('http://')}/{getattr(image, by)}"
    with the_stage.lab.box() as box, dockerd(box, sealgate) as docker:
        pulled = docker("pull", name)
    assert pulled.code, pulled.output
    # The classic store shows the code of the error, the containerd store does not.
    assert re.search(r"(denied|error from registry): sealgate: .*: not signed \(id", pulled.output), pulled.output


@pytest.mark.parametrize("known", [True, False], ids=["known", "never asked for"])
def test_docker_that_kept_the_manifest_does_not_get_the_layers(
    the_stage: Stage,
    fresh_sealgate: str,
    known: bool,  # noqa: FBT001 (a table)
) -> None:
    """After `docker rmi` the classic store asks for blobs only, maybe of an image that Sealgate never saw."""
    image, lab = the_stage.images["unsigned"], the_stage.lab
    if known:
        with pytest.raises(HTTPError):
            content.get(f"{fresh_sealgate}/v2/docker.io/{image.repository}/manifests/{image.image.digest}")
    with lab.box() as box:
        with dockerd(box, DEAD) as docker:  # got past a mirror that was away
            assert docker("pull", image.by_digest).code == 0
            assert docker("rmi", image.by_digest).code == 0
        assert lab.hub.settle()
        with dockerd(box, fresh_sealgate) as docker:
            pulled = docker("pull", image.by_digest)
    assert lab.hub.settle() == [], pulled.output
    assert pulled.code, pulled.output
    assert "sealgate" in pulled.output


def test_docker_gets_the_layers_of_a_verified_image_of_which_it_kept_the_manifest(
    the_stage: Stage, sealgate: str
) -> None:
    image, lab = the_stage.images["signed"], the_stage.lab
    lab.hub.settle()
    with lab.box() as box, dockerd(box, sealgate) as docker:
        assert docker("pull", image.by_digest).code == 0
        assert docker("rmi", image.by_digest).code == 0
        pulled = docker("pull", image.by_digest)
    assert pulled.code == 0, pulled.output
    assert lab.hub.settle() == [], pulled.output


@pytest.mark.parametrize("sealed", [False, True], ids=["mirror", "sealed"])
def test_skopeo_inspects_a_verified_image(the_stage: Stage, sealgate: str, sealed: bool) -> None:  # noqa: FBT001 (a table)
    image, lab = the_stage.images["signed"], the_stage.lab
    (client,) = (client for client in CLIENTS if client.name.startswith("skopeo") and client.sealed is sealed)
    lab.hub.settle()
    with lab.box() as box:
        client.configure(box, sealgate)
        seen = box.run("skopeo", "inspect", "--no-tags", f"docker://{image.by_tag}")
    assert seen.code == 0, seen.output
    assert str(image.image.digest) in seen.output
    assert lab.hub.settle() == []


@pytest.mark.parametrize("name", ["signed", "multi"])
def test_signatures_can_be_read(the_stage: Stage, sealgate: str, name: str) -> None:
    """So that cosign and others work behind Sealgate; their blobs too."""
    signature, image = the_stage.signatures[name], the_stage.images[name]
    base = f"{sealgate}/v2/{image.repository}"
    with the_stage.lab.box() as box:
        box.write("/etc/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        reference = f"{sealgate.removeprefix('http://')}/docker.io/{image.repository}@{signature.digest}"
        raw = box.run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}")
    assert raw.output.encode() == signature.manifest_body
    for digest, body in signature.blobs.items():
        assert content.get(f"{base}/blobs/{digest}") == body


class _Elsewhere(BaseHTTPRequestHandler):
    """An address in a manifest: serves one layer to whoever asks."""

    content = b""
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Serve it, and take note."""
        self.asked.append(self.headers.get("User-Agent", ""))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("setting", ["refuse", "insecure_allow"])
def test_layers_that_clients_would_fetch_elsewhere(the_stage: Stage, setting: str) -> None:
    """The setting that allows it is the control: it shows which of these clients go to the address."""
    lab, image = the_stage.lab, content.single(f"elsewhere-{setting.replace('_', '-')}")
    _Elsewhere.content = image.image.blobs[1]
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        document = json.loads(image.image.body)
        document["layers"][0]["urls"] = [f"http://127.0.0.1:{server.server_port}/layer"]
        body = json.dumps(document).encode()
        named = replace(image, image=replace(image.image, body=body))
        place = content.PushTo(lab.upstream)
        image.put(place)
        place.add_manifest(named.repository, named.image.media_type, body, named.tag)
        put_signature(place, named.repository, classic_signature(the_stage.key, descriptor(named)))
        folder, key = lab.folder / setting, the_stage.key.public_pem
        options = f'external_urls = "{setting}"\n'
        with lab_sealgate(lab.tools, folder, 5030, lab.upstream, key, server=options) as url:
            went = {}
            for client in CLIENTS:
                _Elsewhere.asked.clear()
                record = lab.pull(f"urls {setting}", client, url, named, "by_tag")
                went[client.name] = bool(_Elsewhere.asked)
                assert record.outcome is (Outcome.HELD if setting == "refuse" else Outcome.OK), str(record)
        server.shutdown()
    # Docker's classic store fetches so on Windows only; with the containerd store it is another client.
    others = {name: there for name, there in went.items() if name != "docker"}
    assert set(others.values()) == {setting == "insecure_allow"}, went


# What brings no image and goes past every mirror and remap, or does not: docs/bypass.md says the same.
ASKS_THE_HUB = {
    "skopeo list-tags docker://docker.io/{0.repository}": True,
    "skopeo inspect docker://{0.by_tag}": True,  # for the list of tags; the manifest comes from us
    "skopeo inspect --no-tags docker://{0.by_tag}": False,
    "podman manifest inspect {0.by_tag}": False,
    "podman search --list-tags docker.io/{0.repository}": True,
}


@pytest.mark.parametrize("name", ["skopeo mirror", "skopeo sealed"])
def test_which_metadata_commands_ask_the_hub(the_stage: Stage, sealgate: str, name: str) -> None:
    lab, image, asked = the_stage.lab, the_stage.images["multi"], {}
    (client,) = (client for client in CLIENTS if client.name == name)
    for command in ASKS_THE_HUB:
        lab.hub.settle()
        with lab.box() as box:
            client.configure(box, sealgate)
            box.run(*command.format(image).split())
        asked[command] = bool(lab.hub.settle())
    assert asked == ASKS_THE_HUB


def test_docker_reads_manifests_at_the_hub_itself(the_stage: Stage, sealgate: str) -> None:
    """`docker manifest inspect` is the command line's own, which knows nothing of the daemon's mirrors."""
    lab, image = the_stage.lab, the_stage.images["signed"]
    lab.hub.settle()
    with lab.box() as box, dockerd(box, sealgate) as docker:
        docker("manifest", "inspect", image.by_tag)
    assert lab.hub.settle() != []
