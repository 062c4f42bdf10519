"""A crowd that comes faster than the store can register it stands in line: everybody gets in, and nothing is done twice."""

import base64
import contextlib
import subprocess

import pytest

from harness import wire
from harness.cluster import binary
from harness.waiting import wait_until
from test_tls import certificate, context  # noqa: F401


@contextlib.contextmanager
def crowd(cluster, app, tmp_path, count, rate):
    secret = tmp_path / "token.secret"
    secret.write_text(base64.b64encode(app.token_secret).decode() + "\n")
    words = ["conn", "--addr", cluster.room_address(), "--app", app.id, "--token-key-id", app.token_key,
             "--token-secret-file", secret, "--count", count, "--connrate", rate, "--duration", "0", "--quiet"]
    process = subprocess.Popen([binary("tools/bench/hf-bench"), *map(str, words)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def loads(room, result):
    return room.metric("holdfast_room_loads_total", result=result)


def test_a_saver_with_too_much_to_do_is_given_what_it_can_do(new_cluster, tmp_path):
    app, count = new_cluster.add_app(7), 1500
    new_cluster.start({"saver": {"redis__commands": "100"},
                       "room": {"limits__login_rate": "0", "limits__handshake_timeout": "60s"}})
    room, saver = new_cluster.room, new_cluster.saver
    with crowd(new_cluster, app, tmp_path, count, 5000):
        wait_until(lambda: loads(room, "ok") >= count, 60, "everybody is registered")
        assert room.metric("holdfast_room_logged_in_connections") == count
        assert saver.metric("holdfast_saver_registrations_total", change="created") == count
        assert loads(room, "overloaded") < count / 5, "what was too much was taken to heart"
        assert loads(room, "failed") == 0
        assert room.metric("holdfast_room_loads_waiting") == room.metric("holdfast_room_loads_in_flight") == 0
        assert room.metric("holdfast_room_connections_rejected_total") == 0


def test_who_finds_the_lobby_full_waits_outside_and_gets_in(new_cluster, tmp_path):
    app, count = new_cluster.add_app(7), 300
    new_cluster.start({"room": {"limits__logins_in_flight": "4", "limits__register_timeout": "60s",
                                "limits__handshake_timeout": "60s"}})
    room = new_cluster.room
    new_cluster.register.pause()
    with crowd(new_cluster, app, tmp_path, count, 3000):
        try:
            wait_until(lambda: room.metric("holdfast_room_accepts_paused_total") >= 5, 20, "the door is shut")
            assert room.metric("holdfast_room_logged_in_connections") == 0
            assert room.metric("holdfast_room_connections") < 40, "the others are in nobody's books"
        finally:
            new_cluster.register.resume()
        wait_until(lambda: room.metric("holdfast_room_logged_in_connections") == count, 60, "all are in")
        assert room.metric("holdfast_room_connections_rejected_total") == 0


def test_logins_go_on_while_the_store_is_away(new_cluster, tmp_path):
    app, count = new_cluster.add_app(7), 200
    new_cluster.start({"room": {"limits__logins_in_flight": "4"}})
    room = new_cluster.room
    new_cluster.redis.kill()
    wait_until(lambda: new_cluster.saver.metric("holdfast_saver_redis_up") == 0)
    with crowd(new_cluster, app, tmp_path, count, 1000):
        wait_until(lambda: room.metric("holdfast_room_logged_in_connections") == count, 60, "all are in")
        assert loads(room, "ok") == 0
        new_cluster.redis.start()
        wait_until(lambda: loads(room, "ok") >= count, 60, "all are registered")


@contextlib.contextmanager
def one_login_under_way(cluster, app, before=lambda: None, **settings):
    """A room that may have one at a time, and that one stands still; the phone of it. `before` that, all is open."""
    cluster.start({"room": {"limits__logins_in_flight": "1", "limits__register_timeout": "60s", **settings}})
    before()
    cluster.register.pause()
    try:
        first = cluster.phone()
        say_login(first, app, "first")
        wait_until(lambda: cluster.room.metric("holdfast_room_frames_total", direction="in", type="login") == 1)
        yield first
    finally:
        cluster.register.resume()


def say_login(phone, app, name):
    phone.send_bytes(wire.login(f"device-{name}", [wire.session(7, name, app.token(name))]))


def in_line(room):
    return room.metric("holdfast_room_lobby_connections")


def test_who_stood_in_line_for_long_is_sent_away_with_a_word(new_cluster):
    app = new_cluster.add_app(7)
    with one_login_under_way(new_cluster, app, limits__handshake_timeout="2s") as first:
        others = [new_cluster.phone() for _ in range(8)]
        for n, phone in enumerate(others):
            say_login(phone, app, f"reg-{n}")
        for phone in others:
            assert phone.wait_closed(timeout=20).code == 4100
    first.expect("login_ack")
    room = new_cluster.room
    assert room.metric("holdfast_room_connections_rejected_total", reason="crowd") == len(others)
    assert room.metric("holdfast_room_connections_rejected_total", reason="handshake_timeout") == 0
    late = new_cluster.phone()
    say_login(late, app, "late")
    late.expect("login_ack")


def test_who_gave_up_in_line_is_not_logged_in(new_cluster):
    app = new_cluster.add_app(7)
    with one_login_under_way(new_cluster, app, limits__handshake_timeout="60s") as first:
        gone = [new_cluster.phone() for _ in range(6)]
        for n, phone in enumerate(gone):
            say_login(phone, app, f"gone-{n}")
        wait_until(lambda: in_line(new_cluster.room) == 2)
        for n, phone in enumerate(gone):
            if n % 2:
                phone.reset()
            else:
                phone.link.close()
        patient = new_cluster.phone()
        say_login(patient, app, "patient")
    first.expect("login_ack")
    patient.expect("login_ack")
    assert new_cluster.room.metric("holdfast_room_logins_total", code="ok") == 2
    wait_until(lambda: new_cluster.room.metric("holdfast_room_connections") == 2)


@pytest.mark.parametrize("first_bytes", [b"", wire.login("device", [wire.session(7, "reg", "token")])[:9]],
                         ids=["nothing", "half a LOGIN"])
def test_the_silent_keep_nobody_out(new_cluster, first_bytes):
    app = new_cluster.add_app(7)
    with one_login_under_way(new_cluster, app, limits__handshake_timeout="60s") as first:
        silent = [new_cluster.phone() for _ in range(20)]
        for phone in silent:
            phone.send_bytes(first_bytes)
        wait_until(lambda: in_line(new_cluster.room) == 2)
        last = new_cluster.phone()
        say_login(last, app, "last")
    first.expect("login_ack")
    last.expect("login_ack")
    wait_until(lambda: new_cluster.room.metric("holdfast_room_connections") == 22)
    assert in_line(new_cluster.room) == 0
    assert new_cluster.room.metric("holdfast_room_connections_rejected_total") == 0


def test_who_spoke_tls_hears_it_too(new_cluster, certificate):  # noqa: F811
    app, phones = new_cluster.add_app(7), []
    listeners = "[{bind: '127.0.0.1:0', tls: {certificate: '%s', key_file: '%s'}}]" % certificate
    with one_login_under_way(new_cluster, app, lambda: phones.append(new_cluster.phone(tls=context(certificate))),
                             limits__handshake_timeout="4s", listeners=listeners):
        say_login(phones[0], app, "late")
        assert phones[0].wait_closed(timeout=20).code == 4100
    assert new_cluster.room.metric("holdfast_room_connections_rejected_total", reason="crowd") == 1


def test_who_hangs_up_takes_no_place_in_line(new_cluster):
    app, silent = new_cluster.add_app(7), []

    def connect():
        silent.extend(new_cluster.phone() for _ in range(20))
        wait_until(lambda: new_cluster.room.metric("holdfast_room_connections") == len(silent))

    with one_login_under_way(new_cluster, app, connect, limits__handshake_timeout="60s"):
        for phone in silent:
            phone.link.close()
        wait_until(lambda: new_cluster.room.metric("holdfast_room_connections") == 1)
        assert in_line(new_cluster.room) == 0
        last = new_cluster.phone()
        say_login(last, app, "last")
        wait_until(lambda: in_line(new_cluster.room) == 1)
    last.expect("login_ack")


def test_a_drain_tells_those_in_line_where_to_go(new_cluster):
    app = new_cluster.add_app(7)
    with one_login_under_way(new_cluster, app, limits__handshake_timeout="60s"):
        waiting = [new_cluster.phone() for _ in range(2)]
        for n, phone in enumerate(waiting):
            say_login(phone, app, f"reg-{n}")
        wait_until(lambda: in_line(new_cluster.room) == 2)
        new_cluster.room.process.terminate()
        for phone in waiting:
            assert phone.wait_closed(timeout=20).code == 4200
