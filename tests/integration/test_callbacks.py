"""Callbacks: what happens to messages, registrations, connections and users is told to businesses, in order, and not lost."""

import collections
import json
import threading
import time

import pytest

from harness import wire
from harness.callback import Callback, signature_is_valid
from harness.rpc import call, call_all
from harness.stores import Redis
from harness.waiting import wait_until

OPENED, CLOSED, ONLINE, OFFLINE = 1, 2, 3, 4
CREATED, ACKED = 5, 9
LOOPBACK = ["127.0.0.0/8"]
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
# Retries that fit into a test: fast, and then slower than any test waits.
FAST = {"callbacks.retries": "200ms,200ms,500ms,1s,1s,1s,1s,2s,2s,2s,2s,5s,5s,60s",
        "callbacks.poll": "300ms", "callbacks.offline_delay": "700ms"}


class Inbox(Callback):
    """A callback server that keeps the events it has taken, in their order."""

    def __init__(self, answer=None):
        self.taken = []  # (webhook-id, attempt, event), of requests answered 2xx
        self.wanted = answer or (lambda received: (200, {}, b""))
        super().__init__(self._answer)

    def _answer(self, received):
        answer = self.wanted(received)
        if answer is not None and answer[0] // 100 == 2:
            with self.lock:
                self.taken += [(received.headers["webhook-id"], int(received.headers["X-Holdfast-Attempt"]), event)
                               for event in received.json["events"]]
        return answer

    def events(self, *types):
        with self.lock:
            return [event for _, _, event in self.taken if not types or event["type"] in types]

    def ids(self):
        return [event["id"] for event in self.events()]


