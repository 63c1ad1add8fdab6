"""A mirror, and the registry that it stands for."""

import pytest
from support.config import CATCH_ALL, mistakes, settings

from proxy.upstream.endpoint import Credentials, Endpoint

HUB = '[upstreams."docker.io"]\nurl = "https://mirror.intern"\n'
TABLE = HUB + '[upstreams."docker.io".signatures]\n'


def test_the_registry_that_a_mirror_stands_for(tmp_path):
    (tmp_path / "password").write_text("of-the-hub")
    mirror = (
        '[upstreams."docker.io"]\nurl = "https://mirror.intern"\nusername = "us"\npassword_file = "password"\n'
        'token_realms = ["login.intern"]\nredirect_hosts = ["10.0.0.1:9000"]\n'
    )
    (plain,) = settings(tmp_path, mirror + "signatures = {}").upstreams.values()
    assert plain.signatures == Endpoint("docker.io", "https://registry-1.docker.io")
    own = 'url = "http://10.0.0.2"\ninsecure_http = true\nusername = "hub"\npassword_file = "password"'
    made = settings(tmp_path, mirror, f'[upstreams."docker.io".signatures]\n{own}')
    (given,) = made.upstreams.values()
    assert (given.url, given.insecure_http, given.credentials.username) == ("https://mirror.intern", False, "us")
    assert given.signatures == Endpoint(
        "docker.io", "http://10.0.0.2", credentials=Credentials("hub", "of-the-hub"), insecure_http=True
    )
    assert made.relaxations == ('upstreams."docker.io".signatures: insecure_http = true',)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HUB + 'signatures = "https://docker.io"', '"docker.io".signatures: should be a table'),
        (HUB + 'signatures_url = "a"', "(did you mean 'signatures'?)"),
        (TABLE + 'usrname = "a"', "\"docker.io\".signatures.usrname: there is no such key (did you mean 'username'?)"),
        (TABLE + 'password = "hunter2"', "write password_file or password_env"),
        (TABLE + "signatures = {}", '"docker.io".signatures.signatures: there is no such key'),
        (TABLE + 'username = "a"', '"docker.io".signatures: username needs either password_file'),
        (TABLE + 'ca_file = "missing"', "/missing: no such file"),
        (TABLE + 'url = "http://hub.example.com"', '"docker.io".signatures: http://hub.example.com is plain http'),
        (TABLE + 'url = "https://mirror.intern:443"', '"docker.io".signatures.url: https://mirror.intern:443 is where'),
        ('[upstreams."docker.io".signatures]', "https://registry-1.docker.io is where the images come from too"),
        ('[upstreams."a_b".signatures]', "upstreams.a_b: registry name 'a_b' is not a host name"),
    ],
)
def test_mistakes(tmp_path, text, found):
    assert any(found in said for said in mistakes(tmp_path, text, CATCH_ALL))
