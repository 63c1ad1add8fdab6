import pytest
from support.statements import statement

from proxy.formats.cosign.predicates import URI_MAX, Source, content, form_of, moment, predicate_type
from proxy.oci.errors import MalformedError

V02, V1 = "https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v1"
SPDX, CYCLONEDX = "https://spdx.dev/Document", "https://cyclonedx.org/bom"
VULN, VULNS = "https://cosign.sigstore.dev/attestation/vuln/v1", "https://in-toto.io/attestation/vulns/v0.2"
VEX = "https://openvex.dev/ns"
REPOSITORY, MAIN = "https://github.com/example/app", "refs/heads/main"
BUILDER = "https://builder.test/b"


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("custom", "https://cosign.sigstore.dev/attestation/v1"),
        ("slsaprovenance", V02),
        ("slsaprovenance02", V02),
        ("slsaprovenance1", V1),
        ("spdx", SPDX),
        ("spdxjson", SPDX),
        ("vuln", VULN),
        ("https://example.test/x", "https://example.test/x"),
    ],
)
def test_types_by_name(name, uri):
    assert predicate_type(name) == uri


@pytest.mark.parametrize("name", ["", "slsa", "https://a b", "https://a\n", "https://ä.test", "x://" + "a" * URI_MAX])
def test_what_is_no_type(name):
    with pytest.raises(MalformedError, match="slsaprovenance1"):
        predicate_type(name)


@pytest.mark.parametrize(
    ("uri", "repository", "ref"),
    [
        (REPOSITORY, REPOSITORY, None),
        (f"git+{REPOSITORY}@{MAIN}", REPOSITORY, MAIN),
        (f"git+{REPOSITORY}.git@{MAIN}", REPOSITORY, MAIN),
        (f"{REPOSITORY}.git#{MAIN}", REPOSITORY, MAIN),
        (f"{REPOSITORY}.git#{MAIN}:folder", REPOSITORY, MAIN),
        (f"{REPOSITORY}/", REPOSITORY, None),
        (f"{REPOSITORY}@", REPOSITORY, None),
        ("git+https://GitHub.com/example/app", REPOSITORY, None),
        ("git+https://user@github.com/example/app", "https://user@github.com/example/app", None),
        (f"git+https://evil.test/x@{REPOSITORY}", "https://evil.test/x", "https"),
        (f"https://evil.test/#@{REPOSITORY}", "https://evil.test/", "@https"),
        ("git@github.com:example/app.git", "git@github.com:example/app.git", None),
        ("https://github.com", "https://github.com", None),
        ("", "", None),
    ],
)
def test_sources(uri, repository, ref):
    assert Source.parse(uri) == Source(repository, ref)


def v02(**members):
    return {"builder": {"id": BUILDER}, "buildType": "https://type.test", **members}


def v1(parameters, **members):
    definition = {"buildType": "https://type.test", "externalParameters": parameters, **members}
    return {"buildDefinition": definition, "runDetails": {"builder": {"id": BUILDER}}}


OTHER = {"uri": "git+https://github.com/other/thing@refs/heads/x"}
OURS = {"uri": f"git+{REPOSITORY}@{MAIN}", "digest": {"sha1": "0" * 40}}


@pytest.mark.parametrize(
    ("kind", "predicate", "sources", "refs"),
    [
        # slsa-github-generator, and Tekton Chains.
        (V02, v02(invocation={"configSource": OURS}, materials=[OTHER]), [REPOSITORY], [MAIN]),
        # Google Cloud Build, older.
        (V02, v02(materials=[OURS, OTHER]), [REPOSITORY], [MAIN]),
        # BuildKit, of a repository and of a local folder.
        (V02, v02(invocation={"configSource": {"uri": f"{REPOSITORY}.git#{MAIN}"}}), [REPOSITORY], [MAIN]),
        (V02, v02(invocation={"configSource": {"entryPoint": "Dockerfile"}}, materials=[OURS]), [], []),
        (V02, v02(), [], []),
        (V02, v02(materials=[]), [], []),
        (V02, v02(materials=["x"]), [], []),
        # GitHub's artifact attestations.
        (V1, v1({"workflow": {"repository": REPOSITORY, "ref": MAIN, "path": "x"}}), [REPOSITORY], [MAIN]),
        (V1, v1({"workflow": {"repository": REPOSITORY}}, resolvedDependencies=[OTHER]), [REPOSITORY], []),
        # Google Cloud Build, and its newer form whose ref is an object.
        (V1, v1({"buildConfigSource": {"repository": OURS["uri"], "ref": MAIN}}), [REPOSITORY], [MAIN]),
        (V1, v1({"buildConfigSource": {"repository": REPOSITORY, "ref": {"sha1": "0"}}}), [REPOSITORY], []),
        # BuildKit, of a repository and of a local folder.
        (V1, v1({"configSource": {"uri": f"{REPOSITORY}.git#{MAIN}"}}), [REPOSITORY], [MAIN]),
        (V1, v1({"configSource": {"path": "Dockerfile"}}, resolvedDependencies=[OURS]), [], []),
        # slsa-github-generator's container-based builds; GitLab.
        (V1, v1({"source": OURS}), [REPOSITORY], [MAIN]),
        (V1, v1({"source": "https://gitlab.com/example/app"}), ["https://gitlab.com/example/app"], []),
        # Two that do not agree are both stated.
        (V1, v1({"source": REPOSITORY, "workflow": {"repository": "x"}}), ["x", REPOSITORY], []),
        (V1, v1({"ref": MAIN}, resolvedDependencies=[OURS, OTHER]), [REPOSITORY], [MAIN]),
        (V1, v1({"ref": MAIN}), [], []),
        (V1, v1([]), [], []),
    ],
)  # fmt: skip
def test_provenance(kind, predicate, sources, refs):
    facts = form_of(kind).read(predicate)
    assert facts["builder"] == [BUILDER]
    assert facts["build_type"] == ["https://type.test"]
    assert facts["source"] == sources
    assert facts["source_ref"] == refs


