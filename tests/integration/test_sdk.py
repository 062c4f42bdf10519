"""The C client library on a real cluster, through hf-listen."""

import json
import subprocess
import threading

import pytest

from harness.callback import Callback
from harness.cluster import binary
from harness.line import Line
from harness.waiting import wait_until


class Listener:
    """One hf-listen process; its events as they come."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [binary("sdk/c/hf-listen"), "--json", "--stats", "--first-retry", "100ms", "--backoff",
             "50ms,500ms", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def of(self, name):
        return [event for event in self.events if event["event"] == name]

    def states(self):
        return [event["state"] for event in self.of("state")]

    def messages(self):
        return [event["data"] for event in self.of("message")]

    def wait_connected(self, times=1):
        wait_until(lambda: self.states().count("connected") >= times, 30,
                   lambda: f"connected: {self.events[-5:]}")

    def finish(self, timeout=20):
        code = self.process.wait(timeout)
        self.thread.join(timeout)
        errors = self.process.stderr.read()
        assert "Sanitizer" not in errors and "runtime error" not in errors, errors
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        assert self.finish() in (0, 3, 4, 5, 6)


@pytest.fixture
def listen(cluster, app):
    listeners = []

    def make(registration, *arguments, where=None):
        where = where or ["--dispatcher", f"http://{cluster.dispatcher_address()}"]
        listener = Listener(*where, "--app", str(app.id), "--registration", registration, "--token",
                            app.token(registration), "--device", f"device-{registration}", *arguments)
        listeners.append(listener)
        return listener
    yield make
    for listener in listeners:
        listener.close()


def test_the_dispatcher_names_a_room_and_a_push_arrives_and_is_acked(cluster, app, listen):
    listener = listen("reg-1", "--count", "1")
    listener.wait_connected()
    answer = app.send({"text": "hello"}, "reg-1", wait="acked", wait_timeout="10s")
    assert (answer.status, answer.json["state"]) == (200, "acked")
    assert listener.finish() == 0
    assert listener.messages() == [{"text": "hello"}]
    assert cluster.redis.queue_length(app.id, "reg-1") == 0


def test_what_waited_comes_at_login(cluster, app, listen):
    app.register("reg-1")
    for n in range(40):
        assert app.send(n, "reg-1").status == 202
    listener = listen("reg-1", "--count", "40", "--timeout", "20s")
    assert listener.finish(30) == 0
    assert listener.messages() == list(range(40))


def test_two_apps_on_one_connection(cluster, app, listen):
    other = cluster.add_app(8)
    wait_until(lambda: other.send("x", "nobody", validate_only=True).status == 200)
    listener = listen("reg-1", "--attach", f"8:reg-8:{other.token('reg-8')}")
    wait_until(lambda: len(listener.of("app")) >= 2)
    app.send("seven", "reg-1")
    other.send("eight", "reg-8")
    wait_until(lambda: sorted(listener.messages()) == ["eight", "seven"])


def test_a_cut_line_is_a_resume(cluster, app, listen):
    """The client library behind a line that is cut while the business sends: each message once, and no new login for
    the rest of the cluster."""
    line = Line(cluster.room_address())
    try:
        listener = listen("reg-1", where=["--address", line.address])
        listener.wait_connected()
        updates = cluster.register.metric("holdfast_rpc_served_total", method="hf.Register.Update")
        for cut in range(3):
            app.send(2 * cut, "reg-1")
            line.cut()
            app.send(2 * cut + 1, "reg-1")
            listener.wait_connected(cut + 2)
        wait_until(lambda: sorted(listener.messages()) == list(range(6)), 30, lambda: listener.messages())
        connected = [event["resumed"] for event in listener.of("state") if event["state"] == "connected"]
        assert connected == [False, True, True, True]
        assert cluster.register.metric("holdfast_rpc_served_total", method="hf.Register.Update") == updates
        wait_until(lambda: cluster.redis.queue_length(app.id, "reg-1") == 0)
    finally:
        line.close()


def test_it_comes_back_after_the_room_was_killed(cluster, app, listen):
    listener = listen("reg-1")
    listener.wait_connected()
    cluster.room.kill()
    app.send("meanwhile", "reg-1")
    cluster.room.restart()
    listener.wait_connected(2)
    wait_until(lambda: listener.messages() == ["meanwhile"], 30)


def test_it_moves_when_its_room_drains(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(room=2)
    listener = Listener("--dispatcher", f"http://{new_cluster.dispatcher_address()}", "--app", "7",
                        "--registration", "reg-1", "--token", app.token("reg-1"))
    try:
        listener.wait_connected()
        node = [event for event in listener.of("state") if event["state"] == "connected"][0]["node"]
        room = next(one for one in new_cluster.processes["room"] if one.id == node)
        room.terminate()
        listener.wait_connected(2)
        assert room.wait_exit() == 0
        app.send("after the move", "reg-1")
        wait_until(lambda: listener.messages() == ["after the move"], 30)
    finally:
        listener.close()


def test_a_kick_stops_it_for_good(cluster, app, listen):
    listener = listen("reg-1")
    listener.wait_connected()
    app.call("POST", "connections/disconnect", {"registration_id": ["reg-1"], "code": 4007},
             role="admin")
    assert listener.finish() == 3
    assert [event["code"] for event in listener.of("closed")] == [4007]


def test_a_takeover_stops_the_older_one(cluster, app, listen):
    older = listen("reg-1")
    older.wait_connected()
    newer = listen("reg-1")
    newer.wait_connected()
    assert older.finish() == 3
    assert older.of("closed")[-1]["code"] == 4006


def test_a_forged_token_stops_it(cluster, app):
    listener = Listener("--address", cluster.room_address(), "--app", "7", "--registration", "reg-1",
                        "--token", app.token("another"))
    assert listener.finish() == 3
    assert listener.of("closed")[-1]["code"] == 4004


def test_a_message_that_comes_again_is_delivered_once(cluster, app, listen):
    """The ack is lost with the connection; the library knows the id when it comes back."""
    listener = listen("reg-1")
    listener.wait_connected()
    cluster.saver.pause()
    # Transient messages need no store: the connection is alive.
    app.send("first", "reg-1", qos=0)
    wait_until(lambda: listener.messages() == ["first"])
    cluster.saver.resume()
    for n in range(10):
        app.send(n, "reg-1")
    wait_until(lambda: len(listener.messages()) == 11)
    cluster.room.kill()
    cluster.room.restart()
    listener.wait_connected(2)
    app.send("last", "reg-1")
    wait_until(lambda: "last" in listener.messages(), 30)
    ids = [event["message_id"] for event in listener.of("message")]
    assert len(ids) == len(set(ids)) == 12


def test_a_message_to_the_business_comes_back_answered(cluster, app, listen):
    server = Callback(lambda received: (
        (200, {"Content-Type": "application/json"}, json.dumps({"got": received.data["payload"]}).encode())
        if received.data["forward_type"] == "order" else (403, {}, b"")))
    made = cluster.operator("POST", app.path("webhooks"), {
        "url": server.url, "forward_types": ["order", "forbidden"], "allow_cidrs": ["127.0.0.0/8"]})
    assert made.status == 201

    def all_taken():
        client = listen("reg-1", "--send", 'order:{"n":1}', "--send", 'order:{"n":2}', "--timeout", "20s")
        code = client.finish()
        results = [event["name"] for event in client.of("send_result")]
        if "no_callback" in results:  # the coordinator has not read of it yet
            assert code == 6
            return None
        assert code == 0 and results == ["accepted", "accepted"]
        return client
    client = wait_until(all_taken)
    answers = {event["answers"]: event["data"] for event in client.of("message")}
    sequences = [event["sequence"] for event in client.of("sent")]
    assert answers == {sequences[0]: {"got": {"n": 1}}, sequences[1]: {"got": {"n": 2}}}

    client = listen("reg-1", "--send", "order:1", "--send", "forbidden:2", "--timeout", "20s")
    assert client.finish() == 6
    assert sorted(event["code"] for event in client.of("send_result")) == [0, 4401]
    server.stop()
