"""The connections of saver to a Redis: what happens when the answers of one come later than those of another."""

import os
import socket

import pytest

from harness import rpc
from harness.line import Relay
from harness.waiting import wait_until

APP = 7


class Lines(Relay):
    """Stands in front of a Redis: the answers of a connection can be held back, in the order of their opening."""

    def __init__(self, redis):
        self.target = redis.socket
        self.path = os.path.join(redis.socket_folder, "lines.sock")
        self.pairs = []  # (saver's end, Redis' end, what saver has sent, answers held back)
        self.held = set()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(64)
        super().__init__(listener)

    def _ends(self):
        return (end for pair in self.pairs for end in pair[:2])

    def _open(self):
        near, _ = self.listener.accept()
        far = socket.socket(socket.AF_UNIX)
        far.connect(self.target)
        self.pairs.append((near, far, bytearray(), bytearray()))

    def _forward(self, end):
        found = [number for number, pair in enumerate(self.pairs) if end in pair[:2]]
        if not found:
            return
        near, far, sent, held = self.pairs[found[0]]
        try:
            data = end.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._end_all()
        elif end is near:
            sent += data
            far.sendall(data)
        elif found[0] in self.held:
            held += data
        else:
            near.sendall(data)

    def _end_all(self):
        for near, far, _, _ in self.pairs:
            near.close()
            far.close()
        self.pairs.clear()

    def cut(self):
        with self.lock:
            self._end_all()

    def opened(self):
        with self.lock:
            return len(self.pairs)

    def saw(self, *words):
        """Did saver send a command with these words, on any connection?"""
        text = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        with self.lock:
            return any(text in pair[2] for pair in self.pairs)

    def hold(self, *numbers):
        with self.lock:
            self.held.update(numbers)

    def release(self, number):
        with self.lock:
            self.held.discard(number)
            near, _, _, held = self.pairs[number]
            near.sendall(held)
            held.clear()


@pytest.fixture
def lines(new_cluster):
    lines = Lines(new_cluster.redis)
    yield lines
    lines.close()


def started(cluster, lines, timeout):
    saver = cluster.add("saver", redis__nodes=f"unix:{lines.path}", redis__connections=2, redis__timeout=timeout)
    saver.wait_ready()
    return saver


def login(saver, registration):
    rpc.call(saver, "Load", {"app": APP, "registration": registration, "login": True, "max_count": 1, "profile": {}})


def item(number, registration, frame):
    return {"frames": [frame], "items": [{"frame": 0, "app": APP, "registration": registration,
                                          "message_id": number, "class": 1}]}


def test_who_is_forgotten_is_not_known_again_by_an_answer_that_comes_late(new_cluster, lines):
    saver = started(new_cluster, lines, "60s")
    login(saver, "reg-1")
    lines.cut()
    wait_until(lambda: lines.opened() == 2 and saver.ready(), what="saver is back, and knows nobody")
    login(saver, "busy")
    calls = rpc.Rpc(saver)
    try:
        lines.hold(0, 1)
        calls.begin("Store", **item(1, "busy", "x" * 40000))  # the first connection has enough to do
        wait_until(lambda: lines.saw(b"hf:q:7:busy"))
        calls.begin("Store", **item(2, "reg-1", "y"))
        wait_until(lambda: lines.saw(b"EXISTS", b"hf:r:7:reg-1"))
        calls.begin("ForgetRegistration", app=APP, registration="reg-1")
        wait_until(lambda: lines.saw(b"GET", b"hf:r:7:reg-1"))
        lines.release(0)
        wait_until(lambda: lines.saw(b"HKEYS", b"hf:q:7:reg-1"), what="its record is gone, its queue is purged")
        lines.release(1)
        for _ in range(3):
            calls.next_answer()
        assert calls("Store", **item(3, "reg-1", "z"))["unregistered"] == [0]
        assert new_cluster.redis.call("EXISTS", "hf:q:7:reg-1", "hf:r:7:reg-1") == ["0"]
    finally:
        calls.close()


def test_what_was_begun_is_told_also_when_redis_has_become_slow_meanwhile(new_cluster, lines):
    app = new_cluster.add_app(APP)
    document = app.document()
    document["webhooks"] = [{"id": "a", "url": "https://callback.invalid/", "events": ["registration.created"],
                             "secrets": ["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"]}]
    new_cluster.write_app(app, document)
    saver = started(new_cluster, lines, "8s")
    login(saver, "busy")
    login(saver, "other")

    def spooled():
        return saver.metric("holdfast_saver_spooled_events_total", result="stored")

    wait_until(lambda: spooled() == 2)
    calls = rpc.Rpc(saver)
    try:
        lines.hold(0, 1)
        calls.begin("Store", **item(1, "busy", "x" * 40000))
        wait_until(lambda: lines.saw(b"hf:q:7:busy"))
        calls.begin("Store", **item(2, "other", "y"))
        wait_until(lambda: lines.saw(b"hf:q:7:other"))
        calls.begin("Load", app=APP, registration="reg-1", login=True, max_count=1, profile={})
        wait_until(lambda: lines.saw(b"GET", b"hf:r:7:reg-1"))
        slow = ("Load", {"app": APP, "registration": "reg-2", "login": False, "max_count": 1})
        wait_until(lambda: "OVERLOADED" in rpc.call_all(saver, [slow], timeout_ms=100)[0],
                   what="nothing new is begun")
        lines.release(0)
        wait_until(lambda: saver.metric("holdfast_saver_registrations_total", change="created") == 3, what="its record is there")
        lines.release(1)
        for _ in range(3):
            calls.next_answer()
        wait_until(lambda: spooled() == 3)
    finally:
        calls.close()


def test_a_redis_that_takes_no_more_clients_is_named_and_tried_again(new_cluster):
    redis = new_cluster.redis
    redis.call("CONFIG", "SET", "maxclients", "1")
    saver = new_cluster.add("saver", redis__nodes=f"unix:{redis.socket}", redis__connections=8)
    wait_until(lambda: "max number of clients" in saver.log())
    wait_until(lambda: redis.call("CONFIG", "SET", "maxclients", "100") == ["OK"])
    saver.wait_ready()
