"""What every process does alike: configuration, admin port, signals."""

import os
import re
import signal
import subprocess

import pytest

from harness.cluster import ROLES, binary
from harness.waiting import wait_until


def run(role, *arguments):
    return subprocess.run([binary(f"services/{role}/holdfast-{role}"), *arguments],
                          capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("role", ROLES)
def test_help_and_version_are_answered(role):
    done = run(role, "--help")
    assert done.returncode == 0
    for word in ("TERM", "keeper.backend", "rpc.bind", "-c"):
        assert word in done.stdout, word
    assert run(role, "-V").returncode == 0


@pytest.mark.parametrize("role", ROLES)
def test_the_defaults_it_prints_pass_its_own_check(role, tmp_path):
    dumped = run(role, "--dump", "--set", f"keeper.backend=dir:{tmp_path}/keeper")
    assert dumped.returncode == 0, dumped.stderr
    config = tmp_path / "dumped.yaml"
    config.write_text(dumped.stdout)
    checked = run(role, "-t", "-c", str(config))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("role", ROLES)
def test_the_sample_configuration_is_good_and_mentions_every_key(role, tmp_path):
    sample = os.path.join(os.path.dirname(__file__), "..", "..", "deploy", f"{role}.yaml")
    checked = run(role, "-t", "-c", sample)
    assert checked.returncode == 0, checked.stderr
    with open(sample, encoding="utf-8") as file:
        mentioned = set(re.findall(r"\b([a-z_]+):", file.read()))
    dumped = run(role, "--dump", "--set", f"keeper.backend=dir:{tmp_path}")
    wanted = set(re.findall(r"^ *(?:#|- )*([a-z_]+):", dumped.stdout, re.MULTILINE))
    assert "backend" in wanted
    assert wanted <= mentioned, wanted - mentioned


@pytest.mark.parametrize("text,expected", [
    ("keeper: {backend: 'dir:/tmp/x'}\nrcp: {bind: '127.0.0.1:0'}\n", ["bad.yaml:2", "rcp"]),
    ("keeper: {backend: 'dir:/tmp/x'}\nshutdown:\n  drain_timeout: 2d\n",
     ["bad.yaml:3", "shutdown.drain_timeout", "1h"]),
    ("keeper: {backend: 'dir:/tmp/x'}\nnode:\n  weight: heavy\n", ["bad.yaml:3", "node.weight"]),
    ("keeper: {backend: 'dir:/tmp/x'\n", ["bad.yaml:"]),
    ("node: {id: x}\n", ["keeper.backend"]),
], ids=["unknown key", "out of range", "wrong type", "no YAML", "missing key"])
def test_a_bad_config_names_file_line_key_and_range(tmp_path, text, expected):
    config = tmp_path / "bad.yaml"
    config.write_text(text)
    for arguments in (["-t", "-c", str(config)], ["-c", str(config)]):
        done = run("register", *arguments)
        assert done.returncode == 1
        for part in expected:
            assert part in done.stderr, done.stderr


def test_the_admin_port_answers(cluster):
    for process in cluster.all():
        assert process.admin("GET", "/livez").status == 200
        assert process.admin("GET", "/version").json["role"] == process.role
        assert b"keeper" in process.admin("GET", "/config").body
        metrics = process.metrics()
        assert any(name.startswith("holdfast_build_info") for name in metrics)
        missing = process.admin("GET", "/nothing")
        assert missing.status == 404 and missing.reason == "NO_ROUTE"


def test_secrets_are_masked_in_the_config_shown(cluster):
    assert cluster.OPERATOR_SECRET.encode() not in cluster.center.admin("GET", "/config").body


def test_hup_with_a_bad_file_keeps_serving_with_the_old_one(cluster, app):
    app.register("reg-1")
    path = f"{cluster.folder}/register.yaml"
    with open(path, encoding="utf-8") as file:
        good = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write("nonsense: 1\n")
    cluster.register.process.send_signal(signal.SIGHUP)
    metric = "holdfast_config_last_reload_successful"
    wait_until(lambda: cluster.register.metric(metric) == 0)
    with open(path, "w", encoding="utf-8") as file:
        file.write(good)
    cluster.register.process.send_signal(signal.SIGHUP)
    wait_until(lambda: cluster.register.metric(metric) == 1)
    assert app.send("x", "reg-1").status == 202


def test_two_processes_of_one_name_are_not_both_let_in(cluster):
    twin = subprocess.run([binary("services/register/holdfast-register"), "-c",
                           f"{cluster.folder}/register.yaml", "--node-id", "register-1"],
                          capture_output=True, text=True, timeout=30)
    assert twin.returncode == 2
    assert "register-1" in twin.stderr


def test_a_killed_process_vanishes_from_its_peers(cluster):
    cluster.register.kill()
    metric = "holdfast_discovery_nodes"
    wait_until(lambda: cluster.center.metric(metric, role="register") == 0)
    cluster.register.restart()
    wait_until(lambda: cluster.center.metric(metric, role="register") == 1)