@pytest.mark.parametrize(
    ("kind", "predicate", "made_at"),
    [
        (V02, {"builder": {"id": "x"}, "metadata": {"buildFinishedOn": "T"}}, ["T"]),
        (V1, {"runDetails": {"builder": {"id": "x"}, "metadata": {"finishedOn": "T"}}}, ["T"]),
        (SPDX, {"spdxVersion": "SPDX-2.3", "creationInfo": {"created": "T"}}, ["T"]),
        (SPDX, {"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [{}]}, []),
        (SPDX, "SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0\n", []),
        (CYCLONEDX, {"bomFormat": "CycloneDX", "metadata": {"timestamp": "T"}}, ["T"]),
        (VULN, {"scanner": {"uri": "x"}, "metadata": {"scanFinishedOn": "T"}}, ["T"]),
        (VULNS, {"scanner": {"uri": "x"}}, []),
        (VEX, {"@context": "https://openvex.dev/ns/v0.2.0", "statements": [{}], "timestamp": "T"}, ["T"]),
        (VEX + "/v0.2.0", {"@context": VEX, "statements": [{}], "timestamp": "S", "last_updated": "T"}, ["T"]),
    ],
)
def test_when_it_was_made(kind, predicate, made_at):
    assert form_of(kind).read(predicate)["made_at"] == made_at


@pytest.mark.parametrize("kind", [V02, V1, SPDX, CYCLONEDX, VULN, VULNS, VEX, VEX + "/v0.2.0"])
@pytest.mark.parametrize(
    "predicate",
    [
        {},
        "",
        "text",
        [],
        None,
        1,
        {"builder": {"id": ""}},
        {"runDetails": []},
        {"spdxVersion": 2},
        {"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": []},
        {"bomFormat": "cyclonedx"},
        {"scanner": {"uri": {}}},
        {"@context": VEX},
        {"@context": VEX, "statements": []},
        {"@context": [VEX], "statements": [{}]},
    ],
)
def test_what_is_not_what_it_is_called(kind, predicate):
    with pytest.raises(MalformedError, match="the predicate is no"):
        form_of(kind).read(predicate)


def test_an_unknown_type_has_no_form():
    assert form_of("https://example.test/x") is None
    assert form_of("https://openvex.dev/nsx") is None


@pytest.mark.parametrize(
    ("predicate", "inside"),
    [
        ({"a": 1}, {"a": 1}),
        ({"Data": {"a": 1}, "Timestamp": "T"}, {"a": 1}),
        ({"Data": '{"a": 1}', "Timestamp": "T"}, {"a": 1}),
        ({"Data": '{"a": 1}'}, {"a": 1}),
        ({"Data": '{"a": 1, "a": 2}'}, '{"a": 1, "a": 2}'),
        ({"Data": "not JSON"}, "not JSON"),
        ({"Data": None}, None),
        ({"Data": "1", "More": 1}, {"Data": "1", "More": 1}),
        ({"Timestamp": "T"}, {"Timestamp": "T"}),
        ('{"a": 1}', {"a": 1}),
        ("SPDXVersion: SPDX-2.3", "SPDXVersion: SPDX-2.3"),
    ],
)
def test_the_content_of_a_predicate(predicate, inside):
    assert content(statement(predicate)) == inside


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("2026-11-21T02:52:45Z", True),
        ("2026-11-21T02:52:45.123456789+02:00", True),
        ("0001-01-01T00:00:00+14:00", True),
        ("2026-11-21T02:52:45", False),
        ("2026-11-21", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_moments(text, known):
    assert (moment(text) is not None) is known
