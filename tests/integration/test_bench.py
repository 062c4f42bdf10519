"""hf-bench and tools/perf: short runs of each command, correct and not fast."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness import api
from harness.callback import Callback
from harness.cluster import BUILD, binary
from harness.line import Line
from harness.waiting import wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
USAGE, UNREACHABLE, INVALID, THRESHOLD = 1, 4, 6, 99
STARTED = []


def clients(cluster, app, tmp_path, command, count, **options):
    secret = tmp_path / "token.secret"
    secret.write_text(base64.b64encode(app.token_secret).decode() + "\n")
    chosen = {"addr": cluster.room_address(), "app": app.id, "token-key-id": app.token_key,
              "token-secret-file": secret, "count": count, "connrate": 200, "out": tmp_path / command}
    chosen.update({name.replace("_", "-"): value for name, value in options.items()})
    return bench(command, chosen)


def receivers(cluster, app, tmp_path, count, **options):
    """They are all there when this returns."""
    process = clients(cluster, app, tmp_path, "recv", count, **options)
    wait_until(lambda: cluster.room.metric("holdfast_room_connections") == count)
    return process


def bench(command, options, *arguments):
    words = [binary("tools/bench/hf-bench"), command, *(str(argument) for argument in arguments)]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    STARTED.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return STARTED[-1]


@pytest.fixture(autouse=True)
def none_goes_on():
    """A run without end, of a test that failed, would go on for ever."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


def push(cluster, app, tmp_path, count, **options):
    key = tmp_path / "sender.key"
    if not key.exists():  # another one that runs may be reading it
        key.write_text(app.key() + "\n")
    chosen = {"url": f"http://{cluster.api_address()}", "app": app.id, "key-file": key, "count": count,
              "rate": 100, "duration": "2s", "out": tmp_path / "push"}
    chosen.update(options)
    return bench("push", chosen)


def merge(tmp_path, *folders, **options):
    process = bench("merge", {"out": tmp_path / "merged",
                              **{name.replace("_", "-"): value for name, value in options.items()}},
                    *(tmp_path / folder for folder in folders))
    return finish(process)


def finish(process, *codes):
    output, errors = process.communicate(timeout=60)
    # A busy machine may well be the bottleneck: the run says so, and its counts still hold.
    assert process.returncode in (codes or (0, INVALID)), output + errors
    return output


def summary(tmp_path, command):
    return json.loads((tmp_path / command / "summary.json").read_text())


def rows(tmp_path, command, column):
    """A column of timeseries.csv."""
    lines = [line.split(",") for line in (tmp_path / command / "timeseries.csv").read_text().splitlines()]
    return [float(line[lines[0].index(column)]) for line in lines[1:]]


def test_conn_opens_holds_and_reports(cluster, app, tmp_path):
    output = finish(clients(cluster, app, tmp_path, "conn", 50, duration="1s", processes=2))
    assert "50 logged in, 0 failed" in output
    run = summary(tmp_path, "conn")
    assert run["connections"]["opened"] == 50
    assert run["latency_us"]["login"]["corrected"]["count"] == 50
    page = (tmp_path / "conn" / "report.html").read_text()
    assert "<svg" in page and "<script" not in page and "http" not in page.split("<code>")[0]
    assert (tmp_path / "conn" / "hist" / "login.hgrm").exists()
    assert (tmp_path / "conn" / "timeseries.csv").read_text().startswith("t,open,")
    assert finish(bench("report", {"format": "json"}), 1) == ""


def test_every_message_of_push_is_counted_by_recv(cluster, app, tmp_path):
    receiver = receivers(cluster, app, tmp_path, 20, duration="30s", expect=200)
    assert finish(push(cluster, app, tmp_path, 20, batch=1)).count("200 messages accepted") == 1
    output = finish(receiver)
    assert "200 new, 0 lost, 0 duplicated" in output
    assert "passed --fail-if lost>0" in merge(tmp_path, "recv", "push", fail_if="lost>0")
    both = summary(tmp_path, "merged")
    assert both["messages"]["sent"] == both["messages"]["received"] == 200
    assert both["latency_us"]["deliver"]["corrected"]["count"] == 200
    # The seconds of both runs are in the same rows.
    rows = (tmp_path / "merged" / "timeseries.csv").read_text().splitlines()
    seconds = [dict(zip(rows[0].split(","), row.split(","))) for row in rows[1:]]
    assert max(int(second["open"]) for second in seconds) == 20
    assert any(int(second["rx_msgs"]) > 50 and int(second["accepted"]) > 50 for second in seconds)


