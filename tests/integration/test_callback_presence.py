"""Callbacks about connections and users: who comes and goes is told in order, and only when it means something."""

import collections

from harness import wire
from harness.rpc import call, call_all
from harness.waiting import wait_until
from harness.webhooks import (
    ACKED, CLOSED, OFFLINE, ONLINE, OPENED, assert_forward, event, logged_in, only_store, started, webhook)


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
               coordinator={"callbacks.status_keep": "1s", "callbacks.status_queue": 10})
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
