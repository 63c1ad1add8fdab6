"""The dashboard and the alerts speak of exactly the metrics that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from support.ops import exercise, make_metrics

from proxy.ops.labels import REFUSALS
from proxy.verdict import Reason

FOLDER = Path(__file__).parent.parent / "grafana"
DASHBOARD = json.loads((FOLDER / "sealgate.json").read_text("utf-8"))
ALERTS = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
# What Prometheus and Grafana add to what we export.
FROM_OUTSIDE = {"job", "instance", "le"}
PROMTOOL = shutil.which("promtool")
METRIC = re.compile(r"\b((?:sealgate|process|python)_\w+)(?:\{([^}]*)\})?")


def targets():
    return [(panel["title"], target) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


QUERIES = [(f"{title} {target['refId']}", target["expr"]) for title, target in targets()]
QUERIES += [(alert["alert"], alert["expr"]) for alert in ALERTS]
QUERIES += [(variable["name"], variable["query"]) for variable in DASHBOARD["templating"]["list"][1:]]
IDS = [name for name, _ in QUERIES]


@pytest.fixture(scope="module")
def exported():
    """Return the labels of every exported series, by its name."""
    labels = {}
    for family in exercise(make_metrics())._registry.collect():
        for one in family.samples:
            labels.setdefault(one.name, set()).update(one.labels)
    return labels


def uses(query):
    """Return each metric of a query with the labels by which it is selected, grouped or listed."""
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
    listed = set(re.findall(r"label_values\(.*, (\w+)\)", query))
    return [
        (metric, grouped | listed | set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)))
        for metric, selector in METRIC.findall(query)
    ]


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=IDS)
def test_every_query_asks_for_what_is_exported(exported, name, query):
    assert uses(query), name
    for metric, labels in uses(query):
        assert metric in exported
        assert labels - FROM_OUTSIDE <= exported[metric]


COUNTED = re.compile(r"(?:increase|rate)\((sealgate_\w+_total)(?:\{([^}]*)\})?\[")
# Begins when a registry is asked for the first time, which no alert is about.
BEGIN_LATER = {"SealgateRegistryFails", "SealgateTrustRootNotRefreshed"}


@pytest.mark.parametrize(
    "alert", [one for one in ALERTS if one["alert"] not in BEGIN_LATER], ids=lambda one: one["alert"]
)
def test_what_an_alert_counts_is_there_from_the_start(alert):
    """Prometheus sees no increase where a series begins with 1: the first would raise nothing."""
    series = [
        one
        for family in make_metrics(unverified=[("everything", "warn")])._registry.collect()
        for one in family.samples
    ]
    for metric, selector in COUNTED.findall(alert["expr"]):
        wanted = re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selector)
        assert [one for one in series if one.name == metric and all(_matches(one.labels, *each) for each in wanted)], (
            metric
        )


def _matches(labels, name, operator, text):
    found = re.fullmatch(text, labels[name]) is not None if "~" in operator else text == labels[name]
    return found is not operator.startswith("!")


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=IDS)
def test_every_query_is_balanced(name, query):
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing), name
    assert query.count('"') % 2 == 0


def test_everything_that_is_exported_is_shown(exported):
    shown = {metric for _, target in targets() for metric, _ in uses(target["expr"])}
    families = {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in exported if name.startswith("sealgate_")}
    assert families == {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in shown if name.startswith("sealgate_")}


def test_legends_name_labels_that_the_query_keeps():
    for title, target in targets():
        kept = {label for _, labels in uses(target["expr"]) for label in labels}
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, title


def test_the_dashboard_can_be_imported():
    assert DASHBOARD["uid"] == "sealgate"
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in DASHBOARD["panels"]:
        assert panel.get("datasource", {}).get("uid", "${datasource}") == "${datasource}"
    for title, target in targets():
        assert target["datasource"]["uid"] == "${datasource}"
        assert "$__" in target["expr"] or "rate(" not in target["expr"], title


def test_no_panel_lies_on_another():
    cells = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        covered = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not covered & cells, panel["title"]
        assert max(x for x, _ in covered) < 24
        cells |= covered


def test_alerts_say_what_to_do():
    for alert in ALERTS:
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["summary"]


def test_every_alert_has_a_case_that_raises_it():
    cases = yaml.safe_load((FOLDER / "alerts_test.yml").read_text("utf-8"))["tests"]
    raised = {one["alertname"] for case in cases for one in case["alert_rule_test"] if one["exp_alerts"]}
    assert raised == {alert["alert"] for alert in ALERTS}


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here (Debian: prometheus)")
def test_prometheus_raises_the_alerts_that_it_should():
    command = [str(PROMTOOL), "test", "rules", str(FOLDER / "alerts_test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (a fixed command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_refusal_that_operators_hear_of_has_a_label_of_its_own():
    """What the alert leaves out must be labels that there are: else a new name is counted as an unsigned image."""
    (expr,) = (alert["expr"] for alert in ALERTS if alert["alert"] == "SealgateRefusesMuch")
    left_out = set(re.search(r'reason!~"([^"]*)"', expr)[1].split("|"))
    assert left_out <= REFUSALS
    assert not left_out & {reason.value for reason in Reason}