def test_the_report_escapes_what_it_shows(cluster, app, tmp_path):
    finish(clients(cluster, app, tmp_path, "conn", 2, duration="1s", prefix="<b>'&\"", fail_if="login.p99>1m"))
    page = (tmp_path / "conn" / "report.html").read_text()
    assert "<b>'&" not in page and "&lt;b&gt;&#39;&amp;&quot;" in page
    assert "PASSED" in page and "fail if login.p99&gt;1m" in page
    # What was edited since is not trusted either.
    edit(tmp_path, "conn", lambda run: run["run"].update(began_at="<i>", host="<i>", main="<i>", command="<i>"))
    assert "<i>" not in finish(bench("report", {"format": "html"}, tmp_path / "conn"))


def test_batches_are_sent_and_counted_by_message(cluster, app, tmp_path):
    receiver = receivers(cluster, app, tmp_path, 10, duration="30s", expect=100)
    assert "100 messages accepted" in finish(push(cluster, app, tmp_path, 10, batch=10, rate=10, duration="1s"))
    assert "100 new, 0 lost" in finish(receiver)


def scrape(process):
    """A function that gives the running bench's own metrics, by name and labels."""
    where = ""
    while "metrics at http://" not in where:
        where = process.stderr.readline()
        assert where, process.communicate()
    address = where.split("http://")[1].split("/")[0]

    def samples():
        lines = api.request(address, "GET", "/metrics").body.decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}
    return samples


@pytest.fixture
def line(cluster):
    line = Line(cluster.room_address())
    yield line
    line.close()


def test_clients_that_are_cut_come_back(cluster, app, line, tmp_path):
    run = clients(cluster, app, tmp_path, "conn", 12, duration=0, addr=line.address, first_retry="300ms", processes=2,
                  prom="127.0.0.1:0", quiet=True)
    metrics = scrape(run)
    wait_until(lambda: metrics()["holdfast_bench_connections_open"] == 12)
    line.cut()
    wait_until(lambda: metrics()["holdfast_bench_reconnected_total"] == 12)
    run.send_signal(signal.SIGTERM)
    assert "24 logged in, 0 failed, 12 cut, 12 reconnected" in finish(run)
    assert summary(tmp_path, "conn")["connections"]["reconnected_by"] == {"cut": 12}


def test_clients_that_are_cut_stay_away_without_retry(cluster, app, line, tmp_path):
    run = clients(cluster, app, tmp_path, "conn", 5, duration=0, addr=line.address, first_retry="0s", retry="off",
                  prom="127.0.0.1:0", quiet=True)
    metrics = scrape(run)
    wait_until(lambda: metrics()["holdfast_bench_connections_open"] == 5)
    line.cut()
    wait_until(lambda: metrics()["holdfast_bench_cut_total"] == 5)
    run.send_signal(signal.SIGTERM)
    assert "5 begun, 5 logged in, 0 failed, 5 cut, 0 reconnected" in finish(run)


def test_who_is_refused_tries_again_and_says_by_whom(new_cluster, tmp_path):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__connections": "8"}})
    run = clients(new_cluster, app, tmp_path, "conn", 12, duration=0, backoff="50ms,200ms", interval="100ms")
    wait_until(lambda: new_cluster.room.metric("holdfast_room_connections_rejected_total") >= 20)
    run.send_signal(signal.SIGTERM)
    finish(run)
    connections = summary(tmp_path, "conn")["connections"]
    assert connections["opened"] == 8 and connections["reconnected"] == 0 and connections["failed"] >= 20
    # The room may reset the connection before BYE was read.
    assert set(connections["failed_by"]) <= {"bye", "reset"} and set(connections["refused"]) == {"4104"}
    assert max(rows(tmp_path, "conn", "refused_4104")) > 0
    assert sum(connections["failed_by"].values()) == connections["failed"]
    finish(clients(new_cluster, app, tmp_path, "conn", 3, duration="1s", addr="127.0.0.1:1", backoff="10ms,20ms"),
           UNREACHABLE)
    connections = summary(tmp_path, "conn")["connections"]
    assert connections["failed_by"] == {"refused": connections["failed"]} and connections["failed"] > 10


