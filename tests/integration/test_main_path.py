"""One push, from the business's HTTP request to the phone's ack."""

import json

from harness import wire
from harness.api import bytes_message, text_message
from harness.waiting import wait_until


def owed(cluster, app, registration):
    return cluster.redis.queue_length(app.id, registration)


def test_a_push_to_an_online_client_is_acked_and_gone_from_redis(cluster, app):
    phone = cluster.phone()
    ack = phone.login((app, "reg-1"))
    assert ack.results == [(app.id, 0)]

    answer = app.send({"order": 17}, "reg-1")
    assert answer.status == 202, answer
    assert answer.json["state"] == "accepted"
    assert answer.json["durability"] == "fsync"

    push = phone.next_push()
    assert push.app == app.id and push.qos == 1
    assert json.loads(push.payload) == {"order": 17}
    assert owed(cluster, app, "reg-1") == 1
    phone.ack(push)
    wait_until(lambda: owed(cluster, app, "reg-1") == 0, what="the acked message is gone from Redis")


def test_what_waited_for_an_offline_client_comes_at_login_in_id_order(cluster, app):
    app.register("reg-1")
    answers = [app.send({"n": n}, "reg-1") for n in range(120)]
    assert all(answer.status == 202 for answer in answers)
    # 120 stored, of which the default cap keeps the newest 100.
    wait_until(lambda: owed(cluster, app, "reg-1") == 100)

    phone = cluster.phone()
    phone.login((app, "reg-1"))
    pushes = phone.pushes(100)
    assert [json.loads(push.payload)["n"] for push in pushes] == list(range(20, 120))
    assert [push.id for push in pushes] == sorted(push.id for push in pushes)
    lost = phone.expect("command")
    assert (lost.command, lost.app, lost.count) == (4, app.id, 20)
    wait_until(lambda: owed(cluster, app, "reg-1") == 0)


def test_one_call_reaches_many_registrations_and_only_those(cluster, app):
    app.register("away")
    phones = [cluster.phone(device=f"device-{n}") for n in range(5)]
    for n, phone in enumerate(phones):
        phone.login((app, f"reg-{n}"))
    answer = app.send("hello", [f"reg-{n}" for n in range(4)] + ["away"])
    assert answer.status == 202
    assert answer.json["targets"]["requested"] == 5
    ids = {phone.next_push().id for phone in phones[:4]}
    assert len(ids) == 1
    assert phones[4].quiet()
    assert owed(cluster, app, "away") == 1


def test_two_apps_share_one_connection(cluster, app):
    other = cluster.add_app(8)
    phone = cluster.phone()
    wait_until(lambda: other.send("x", "nobody", validate_only=True).status == 200)
    ack = phone.login((app, "reg-a"), (other, "reg-b"))
    assert ack.results == [(7, 0), (8, 0)]
    app.send("for seven", "reg-a")
    push = phone.next_push()
    assert (push.app, push.payload) == (7, b'"for seven"')
    other.send("for eight", "reg-b")
    push = phone.next_push()
    assert (push.app, push.payload) == (8, b'"for eight"')

    assert phone.detach(other).code == 0
    other.send("later", "reg-b")
    assert phone.quiet()
    assert phone.attach(other, "reg-b").code == 0
    found = [push.payload for push in phone.pushes(2)]  # what was never acked, and what waited
    assert found == [b'"for eight"', b'"later"']


