"""Callbacks: what happens to messages and registrations is told to businesses, signed, in order, once."""

import json

import pytest

from harness.callback import signature_is_valid
from harness.rpc import call
from harness.stores import Redis
from harness.waiting import wait_until
from harness.webhooks import (
    FAST, SECRET, assert_forward, event, logged_in, names, only_store, prepare, spool, spooled, started,
    webhook)


def test_a_receipt_is_told_signed_and_once(new_cluster, inbox):
    server = inbox()
    only_store(new_cluster, webhook("a", server.url, "message.*"))
    spool(new_cluster, *[event(f"r{n}") for n in range(20)])
    wait_until(lambda: len(server.events()) == 20)
    assert sorted(names(server.events())) == sorted(f"r{n}" for n in range(20))
    assert len(set(server.ids())) == 20 and all(one.startswith("evt_") for one in server.ids())
    for received in server.received:
        assert received.json["app_id"] == 7 and received.headers["X-Holdfast-App"] == "7"
        assert received.headers["X-Holdfast-Attempt"] == "1"
        assert signature_is_valid(SECRET, received.headers, received.body)
        assert not signature_is_valid("whsec_" + "QUFB" * 8, received.headers, received.body)
        assert set(received.event) == {"id", "type", "at_ms", "key", "seq", "data"}
    assert_forward(server.events())
    wait_until(lambda: spooled(new_cluster) == 0)
    assert len(server.events()) == 20
    assert new_cluster.coordinator.metric("holdfast_webhook_events_delivered_total",
                                          **{"class": "receipt"}) == 20


def test_a_receipt_comes_soon_and_more_come_in_batches(new_cluster, inbox):
    server = inbox()
    only_store(new_cluster, webhook("a", server.url, "*", batch={"max_events": 500, "max_wait": "1s"}),
               coordinator={"callbacks.poll": "60s"})
    spool(new_cluster, *[event("r", data=json.dumps({"n": n})) for n in range(1200)])
    wait_until(lambda: len(server.events()) == 1200, 10)  # long before anybody would have looked
    assert [one["data"]["n"] for one in server.events()] == list(range(1200))
    sizes = [len(received.json["events"]) for received in server.received]
    assert max(sizes) == 500 and len(sizes) <= 5


def test_a_removed_callback_leaves_nothing_behind(new_cluster, inbox):
    server = inbox(lambda received: (500, {}, b""))
    only_store(new_cluster, webhook("a", server.url, "*"))
    spool(new_cluster, *[event(f"r{n}") for n in range(100)])
    wait_until(lambda: server.received)
    prepare(new_cluster)
    wait_until(lambda: spooled(new_cluster) == 0, 30)
    assert new_cluster.coordinator.metric("holdfast_webhook_events_dropped_total",
                                          reason="webhook_removed") == 100


def test_the_test_of_a_callback_wants_its_challenge_back(new_cluster, inbox):
    def answer(received):
        mode = received.path.rsplit("/", 1)[-1]
        echo = {"challenge": received.data["challenge"]}
        return {"good": (200, {}, json.dumps(echo).encode()), "mute": (200, {}, b""),
                "wrong": (200, {}, b'{"challenge":"x"}'), "bad": (500, {}, b"")}[mode]
    server = inbox(answer)
    base = f"http://127.0.0.1:{server.port}/"
    app = started(new_cluster, *[webhook(name, base + name) for name in ("good", "mute", "wrong", "bad")],
                  room=0, dispatcher=0)

    def tested(name):
        answer = app.call("POST", f"webhooks/{name}/test", role="admin")
        assert answer.status == 200, answer
        return answer.json
    found = wait_until(lambda: tested("good"))
    assert (found["delivered"], found["status"]) == (True, 200)
    assert signature_is_valid(SECRET, server.received[0].headers, server.received[0].body)
    assert server.received[0].event["type"] == "webhook.test"
    assert (tested("mute")["delivered"], tested("wrong")["delivered"]) == (False, False)
    assert (tested("bad")["delivered"], tested("bad")["detail"]) == (False, "HTTP 500")
    assert app.call("POST", "webhooks/none/test", role="admin").reason == "WEBHOOK_UNKNOWN"
    assert app.call("POST", "webhooks/good/test", role="viewer").status == 403