def test_each_interval_has_its_line_and_its_row(cluster, app, tmp_path):
    run = clients(cluster, app, tmp_path, "conn", 10, duration="1s", interval="200ms")
    errors = run.communicate(timeout=60)[1]
    line = (r"^\d\d:\d\d:\d\d open=\d+ \([+-]\d+/s\) (opening=\d+ )?fail=0 rx=\d+/s drop=0 "
            r"login (p50=[\d.]+ms p99=[\d.]+ms max=[\d.]+ms|none) cpu=\d+% lag=[\d.]+ms$")
    lines = [text for text in errors.splitlines() if re.match(line, text)]
    assert len(lines) == len(rows(tmp_path, "conn", "open")) >= 4 and "open=10 " in lines[-1], errors
    assert rows(tmp_path, "conn", "open")[-1] == 10 and rows(tmp_path, "conn", "reconnected")[-1] == 0


def test_a_ramp_goes_up_and_down(cluster, app, tmp_path):
    finish(clients(cluster, app, tmp_path, "conn", None, connrate=None, ramp="0:300ms,24:1s,24:1500ms,6:1s",
                   duration="1500ms", processes=2))
    run = summary(tmp_path, "conn")["connections"]
    assert (run["target"], run["opened"], run["failed"], run["cut"]) == (24, 24, 0, 0)
    assert 1.2 < run["setup_s"] < 5
    there = rows(tmp_path, "conn", "open")
    assert max(there) == 24 and there[-1] == 6, there


@pytest.mark.parametrize("resume", ["off", "on"])
def test_churn_drops_clients_that_come_back(cluster, app, tmp_path, resume):
    finish(clients(cluster, app, tmp_path, "conn", 20, duration="3s", churn="50%/s", first_retry="50ms", resume=resume))
    run, counters = (summary(tmp_path, "conn")[part] for part in ("connections", "counters"))
    assert 15 <= counters["churned"] <= 35 and run["cut"] == run["failed"] == 0
    assert run["opened"] == 20 + run["reconnected"] and set(run["reconnected_by"]) == {"churn"}
    assert counters["churned"] - 5 <= run["reconnected"] <= counters["churned"]
    assert counters["resumed"] == (run["reconnected"] if resume == "on" else 0)
    assert cluster.room.metric("holdfast_room_resumes_total", result="resumed") == counters["resumed"]


def test_a_ramp_that_goes_down_takes_churn_along(cluster, app, tmp_path):
    finish(clients(cluster, app, tmp_path, "conn", None, connrate=None, ramp="20:300ms,20:3s,5:300ms", duration="1s",
                   churn="50%/s", first_retry="50ms"))
    run, counters = (summary(tmp_path, "conn")[part] for part in ("connections", "counters"))
    assert 20 <= counters["churned"] <= 45 and run["reconnected"] >= counters["churned"] - 10
    assert rows(tmp_path, "conn", "open")[-1] <= 5


def test_what_the_app_loses_comes_again(cluster, app, tmp_path):
    receiver = receivers(cluster, app, tmp_path, 10, duration="50s", expect=200, loss_app="20%", churn="80%/s",
                         first_retry="50ms")
    assert "200 messages accepted" in finish(push(cluster, app, tmp_path, 10))
    assert "200 new, 0 lost" in finish(receiver)
    counters = summary(tmp_path, "recv")["counters"]
    assert counters["app_lost"] == counters["redelivered"] > 10
    assert summary(tmp_path, "recv")["latency_us"]["redeliver"]["count"] == counters["redelivered"]


def test_slow_clients_are_told_from_others_and_cut_by_the_server(new_cluster, tmp_path):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__unacked": "4", "limits__ack_timeout": "2s"}})
    receiver = receivers(new_cluster, app, tmp_path, 8, duration="0", slow="100%")
    finish(push(new_cluster, app, tmp_path, 8, rate=8, duration="1s"))
    finish(push(new_cluster, app, tmp_path, 8, size="4KiB", rate=80, duration="1s"))
    wait_until(lambda: new_cluster.room.metric("holdfast_room_connections_closed_total", code="4102") > 0)
    receiver.send_signal(signal.SIGTERM)
    finish(receiver)
    latency = summary(tmp_path, "recv")["latency_us"]
    assert latency["deliver_slow"]["count"] > 0 and "deliver" not in latency


