"""The broadcast log: what is acked, by whom, counted once; and who never acks."""

from harness import rpc
from harness.broadcast_log import (
    APP, REMOVED, STORED, ack, append, change, ids, load, load_request, new_id, read, store)
from harness.waiting import wait_until


def test_what_is_acked_never_comes_again_also_after_everything_was_killed(saver, new_cluster):
    first, second = new_id(1), new_id(2)
    append(saver, first)
    append(saver, second)
    assert ids(load(saver)) == [first, second]
    ack(saver, first)
    assert ids(load(saver)) == [second]
    assert ids(load(saver, "another")) == [first, second]
    saver.kill()
    new_cluster.redis.kill()
    new_cluster.redis.start()
    saver.restart()
    assert ids(load(saver)) == [second]


def test_an_ack_of_a_broadcast_that_this_saver_never_loaded_counts(new_cluster):
    savers = [new_cluster.add("saver"), new_cluster.add("saver")]
    for saver in savers:
        saver.wait_ready()
    number = new_id()
    append(savers[0], number)
    ack(savers[1], number)  # its client got it from the room's walk
    for saver in savers:
        assert ids(load(saver)) == []


def test_acks_are_counted_once_a_registration_and_survive_a_restart(saver):
    number = new_id()
    append(saver, number)
    for registration in ("reg-1", "reg-2", "reg-1"):
        ack(saver, number, registration=registration)
    wait_until(lambda: read(saver, number)["acked"] == 2)
    state = rpc.call(saver, "MessageState", {"app": APP, "message_id": number})
    assert state["known"] and state["acked"] == 2 and state["class"] == STORED
    saver.kill()
    saver.restart()
    ack(saver, number, registration="reg-2")
    ack(saver, number, registration="reg-3")
    wait_until(lambda: read(saver, number)["acked"] == 3)
    state = rpc.call(saver, "MessageState", {"app": APP, "message_id": number})
    assert state["known"] and state["acked"] == 3
    assert saver.metric("holdfast_saver_broadcasts_acked_total") == 1
    assert saver.metric("holdfast_messages_acked_total") == 0, "they were never stored for anybody"


def test_two_savers_do_not_both_tell_of_one_broadcast(new_cluster):
    savers = [new_cluster.add("saver"), new_cluster.add("saver")]
    for saver in savers:
        saver.wait_ready()
    for n in range(8):
        number = new_id(n)
        append(savers[0], number)
        wait_until(lambda: sum(rpc.call(saver, "MessageState", {"app": APP, "message_id": number})["known"]
                               for saver in savers) == 1)


def test_a_stopped_saver_leaves_no_count_behind(saver, new_cluster):
    number = new_id()
    append(saver, number)
    for n in range(50):
        ack(saver, number, registration=f"reg-{n}")
    saver.terminate()
    saver.wait_exit()
    saver.restart()
    assert read(saver, number)["acked"] == 50


def test_a_client_that_loads_broadcasts_and_never_acks_is_quarantined(new_cluster):
    saver = new_cluster.add("saver", quarantine__patience="0s", quarantine__loads="3")
    saver.wait_ready()
    append(saver, new_id())
    assert [len(load(saver)["messages"]) for _ in range(3)] == [1, 1, 1]
    assert load(saver)["quarantined"]
    assert not load(saver, "another")["quarantined"]


def test_an_ack_of_a_broadcast_ends_the_count_of_the_quarantine(new_cluster):
    saver = new_cluster.add("saver", quarantine__patience="0s", quarantine__loads="3")
    saver.wait_ready()
    for n in range(6):
        number = new_id(n)
        append(saver, number)
        assert ids(load(saver)) == [number]
        ack(saver, number)


def test_what_a_registration_has_acked_is_forgotten_with_the_broadcasts(saver, new_cluster):
    numbers = [new_id(n) for n in range(80)]
    for number in numbers:
        append(saver, number)
    ack(saver, *numbers)
    assert new_cluster.redis.call("SCARD", f"hf:a:{APP}:reg-1") == ["80"], "all are live"
    for number in numbers[1:]:
        change(saver, number, REMOVED)
    assert ids(load(saver)) == []
    wait_until(lambda: new_cluster.redis.call("SCARD", f"hf:a:{APP}:reg-1") == ["1"])
    assert 0 < int(new_cluster.redis.call("PTTL", f"hf:a:{APP}:reg-1")[0]) < 900000


def test_what_is_acked_just_before_a_load_does_not_come_with_it(saver):
    """As a room does it: the acks of a turn, then the loads that they made place for."""
    numbers = [new_id(n) for n in range(20)]
    for number in numbers:
        append(saver, number)
    assert ids(load(saver)) == numbers
    calls = []
    for number in numbers:
        calls.append(("Ack", {"items": [{"app": APP, "registration": "reg-1", "message_ids": [number]}]}))
        calls.append(load_request(login=False))
    answers = rpc.call_all(saver, calls)
    assert [ids(reply) for _, reply in answers[1::2]] == [numbers[n:] for n in range(1, 21)]


def test_one_call_acks_broadcasts_and_messages_of_many(saver):
    """What a room hands over at the end of a turn: more than fits in one script, of all kinds, some of it twice."""
    names = [f"crowd-{n}" for n in range(300)]
    stored = {name: new_id(n) for n, name in enumerate(names[:3])}
    for name, number in stored.items():
        store(saver, number, name)
    first, second, unknown = new_id(10), new_id(11), new_id(12)
    append(saver, first, delivery={"label": "first"})
    append(saver, second)
    assert ids(load(saver, names[0])) == [stored[names[0]], first, second]
    items = [{"app": APP, "registration": name,
              "message_ids": [first] + ([stored[name]] if name in stored else []) + [unknown] * (n == 7)}
             for n, name in enumerate(names)]
    rpc.call(saver, "Ack", {"items": items + items[:1]})
    found = [ids(reply) for _, reply in rpc.call_all(saver, [load_request(name) for name in names])]
    assert found == [[second]] * 300
    wait_until(lambda: read(saver, first)["acked"] == 300)
    assert read(saver, second)["acked"] == 0
    assert saver.metric("holdfast_saver_broadcasts_acked_total") == 300
    assert saver.metric("holdfast_messages_acked_total") == 3
