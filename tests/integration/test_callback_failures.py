"""Callbacks that fail, and coordinators that go: nothing is lost, nobody else waits, and what is given up is kept."""

import collections
import json
import threading
import time

from harness.rpc import call
from harness.waiting import wait_until
from harness.webhooks import (
    FAST, assert_forward, event, names, only_store, prepare, spool, spooled, started, webhook)


def test_a_callback_that_is_down_for_a_while_loses_nothing(new_cluster, inbox):
    """Also when the coordinator, the saver and Redis are killed meanwhile."""
    up = threading.Event()
    server = inbox(lambda received: (200, {}, b"") if up.is_set() else (503, {}, b""))
    only_store(new_cluster, webhook("a", server.url, "*"))
    keys = [f"r{n % 50}" for n in range(500)]
    spool(new_cluster, *[event(key, data=json.dumps({"n": n})) for n, key in enumerate(keys)])
    wait_until(lambda: len(server.received) > 60)
    new_cluster.coordinator.kill()
    new_cluster.saver.kill()
    new_cluster.redis.kill()
    new_cluster.redis.start()
    new_cluster.saver.restart()
    new_cluster.coordinator.restart()
    seen = len(server.received)
    wait_until(lambda: len(server.received) > seen + 20)
    up.set()
    wait_until(lambda: len({one["data"]["n"] for one in server.events()}) == 500, 30)
    wait_until(lambda: spooled(new_cluster) == 0)
    for key in set(keys):
        mine = [one["data"]["n"] for one in server.events() if one["key"] == key]
        assert mine == [n for n, other in enumerate(keys) if other == key]


def test_kill_of_the_coordinator_in_the_middle_repeats_but_never_loses(new_cluster, inbox):
    server = inbox()
    only_store(new_cluster, webhook("a", server.url, "*", batch={"max_events": 5, "max_wait": "0s"}),
               coordinator={"callbacks.poll": "1s"})
    spool(new_cluster, *[event(f"r{n % 97}", id=n + 1) for n in range(3000)])
    wait_until(lambda: len(server.events()) > 300)
    new_cluster.coordinator.kill()
    new_cluster.coordinator.restart()
    wait_until(lambda: len(set(server.ids())) == 3000, 40)
    wait_until(lambda: spooled(new_cluster) == 0)
    # What came twice has the same id; the first time each came, it came in order.
    first, order = set(), []
    for one in server.events():
        if one["id"] not in first:
            first.add(one["id"])
            order.append(one)
    assert_forward(order)


def test_retries_keep_the_batch_and_its_id(new_cluster, inbox):
    tries = collections.Counter()

    def answer(received):
        tries[received.headers["webhook-id"]] += 1
        return (200, {}, b"") if tries[received.headers["webhook-id"]] > 2 else (500, {}, b"")
    server = inbox(answer)
    only_store(new_cluster, webhook("a", server.url, "*"))
    spool(new_cluster, event("r", id=1), event("r", id=2))
    wait_until(lambda: len(server.received) >= 1)
    spool(new_cluster, event("r", id=3))
    wait_until(lambda: len(server.events()) == 3)
    batches = collections.defaultdict(list)
    for received in server.received:
        batches[received.headers["webhook-id"]].append(
            (int(received.headers["X-Holdfast-Attempt"]), [one["id"] for one in received.json["events"]]))
    assert len(batches) == 2
    for found in batches.values():
        assert [attempt for attempt, _ in found] == [1, 2, 3]
        assert len({tuple(ids) for _, ids in found}) == 1


def test_a_dead_callback_neither_delays_nor_repeats_what_another_gets(new_cluster, inbox):
    """The dead one of the same app, the slow one of another."""
    hold = threading.Event()
    good, dead = inbox(), inbox(lambda received: (500, {}, b""))
    slow = inbox(lambda received: hold.wait(20) and (200, {}, b""))
    prepare(new_cluster, webhook("slow", slow.url, "*"), number=8)
    only_store(new_cluster, webhook("dead", dead.url, "*"), webhook("good", good.url, "*"),
               coordinator={"callbacks.retries": "60s"})
    spool(new_cluster, *[event(f"r{n}", app=8, id=n + 1) for n in range(200)])
    wait_until(lambda: len(slow.received) >= 16)
    for batch in range(3):
        spool(new_cluster, *[event(f"r{n}", id=1000 * batch + n + 1) for n in range(200)])
        wait_until(lambda: len(good.events()) == 200 * (batch + 1), 5)
    assert len(set(good.ids())) == 600
    assert dead.events() == [] and len(dead.received) > 0
    wait_until(lambda: spooled(new_cluster) == 600)  # what the good one took is removed, and only that
    new_cluster.coordinator.kill()
    new_cluster.coordinator.restart()
    spool(new_cluster, event("after", id=9999))
    wait_until(lambda: "after" in names(good.events()))
    assert len(good.events()) == 601, "nothing was told again"
    hold.set()