def test_an_option_says_its_limits(tmp_path):
    for option, value, said in (("backoff", "1s", "two times"), ("backoff", "5s,1s", "smaller one first"),
                                ("retry", "maybe", "on or off"), ("login-timeout", "1ms", "100ms to 1h"),
                                ("ramp", "100", "is N:TIME"), ("ramp", "0:5s", "never gets above 0"),
                                ("ramp", ",".join(["1:1s"] * 33), "at most 32 stages"), ("churn", "5", "a share"),
                                ("churn", "5%", "each /s, /m or /h"), ("slow", "101%", "0% to 100%"),
                                ("loss-app", "-1%", "0% to 100%"), ("net", "fax", "wifi, cell or ethernet"),
                                ("resume", "yes", "on or off"), ("interval", "1ms", "100ms to 1h"), ("keepalive", "100000", "at most 86400")):
        run = bench("conn", {"addr": "127.0.0.1:1", "token-file": tmp_path / "none", option: value})
        output, errors = run.communicate(timeout=20)
        assert run.returncode == 1 and f"--{option}: " in errors and said in errors, errors


def test_one_message_for_many_is_counted_at_each_of_them(new_cluster, tmp_path):
    """Everybody, the holders of a tag, a user's devices and single clients are pushed to at once: 25 clients, of 5 tags
    and 10 users, so that users have two devices or three."""
    app = new_cluster.add_app(7, broadcasts=100)
    cluster = new_cluster.start()
    receiver = receivers(cluster, app, tmp_path, 25, duration=0, tags=5, users=10)
    chosen = {"broadcast": {"rate": 5}, "tag": {"rate": 10, "tags": 5}, "user": {"rate": 10, "users": 10},
              "unicast": {"rate": 15}}
    senders = [push(cluster, app, tmp_path, 25, kind=kind, out=tmp_path / kind, **options)
               for kind, options in chosen.items()]
    for sender in senders:
        assert "refusal" not in finish(sender)
    due = {kind: summary(tmp_path, kind)["counters"]["deliveries_due"] for kind in chosen}
    assert due["broadcast"] == 10 * 25 and due["tag"] == 20 * 5 and due["unicast"] == 30
    assert 20 * 2 <= due["user"] <= 20 * 3
    wait_until(lambda: cluster.room.metric("holdfast_messages_acked_total") >= sum(due.values()))
    receiver.send_signal(signal.SIGINT)
    assert f"{sum(due.values())} new, 0 lost, 0 duplicated" in finish(receiver)
    assert "passed --fail-if lost>0" in merge(tmp_path, "recv", *chosen, fail_if="lost>0")


def test_help_is_enough_to_write_a_test_and_who_does_not_answer_is_named(tmp_path):
    lines = finish(bench("push", {}, "--help")).splitlines()
    assert max(len(line) for line in lines) <= 100 and not any(line.endswith(" ") for line in lines)
    assert {"deliver_uncorrected", "http_429", "p999", "lost"} <= set(" ".join(lines).split())
    key = tmp_path / "sender.key"
    key.write_text("id.secret\n")
    output = finish(bench("push", {"url": "http://127.0.0.1:1", "key-file": key, "duration": "300ms"}), UNREACHABLE)
    assert "no answer: Connection refused" in output


def test_a_send_that_is_refused_says_why(cluster, app, tmp_path):
    output = finish(push(cluster, app, tmp_path, 5, rate=10, duration="500ms"))
    assert "5 answered, 0 messages accepted" in output and "first refusal: 404 " in output
    assert "UNREGISTERED" in output


@pytest.mark.parametrize("options, word", [
    ({"kind": "everyone"}, "--kind: is unicast, user, tag or broadcast"), ({"kind": "tag"}, "--tags: is needed"),
    ({"kind": "user"}, "--users: is needed"), ({"kind": "broadcast", "wait": "acked"}, "--wait: is for"),
    ({"kind": "broadcast", "batch": 2}, "--batch: is for"), ({"tags": 11}, "--tags: is at most"),
    ({"kind": "broadcast", "processes": 2}, "--processes: more than"), ({"prefix": "p" * 25}, "--prefix: is at most"),
    ({"url": "https://127.0.0.1"}, "https is not spoken"), ({"fail-if": "deliver.p42>1s"}, "--fail-if deliver.p42>1s"),
])
def test_what_can_not_be_is_refused_by_name(tmp_path, options, word):
    key = tmp_path / "sender.key"
    key.write_text("id.secret\n")
    process = bench("push", {"url": "http://127.0.0.1:1", "key-file": key, "count": 10, **options})
    assert word in process.communicate(timeout=20)[1] and process.returncode == USAGE


