"""The store's failures: emptied, full, away, and clients that abuse it."""

import json
import shutil

from harness.api import text_message
from harness.phone import Closed
from harness.stores import Redis
from harness.waiting import NotInTime, wait_until


def rows(cluster):
    return int(cluster.mariadb.query("SELECT COUNT(*) FROM messages", cluster.database)[0])


def test_an_emptied_redis_is_refilled_from_mysql(fragile_cluster):
    cluster = fragile_cluster
    app = cluster.add_app(7)
    cluster.start()
    app.register("reg-0", "reg-1", "reg-2")
    sent = [app.send({"n": n}, f"reg-{n % 3}") for n in range(30)]
    assert all(answer.status == 202 for answer in sent)
    wait_until(lambda: rows(cluster) == 30, what="write-behind has brought all of it to MySQL")

    cluster.redis.kill()
    cluster.redis.empty()
    cluster.redis.start()
    cluster.saver.wait_ready(60)
    for n in range(3):
        phone = cluster.phone(device=f"device-{n}")
        phone.login((app, f"reg-{n}"))
        found = [json.loads(push.payload)["n"] for push in phone.pushes(10)]
        assert found == list(range(n, 30, 3))
    wait_until(lambda: rows(cluster) == 0, what="acked messages leave MySQL too")


def test_a_redis_emptied_while_everything_was_down_is_refilled(fragile_cluster):
    cluster = fragile_cluster
    app = cluster.add_app(7)
    cluster.start()
    app.register("reg-1")
    for n in range(10):
        assert app.send({"n": n}, "reg-1", durable=True).status == 202
    cluster.saver.kill()
    cluster.redis.kill()
    cluster.redis.empty()
    cluster.redis.start()
    cluster.saver.restart()
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    assert [json.loads(push.payload)["n"] for push in phone.pushes(10)] == list(range(10))


def test_a_fresh_cluster_refills_nothing(cluster):
    assert cluster.saver.metric("holdfast_saver_refilled_messages_total") == 0


def test_transient_messages_go_on_without_a_store(fragile_cluster):
    cluster = fragile_cluster
    app = cluster.add_app(7)
    cluster.start()
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    cluster.redis.kill()
    assert app.send("typing", "reg-1", qos=0).status == 202
    assert phone.next_push().payload == b'"typing"'
    answer = app.send("stored", "reg-1")
    assert (answer.status, answer.reason) == (503, "STORE_UNAVAILABLE")
    assert "Retry-After" in answer.headers
    cluster.redis.start()
    wait_until(lambda: app.send("stored", "reg-1").status == 202)


def test_a_full_redis_refuses_by_name_and_keeps_what_it_has(cluster, app):
    app.register("reg-1")
    assert app.send("before", "reg-1").status == 202
    cluster.redis.call("CONFIG", "SET", "maxmemory", "1")
    answer = app.send("during", "reg-1")
    assert (answer.status, answer.reason) == (503, "STORE_FULL")
    cluster.redis.call("CONFIG", "SET", "maxmemory", "0")
    assert app.send("after", "reg-1").status == 202
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    # The second may still be pushed, and come before the page that has both.
    assert sorted(push.payload for push in phone.pushes(2)) == [b'"after"', b'"before"']


def test_a_redis_that_does_not_sync_each_write_is_told(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.redis.call("CONFIG", "SET", "appendfsync", "everysec")
    cluster.start(settings={"saver": {"redis__require": "memory"}})
    app.register("reg-1")
    assert app.send("x", "reg-1").json["durability"] == "memory"


def test_a_redis_weaker_than_required_is_refused_and_readyz_says_why(new_cluster):
    cluster = new_cluster
    cluster.redis.call("CONFIG", "SET", "appendfsync", "everysec")
    saver = cluster.add("saver")

    def says_why():
        instance = saver.instance()
        return instance and b"appendfsync" in saver.admin("GET", "/readyz").body
    wait_until(says_why)
    cluster.redis.call("CONFIG", "SET", "appendfsync", "always")
    saver.wait_ready()


def login_and_read(cluster, app, registration, device):
    """One login that takes what comes and never acks; how many pushes came."""
    phone = cluster.phone(device=device)
    phone.login((app, registration))
    count = 0
    try:
        while True:
            phone.next_push(0.7)
            count += 1
    except (NotInTime, Closed):
        phone.reset()
    return count


def test_a_client_that_never_acks_is_quarantined_and_others_are_not(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"saver": {"quarantine__patience": "0s"}})
    app.register("bad", "good")
    for n in range(3):
        app.send({"n": n}, ["bad", "good"])
    counts = [login_and_read(cluster, app, "bad", "bad-device") for _ in range(8)]
    assert counts[0] == 3
    assert counts[-1] == 0, counts
    assert cluster.saver.metric("holdfast_saver_quarantined_registrations") == 1
    assert cluster.saver.log_has("quarantine")

    phone = cluster.phone(device="good-device")
    phone.login((app, "good"))
    assert len(phone.pushes(3)) == 3
    assert cluster.redis.queue_length(app.id, "bad") == 3, "what it is owed is kept"


