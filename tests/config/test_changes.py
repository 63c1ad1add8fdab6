"""What a reload says that it changed."""

from dataclasses import replace

import pytest
from support.stack import KEY
from support.whole import configuration

from proxy.config import changes, load
from proxy.demo.signing import SigningKey

MORE = """
[upstreams."ghcr.io"]

[signers.other]
type = "github-actions"
repository = "org/app"

[[rules]]
name = "github"
images = ["ghcr.io/org/**"]
require = "other"
"""
CHANGES = [
    ([], {}),
    ([("\n", "\n# a comment\n")], {}),
    ([('mode = "enforce"', "")], {}),
    ([('images = ["**"]', 'images = ["**", "ghcr.io/a"]')], {"rules_altered": ["everything"]}),
    ([('mode = "enforce"', 'mode = "warn"')], {"rules_altered": ["everything"]}),
    ([('mode = "enforce"', 'on_outage = "insecure_allow"')], {"rules_altered": ["everything"]}),
    ([('mode = "enforce"', 'tag_max_stale = "1h"')], {"rules_altered": ["everything"]}),
    ([('mode = "enforce"', 'accepted_max_stale = "1h"')], {"rules_altered": ["everything"]}),
    ([('require = "release"', 'require = "refuse"')], {"rules_altered": ["everything"]}),
    (
        [
            ('name = "github"', 'name = "gh"'),
            ('[upstreams."ghcr.io"]', '[upstreams."ghcr.io"]\nusername = "me"\npassword_env = "P"'),
        ],
        {"rules_added": ["gh"], "rules_removed": ["github"], "upstreams_altered": ["ghcr.io"]},
    ),
    ([('"org/app"', '"org/other"')], {"rules_altered": ["github"], "signers_altered": ["other"]}),
    (
        [(MORE, "")],
        {
            "rules_removed": ["github"],
            "signers_removed": ["other"],
            "trust_roots_removed": ["public-good"],
            "upstreams_removed": ["ghcr.io"],
        },
    ),
    ([('[upstreams."ghcr.io"]', '[upstreams."ghcr.io"]\n[upstreams."quay.io"]')], {"upstreams_added": ["quay.io"]}),
    (
        [("[server]", '[server]\nlog_level = "debug"\nworkers = 2')],
        {"settings_altered": ["server.workers", "server.log_level"]},
    ),
    (
        [("[server]", '[lifetimes]\ntag = "5s"\n[cache]\nsize = 0\n[limits]\nverifications_at_once = 3\n[server]')],
        {"settings_altered": ["cache.size", "limits.verifications_at_once", "lifetimes"]},
    ),
]


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("P", "secret")
    return configuration(tmp_path, "http://127.0.0.1:9", rule='mode = "enforce"', more=MORE)


@pytest.mark.parametrize(("edits", "expected"), CHANGES, ids=range(len(CHANGES)))
def test_what_changed_is_named(config, edits, expected):
    before, text = load(config), config.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    config.write_text(text)
    found = changes(before, load(config))
    assert {name: set(what) for name, what in found.items()} == {name: set(what) for name, what in expected.items()}
    assert "secret" not in str(found)


def test_the_same_key_in_another_file_alters_nothing_and_another_key_does(config, tmp_path):
    before, text = load(config), config.read_text()
    config.write_text(text.replace('key_file = "release.pub"', 'key_file = "other.pub"'))
    (tmp_path / "other.pub").write_bytes(KEY.public_pem)
    assert changes(before, load(config)) == {}
    (tmp_path / "other.pub").write_bytes(SigningKey.generate().public_pem)
    assert changes(before, load(config)) == {"rules_altered": ["everything"], "signers_altered": ["release"]}


def test_a_trust_root_that_was_refreshed_alters_no_signer(config):
    settings = load(config)
    known = settings.trust_roots["public-good"]
    root = replace(known.root, fingerprint="00" * 32)
    stored = replace(known.stored, root=root)
    later = replace(settings.trusting("public-good", root), trust_roots={"public-good": replace(known, stored=stored)})
    assert changes(settings, later) == {"trust_roots_altered": ["public-good"]}
