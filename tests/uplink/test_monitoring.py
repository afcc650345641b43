"""The samples in `config/`: alert rules that fire when they should, and a dashboard of metrics that exist."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from gateway.store import condition, said
from gateway.store.database import open_writer, transaction
from gateway.store.schema import CAPTURE
from gateway.uplink.measured import Measured
from gateway.uplink.metrics import exposition
from tests.uplink.conftest import Bench

CONFIG = Path(__file__).parent.parent.parent / "config"
RULES = CONFIG / "prometheus" / "touchpoint.rules.yml"
RULES_TEST = CONFIG / "prometheus" / "touchpoint.rules.test.yml"
DASHBOARD = json.loads((CONFIG / "grafana" / "touchpoint.json").read_text(encoding="utf-8"))
METRIC = re.compile(r"\b(?:touchpoint|process)_[a-z_]+")


@pytest.fixture
def metrics(bench: Bench) -> set[str]:
    """The names of all samples that a gateway has, certificate aside."""
    bench.capture.append(1)
    connection = open_writer(bench.directory, CAPTURE)
    with transaction(connection):
        condition.tell(connection, {"keys": None})
        rows = [("dropped:unknown", 1), ("sun:forged", 1), ("denied:expired", 1)]
        connection.executemany("INSERT INTO tally VALUES (?, ?)", rows)
    connection.close()
    said.tally(bench.database, [("down:command:expired", 1)])
    measured = Measured(
        {"version": "1"},
        bench.directory,
        1,
        {"counter": "nfc"},
        None,
        bench.clock.now,
        lambda: True,
        lambda: {"capture": None},
    )
    text, _ = exposition(measured, None)
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {re.split("[{ ]", line)[0] for line in lines} | {"touchpoint_certificate_expiry_timestamp_seconds"}


def promtool(*arguments: str) -> str:
    """Return what Prometheus' own tool says, which must be content."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, cwd=RULES.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> dict[str, str]:
    """Return the text of each rule by the name of its alert."""
    _, *parts = re.split(r"(?m)^      - alert: (\w+)$", RULES.read_text(encoding="utf-8"))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_rules_are_prometheus_rules() -> None:
    """Prometheus takes the rules."""
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", RULES.name)


def test_each_alert_fires_when_it_should() -> None:
    """Each fires with its words, none for a gateway that is well, and there is a case for each."""
    promtool("test", "rules", RULES_TEST.name)
    tested = set(re.findall(r"(?m)^  - name: (\w+)$", RULES_TEST.read_text(encoding="utf-8")))
    assert tested >= set(rules())


def test_each_alert_says_what_to_do() -> None:
    """An alert has a severity, says what is wrong where, and what to do."""
    for name, rule in rules().items():
        assert re.search(r"severity: (critical|warning|info)\n", rule), name
        assert re.search(r"summary: '.*\{\{ \$labels\.instance \}\}.*'", rule), name
        assert re.search(r"runbook: '.{20,}'", rule), name


def test_rules_ask_for_metrics_that_exist(metrics: set[str]) -> None:
    """Every metric of a rule is one that a gateway has."""
    asked = {name for rule in rules().values() for name in METRIC.findall(rule.split("for:")[0].split("labels:")[0])}
    assert asked <= metrics
    assert len(asked) > 10


def test_dashboard_asks_for_metrics_that_exist(metrics: set[str]) -> None:
    """Every metric of the dashboard is one that a gateway has, and every one that a gateway counts is shown."""
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in METRIC.findall(query)}
    assert asked <= metrics
    assert {name for name in metrics if name.endswith("_total") and name.startswith("touchpoint")} <= asked


def test_dashboard_has_room_for_every_panel() -> None:
    """No two panels lie on each other, none is wider than the 24 columns, and each has a number of its own."""
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