def test_the_second_login_of_a_device_wins_and_the_first_is_told(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(room=2)
    first = new_cluster.phone(room=0)
    first.login((app, "reg-1"))
    second = new_cluster.phone(room=1)
    second.login((app, "reg-1"))
    assert first.wait_closed().code == 4006
    app.send("who", "reg-1")
    assert second.next_push().payload == b'"who"'


def test_a_takeover_inside_one_room_is_told_too(cluster, app):
    first, second = cluster.phone(), cluster.phone()
    first.login((app, "reg-1"))
    second.login((app, "reg-1"))
    assert first.wait_closed().code == 4006
    app.send("who", "reg-1")
    assert second.next_push().payload == b'"who"'


def test_a_takeover_of_one_app_leaves_the_other_alone(cluster, app):
    other = cluster.add_app(8)
    wait_until(lambda: other.send("x", "nobody", validate_only=True).status == 200)
    first, second = cluster.phone(), cluster.phone(device="device-2")
    first.login((app, "reg-a"), (other, "reg-b"))
    second.login((app, "reg-a"))
    told = first.expect("detach_ack")
    assert (told.app, told.code) == (app.id, 4006)
    other.send("still here", "reg-b")
    assert first.next_push().payload == b'"still here"'


def test_a_kick_through_the_api_reaches_the_client(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    answer = app.call("POST", "connections/disconnect",
                      {"registration_id": ["reg-1", "nobody"], "code": 4007, "reason": "bye now"},
                      role="admin")
    assert answer.status == 200, answer
    bye = phone.wait_closed()
    assert (bye.code, bye.reason) == (4007, b"bye now")


def test_a_transient_message_is_never_stored(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    assert app.send("typing", ["reg-1", "away"], qos=0).status == 202
    push = phone.next_push()
    assert push.qos == 0
    assert owed(cluster, app, "reg-1") == 0 and owed(cluster, app, "away") == 0


def test_bytes_travel_unchanged(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    data = bytes(range(256)) * 16
    answer = app.call("POST", "messages", bytes_message(data, ["reg-1"]))
    assert answer.status == 202
    push = phone.next_push()
    assert push.payload_kind == 1 and push.payload == data


def test_wait_acked_answers_when_the_client_has_acked(cluster, app):
    app.register("away")
    follower = cluster.follower((app, "reg-1"))
    follower.wait_online()
    answer = app.send("now", "reg-1", wait="acked", wait_timeout="10s")
    assert answer.status == 200 and answer.json["state"] == "acked"
    assert follower.payloads

    answer = app.send("now", "away", wait="acked", wait_timeout="200ms")
    assert answer.status == 202 and answer.json["state"] != "acked"


def test_wait_routed_answers_when_a_room_has_it(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    answer = app.send("now", "reg-1", wait="routed")
    assert answer.status == 200 and answer.json["state"] == "routed"
    phone.next_push()


def test_a_durable_message_is_in_mysql_before_the_answer(cluster, app):
    app.register("reg-1")
    answer = app.send("contract", "reg-1", durable=True)
    assert answer.status == 202 and answer.json["durability"] == "committed"
    rows = cluster.mariadb.query("SELECT COUNT(*) FROM messages", cluster.database)
    assert rows == ["1"]


def test_the_state_of_a_message_follows_it(cluster, app):
    app.register("away")
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    message = app.send("x", ["reg-1", "away"]).json["message_id"]

    def counters():
        answer = app.call("GET", f"messages/{message}", role="viewer")
        assert answer.status == 200, answer
        return answer.json["counters"]

    phone.ack(phone.next_push())
    wait_until(lambda: counters()["acked"] == 1)
    assert counters()["targets"] == 2
    assert app.call("GET", "messages/0000000000000", role="viewer").reason == "MESSAGE_UNKNOWN"


def test_an_idempotency_key_makes_a_send_happen_once(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    first = app.send("once", "reg-1", headers={"Idempotency-Key": "k-1"})
    again = app.send("once", "reg-1", headers={"Idempotency-Key": "k-1"})
    assert first.status == 202
    assert again.json["message_id"] == first.json["message_id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    other = app.send("twice", "reg-1", headers={"Idempotency-Key": "k-1"})
    assert (other.status, other.reason) == (422, "IDEMPOTENCY_MISMATCH")
    phone.ack(phone.next_push())
    assert phone.quiet()


def test_a_batch_answers_each_message_in_order(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    messages = [text_message({"n": n}, ["reg-1"]) for n in range(50)]
    messages[20]["message"]["ttl"] = -1
    answer = app.call("POST", "messages/batch", {"messages": messages})
    assert answer.status == 200
    results = answer.json["results"]
    assert len(results) == 50
    assert results[20]["error"]["reason"] == "TTL_OUT_OF_RANGE"
    assert all("message_id" in result for n, result in enumerate(results) if n != 20)
    found = [json.loads(push.payload)["n"] for push in phone.pushes(49)]
    assert sorted(found) == [n for n in range(50) if n != 20]


def test_a_stream_of_messages_is_answered_line_by_line(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    lines = [json.dumps(text_message({"n": n}, ["reg-1"])) for n in range(90)]
    lines[7] = "{not json"
    answer = app.call("POST", "messages/stream", "\n".join(lines).encode() + b"\n",
                      headers={"Content-Type": "application/x-ndjson"})
    assert answer.status == 200
    results = [json.loads(line) for line in answer.body.splitlines()]
    assert len(results) == 90
    assert results[7]["error"]["reason"] == "BAD_JSON"
    assert sum("message_id" in result for result in results) == 89
    assert len(phone.pushes(89)) == 89


def test_a_window_full_of_unacked_messages_defers_the_rest(cluster, app):
    phone = cluster.phone()
    window = phone.login((app, "reg-1")).window
    total = window + 30
    for n in range(total):
        assert app.send({"n": n}, "reg-1").status == 202
    first = [phone.next_push() for _ in range(window)]
    assert phone.quiet(), "no more than the window is unacked"
    phone.ack(*first)
    rest = phone.pushes(total - window)
    numbers = [json.loads(push.payload)["n"] for push in first + rest]
    assert sorted(numbers) == list(range(total))
    wait_until(lambda: owed(cluster, app, "reg-1") == 0)


def test_an_expired_message_is_not_delivered(cluster, app):
    app.register("reg-1")
    assert app.send("short", "reg-1", ttl=1).status == 202
    assert app.send("long", "reg-1", ttl="1h").status == 202
    phone = cluster.phone()
    # Logged in only when the first has certainly expired.
    deadline = cluster.redis.call("TIME")[0]
    wait_until(lambda: int(cluster.redis.call("TIME")[0]) >= int(deadline) + 2)
    phone.login((app, "reg-1"))
    assert phone.next_push().payload == b'"long"'
    assert phone.quiet()
    wait_until(lambda: cluster.saver.metric("holdfast_messages_expired_total") == 1)


def test_a_message_with_ttl_zero_goes_to_who_is_online_only(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    assert app.send("now or never", ["reg-1", "away"], ttl=0).status == 202
    phone.next_push()
    assert owed(cluster, app, "away") == 0


def test_a_heartbeat_is_answered_and_silence_is_cut(new_cluster):
    app = new_cluster.add_app(7)
    quick = {"keepalive__wifi__min": "1s", "keepalive__wifi__initial": "1s",
             "keepalive__grace": "500ms"}
    new_cluster.start(settings={"room": quick})
    phone = new_cluster.phone()
    ack = phone.login((app, "reg-1"), heartbeat_s=1)
    assert ack.heartbeat_s == 1
    phone.send_bytes(wire.frame(wire.PING))
    assert phone.receive().kind == wire.PONG
    assert phone.wait_closed().code == 4201


def test_an_orderly_goodbye_takes_the_session_out_of_the_index(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    wait_until(lambda: cluster.register.metric("holdfast_register_sessions") == 1)
    phone.send_bytes(wire.bye())
    phone.wait_closed()
    wait_until(lambda: cluster.register.metric("holdfast_register_sessions") == 0)


def test_online_state_can_be_asked(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    answer = app.call("POST", "registrations/query",
                      {"registration_ids": ["reg-1", "away"], "fields": ["online"]}, role="viewer")
    assert answer.status == 200, answer
    states = {row["registration_id"]: row["online"] for row in answer.json["registrations"]}
    assert states == {"reg-1": True, "away": False}
    answer = app.call("GET", "connections?registration_id=reg-1", role="viewer")
    assert answer.status == 200 and answer.json["connections"][0]["node"] == "room-1"


def test_a_push_follows_a_client_to_another_room(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(room=2)
    phone = new_cluster.phone(room=0)
    phone.login((app, "reg-1"))
    phone.reset()
    phone = new_cluster.phone(room=1)
    phone.login((app, "reg-1"))
    app.send("found you", "reg-1")
    assert phone.next_push().payload == b'"found you"'


def test_a_login_while_the_register_is_away_still_gets_what_is_owed(cluster, app):
    app.register("reg-1")
    app.send("owed", "reg-1")
    cluster.register.kill()
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    assert phone.next_push().payload == b'"owed"'