@pytest.fixture
def inbox():
    servers = []

    def make(answer=None):
        servers.append(Inbox(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def webhook(name, url, *events, **fields):
    return dict({"id": name, "url": url, "secrets": [SECRET], "events": list(events),
                 "allow_cidrs": LOOPBACK, "batch": {"max_events": 100, "max_wait": "10ms"}}, **fields)


def prepare(cluster, *webhooks, number=7):
    app = cluster.apps.get(number) or cluster.add_app(number)
    document = app.document()
    document["webhooks"] = list(webhooks)
    cluster.write_app(app, document)
    return app


def started(cluster, *webhooks, coordinator=None, linger="0s", **counts):
    app = prepare(cluster, *webhooks)
    cluster.start(settings={"coordinator": dict(FAST, **(coordinator or {})), "room": {"linger.time": linger}},
                  **counts)
    return app


def only_store(cluster, *webhooks, **options):
    return started(cluster, *webhooks, room=0, center=0, dispatcher=0, **options)


def event(key, kind=ACKED, app=7, **fields):
    return dict({"type": kind, "app": app, "key": key, "id": 0, "at_ms": 5,
                 "data": json.dumps({"registration_id": key})}, **fields)


def spool(cluster, *events):
    """Accepted by the store."""
    for at in range(0, len(events), 500):
        answer = call(cluster.saver, "SpoolAppend", {"events": list(events[at:at + 500])})
        assert answer["failed"] == [], answer


def names(events):
    return [one["data"]["registration_id"] for one in events]


def spooled(cluster, app=7):
    return int((cluster.redis.call("HGET", f"hf:ea:{app}", "n") or ["0"])[0] or 0)


def assert_forward(events):
    """Per key, epoch and sequence only grow."""
    last = {}
    for one in events:
        now = (one.get("epoch", ""), one["seq"])
        assert now > last.get(one["key"], ("", 0)), (one, last[one["key"]])
        last[one["key"]] = now


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
        return (429, {"Retry-After": "2"}, b"") if len(clock) == 1 else (200, {}, b"")
    server = inbox(answer)
    only_store(new_cluster, webhook("a", server.url, "*", max_in_flight=1))
    spool(new_cluster, *[event(f"r{n}") for n in range(40)])
    wait_until(lambda: len(server.events()) == 40)
    assert clock[1] - clock[0] >= 1.9  # all lanes rested, not only the one that was told


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


def test_a_removed_callback_leaves_nothing_behind(new_cluster, inbox):
    server = inbox(lambda received: (500, {}, b""))
    only_store(new_cluster, webhook("a", server.url, "*"))
    spool(new_cluster, *[event(f"r{n}") for n in range(100)])
    wait_until(lambda: server.received)
    prepare(new_cluster)
    wait_until(lambda: spooled(new_cluster) == 0, 30)
    assert new_cluster.coordinator.metric("holdfast_webhook_events_dropped_total",
                                          reason="webhook_removed") == 100


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


def flap(number, sessions=3):
    """Reports of a registration that comes and goes, each session with its two events."""
    found = []
    for session in range(sessions):
        epoch = 1000000 * (session + 1) + number
        for kind in (OPENED, CLOSED):
            found.append(event(f"flap-{number}", kind, epoch=epoch, at_ms=session))
    return found


def test_ten_thousand_flapping_registrations_never_go_backwards(new_cluster, inbox):
    server = inbox()
    only_store(new_cluster, webhook("a", server.url, "connection.*"), register=1, saver=1,
               coordinator={"callbacks.status_queue": 200000, "callbacks.status_bytes": "256MiB"})
    reports = []
    for at in range(0, 10000, 150):
        some = [flap(number) for number in range(at, min(at + 150, 10000))]
        events = [one for together in zip(*some) for one in together]
        # Rooms that repeat a report, and one that is late with an old session.
        reports += [events[:600], events[300:900], events[:300]]
    answers = call_all(new_cluster.coordinator, [("Report", {"events": part}) for part in reports],
                       timeout_ms=60000)
    assert {status for status, _ in answers} == {"OK"} and all(one["dropped"] == 0 for _, one in answers)
    wait_until(lambda: len(server.events()) == 60000, 60, lambda: f"{len(server.events())} of 60000")
    assert_forward(server.events())
    per_key = collections.defaultdict(list)
    for one in server.events():
        per_key[one["key"]].append(one["type"])
    assert len(per_key) == 10000
    assert {tuple(types) for types in per_key.values()} == {("connection.opened", "connection.closed") * 3}
    assert new_cluster.coordinator.metric("holdfast_webhook_events_dropped_total", reason="stale") > 10000


def test_stale_epochs_are_dropped_at_the_door(new_cluster, inbox):
    server = inbox()
    only_store(new_cluster, webhook("a", server.url, "connection.*"))
    report = [event("r", OPENED, epoch=20), event("r", CLOSED, epoch=10), event("r", OPENED, epoch=20),
              event("r", CLOSED, epoch=20), event("r", OPENED, epoch=20), event("r", CLOSED, epoch=30),
              event("r", OPENED, epoch=30)]
    assert call(new_cluster.coordinator, "Report", {"events": report})["dropped"] == 0
    wait_until(lambda: len(server.events()) == 3)
    found = [(one["type"], one["epoch"]) for one in server.events()]
    assert found == [("connection.opened", "000000000000M"), ("connection.closed", "000000000000M"),
                     ("connection.closed", "000000000000Y")]
    assert new_cluster.coordinator.metric("holdfast_webhook_events_dropped_total", reason="stale") == 4


def test_status_events_that_nobody_takes_are_dropped_and_counted(new_cluster, inbox):
    server = inbox(lambda received: (500, {}, b""))
    only_store(new_cluster, webhook("a", server.url, "connection.*"),
               coordinator={"callbacks.status_keep": "2s", "callbacks.status_queue": 10})
    report = [event(f"r{n}", OPENED, epoch=1) for n in range(15)]
    assert call(new_cluster.coordinator, "Report", {"events": report})["dropped"] == 5
    dropped = lambda reason: new_cluster.coordinator.metric("holdfast_webhook_events_dropped_total", reason=reason)
    assert dropped("queue_full") == 5
    wait_until(lambda: dropped("expired") == 10, 15)
    assert new_cluster.coordinator.metric("holdfast_webhook_queue_events", **{"class": "status"}) == 0


def test_bad_reports_are_refused(new_cluster):
    only_store(new_cluster)
    bad = [{"events": [event("r", ACKED, epoch=1)]}, {"events": [event("r", OPENED)]},
           {"events": [event("", OPENED, epoch=1)]}, {"events": [event("r", OPENED, epoch=1, data="[1]")]},
           {"events": [event("r", OPENED, epoch=1, data='{"a":')]}, {"events": [event("u", ONLINE)]},
           {"events": [event("r", OPENED, epoch=1)] * 1001}]
    assert {status for status, _ in call_all(new_cluster.coordinator, [("Report", one) for one in bad])} == {"INVALID"}


def logged_in(cluster, app, registration, device=None, room=0, user=""):
    phone = cluster.phone(room=room, device=device or f"device-{registration}")
    phone.login(wire.session(app.id, registration, app.token(registration), user_id=user))
    return phone


def test_connections_are_told_with_their_end(new_cluster, inbox):
    server = inbox()
    app = started(new_cluster, webhook("a", server.url, "connection.*"))
    phone = logged_in(new_cluster, app, "reg-1", user="ana")
    opened, = wait_until(lambda: server.events("connection.opened"))
    assert opened["key"] == "reg-1" and len(opened["epoch"]) == 13
    assert opened["data"]["registration_id"] == "reg-1" and opened["data"]["user_id"] == "ana"
    assert opened["data"]["node"] == new_cluster.room.id and opened["data"]["connection_id"]
    app.call("POST", "connections/disconnect", {"registration_id": ["reg-1"], "code": 4007, "reason": "bye"},
             role="admin")
    closed, = wait_until(lambda: server.events("connection.closed"))
    assert (closed["key"], closed["epoch"]) == ("reg-1", opened["epoch"])
    assert closed["data"]["code"] == 4007 and closed["data"]["connection_id"] == opened["data"]["connection_id"]
    assert closed["data"]["reason"] == "bye" and closed["data"]["duration_s"] >= 0
    again = logged_in(new_cluster, app, "reg-1", device="other")
    wait_until(lambda: len(server.events("connection.opened")) == 2)
    again.close()
    wait_until(lambda: len(server.events("connection.closed")) == 2)
    assert_forward(server.events())
    phone.close()


def test_some_hundred_phones_that_flap_stay_in_order(new_cluster, inbox):
    server = inbox()
    app = started(new_cluster, webhook("a", server.url, "connection.*"), room=2)
    for turn in range(3):
        phones = [logged_in(new_cluster, app, f"reg-{n}", room=(n + turn) % 2) for n in range(150)]
        if turn % 2 == 0:
            for phone in phones:
                phone.close()
    wait_until(lambda: len({(one["key"], one["epoch"]) for one in server.events("connection.opened")}) == 450, 30)
    assert_forward(server.events())


def test_a_user_is_offline_only_when_he_stays_away(new_cluster, inbox):
    server = inbox()
    app = started(new_cluster, webhook("a", server.url, "user.*"))
    phone = logged_in(new_cluster, app, "reg-1", user="ana")
    wait_until(lambda: server.events("user.online"))
    for _ in range(3):  # flaps within the delay are nobody's business
        phone.close()
        phone = logged_in(new_cluster, app, "reg-1", user="ana")
    tablet = logged_in(new_cluster, app, "reg-2", user="ana")
    phone.close()
    other = logged_in(new_cluster, app, "reg-3", user="bob")
    wait_until(lambda: len(server.events("user.online")) == 2)  # ana once, bob once
    other.close()
    wait_until(lambda: [one["key"] for one in server.events("user.offline")] == ["bob"])
    tablet.close()
    wait_until(lambda: len(server.events("user.offline")) == 2)
    assert [(one["type"], one["key"]) for one in server.events()] == [
        ("user.online", "ana"), ("user.online", "bob"), ("user.offline", "bob"), ("user.offline", "ana")]
    logged_in(new_cluster, app, "reg-2", user="ana")
    wait_until(lambda: len(server.events("user.online")) == 3)
    assert_forward(server.events())


def test_a_user_who_went_before_anybody_could_look_does_not_stay_online(new_cluster, inbox):
    server = inbox()
    only_store(new_cluster, webhook("a", server.url, "user.*"))
    new_cluster.saver.pause()
    for kind in (ONLINE, OFFLINE):
        call(new_cluster.coordinator, "Report",
             {"events": [{"type": kind, "app": 7, "key": "ana", "registration": "r1", "at_ms": 5}]})
    # The first question ends without an answer.
    wait_until(lambda: new_cluster.coordinator.metric("holdfast_rpc_requests_total", method="ReadUsers"))
    new_cluster.saver.resume()
    wait_until(lambda: server.events() and server.events()[-1]["type"] == "user.offline")


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


def test_a_flash_cut_is_neither_an_end_nor_a_beginning(new_cluster, inbox):
    server = inbox()
    app = started(new_cluster, webhook("a", server.url, "connection.*", "user.*"), linger="3s")
    session = wire.session(app.id, "reg-1", app.token("reg-1"), user_id="ana")
    phone = new_cluster.phone(device="device-1")
    ticket = phone.login(session).ticket
    wait_until(lambda: len(server.events()) == 2)
    phone.cut()
    back = new_cluster.phone(device="device-1")
    assert back.login(session, ticket=ticket).resumed
    back.cut()
    closed, = wait_until(lambda: server.events("connection.closed"))
    wait_until(lambda: server.events("user.offline"))
    opened, = server.events("connection.opened")
    assert closed["epoch"] == opened["epoch"] and len(server.events()) == 4


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
