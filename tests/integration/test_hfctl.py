"""The operator's command line on a real cluster: what it shows, and its exit status for scripts."""

import json
import os
import subprocess
import time

import pytest

from harness.callback import Callback
from harness.cluster import App, binary
from harness.waiting import wait_until

DONE, USAGE, NOT_FOUND, REFUSED, UNREACHABLE, TIMEOUT, PARTIAL = range(7)


@pytest.fixture
def hfctl(cluster, tmp_path):
    key_file = tmp_path / "operator.key"
    key_file.write_text(f"operator.{cluster.OPERATOR_SECRET}\n")

    def run(*arguments, status=DONE, stdin="", **environment):
        variables = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST_")}
        variables |= {"HOLDFAST_URL": f"http://{cluster.api_address()}",
                      "HOLDFAST_KEY_FILE": str(key_file), "HOLDFAST_APP": "7"} | environment
        done = subprocess.run([binary("tools/hfctl/hfctl"), *arguments], env=variables, input=stdin,
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        return done.stdout if status in (DONE, TIMEOUT, PARTIAL) else done.stderr

    return run


def rows_of(table):
    """A table as {first column: [the others]}."""
    return {line.split()[0]: line.split()[1:] for line in table.splitlines()}


def test_status_and_node_list_show_every_process(hfctl, cluster):
    rows = rows_of(hfctl("status"))
    assert all(rows[role][0] == "1" for role in cluster.processes)
    rows = rows_of(hfctl("node", "list"))
    assert {"room-1", "saver-1", "center-1"} <= set(rows)
    assert "{" not in hfctl("node", "list")
    nodes = json.loads(hfctl("-o", "json", "node", "list"))["nodes"]
    assert len(nodes) == len(cluster.processes)

    cluster.processes["dispatcher"][0].terminate()
    cluster.processes["dispatcher"][0].wait_exit()
    assert rows_of(hfctl("status", status=PARTIAL))["dispatcher"][0] == "0"


def test_the_clients_of_a_room_show_as_its_load(hfctl, cluster, app):
    def load():
        nodes = json.loads(hfctl("-o", "json", "node", "list"))["nodes"]
        return next(node["load"] for node in nodes if node["id"] == "room-1")

    phones = [cluster.phone(device=f"device-{number}") for number in range(3)]
    for number, phone in enumerate(phones):
        phone.login((app, f"reg-{number}"))
    wait_until(lambda: load() == 3)
    phones[0].close()
    wait_until(lambda: load() == 2)


def test_an_app_with_its_keys_is_made_changed_and_removed(hfctl, cluster):
    hfctl("app", "create", "9", "--name", "shop", "--stored", "10")
    assert "already" in hfctl("app", "create", "9", "--name", "shop", status=REFUSED).lower()
    hfctl("app", "set", "9", "--stored", "20")
    assert json.loads(hfctl("-o", "json", "app", "show", "9"))["limits"]["stored_per_registration"] == 20

    key = json.loads(hfctl("--app", "9", "-o", "json", "key", "create", "--role", "sender"))
    assert key["id"] in hfctl("--app", "9", "key", "list")
    App(cluster, 9, "shop").register("reg-1")
    sender = {"HOLDFAST_KEY_FILE": "/dev/stdin", "stdin": key["key"] + "\n"}
    hfctl("--app", "9", "push", "send", "--to", "reg-1", "--data", "1", **sender)
    hfctl("--app", "9", "client", "kick", "reg-1", status=REFUSED, **sender)
    hfctl("--app", "9", "key", "revoke", key["id"])
    hfctl("--app", "9", "push", "send", "--to", "reg-1", "--data", "1", status=REFUSED, **sender)

    hfctl("app", "delete", "9", status=USAGE)  # not without --yes
    hfctl("app", "delete", "9", "--yes")
    hfctl("app", "show", "9", status=NOT_FOUND)


def test_a_client_with_a_token_of_hfctl_is_pushed_to_shown_and_kicked(hfctl, cluster, app, tmp_path):
    made = json.loads(hfctl("--app", "7", "-o", "json", "token-key", "create", "--id", "tk-new"))
    secret = tmp_path / "token.secret"
    secret.write_text(made["secret"])
    keys = ["--registration", "reg-1", "--key-id", "tk-new", "--secret-file", str(secret)]
    token = hfctl("token", "gen", *keys).strip()
    assert "ok" in hfctl("token", "check", token, *keys)
    hfctl("token", "check", token[:-4], *keys, status=REFUSED)

    hfctl("client", "show", "reg-1", status=NOT_FOUND)
    listener = subprocess.Popen(
        [binary("sdk/c/hf-listen"), "--dispatcher", f"http://{cluster.dispatcher_address()}", "--app", "7",
         "--registration", "reg-1", "--token", token, "--json"], stdout=subprocess.PIPE, text=True)
    try:
        while '"connected"' not in listener.stdout.readline():
            assert listener.poll() is None
        answer = json.loads(hfctl("-o", "json", "push", "send", "--to", "reg-1", "--data", '{"n": 1}',
                                  "--wait", "acked", "--wait-timeout", "20s"))
        assert answer["state"] == "acked"
        assert json.loads(hfctl("-o", "json", "push", "status", answer["message_id"]))["counters"]["acked"] == 1
        assert "room-1" in hfctl("client", "show", "reg-1")
        assert "not_connected" in hfctl("client", "kick", "reg-1", "nobody", status=PARTIAL)
        assert listener.wait(20) == 3
    finally:
        listener.kill()
        listener.communicate()


def test_what_is_waited_for_and_does_not_happen_has_an_exit_status_of_its_own(hfctl, app):
    app.register("away")
    assert "UNREGISTERED" in hfctl("push", "send", "--to", "never-was", "--data", "1", status=NOT_FOUND)
    # The client's own --timeout does not cut the wait short.
    shown = hfctl("--timeout", "500ms", "push", "send", "--to", "away", "--data", "@-", "--wait", "acked",
                  "--wait-timeout", "1s", stdin="plain text", status=TIMEOUT)
    assert "offline 1" in shown
    assert len(hfctl("queue", "show", "away").splitlines()) == 2
    hfctl("queue", "purge", "away", "--yes")
    assert len(hfctl("queue", "show", "away").splitlines()) == 1


def test_errors_say_what_is_wrong(hfctl):
    assert "unknown command 'bogus'" in hfctl("bogus", status=USAGE)
    assert "push send" in hfctl("help", "push")
    assert "--wait-timeout" in hfctl("push", "send", "--help")
    assert "--data, and who it is for" in hfctl("push", "send", status=USAGE)
    assert "which app" in hfctl("key", "list", status=USAGE, HOLDFAST_APP="")
    assert "MESSAGE_UNKNOWN" in hfctl("push", "status", "bogus", status=NOT_FOUND)
    assert "KEY_MALFORMED" in hfctl("status", status=REFUSED, HOLDFAST_KEY_FILE="/dev/null")
    hfctl("status", status=UNREACHABLE, HOLDFAST_URL="http://127.0.0.1:1")


def test_registrations_users_and_tags_are_shown_and_steered(hfctl, cluster, app):
    phones = {name: app.registered(name, user="ana", tags=["vip"]) for name in ("reg-1", "reg-2")}
    assert set(rows_of(hfctl("client", "list"))) == {"REGISTRATION", "reg-1", "reg-2"}
    assert "--cursor" not in hfctl("client", "list", "--user", "ana", "--limit", "1000")
    assert json.loads(hfctl("-o", "json", "client", "info", "reg-1"))["tags"] == ["vip"]
    hfctl("client", "info", "nobody", status=NOT_FOUND)
    changed = json.loads(hfctl("-o", "json", "client", "set", "reg-1", "--user", "ben", "--add-tags", "a,b",
                               "--remove-tags", "vip"))
    assert (changed["user_id"], changed["tags"], changed["session"]) == ("ben", ["a", "b"], "updated")
    assert "CONFLICTING_FIELDS" in hfctl("client", "set", "reg-1", "--tags", "x", "--add-tags", "y", status=REFUSED)
    assert set(rows_of(hfctl("user", "show", "ana"))) == {"REGISTRATION", "reg-2"}

    hfctl("tag", "add", "sale", "reg-1", "reg-2")
    assert "UNREGISTERED" in hfctl("tag", "add", "sale", "nobody", status=PARTIAL)
    hfctl("tag", "remove", "sale", "reg-1")
    wait_until(lambda: rows_of(hfctl("tag", "list")).get("sale") == ["1"])
    assert json.loads(hfctl("-o", "json", "tag", "show", "sale"))["registrations"] == 1
    hfctl("tag", "delete", "sale", status=USAGE)
    assert json.loads(hfctl("-o", "json", "tag", "delete", "sale", "--yes"))["removed"] == 1

    assert json.loads(hfctl("-o", "json", "presence"))["online_registrations"] == 2
    assert "2" in hfctl("report", "registrations", "--unit", "hour", "--count", "1")
    hfctl("user", "kick", "ana", "--reason", "bye")
    assert phones["reg-2"].wait_closed().code == 4007
    hfctl("client", "bar", "reg-1", "--seconds", "60", "--reason", "spam")
    assert phones["reg-1"].wait_closed().code == 4005
    hfctl("client", "unbar", "reg-1")
    hfctl("client", "forget", "reg-1", status=USAGE)
    hfctl("client", "forget", "reg-1", "--yes")
    hfctl("client", "info", "reg-1", status=NOT_FOUND)


def test_a_broadcast_is_sent_listed_steered_and_cancelled(hfctl, cluster):
    phone = cluster.phone()
    phone.login((cluster.apps[7], "phone-1"))
    counted = json.loads(hfctl("-o", "json", "push", "send", "--all", "--data", "1", "--dry-run"))
    assert counted["targets"]["online"] == 1
    sent = json.loads(hfctl("-o", "json", "push", "send", "--all", "--platform", "linux", "--data", '"hi"'))
    push = phone.next_push()
    assert push.payload == b'"hi"'
    phone.ack(push)

    assert "BAD_SEND_AT" in hfctl("push", "send", "--all", "--data", "2", "--at", "9000000000", status=REFUSED)
    when = str(int(time.time()) + 3600)
    one = json.loads(hfctl("-o", "json", "push", "send", "--tag", "a,b", "--data", "2", "--at", when, "--pace", "15m"))
    name = one["message_id"]
    assert one["state"] == "scheduled"
    assert rows_of(hfctl("broadcast", "list")).keys() >= {name, sent["message_id"]}
    assert "paused" in hfctl("push", "pause", name)
    assert "scheduled" in hfctl("push", "resume", name)
    assert json.loads(hfctl("-o", "json", "push", "pace", name, "500/s"))["pace"] == {"rate_per_second": 500}
    assert json.loads(hfctl("-o", "json", "push", "pace", name, "none"))["pace"] is None
    assert "cancelled" in hfctl("push", "cancel", name)
    assert json.loads(hfctl("-o", "json", "push", "status", name))["state"] == "cancelled"


def test_webhooks_are_made_tested_changed_and_removed(hfctl, cluster, app):
    def answer(received):
        challenge = received.data.get("challenge")
        return 200, {}, json.dumps({"challenge": challenge}).encode() if challenge else b""
    server = Callback(answer)
    try:
        made = json.loads(hfctl("-o", "json", "webhook", "add", "shop", "--to", server.url, "--events",
                                "message.*,user.offline", "--allow-cidrs", "127.0.0.0/8", "--batch", "50"))
        assert made["secret"].startswith("whsec_") and made["batch"]["max_events"] == 50
        assert "shop" in hfctl("webhook", "list") and "user.offline" in hfctl("webhook", "show", "shop")
        assert "delivered" in hfctl("webhook", "test", "shop")
        assert server.received[0].event["type"] == "webhook.test"
        app.register("reg-1")
        sent = json.loads(hfctl("-o", "json", "push", "send", "--to", "reg-1", "--data", "1",
                                "--receipts", "message.acked,dropped"))
        hfctl("--yes", "queue", "purge", "reg-1")
        told = wait_until(lambda: [received.event for received in server.received
                                   if received.event["type"] == "message.dropped"])
        assert told[0]["data"]["message_id"] == sent["message_id"]
        hfctl("push", "send", "--to", "reg-1", "--data", "1", "--receipts", "seen", status=REFUSED)
        rotated = json.loads(hfctl("-o", "json", "webhook", "rotate-secret", "shop"))
        assert rotated["secret_count"] == 2 and rotated["secret"] != made["secret"]
        hfctl("webhook", "rotate-secret", "shop", "--drop-old")
        hfctl("webhook", "set", "shop", "--events", "", "--enabled", "no")
        shown = json.loads(hfctl("-o", "json", "webhook", "show", "shop"))
        assert (shown["events"], shown["enabled"], shown["secret_count"]) == ([], False, 1)
        assert "DELIVERY" in hfctl("webhook", "failures", "shop")
        hfctl("webhook", "retry", "shop", "0D3PQZ8R5S001", status=NOT_FOUND)
        hfctl("webhook", "test", "none", status=NOT_FOUND)
        hfctl("webhook", "set", "shop", "--enabled", "perhaps", status=USAGE)
        hfctl("webhook", "delete", "shop", status=USAGE)
        hfctl("--yes", "webhook", "delete", "shop")
        hfctl("webhook", "show", "shop", status=NOT_FOUND)
    finally:
        server.stop()