def test_a_client_that_comes_back_many_times_before_its_first_ack_gets_everything(new_cluster):
    """A tunnel: logins follow each other so quickly that no ack gets through."""
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start()
    app.register("reg-1")
    for n in range(3):
        app.send({"n": n}, "reg-1")
    # A push that is still on its way may come before what the login loads.
    wait_until(lambda: cluster.center.metric("holdfast_center_messages_in_delivery") == 0)
    for _ in range(8):
        phone = cluster.phone()
        phone.login((app, "reg-1"))
        assert json.loads(phone.next_push().payload)["n"] == 0
        phone.reset()
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    assert [json.loads(push.payload)["n"] for push in phone.pushes(3)] == [0, 1, 2]


def test_a_push_that_nobody_carried_to_the_room_is_delivered_again(new_cluster):
    """Stored, then the center dies before it pushes: the saver asks for the delivery itself."""
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"saver": {"redelivery__after": "1s"}})
    app.register("reg-1")  # or its first load would be what waits
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    # The room stops answering, so that the center's push goes nowhere; then the center is gone.
    cluster.room.pause()
    assert app.send("stranded", "reg-1").status == 202
    cluster.center.kill()
    cluster.room.resume()
    push = phone.next_push(20)
    assert push.payload == b'"stranded"'
    phone.ack(push)
    wait_until(lambda: cluster.redis.queue_length(app.id, "reg-1") == 0)


def test_operators_can_look_at_a_queue_and_empty_it(cluster, app):
    app.register("reg-1")
    for n in range(4):
        app.send({"n": n}, "reg-1")
    answer = app.call("GET", "registrations/reg-1/queue", role="admin")
    assert answer.status == 200 and len(answer.json["messages"]) == 4
    answer = app.call("DELETE", "registrations/reg-1/queue", role="admin")
    assert answer.status == 200 and answer.json["purged"] == 4
    wait_until(lambda: cluster.redis.queue_length(app.id, "reg-1") == 0)


def test_conservation_accepted_is_acked_stored_expired_or_dropped(cluster, app):
    app.register("capped", "acked", "expired")
    for n in range(150):
        assert app.send({"n": n}, "capped").status == 202
    for n in range(20):
        assert app.send({"n": n}, "acked").status == 202
    for n in range(5):
        assert app.send({"n": n}, "expired", ttl=1).status == 202
    phone = cluster.phone()
    phone.login((app, "acked"))
    phone.pushes(20)
    now = int(cluster.redis.call("TIME")[0])
    wait_until(lambda: int(cluster.redis.call("TIME")[0]) >= now + 2)
    other = cluster.phone(device="device-2")
    other.login((app, "expired"))
    assert other.quiet()

    def holds():
        saver = cluster.saver
        owed = sum(cluster.redis.queue_length(app.id, name)
                   for name in ("capped", "acked", "expired"))
        counted = {name: saver.metric(f"holdfast_messages_{name}_total")
                   for name in ("stored", "acked", "expired", "dropped")}
        return (counted, owed) == (
            {"stored": 175, "acked": 20, "expired": 5, "dropped": 50}, 100)
    wait_until(holds, what="stored = acked + owed + expired + dropped")


def connections_of_saver(cluster):
    """Redis' side of the saver's connections: {id: last command}."""
    found = [dict(word.split("=", 1) for word in line.split(" ") if "=" in word)
             for line in cluster.redis.call("CLIENT", "LIST") if line.startswith("id=")]
    return {link["id"]: link["cmd"] for link in found if not link["cmd"].startswith("client")}


def test_what_redis_does_not_read_at_once_goes_over_more_connections(cluster, app):
    names = [f"reg-{n}" for n in range(40)]
    app.register(*names)
    assert len(connections_of_saver(cluster)) == 8

    def are_used():  # until one that is quiet for seconds is asked whether it is there
        assert app.send("x" * 3000, names).status == 202
        return list(connections_of_saver(cluster).values()).count("hset") >= 2
    wait_until(are_used)
    phone = cluster.phone()
    phone.login((app, "reg-7"))
    assert phone.next_push().payload == b'"' + b"x" * 3000 + b'"'


def test_one_connection_that_breaks_takes_the_others_with_it(cluster, app):
    app.register("reg-1")
    before = connections_of_saver(cluster)
    cluster.redis.call("CLIENT", "KILL", "ID", max(before, key=int))
    wait_until(lambda: len(connections_of_saver(cluster)) == 8 and
               not set(connections_of_saver(cluster)) & set(before), what="all are made anew")
    wait_until(lambda: app.send("after", "reg-1").status == 202)
    assert cluster.saver.log_has("redis_lost")


