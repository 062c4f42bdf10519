"""The broadcast log: broadcasts that rest, go on, are removed, recalled or expire."""

from harness import rpc
from harness.broadcast_log import (
    APP, HELD, LOADABLE, REMOVED, ack, append, change, ids, load, new_id, now_ms, read, recall, spans, store)
from harness.waiting import wait_until


def test_a_held_broadcast_is_not_loaded_until_it_is_loadable_again(saver):
    number = new_id()
    first = append(saver, number)
    held = change(saver, number, HELD)
    assert spans(held) == [(first, held["version"])]
    assert ids(load(saver)) == []
    assert spans(change(saver, number, HELD)) == spans(held), "again changes nothing"
    resumed = change(saver, number, LOADABLE)
    assert spans(resumed) == [(first, held["version"]), (resumed["version"], 0)]
    assert ids(load(saver)) == [number]
    ack(saver, number)
    gone = change(saver, number, REMOVED)
    assert spans(gone) == [(first, held["version"]), (resumed["version"], gone["version"])]
    assert ids(load(saver, "another")) == []
    assert spans(change(saver, number, LOADABLE)) == spans(gone), "what is removed stays so"
    assert ids(load(saver, "another")) == []
    assert not change(saver, number + 1, HELD)["known"]


def test_a_held_broadcast_that_is_acked_does_not_come_when_it_goes_on(saver):
    number = new_id()
    append(saver, number)
    change(saver, number, HELD)
    ack(saver, number)
    change(saver, number, LOADABLE)
    assert ids(load(saver)) == []


def test_a_broadcast_goes_on_at_most_a_thousand_times(saver):
    number = new_id()
    append(saver, number)
    calls = [("LogChange", {"app": APP, "message_id": number, "state": state}) for state in (HELD, LOADABLE)]
    answers = rpc.call_all(saver, calls * 1000, 30000)
    assert all(answer[0] == "OK" for answer in answers[:-1])
    assert answers[-1] == ["OVERLOADED", "LOG_FULL"]
    assert len(read(saver, number)["spans"]) == 1000
    assert change(saver, number, REMOVED)["known"]


def test_a_recalled_message_is_dropped_where_it_is_loaded_and_counted(saver):
    first, second = new_id(1), new_id(2)
    store(saver, first)
    store(saver, second)
    recall(saver, first)
    assert ids(load(saver)) == [second]
    wait_until(lambda: saver.metric("holdfast_messages_recalled_total") == 1)
    state = rpc.call(saver, "MessageState", {"app": APP, "message_id": first})
    assert state["recalled"] == 1
    ack(saver, second)
    stored = saver.metric("holdfast_messages_stored_total")
    assert stored == sum(saver.metric(f"holdfast_messages_{fate}_total")
                         for fate in ("acked", "expired", "dropped", "recalled"))


def test_a_recalled_message_is_not_delivered_once_more(new_cluster):
    """Stored, and nobody pushed it: the saver would, but it was recalled meanwhile."""
    cluster = new_cluster
    app = cluster.add_app(APP)
    cluster.start(settings={"saver": {"redelivery__after": "1s"}})
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    recalled = new_id()
    recall(cluster.saver, recalled)
    store(cluster.saver, recalled)
    wait_until(lambda: cluster.saver.metric("holdfast_messages_recalled_total") == 1)
    assert cluster.redis.queue_length(APP, "reg-1") == 0
    assert cluster.saver.metric("holdfast_saver_redeliveries_total") == 0


def test_a_recalled_broadcast_is_not_loaded(saver):
    number = new_id()
    append(saver, number)
    assert ids(load(saver)) == [number]
    recall(saver, number)
    assert ids(load(saver)) == []


def test_the_sweep_drops_what_was_recalled_of_who_never_comes(new_cluster):
    saver = new_cluster.add("saver", sweep__period="1s")
    saver.wait_ready()
    number = new_id()
    store(saver, number)
    recall(saver, number)
    wait_until(lambda: new_cluster.redis.queue_length(APP, "reg-1") == 0)
    assert saver.metric("holdfast_messages_recalled_total") == 1


def test_an_expired_broadcast_is_not_loaded_and_leaves_redis(saver, new_cluster):
    number, other = new_id(), new_id(1)
    append(saver, number, expires_ms=now_ms() + 1000)
    append(saver, other)
    assert ids(load(saver)) == [number, other]
    wait_until(lambda: ids(load(saver)) == [other])
    wait_until(lambda: load(saver) and new_cluster.redis.call("HLEN", f"hf:lf:{APP}") == ["1"])