def test_every_way_to_fail_is_a_failure_and_ends_as_a_dead_letter(new_cluster, inbox):
    def endless(received):
        received.raw.send_response(500)
        received.raw.send_header("Transfer-Encoding", "chunked")
        received.raw.end_headers()
        for _ in range(20000):  # more than a gigabyte, if anybody read it
            try:
                received.raw.wfile.write(b"10000\r\n" + b"z" * 65536 + b"\r\n")
            except OSError:
                break

    def cut(received):
        received.raw.send_response(200)
        received.raw.send_header("Content-Length", "1000")
        received.raw.end_headers()
        received.raw.wfile.write(b"half")

    elsewhere, stuck = inbox(), threading.Event()
    answers = {
        "r500": (lambda received: (500, {}, b""), b"HTTP 500"),
        "r302": (lambda received: (302, {"Location": elsewhere.url}, b""), b"HTTP 302"),
        "r404": (lambda received: (404, {}, b""), b"HTTP 404"),
        "endless": (endless, b"HTTP 500"),
        "cut": (cut, b"no connection or a broken answer"),
        "garbage": (lambda received: received.raw.wfile.write(b"SSH-2.0-x\r\n\r\n") and None,
                    b"no connection or a broken answer"),
        "hang": (lambda received: stuck.wait(20) and None, b"timeout"),
    }
    servers = {name: inbox(answer) for name, (answer, _) in answers.items()}
    for at, name in enumerate(answers):
        prepare(new_cluster, webhook(name, servers[name].url, "*"), number=10 + at)
    private = inbox()
    prepare(new_cluster, webhook("private", private.url, "*", allow_cidrs=[]), number=30)
    only_store(new_cluster, coordinator={"callbacks.retries": "100ms,100ms,100ms",
                                         "callbacks.receipt_timeout": "500ms"})
    numbers = dict({name: 10 + at for at, name in enumerate(answers)}, private=30)
    spool(new_cluster, *[event(name, app=number) for name, number in numbers.items()])

    def letters(name):
        return call(new_cluster.saver, "ListDeadLetters",
                    {"app": numbers[name], "webhook": name, "limit": 10})["letters"]
    for name in numbers:
        letter, = wait_until(lambda name=name: letters(name), 15, f"a dead letter of {name}")
        reason = bytes.fromhex(letter["reason"]["hex"])
        assert reason == (answers[name][1] if name in answers else b"address denied")
        refused = name in ("r302", "r404")
        assert letter["attempts"] == (3 if refused else 4), name
        wait_until(lambda name=name: spooled(new_cluster, numbers[name]) == 0)
    stuck.set()
    assert private.received == [] and elsewhere.received == []
    assert new_cluster.coordinator.metric("holdfast_webhook_events_dropped_total",
                                          reason="dead_letter") == len(numbers)


def test_throttling_and_retry_after_are_honoured(new_cluster, inbox):
    clock = []

    def answer(received):
        clock.append(time.monotonic())
        return (429, {"Retry-After": "1"}, b"") if len(clock) == 1 else (200, {}, b"")
    server = inbox(answer)
    only_store(new_cluster, webhook("a", server.url, "*", max_in_flight=1))
    spool(new_cluster, *[event(f"r{n}") for n in range(40)])
    wait_until(lambda: len(server.events()) == 40)
    assert clock[1] - clock[0] >= 0.95  # all lanes rested, not only the one that was told


def test_410_turns_the_callback_off_and_keeps_the_rest(new_cluster, inbox):
    gone = threading.Event()
    gone.set()
    server = inbox(lambda received: (410, {}, b"") if gone.is_set() else (200, {}, b""))
    app = started(new_cluster, webhook("a", server.url, "*"), room=0, dispatcher=0)
    spool(new_cluster, event("r", id=1))
    wait_until(lambda: app.call("GET", "webhooks/a", role="viewer").json["enabled"] is False)
    shown = app.call("GET", "webhooks/a", role="viewer").json
    assert shown["disabled_reason"] == "it answered 410"
    answer = wait_until(lambda: app.call("GET", "webhooks/a/deliveries?state=failed", role="admin").json["deliveries"])
    assert answer[0]["reason"] == "HTTP 410" and answer[0]["attempts"] == 1
    gone.clear()
    assert app.call("PATCH", "webhooks/a", {"enabled": True}, role="admin").status == 200
    assert app.call("GET", "webhooks/a", role="viewer").json["disabled_reason"] is None

    def told():
        spool(new_cluster, event("r", id=2))
        return server.events()
    wait_until(told)
    again = app.call("POST", f"webhooks/a/deliveries/{answer[0]['id']}/retry", role="admin")
    assert (again.status, again.json["delivered"], again.json["status"]) == (200, True, 200)
    assert app.call("GET", "webhooks/a/deliveries?state=failed", role="admin").json["deliveries"] == []
    assert len([one for one in server.ids()]) >= 2


