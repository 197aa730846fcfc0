"""The alerts, minute by minute, by `promtool test rules`: each fires when it should and ends when it should, and is silent without samples."""

from __future__ import annotations

import pathlib
import subprocess
import tempfile

import yaml

import monitoring
from alert_cases import PLATFORM, SERVICE, Case
from monitoring import REACHED, Monitored
from service import Checks

ENGINE = 'namespace="models",deployment_name="fraud",service="predictions",method="post"'
COUNT = "seldon_api_executor_server_requests_seconds_count"
BUCKET = "seldon_api_executor_server_requests_seconds_bucket"


def count(version: str, code: str, values: str) -> dict:
    return {"series": f'{COUNT}{{{ENGINE},predictor_name="{version}",code="{code}"}}', "values": values}


def bucket(version: str, bound: str, values: str) -> dict:
    return {"series": f'{BUCKET}{{{ENGINE},predictor_name="{version}",code="200",le="{bound}"}}', "values": values}


def ready(version: str, values: str) -> dict:
    return {"series": f'kube_deployment_status_replicas_ready{{namespace="models",deployment="fraud-{version}-0-model"}}', "values": values}


def well(version: str) -> list[dict]:
    """A version that answers a prediction a second, each within 50 ms."""
    bounds = [bucket(version, bound, "0+60x120") for bound in ("0.05", "2.5", "10", "+Inf")]
    return [ready(version, "1x120"), count(version, "200", "0+60x120"), *bounds]


def firing(minute: int, alert: str, labels: list[str]) -> dict:
    """That so many of an alert fire at a minute, with these labels; with an empty list, that none does."""
    samples = [{"labels": "{" + label + "}", "value": 1} for label in labels]
    expression = f'max by (predictor_name, deployment) (ALERTS{{alertname="{alert}",alertstate="firing"}})'
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": samples}


def of_versions(state: str, version: str, alert: str) -> list[str]:
    """The labels with which an alert about a version fires in a state: none where no caller reaches that version."""
    if version not in REACHED[state]:
        return []
    return [f'deployment="fraud-{version}-0-model"' if alert == "ReleaseWithoutReadyReplica" else f'predictor_name="{version}"']


def release_tests(state: str, alerts: list[str]) -> dict[str, dict]:
    """Tests of the alerts of a release, by what they claim."""
    nothing = [firing(60, alert, []) for alert in alerts]
    tests = {
        "is silent when all is well": {"input_series": well("v7") + well("v8"), "promql_expr_test": nothing},
        "is silent without samples": {"input_series": [], "promql_expr_test": nothing},
        "is silent when a version is new and has no second sample": {"input_series": [count("v7", "500", "_x59 5"), count("v8", "500", "_x59 5")], "promql_expr_test": nothing},
    }
    for version in ("v7", "v8"):
        other = well("v8" if version == "v7" else "v7")
        cases = {
            "ReleaseWithoutReadyReplica": ([ready(version, "1x5 0x30 1x85")], 20, 60),
            "ReleaseErrorRate": ([count(version, "200", "0+54x120"), count(version, "500", "0+6x40 240x80")], 20, 60),
            "ReleaseSlow": ([bucket(version, "0.05", "0x40 0+60x80"), bucket(version, "2.5", "0x40 0+60x80"), bucket(version, "10", "0+60x120"), bucket(version, "+Inf", "0+60x120")], 30, 80),
            "ReleaseWithoutTraffic": ([count(version, "200", "100x60 100+60x60")], 45, 90),
        }
        for alert in alerts:
            series, fires, ends = cases[alert]
            expected = [firing(fires, alert, of_versions(state, version, alert)), firing(ends, alert, [])]
            tests[f"{alert} about {version}"] = {"input_series": series + other, "promql_expr_test": expected}
    return tests


def case_test(case: Case) -> dict:
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    count_of = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    at = {"expr": count_of, "eval_time": f"{case.fires}m", "exp_samples": [{"labels": "{}", "value": 1}]}
    after = {"expr": count_of, "eval_time": f"{case.ends}m", "exp_samples": []}
    return {"input_series": series, "promql_expr_test": [at, after]}


def promtool(home: pathlib.Path, found: Monitored, tests: list[dict]) -> tuple[bool, str]:
    (home / "rules.yml").write_text(yaml.safe_dump({"groups": found.groups}))
    whole = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [{"interval": "1m"} | test for test in tests]}
    (home / "test.yml").write_text(yaml.safe_dump(whole))
    ran = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=home, capture_output=True, text=True)
    return ran.returncode == 0, ran.stdout + ran.stderr


def check(checks: Checks, home: pathlib.Path, found: Monitored, tests: dict[str, dict]) -> None:
    (home / "check.yml").write_text(yaml.safe_dump({"groups": found.groups}))
    ran = subprocess.run(["promtool", "check", "rules", "check.yml"], cwd=home, capture_output=True, text=True)
    checks.holds(f"{found.name}: rules and their texts", ran.returncode == 0, ran.stdout + ran.stderr)
    # All at once, and one by one only to say which of them fails.
    all_hold, _ = promtool(home, found, list(tests.values()))
    for claim, test in tests.items():
        checks.holds(f"{found.name}: {claim}", *((True, "") if all_hold else promtool(home, found, [test])))


def main() -> None:
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-") as directory:
        home = pathlib.Path(directory)
        releases = monitoring.releases()
        checks.equal("every state says whom its alerts are about", {found.name for found in releases}, set(REACHED))
        for found in releases:
            check(checks, home, found, release_tests(found.name, found.alerts))
        for found, cases in ((monitoring.service(), SERVICE), (monitoring.platform(), PLATFORM)):
            checks.equal(f"{found.name}: each alert has a case", sorted(case.alert for case in cases), sorted(found.alerts))
            check(checks, home, found, {f"{case.alert} fires and ends": case_test(case) for case in cases})
        # A test that expects the wrong thing is seen to fail.
        wrong = {"input_series": well("v7"), "promql_expr_test": [firing(60, "ReleaseErrorRate", ['predictor_name="v7"'])]}
        checks.holds("an alert that does not fire is noticed", not promtool(home, releases[0], [wrong])[0])
    checks.end()


if __name__ == "__main__":
    main()
