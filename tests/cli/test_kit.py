"""`prismq kit`."""

from __future__ import annotations

import json
import stat
import sys

import pytest
import yaml

from tests.cli.conftest import Cli

PROMETHEUS = ["alert_rules.yml", "alertmanager.yml", "prometheus.yml", "recording_rules.yml"]


def names(cli: Cli, folder: str) -> list[str]:
    root = cli.folder / folder
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_a_kit_is_written_and_says_what_is_left_to_do(cli: Cli) -> None:
    done = cli("kit", "prometheus", "--out", "kit")
    assert done.code == 0
    assert names(cli, "kit") == sorted([*PROMETHEUS, "prismq-kit.json", "prismq.token"])
    assert "prismq tokens create prometheus > " in done.err
    assert "tells nobody yet" in done.err
    if sys.platform != "win32":
        assert stat.S_IMODE((cli.folder / "kit" / "prismq.token").stat().st_mode) == 0o600


def test_the_configuration_has_what_was_asked_for(cli: Cli) -> None:
    done = cli(
        "kit", "prometheus", "--out", "kit", "--target", "a.example.com:443", "--target", "b:8000", "--service", "mail",
        "--interval", "5", "--alertmanager", "am:9093", "--webhook", "https://example.com/hook", "--runbooks",
        "https://example.com/runbooks", "--dashboard", "https://queue.example.com/", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["kit"] == "prometheus"
    assert len(done.json["files"]) == 5
    text = (cli.folder / "kit" / "prometheus.yml").read_text()
    found = yaml.safe_load(text)
    assert found["global"] == {"scrape_interval": "5s", "evaluation_interval": "5s"}
    scrape = found["scrape_configs"][0]
    assert scrape["static_configs"] == [{"targets": ["a.example.com:443", "b:8000"], "labels": {"service": "mail"}}]
    assert scrape["authorization"] == {"credentials_file": "prismq.token"}
    assert found["alerting"]["alertmanagers"][0]["static_configs"] == [{"targets": ["am:9093"]}]
    rules = yaml.safe_load((cli.folder / "kit" / "alert_rules.yml").read_text())
    one = rules["groups"][0]["rules"][0]["annotations"]
    assert one["runbook_url"].startswith("https://example.com/runbooks#")
    assert one["dashboard_url"] == "https://queue.example.com/"
    routing = yaml.safe_load((cli.folder / "kit" / "alertmanager.yml").read_text())
    assert routing["receivers"][0]["webhook_configs"][0]["url"] == "https://example.com/hook"


def test_the_settings_say_where_the_server_is_and_how_often_backups_are_made(cli: Cli) -> None:
    (cli.folder / "prismq.toml").write_text(
        "[server]\nport = 8123\nroot_path = '/queue'\n[worker]\nbackup_interval_seconds = 1800\n"
    )
    assert cli("kit", "prometheus", "--out", "kit", "--no-token").code == 0
    scrape = yaml.safe_load((cli.folder / "kit" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["metrics_path"] == "/queue/metrics"
    assert scrape["static_configs"][0]["targets"] == ["127.0.0.1:8123"]
    assert "authorization" not in scrape
    assert "prismq.token" not in names(cli, "kit")
    assert "/ 1800)" in (cli.folder / "kit" / "alert_rules.yml").read_text()


def test_thresholds_and_promises_of_the_settings_are_those_of_the_rules(cli: Cli) -> None:
    (cli.folder / "prismq.toml").write_text(
        """
        [alerts.rules.HighQueueDepth]
        threshold = 250
        severity = "page"
        [alerts.rules.RedisDown]
        enabled = false
        [slo]
        success_objective = 0.95
        processing_target_seconds = 7
        """.replace("        ", "")
    )
    done = cli("kit", "prometheus", "--out", "kit", "--no-token")
    assert done.code == 0, done.err
    rules = {
        rule["alert"]: rule
        for group in yaml.safe_load((cli.folder / "kit" / "alert_rules.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    assert "> 250" in rules["HighQueueDepth"]["expr"]
    assert "> 200\n" in rules["HighQueueDepth"]["expr"]  # where it clears: as far below as in the table
    assert "250 tasks" in rules["HighQueueDepth"]["annotations"]["summary"]
    assert rules["HighQueueDepth"]["labels"]["severity"] == "page"
    assert "RedisDown" not in rules
    recorded = (cli.folder / "kit" / "recording_rules.yml").read_text()
    assert 'slo:bad_ratio{slo="success",window="1h"} / 0.05' in recorded
    assert 'prismq_task_run_seconds_bucket{le="5.0"}' in recorded  # the boundary below 7 s


def test_the_dashboards_are_written_with_their_provisioning(cli: Cli) -> None:
    done = cli("kit", "grafana", "--out", "kit", "--prometheus", "http://prometheus:9090")
    assert done.code == 0, done.err
    assert len([name for name in names(cli, "kit") if name.startswith("dashboards/")]) == 4
    assert "http://prometheus:9090" in (cli.folder / "kit/provisioning/datasources/prismq.yaml").read_text()
    for name in names(cli, "kit"):
        if name.endswith(".json"):
            json.loads((cli.folder / "kit" / name).read_text())


def test_a_kit_is_made_anew_over_itself_and_a_token_stays(cli: Cli) -> None:
    cli("kit", "prometheus", "--out", "kit")
    (cli.folder / "kit" / "prismq.token").write_text("secret")
    (cli.folder / "kit" / "alert_rules.yml").unlink()
    done = cli("kit", "prometheus", "--out", "kit", "--interval", "30")
    assert done.code == 0, done.err
    assert (cli.folder / "kit" / "prismq.token").read_text() == "secret"
    assert "30s" in (cli.folder / "kit" / "prometheus.yml").read_text()
    assert "alert_rules.yml" in names(cli, "kit")
    assert "put a token there" not in done.err


def test_what_somebody_changed_is_not_written_over_unless_they_say_so(cli: Cli) -> None:
    cli("kit", "prometheus", "--out", "kit")
    mine = cli.folder / "kit" / "alertmanager.yml"
    mine.write_text(mine.read_text() + "# mine\n")
    done = cli("kit", "prometheus", "--out", "kit", "--interval", "30")
    assert done.code == 4
    assert "alertmanager.yml in kit has been changed since the kit was made" in done.err
    assert "# mine" in mine.read_text()
    assert "15s" in (cli.folder / "kit" / "prometheus.yml").read_text()  # nothing at all was written
    assert cli("kit", "prometheus", "--out", "kit", "--force").code == 0
    assert "# mine" not in mine.read_text()


def test_a_folder_with_other_files_is_left_alone(cli: Cli) -> None:
    (cli.folder / "kit").mkdir()
    (cli.folder / "kit" / "thesis.txt").write_text("years of work")
    done = cli("kit", "grafana", "--out", "kit")
    assert done.code == 4
    assert "kit holds other files (thesis.txt)" in done.err
    assert "--force" in done.err
    assert names(cli, "kit") == ["thesis.txt"]
    assert cli("kit", "grafana", "--out", "kit", "--force").code == 0
    assert (cli.folder / "kit" / "thesis.txt").read_text() == "years of work"


def test_a_place_that_cannot_be_written_is_named(cli: Cli) -> None:
    (cli.folder / "file").write_text("")
    done = cli("kit", "grafana", "--out", "file")
    assert done.code == 4
    assert "file is a file; give --out a folder" in done.err
    done = cli("kit", "grafana", "--out", "file/below")
    assert done.code == 4
    assert "the kit cannot be written to" in done.err


def test_a_place_where_nobody_may_write_is_named(cli: Cli) -> None:
    # Not even root may write there; a folder without rights would not stop it.
    place = "/proc/prismq-kit" if sys.platform == "linux" else "\0"
    done = cli("kit", "grafana", "--out", place)
    assert done.code == 4
    assert "cannot be written" in done.err
    assert "Give --out a folder that you may write" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nagios", "--out", "kit"], "nagios"),
        (["prometheus"], "--out"),
        (["prometheus", "--out", "kit", "--target", "example.com"], "--target is HOST:PORT"),
        (["prometheus", "--out", "kit", "--target", "http://example.com:80"], "--target is HOST:PORT"),
        (["prometheus", "--out", "kit", "--alertmanager", "x:99999"], "--alertmanager is HOST:PORT"),
        (["prometheus", "--out", "kit", "--webhook", "example.com"], "--webhook is a URL"),
        (["prometheus", "--out", "kit", "--interval", "0"], "--interval"),
        (["grafana", "--out", "kit", "--prometheus", "example.com:9090"], "--prometheus is a URL"),
    ],
)
def test_wrong_usage_says_what_would_be_right(cli: Cli, arguments: list[str], said: str) -> None:
    done = cli("kit", *arguments)
    assert done.code == 2
    assert said in done.err
    assert not (cli.folder / "kit").exists()