def test_dead_letters_come_in_pages_and_stay_when_a_retry_fails(new_cluster, inbox):
    broken = threading.Event()
    broken.set()
    server = inbox(lambda received: (500, {}, b"") if broken.is_set() else (200, {}, b""))
    app = started(new_cluster, webhook("a", server.url, "*", batch={"max_events": 1, "max_wait": "0s"}),
                  room=0, dispatcher=0, coordinator={"callbacks.retries": "100ms"})
    spool(new_cluster, *[event(f"r{n}") for n in range(5)])

    def listed(query=""):
        return app.call("GET", "webhooks/a/deliveries?state=failed" + query, role="admin").json
    wait_until(lambda: len(listed()["deliveries"]) == 5)
    first = listed("&limit=2")
    assert len(first["deliveries"]) == 2 and first["next_cursor"]
    rest = listed("&limit=10&cursor=" + first["next_cursor"])
    assert len(rest["deliveries"]) == 3 and rest["next_cursor"] is None
    one = first["deliveries"][0]
    assert one["reason"] == "HTTP 500" and one["attempts"] == 2
    assert one["events"][0]["type"] == "message.acked" and one["events"][0]["data"]["registration_id"]
    answer = app.call("POST", f"webhooks/a/deliveries/{one['id']}/retry", role="admin")
    assert (answer.status, answer.json["delivered"], answer.json["status"]) == (200, False, 500)
    assert len(listed()["deliveries"]) == 5
    broken.clear()
    for found in listed()["deliveries"]:
        assert app.call("POST", f"webhooks/a/deliveries/{found['id']}/retry", role="admin").json["delivered"]
    assert listed()["deliveries"] == [] and len(server.events()) == 5
    unknown = app.call("POST", f"webhooks/a/deliveries/{one['id']}/retry", role="admin")
    assert (unknown.status, unknown.reason) == (404, "DELIVERY_UNKNOWN")


def test_lanes_move_to_the_coordinators_that_live(new_cluster, inbox):
    server = inbox()
    only_store(new_cluster, webhook("a", server.url, "*"))
    second = new_cluster.add("coordinator", **{key.replace(".", "__"): value for key, value in FAST.items()})
    second.wait_ready()
    spool(new_cluster, *[event(f"r{n}", id=n + 1) for n in range(500)])
    wait_until(lambda: len(server.events()) == 500)
    assert len(set(server.ids())) == 500
    share = second.metric("holdfast_webhook_events_delivered_total", **{"class": "receipt"})
    assert 100 < share < 400
    second.kill()
    spool(new_cluster, *[event(f"r{n}", id=1000 + n) for n in range(500)])
    wait_until(lambda: len(set(server.ids())) == 1000, 30)


def test_a_lane_that_comes_back_does_not_wait_for_what_another_has_done(new_cluster, inbox):
    up = threading.Event()
    server = inbox(lambda received: (200, {}, b"") if up.is_set() else (500, {}, b""))
    only_store(new_cluster, webhook("a", server.url, "*"), coordinator={"callbacks.retries": "1h"})
    spool(new_cluster, *[event(f"r{n}", id=n + 1) for n in range(200)])
    wait_until(lambda: len(server.received) >= 50)  # nearly all lanes wait for an hour now
    up.set()
    second = new_cluster.add("coordinator", **{key.replace(".", "__"): value for key, value in FAST.items()})
    second.wait_ready()
    wait_until(lambda: len(server.events()) > 40)  # its lanes are told by the second one
    second.kill()
    spool(new_cluster, *[event(f"r{n}", id=1000 + n) for n in range(200)])
    wait_until(lambda: len([one for one in server.ids() if one >= "evt_00000000000Z8"]) > 40)


def test_a_coordinator_that_stops_leaves_nothing_to_be_told_twice(new_cluster, inbox):
    go_on = threading.Event()
    server = inbox(lambda received: go_on.wait(20) and (200, {}, b""))
    only_store(new_cluster, webhook("a", server.url, "*"))
    spool(new_cluster, *[event(f"r{n}", id=n + 1) for n in range(40)])
    wait_until(lambda: len(server.received) >= 10)
    under_way = {one["id"] for received in list(server.received) for one in received.json["events"]}
    new_cluster.coordinator.terminate()
    go_on.set()
    new_cluster.coordinator.wait_exit()
    new_cluster.coordinator.restart()
    wait_until(lambda: spooled(new_cluster) == 0, 30)
    told = collections.Counter(server.ids())
    assert len(told) == 40 and all(told[one] == 1 for one in under_way), told


def test_receipts_of_an_app_that_the_coordinator_cannot_read_wait(new_cluster, inbox):
    """What it does not know may still be: it throws nothing away for that."""
    server = inbox()
    only_store(new_cluster, webhook("a", server.url, "*"))
    new_cluster.coordinator.kill()
    app = new_cluster.apps[7]
    good = dict(app.document(), webhooks=[webhook("a", server.url, "*")])
    spool(new_cluster, *[event(f"r{n}", id=n + 1) for n in range(20)])
    new_cluster.write_app(app, dict(good, of_a_later_version=1))
    new_cluster.coordinator.restart()
    wait_until(lambda: new_cluster.coordinator.metric("holdfast_webhook_receipt_queues") > 5)
    new_cluster.write_app(app, good)
    wait_until(lambda: len(server.events()) == 20, 20)
    assert new_cluster.coordinator.metric("holdfast_webhook_events_dropped_total", reason="webhook_removed") == 0