@pytest.mark.parametrize("options, word", [
    ({"waves": 0}, "--waves: is 1 to 32"), ({"waves": 33}, "--waves: is 1 to 32"),
    ({"waves": 2, "wave-every": "2s", "reconnect-rate": 20}, "--wave-every: is too short for all to come back"),
])
def test_waves_that_can_not_be_are_refused_by_name(tmp_path, options, word):
    process = bench("storm", {"addr": "127.0.0.1:1", "token-file": "/dev/null", "count": 100, **options})
    assert word in process.communicate(timeout=20)[1] and process.returncode == USAGE


def test_what_is_never_stored_is_pushed_without_a_time_to_live(cluster, app, tmp_path):
    receiver = receivers(cluster, app, tmp_path, 5, duration="50s", expect=10)
    sent = finish(push(cluster, app, tmp_path, 5, qos=0, rate=10, duration="1s"))
    assert "10 new, 0 lost" in finish(receiver)
    rate = r"10 messages accepted, [\d.]+/s"  # of the push, though recv took longer
    assert re.search(rate, merge(tmp_path, "recv", "push")).group() == re.search(rate, sent).group()
    again = bench("merge", {"out": tmp_path / "twice"}, tmp_path / "push", tmp_path / "push")
    assert "is named twice" in again.communicate(timeout=20)[1] and again.returncode == USAGE