def test_registrations_are_told_as_they_come_change_and_go(new_cluster, inbox):
    server = inbox()
    app = started(new_cluster, webhook("a", server.url, "registration.*"))
    phone = logged_in(new_cluster, app, "reg-1", user="ana")
    created, = wait_until(lambda: server.events("registration.created"))
    assert created["key"] == "reg-1" and created["data"]["user_id"] == "ana" and created["data"]["tags"] == []
    answer = app.call("PATCH", "registrations/reg-1", {"tags": {"add": ["vip", "beta"]}}, role="admin")
    assert answer.status == 200, answer
    updated, = wait_until(lambda: server.events("registration.updated"))
    assert sorted(updated["data"]["tags"]) == ["beta", "vip"]
    phone.close()
    logged_in(new_cluster, app, "reg-1", user="ana").close()  # seen again: nothing new
    assert app.call("DELETE", "registrations/reg-1", role="admin").status == 200
    wait_until(lambda: server.events("registration.deleted"))
    assert [one["type"] for one in server.events()] == ["registration.created", "registration.updated",
                                                        "registration.deleted"]
    assert_forward(server.events())


def test_a_message_is_told_as_written_and_acked_when_its_send_asks(new_cluster, inbox):
    server = inbox()
    app = started(new_cluster, webhook("a", server.url, "message.*"))
    phone = logged_in(new_cluster, app, "reg-1")
    quiet = app.send("quiet", "reg-1")
    told = app.call("POST", "messages", {
        "audience": {"registration_id": ["reg-1"]}, "message": {"data": "told", "label": "ship"},
        "options": {"receipts": {"events": ["message.written", "message.acked"], "params": {"trace": "abc"}}}})
    assert (quiet.status, told.status) == (202, 202), told
    phone.ack(*phone.pushes(2))
    wait_until(lambda: len(server.events()) == 2)
    written, acked = server.events()
    assert (written["type"], acked["type"]) == ("message.written", "message.acked")
    for one in (written, acked):
        assert one["key"] == "reg-1" and one["data"] == {
            "message_id": told.json["message_id"], "registration_id": "reg-1", "label": "ship",
            "params": {"trace": "abc"}}


def test_an_independent_library_accepts_the_signature(new_cluster, inbox):
    import standardwebhooks  # pinned in requirements.txt
    server = inbox()
    only_store(new_cluster, webhook("a", server.url, "*"))
    spool(new_cluster, event("r"))
    received = wait_until(lambda: server.received)[0]
    library = standardwebhooks.Webhook(SECRET)
    assert library.verify(received.body, dict(received.headers.items()))["events"][0]["key"] == "r"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library.verify(received.body.replace(b"message.acked", b"message.asked"), dict(received.headers.items()))


def test_events_on_two_redis_nodes_are_all_told(new_cluster, inbox, tmp_path):
    other = Redis(str(tmp_path / "redis-2"))
    other.start()
    try:
        server = inbox()
        prepare(new_cluster, webhook("a", server.url, "*"))
        nodes = f"unix:{new_cluster.redis.socket},unix:{other.socket}"
        new_cluster.start(room=0, center=0, dispatcher=0,
                          settings={"coordinator": FAST, "saver": {"redis.nodes": nodes}})
        spool(new_cluster, *[event(f"r{n % 200}", id=n + 1) for n in range(1000)])
        wait_until(lambda: len(set(server.ids())) == 1000)
        assert_forward(server.events())
        wait_until(lambda: spooled(new_cluster) == 0)
        assert other.call("HGET", "hf:ea:7", "n") == ["0"] and len(server.events()) == 1000
        # One of them is away: the events of the other come all the same.
        other.kill()
        answer = call(new_cluster.saver, "SpoolAppend",
                      {"events": [event(f"r{n}", id=2000 + n) for n in range(200)]})
        assert 0 < len(answer["failed"]) < 200 and answer["reason"] == "STORE_UNAVAILABLE"
        wait_until(lambda: len(set(server.ids())) == 1200 - len(answer["failed"]))
    finally:
        new_cluster.stop()
        other.stop()
