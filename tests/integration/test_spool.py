"""The saver's spool: what it accepts for callbacks is kept, in order, for each callback alone, until it is removed."""

import json

from harness.rpc import call, call_all, text as text_of
from harness.waiting import wait_until

ACKED, EXPIRED, CREATED = 9, 10, 5
ALL_LANES = {"hex": "ff" * 8}
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"


def webhook(name, *events, **fields):
    return dict({"id": name, "url": "https://callback.invalid/", "secrets": [SECRET],
                 "events": list(events)}, **fields)


def with_webhooks(cluster, *webhooks, saver=None):
    """App 7 with these, and no coordinator that would take what is in the spool."""
    app = cluster.apps.get(7) or cluster.add_app(7)
    document = app.document()
    document["webhooks"] = list(webhooks)
    cluster.write_app(app, document)
    return app


def started(new_cluster, *webhooks, **saver):
    app = with_webhooks(new_cluster, *webhooks)
    new_cluster.start(coordinator=0, room=0, dispatcher=0, center=0, settings={"saver": saver})
    return app


def event(key, kind=ACKED, **fields):
    return dict({"type": kind, "app": 7, "key": key, "id": 1, "at_ms": 5,
                 "data": json.dumps({"registration_id": key})}, **fields)


def queues(saver):
    return call(saver, "SpoolList", {"lanes": ALL_LANES, "max": 1000})["queues"]


def read(saver, queue, **fields):
    return call(saver, "SpoolRead", dict({"queue": queue, "max": 500}, **fields))


def everything(saver, name):
    """[(key, id)] of all queues of a callback, each queue in its order."""
    found = []
    for queue in queues(saver):
        if text_of(queue["webhook"]) == name:
            events = read(saver, queue)["events"]
            sequences = [one["sequence"] for one in events]
            assert sequences == sorted(set(sequences))
            found += [(text_of(one["key"]), one["id"]) for one in events]
    return found


def test_events_go_to_the_callbacks_that_want_them_in_order(new_cluster):
    started(new_cluster, webhook("a", "message.*"), webhook("b", "message.expired", "registration.created"),
            webhook("off", "*", enabled=False))
    saver = new_cluster.saver
    events = [event(f"r{n % 10}", (ACKED, EXPIRED, CREATED)[n % 3], id=n + 1) for n in range(300)]
    assert call(saver, "SpoolAppend", {"events": events})["failed"] == []
    for name, wanted in (("a", (ACKED, EXPIRED)), ("b", (EXPIRED, CREATED)), ("off", ())):
        found = everything(saver, name)
        for key in {f"r{n}" for n in range(10)}:
            assert [i for k, i in found if k == key] == [
                one["id"] for one in events if one["key"] == key and one["type"] in wanted]
    assert saver.metric("holdfast_saver_spooled_events_total", result="stored") == 300


def test_what_is_removed_is_gone_for_that_callback_alone(new_cluster):
    started(new_cluster, webhook("a", "*"), webhook("b", "*"))
    saver = new_cluster.saver
    call(saver, "SpoolAppend", {"events": [event("r", id=n) for n in range(1, 6)]})
    mine, other = sorted(queues(saver), key=lambda queue: text_of(queue["webhook"]))
    first, second = [one["sequence"] for one in read(saver, mine, max=2)["events"]]
    assert read(saver, mine, max=2)["more"] and not read(saver, mine)["more"]
    assert read(saver, mine, after=second)["events"][0]["id"] == 3
    call(saver, "SpoolRemove", {"queue": mine, "sequences": [first, second, first]})
    assert [one["id"] for one in read(saver, mine)["events"]] == [3, 4, 5]
    assert [one["id"] for one in read(saver, other)["events"]] == [1, 2, 3, 4, 5]
    rest = [one["sequence"] for one in read(saver, mine)["events"]]
    call(saver, "SpoolRemove", {"queue": mine, "sequences": rest})
    assert queues(saver) == [other]
    # The sequence goes on where it was, although the queue was empty.
    call(saver, "SpoolAppend", {"events": [event("r", id=9)]})
    assert read(saver, mine)["events"][0]["sequence"] > rest[-1]
    assert new_cluster.redis.call("HGET", "hf:ea:7", "n") == ["7"]


def test_a_full_spool_refuses_by_name_and_has_room_again(new_cluster):
    started(new_cluster, webhook("a", "*"), **{"spool.events": 10})
    saver = new_cluster.saver
    answer = call(saver, "SpoolAppend", {"events": [event("r", id=n) for n in range(15)]})
    assert (answer["failed"], answer["reason"]) == (list(range(10, 15)), "SPOOL_FULL")
    assert saver.metric("holdfast_saver_spooled_events_total", result="refused") == 5
    queue, = queues(saver)
    call(saver, "SpoolRemove", {"queue": queue,
                                "sequences": [one["sequence"] for one in read(saver, queue, max=3)["events"]]})
    answer = call(saver, "SpoolAppend", {"events": [event("r", id=n) for n in range(5)]})
    assert answer["failed"] == [3, 4]