def test_requests_that_nobody_answers_are_lost(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        output = finish(bench("http", {"url": f"http://127.0.0.1:{silent.getsockname()[1]}", "rate": 20,
                                       "duration": "500ms"}), UNREACHABLE)
    assert "10 sent" in output and "lost 10" in output and "no answer until" in output


@pytest.mark.parametrize("options, word", [
    ({"addr": "localhost:99999"}, "no HOST:PORT"), ({"token-file": "/dev/zero"}, "fewer tokens"),
    ({"token-file": None, "token-key-id": "k", "token-secret-file": "/dev/zero"}, "has no text"),
    ({"token-file": "/"}, "Is a directory"), ({"token-file": None, "token-key-id": "k", "token-secret-file": "/none"}, "No such"),
    ({"out": "/proc/none"}, "--out /proc/none: No such"), ({"stats-file": "/proc/none"}, "--stats-file /proc/none"),
    ({"tls": True, "ca-file": "/none"}, "--ca-file: No such"), ({"fail-if": "login.p99>1"}, "is no test"),
])
def test_what_can_not_be_opened_ends_the_run_before_it_begins(tmp_path, options, word):
    tokens = tmp_path / "tokens"
    tokens.write_text("a\nb\n")
    chosen = {"addr": "127.0.0.1:1", "token-file": tokens, "count": 2, "duration": "1s", **options}
    run = bench("conn", chosen)
    output, errors = run.communicate(timeout=20)
    assert run.returncode == USAGE and word in errors and output == "", errors


def test_words_that_are_no_command_are_named(cluster, tmp_path):
    for command, arguments, said in (("nosuch", (), "nosuch is no command"), ("http", ("extra",), "extra: this command")):
        run = bench(command, {"url": "http://127.0.0.1:1"}, *arguments)
        assert said in run.communicate(timeout=20)[1] and run.returncode == USAGE
    tokens = tmp_path / "tokens"
    tokens.write_text("a\n")
    url = f"http://{cluster.api_address()}"
    asked = bench("conn", {"dispatcher": url, "token-file": tokens, "count": 1})
    assert re.search(f"{url}: names no room for app 1: the answer is 4\\d\\d ", asked.communicate(timeout=20)[1])
    assert asked.returncode == UNREACHABLE


def test_a_latency_that_nobody_measured_is_said_to_be_so(cluster, app, tmp_path):
    output = finish(clients(cluster, app, tmp_path, "conn", 2, duration="200ms", fail_if="deliver.p99>1s"), THRESHOLD)
    assert "FAILED --fail-if deliver.p99>1s: 0 ms, as nobody measured it" in output


def test_a_running_bench_serves_its_counters(cluster, app, tmp_path):
    run = clients(cluster, app, tmp_path, "conn", 10, duration=0, prom="127.0.0.1:0", quiet=True)
    metrics = scrape(run)
    wait_until(lambda: metrics()["holdfast_bench_connections_open"] == 10)
    now = metrics()
    assert now["holdfast_bench_logins_total"] == 10
    assert now['holdfast_bench_latency_seconds_count{latency="login"}'] == 10
    run.send_signal(signal.SIGTERM)
    finish(run)
    taken = bench("conn", {"addr": "127.0.0.1:1", "token-file": "/dev/null", "prom": "nowhere"})
    assert taken.communicate(timeout=20) and taken.returncode == USAGE


def test_a_stall_shows_in_the_corrected_latency_alone(cluster, app, tmp_path):
    """One request in flight at a time: while center stands still, one request waits and the others are not even sent."""
    receiver = receivers(cluster, app, tmp_path, 10, duration=0)
    sender = push(cluster, app, tmp_path, 10, rate=150, duration="6s", connections=1, pipeline=1, prom="127.0.0.1:0",
                  quiet=True)
    metrics = scrape(sender)
    wait_until(lambda: metrics()["holdfast_bench_accepted_total"] >= 100)
    cluster.center.pause()
    stalled = time.monotonic()
    wait_until(lambda: time.monotonic() > stalled + 1)
    cluster.center.resume()
    finish(sender)
    assert summary(tmp_path, "push")["messages"]["accepted"] >= 800
    wait_until(lambda: cluster.room.metric("holdfast_messages_acked_total")
               >= summary(tmp_path, "push")["messages"]["accepted"])
    receiver.send_signal(signal.SIGTERM)
    finish(receiver)
    for folder, name in (("push", "request"), ("recv", "deliver")):
        latency = summary(tmp_path, folder)["latency_us"][name]
        assert latency["corrected"]["p99"] > 500000 > 2 * latency["uncorrected"]["p99"], latency


def test_acks_are_timed_and_servers_tell_what_it_cost(cluster, app, tmp_path):
    pages = f"http://{cluster.room.instance()['admin']}/metrics"
    receiver = receivers(cluster, app, tmp_path, 10, duration="30s", expect=100, server_metrics=pages)
    finish(push(cluster, app, tmp_path, 10, rate=50, duration="2s", wait="acked"))
    assert "the servers: " in finish(receiver)
    ack = summary(tmp_path, "push")["latency_us"]["ack"]
    assert ack["corrected"]["count"] == summary(tmp_path, "push")["counters"]["accepted_and_acked"] == 100
    assert ack["corrected"]["max"] >= ack["corrected"]["p50"] > 0
    run = summary(tmp_path, "recv")
    assert run["run"]["server_cpu_s"] > 0 and run["connections"]["mem_per_conn_server_b"] is not None
    finish(clients(cluster, app, tmp_path, "conn", 1, server_metrics=f"{pages}/none"), UNREACHABLE)


def test_delays_between_machines_need_a_common_clock(cluster, app, tmp_path):
    """Both ends measure against center; then the results are made to look as if of two machines."""
    clock = f"http://{cluster.api_address()}"
    receiver = receivers(cluster, app, tmp_path, 5, duration="60s", expect=20, clock=clock)
    finish(push(cluster, app, tmp_path, 5, rate=20, duration="1s", clock=clock))
    finish(receiver)
    for name in ("recv", "push"):
        measured = summary(tmp_path, name)["clock"]
        # It is this machine's own clock: off by no more than the bound says.
        assert abs(measured["offset_us"]) <= measured["error_us"] < 500000
    edit(tmp_path, "push", lambda run: run["run"].update(machine="another"))
    assert "deliver compares clocks measured against" in merge(tmp_path, "recv", "push")
    assert summary(tmp_path, "merged")["latency_us"]["deliver"]["corrected"]["count"] == 20
    edit(tmp_path, "push", lambda run: run.update(clock=None))
    assert "deliver is left out" in merge(tmp_path, "recv", "push")
    assert "deliver" not in summary(tmp_path, "merged")["latency_us"]
    assert not summary(tmp_path, "merged")["one_way_known"]


def edit(tmp_path, command, change):
    path = tmp_path / command / "summary.json"
    run = json.loads(path.read_text())
    change(run)
    path.write_text(json.dumps(run))


def test_storm_drops_its_share_and_gets_it_back(cluster, app, tmp_path):
    output = finish(clients(cluster, app, tmp_path, "storm", 60, settle="500ms", waves=2, wave_every="2s",
                            duration="2s"))
    waves = summary(tmp_path, "storm")["connections"]["waves"]
    assert len(waves) == 2, output
    assert all(0 < wave["dropped"] == wave["recovered"] < 60 for wave in waves)


def test_upstream_reaches_the_business_and_counts_its_answers(cluster, app, tmp_path):
    server = Callback(lambda received: (200, {"Content-Type": "application/json"}, b'{"taken":true}'))
    try:
        answer = app.cluster.operator("POST", app.path("webhooks"), {
            "url": server.url, "forward_types": ["load"], "allow_cidrs": ["127.0.0.0/8"]})
        assert answer.status == 201, answer
        output = finish(clients(cluster, app, tmp_path, "upstream", 20, rate=50, type="load", duration="4s"))
    finally:
        server.stop()
    counters = summary(tmp_path, "upstream")["counters"]
    sent = counters["upstream_sent"]
    assert 100 <= sent <= 110 and counters["upstream_refused"] == 0, output  # two seconds of 50, 1 s before and after
    assert counters["upstream_accepted"] == counters["upstream_answers"] == sent == len(server.received)
    assert summary(tmp_path, "upstream")["latency_us"]["upstream"]["corrected"]["count"] == sent


def test_clients_speak_tls_and_check_the_certificate(new_cluster, tmp_path):
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate], check=True,
                   capture_output=True)
    new_cluster.add_app(7)
    new_cluster.start({"room": {
        "listeners": f"[{{bind: '127.0.0.1:0', tls: {{certificate: '{certificate}', key_file: '{key}'}}}}]"}})
    app = new_cluster.apps[7]
    output = finish(clients(new_cluster, app, tmp_path, "conn", 20, duration="1s", tls=True, ca_file=certificate))
    assert "20 logged in, 0 failed" in output
    assert summary(tmp_path, "conn")["latency_us"]["tls"]["count"] == 20
    other = tmp_path / "other.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=elsewhere", "-keyout", str(tmp_path / "other.key"), "-out", str(other)],
                   check=True, capture_output=True)
    output = finish(clients(new_cluster, app, tmp_path, "conn", 3, duration="1s", tls=True, ca_file=str(other),
                            retry="off"), UNREACHABLE)
    assert "0 logged in, 3 failed" in output
    assert summary(tmp_path, "conn")["connections"]["failed_by"] == {"tls": 3}


