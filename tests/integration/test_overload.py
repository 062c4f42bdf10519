"""A crowd that comes faster than the store can register it stands in line: everybody gets in, and nothing is done twice."""

import base64
import subprocess

from harness.cluster import binary
from harness.waiting import wait_until


def crowd(cluster, app, tmp_path, count, rate):
    secret = tmp_path / "token.secret"
    secret.write_text(base64.b64encode(app.token_secret).decode() + "\n")
    words = ["conn", "--addr", cluster.room_address(), "--app", app.id, "--token-key-id", app.token_key,
             "--token-secret-file", secret, "--count", count, "--connrate", rate, "--duration", "0", "--quiet"]
    return subprocess.Popen([binary("tools/bench/hf-bench"), *map(str, words)], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def leave(process):
    process.terminate()
    process.wait(30)


def loads(room, result):
    return room.metric("holdfast_room_loads_total", result=result)


def test_a_saver_with_too_much_to_do_is_given_what_it_can_do(new_cluster, tmp_path):
    app, count = new_cluster.add_app(7), 1500
    new_cluster.start({"saver": {"redis__commands": "100"}, "room": {"limits__login_rate": "0"}})
    room, saver = new_cluster.room, new_cluster.saver
    clients = crowd(new_cluster, app, tmp_path, count, 5000)
    wait_until(lambda: loads(room, "ok") >= count, 60, "everybody is registered")
    assert room.metric("holdfast_room_logged_in_connections") == count
    assert saver.metric("holdfast_saver_registrations_total", change="created") == count
    assert loads(room, "overloaded") < count / 5, "what was too much was taken to heart"
    assert loads(room, "failed") == 0
    assert room.metric("holdfast_room_loads_waiting") == room.metric("holdfast_room_loads_in_flight") == 0
    assert room.metric("holdfast_room_connections_rejected_total") == 0
    leave(clients)


def test_who_finds_the_lobby_full_waits_outside_and_gets_in(new_cluster, tmp_path):
    app, count = new_cluster.add_app(7), 300
    new_cluster.start({"room": {"limits__logins_in_flight": "4", "limits__register_timeout": "60s"}})
    room = new_cluster.room
    new_cluster.register.pause()
    clients = crowd(new_cluster, app, tmp_path, count, 3000)
    try:
        wait_until(lambda: room.metric("holdfast_room_accepts_paused_total") >= 5, 20, "the door is shut")
        assert room.metric("holdfast_room_logged_in_connections") == 0
        assert room.metric("holdfast_room_connections") < 40, "the others are in nobody's books"
    finally:
        new_cluster.register.resume()
    wait_until(lambda: room.metric("holdfast_room_logged_in_connections") == count, 60, "all are in")
    assert room.metric("holdfast_room_connections_rejected_total") == 0
    leave(clients)


def test_logins_go_on_while_the_store_is_away(new_cluster, tmp_path):
    app, count = new_cluster.add_app(7), 200
    new_cluster.start({"room": {"limits__logins_in_flight": "4"}})
    room = new_cluster.room
    new_cluster.redis.kill()
    wait_until(lambda: new_cluster.saver.metric("holdfast_saver_redis_up") == 0)
    clients = crowd(new_cluster, app, tmp_path, count, 1000)
    wait_until(lambda: room.metric("holdfast_room_logged_in_connections") == count, 60, "all are in")
    assert loads(room, "ok") == 0
    new_cluster.redis.start()
    wait_until(lambda: loads(room, "ok") >= count, 60, "all are registered")
    leave(clients)