def test_accepted_events_survive_the_kill_of_saver_and_redis(new_cluster):
    started(new_cluster, webhook("a", "*"))
    saver = new_cluster.saver
    call(saver, "SpoolAppend", {"events": [event(f"r{n}", id=n + 1) for n in range(50)]})
    saver.kill()
    new_cluster.redis.kill()
    new_cluster.redis.start()
    saver.restart()
    assert sorted(everything(saver, "a")) == sorted((f"r{n}", n + 1) for n in range(50))


def test_lists_come_in_pages_and_of_the_lanes_asked_for(new_cluster):
    started(new_cluster, webhook("a", "*"), webhook("b", "*"))
    saver = new_cluster.saver
    for part in range(2):  # enough for every lane to get one
        call(saver, "SpoolAppend", {"events": [event(f"r{part}-{n}", id=part * 1000 + n + 1) for n in range(1000)]})
    found, after = [], None
    while True:
        request = {"lanes": ALL_LANES, "max": 7}
        if after:
            request["after"] = after
        page = call(saver, "SpoolList", request)
        found += page["queues"]
        if not page["more"]:
            break
        after = page["queues"][-1]
    assert len(found) == 128 and found == queues(saver)
    some = call(saver, "SpoolList", {"lanes": {"hex": "0100000000000080"}, "max": 100})["queues"]
    assert {queue["lane"] for queue in some} == {0, 63}


def test_requests_out_of_bounds_are_refused(new_cluster):
    started(new_cluster, webhook("a", "*"))
    queue = {"app": 7, "lane": 1, "webhook": "a", "part": 0}
    bad = [("SpoolAppend", {"events": []}), ("SpoolAppend", {"events": [event("")]}),
           ("SpoolAppend", {"events": [event("r", data="x" * 2049)]}),
           ("SpoolAppend", {"events": [event("r", kind=99)]}),
           ("SpoolAppend", {"events": [event("r" * 129)]}),
           ("SpoolList", {"lanes": {"hex": "ff"}, "max": 1}), ("SpoolList", {"lanes": ALL_LANES}),
           ("SpoolRead", {"max": 1}), ("SpoolRead", {"queue": dict(queue, lane=64), "max": 1}),
           ("SpoolRead", {"queue": dict(queue, part=1), "max": 1}),
           ("SpoolRead", {"queue": dict(queue, webhook="a b"), "max": 1}),
           ("SpoolRead", {"queue": queue, "max": 501}),
           ("SpoolRemove", {"queue": queue, "sequences": [1] * 1001}),
           ("PutDeadLetter", {}), ("ListDeadLetters", {"app": 7, "webhook": "a"}),
           ("TakeDeadLetter", {"app": 7, "webhook": ""})]
    assert {status for status, _ in call_all(new_cluster.saver, bad)} == {"INVALID"}


def letter(number, events=1, **fields):
    return {"letter": dict({"id": number, "app": 7, "webhook": "a", "failed_ms": number, "attempts": 8,
                            "reason": "HTTP 500", "events": [event(f"r{number}")] * events}, **fields)}


def test_dead_letters_are_listed_newest_first_taken_once_and_capped(new_cluster):
    started(new_cluster, webhook("a", "*"), **{"dead_letters.max": 5, "dead_letters.bytes": "64KiB"})
    saver = new_cluster.saver
    for number in range(1, 9):
        dropped = call(saver, "PutDeadLetter", letter(number))["dropped"]
        assert dropped == (1 if number > 5 else 0)
    page = call(saver, "ListDeadLetters", {"app": 7, "webhook": "a", "limit": 3})
    assert [one["id"] for one in page["letters"]] == [8, 7, 6] and page["more"]
    page = call(saver, "ListDeadLetters", {"app": 7, "webhook": "a", "limit": 3, "before": 6})
    assert [one["id"] for one in page["letters"]] == [5, 4] and not page["more"]
    assert text_of(page["letters"][0]["reason"]) == "HTTP 500"
    name = {"app": 7, "webhook": "a", "id": 7}
    assert call(saver, "TakeDeadLetter", dict(name, keep=True))["known"]
    taken = call(saver, "TakeDeadLetter", name)
    assert taken["known"] and text_of(taken["letter"]["events"][0]["key"]) == "r7"
    assert not call(saver, "TakeDeadLetter", name)["known"]
    # By bytes as well: one large letter takes the place of the small ones.
    big = letter(20)
    big["letter"]["events"] = [event("r", data=json.dumps("x" * 2000))] * 33
    assert call(saver, "PutDeadLetter", big)["dropped"] == 4
    assert saver.metric("holdfast_saver_dead_letters_dropped_total") == 3 + 4


def test_a_callback_named_gets_it_whatever_it_wants(new_cluster):
    started(new_cluster, webhook("a", "message.expired"), webhook("b", "*"))
    saver = new_cluster.saver
    call(saver, "SpoolAppend", {"events": [event("r", CREATED)], "webhook": "a"})
    assert everything(saver, "a") == [("r", 1)] and everything(saver, "b") == []


def test_a_callback_added_later_is_heard_of(new_cluster):
    started(new_cluster)
    saver = new_cluster.saver
    call(saver, "SpoolAppend", {"events": [event("r")]})
    assert queues(saver) == []
    with_webhooks(new_cluster, webhook("a", "*"))

    def stored():
        call(saver, "SpoolAppend", {"events": [event("r")]})
        return queues(saver)
    wait_until(stored)