def test_http_asks_the_dispatcher(cluster, app, tmp_path):
    output = finish(bench("http", {"url": f"http://{cluster.dispatcher_address()}/v1/endpoints?app_id={app.id}",
                                   "rate": 50, "duration": "1s"}))
    assert "50 answered" in output and "2xx 50" in output


def test_recv_asks_the_dispatcher_for_its_rooms(cluster, app, tmp_path):
    output = finish(clients(cluster, app, tmp_path, "conn", 5, duration="1s", addr=None,
                            dispatcher=f"http://{cluster.dispatcher_address()}"))
    assert "5 logged in, 0 failed" in output


def test_a_threshold_and_an_unreachable_room_have_exit_codes_of_their_own(cluster, app, tmp_path):
    finish(clients(cluster, app, tmp_path, "conn", 5, duration="1s", fail_if="login.max>1us"), THRESHOLD)
    assert summary(tmp_path, "conn")["thresholds"][0]["failed"]
    finish(clients(cluster, app, tmp_path, "conn", 5, duration="1s", addr="127.0.0.1:1"), UNREACHABLE)
    finish(bench("conn", {"count": 5}), 1)


@pytest.mark.parametrize("name", ["idle-memory", "tls-memory", "push-ack", "fanout", "login", "unicast", "rpc",
                                  "store", "register", "mixed", "million", "storm",
                                  "scale-connections", "scale-rooms"])
def test_each_goal_has_a_command_that_ends_with_its_line(name):
    environment = dict(os.environ, HOLDFAST_BUILD=os.path.abspath(BUILD), HOLDFAST_PERF_SCALE="0.01",
                       HOLDFAST_PERF_ROUNDS="1")
    done = subprocess.run([sys.executable, os.path.join(ROOT, "tools", "perf"), name], capture_output=True,
                          text=True, timeout=120, env=environment, check=False)
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
    line = json.loads(done.stdout.strip().splitlines()[-1])
    assert line["name"] == name and "gate" in line and "ok" in line
