"""docs/operations.md names every metric and every line of the log that an operator may be woken by."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
MONITORING = REPOSITORY / "k8s" / "monitoring"

DECLARING = {"counter", "histogram", "observe", "state", "Gauge", "Counter", "Histogram", "Summary"}
COUNTERS = {"counter", "Counter"}
LOGGED = {"warning": "WARNING", "error": "ERROR", "exception": "ERROR", "critical": "CRITICAL"}
PROMETHEUS_OWN = re.compile(r"^(process_|python_|up$)")


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted((REPOSITORY / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                function = node.func
                yield (
                    function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", ""),
                    node,
                )


def metrics() -> dict[str, str]:
    """Help text by name, as /metrics has it."""
    found = {}
    for name, call in calls():
        texts = [each.value for each in call.args[:2] if isinstance(each, ast.Constant)]
        if name in DECLARING and len(texts) == 2 and all(isinstance(each, str) for each in texts):
            metric, text = map(str, texts)
            metric = (
                metric
                if metric.startswith("http_")
                else "parquet_sink_" + metric.removeprefix("parquet_sink_")
            )
            found[metric.removesuffix("_total") + "_total" if name in COUNTERS else metric] = text
    return found


def lines() -> set[tuple[str, str]]:
    """Level and text of what is logged at WARNING or above."""
    found = set()
    for name, call in calls():
        function = call.func
        of_log = isinstance(function, ast.Attribute) and getattr(function.value, "id", "") in ("log", "_log")
        if name in LOGGED and of_log:
            text = call.args[0]
            assert isinstance(text, ast.Constant), (
                f"a text that differs cannot be looked up: {ast.unparse(call)}"
            )
            found.add((LOGGED[name], str(text.value)))
    return found


def base_names(expression: str) -> set[str]:
    """The metrics that a query names, without what is added for histograms."""
    unquoted = re.sub(r'"[^"]*"', "", expression)
    names = set(re.findall(r"\b((?:parquet_sink|http|process|python)_[a-z_]+|up)\b", unquoted))
    return {re.sub(r"(_seconds|_rows|_batches)_(bucket|sum|count)$", r"\1", name) for name in names}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "rules.yaml").read_text("utf-8"))["groups"]
    return list(group["rules"])


def test_every_metric_is_on_the_page_and_no_other() -> None:
    on_the_page = set(re.findall(r"^\| `((?:parquet_sink|http)_\w+)` \|", PAGE, re.MULTILINE))

    assert len(on_the_page) > 45
    assert on_the_page == set(metrics())


def test_every_line_that_warns_is_on_the_page_and_no_other() -> None:
    rows = re.findall(r"^\| (WARNING|ERROR|CRITICAL) \| `(.+?)` \| (.+) \|$", PAGE, re.MULTILINE)

    assert {(level, text.replace(r"\|", "|")) for level, text, _ in rows} == lines()
    assert all(len(remedy) >= len("Nothing.") for _, _, remedy in rows)


@pytest.mark.parametrize("name", metrics())
def test_each_help_text_stands_alone(name: str) -> None:
    text = metrics()[name]

    assert len(text) > 25
    assert text.endswith(".")
    assert not re.match(r"(The same|As |Likewise|See )", text)


def test_alerts_name_metrics_that_there_are() -> None:
    known = set(metrics())
    unknown = {
        f"{rule['alert']}: {name}"
        for rule in rules()
        for name in base_names(rule["expr"])
        if name not in known and not PROMETHEUS_OWN.match(name)
    }

    assert unknown == set()


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    for rule in rules():
        cases = yaml.safe_load((MONITORING / "tests" / f"{rule['alert']}.yaml").read_text("utf-8"))["tests"]
        assert [bool(each["alert_rule_test"][0]["exp_alerts"]) for each in cases] == [True, False]
        assert {each["alert_rule_test"][0]["alertname"] for each in cases} == {rule["alert"]}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")
    assert len(list((MONITORING / "tests").iterdir())) == len(rules())


def test_the_operator_is_given_the_same_rules() -> None:
    resource = yaml.safe_load((MONITORING / "prometheus-rule.yaml").read_text("utf-8"))

    assert resource["spec"] == yaml.safe_load((MONITORING / "rules.yaml").read_text("utf-8"))