def test_one_redis_of_two_away_refuses_only_what_is_its_own(new_cluster, tmp_path):
    cluster = new_cluster
    app = cluster.add_app(7)
    other = Redis(str(tmp_path / "redis-2"))
    other.start()
    try:
        nodes = f"[unix:{cluster.redis.socket}, unix:{other.socket}]"
        cluster.start(settings={"saver": {"redis__nodes": nodes}})
        names = [f"reg-{n}" for n in range(60)]
        app.register(*names)
        assert app.send("before", names).json["targets"]["accepted"] == 60
        there = sum(other.queue_length(app.id, name) for name in names)
        assert 0 < there < 60

        other.kill()
        answer = app.send("during", names)
        assert (answer.status, answer.json["targets"]["accepted"]) == (202, 60 - there)
        assert {one["reason"] for one in answer.json["failed"]} == {"STORE_UNAVAILABLE"}
        batch = {"messages": [text_message(n, [name]) for n, name in enumerate(names)]}
        results = app.call("POST", "messages/batch", batch).json["results"]
        assert sum("message_id" in one for one in results) == 60 - there

        other.start()
        wait_until(lambda: app.send("after", names).json["targets"]["accepted"] == 60)
    finally:
        other.stop()


def test_one_redis_of_two_away_keeps_the_other_from_nothing(new_cluster, tmp_path):
    """The sweep goes on: what has expired on the other one leaves it."""
    cluster = new_cluster
    app = cluster.add_app(7)
    other = Redis(str(tmp_path / "redis-2"))
    other.start()
    try:
        nodes = f"[unix:{cluster.redis.socket}, unix:{other.socket}]"
        cluster.start(settings={"saver": {"redis__nodes": nodes, "sweep__period": "1s"}})
        names = [f"reg-{n}" for n in range(60)]
        app.register(*names)
        assert app.send("x", names, ttl=2).json["targets"]["accepted"] == 60
        assert sum(other.queue_length(app.id, name) for name in names) > 0
        cluster.redis.kill()
        wait_until(lambda: sum(other.queue_length(app.id, name) for name in names) == 0, 30)
    finally:
        other.stop()


def test_what_a_weak_redis_lost_at_its_end_comes_from_memory(new_cluster, tmp_path):
    """A power cut under appendfsync everysec: Redis comes back, but not with its latest writes."""
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.redis.call("CONFIG", "SET", "appendfsync", "everysec")
    cluster.redis.appendfsync = "everysec"
    cluster.start(settings={"saver": {"redis__require": "memory", "database__delay": "60s"}})
    app.register("reg-1")
    assert app.send("old", "reg-1").status == 202
    cluster.redis.pause()
    shutil.copytree(cluster.redis.folder, tmp_path / "earlier")
    cluster.redis.resume()
    assert app.send("new", "reg-1").status == 202
    cluster.redis.kill()
    cluster.redis.empty()
    shutil.copytree(tmp_path / "earlier", cluster.redis.folder, dirs_exist_ok=True)
    cluster.redis.start()
    cluster.saver.wait_ready()
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    assert [push.payload for push in phone.pushes(2)] == [b'"old"', b'"new"']


def test_what_was_accepted_while_no_register_answered_is_pushed_when_one_does(new_cluster):
    """However long that was: the client stays connected, so that no login would load it."""
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"saver": {"redelivery__after": "100ms"},
                            "center": {"route__timeout": "100ms"}})
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    cluster.register.kill()
    assert app.send("stranded", "reg-1").status == 202
    wait_until(lambda: cluster.saver.metric("holdfast_saver_redeliveries_total", result="failed") > 8)
    cluster.register.restart()
    push = phone.next_push(20)
    assert push.payload == b'"stranded"'
    phone.ack(push)
    wait_until(lambda: cluster.redis.queue_length(app.id, "reg-1") == 0)


def test_what_there_was_no_room_to_look_after_is_pushed_when_there_is(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"saver": {"redelivery__after": "100ms", "redelivery__entries": 1000},
                            "center": {"route__timeout": "100ms"}})
    app.register(*(f"away-{n}" for n in range(1000)))
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    cluster.register.kill()
    assert app.send("filler", [f"away-{n}" for n in range(1000)]).status == 202
    assert app.send("one too many", "reg-1").status == 202
    assert cluster.saver.metric("holdfast_saver_owed_overflow_total") == 1
    cluster.center.kill()  # it would try for a while itself
    cluster.register.restart()
    push = phone.next_push(20)
    assert push.payload == b'"one too many"'
    phone.ack(push)
    wait_until(lambda: cluster.redis.queue_length(app.id, "reg-1") == 0)


def test_a_redis_whose_mysql_is_lost_is_refused_until_an_operator_says_that_it_counts(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start()
    app.register("reg-1")
    assert app.send("kept", "reg-1").status == 202
    wait_until(lambda: rows(cluster) == 1)
    cluster.saver.kill()
    cluster.mariadb.query(f"DROP DATABASE {cluster.database}")
    cluster.saver.start()
    wait_until(lambda: cluster.saver.log_has("redis_refused"))
    cluster.redis.call("DEL", "hf:store")
    cluster.saver.wait_ready()
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    assert phone.next_push().payload == b'"kept"'
    wait_until(lambda: rows(cluster) == 1, what="the sweep writes to MySQL what it lacks")
