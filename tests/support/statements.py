"""Statements about nothing in particular, for what is asked of predicates."""

import json

from proxy.formats.cosign.dsse import Statement

DIGEST = "a" * 64


def statement(predicate, predicate_type="https://example.test/type/v1"):
    return Statement.parse(
        json.dumps(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": "app", "digest": {"sha256": DIGEST}, "annotations": {"stage": "release"}}],
                "predicateType": predicate_type,
                "predicate": predicate,
            }
        ).encode()
    )
