"""Options of a message in the store: they are kept with it, and collapse keys replace."""

import json
import time

from harness import rpc
from harness.waiting import wait_until

BASE = 0x0500_0000_0000_0000  # ids far from those that centers draw


def item(number, registration="reg-1", durable=False, **delivery):
    return {"message_id": BASE + number, "app": 7, "registration": registration, "frame": 0,
            "class": 2 if durable else 1, "delivery": delivery}


def store(cluster, *items, frame="frame"):
    reply = rpc.call(cluster.saver, "Store", {"frames": [frame], "items": list(items)})
    assert reply["failures"] == reply["unregistered"] == []


def load(cluster, registration="reg-1"):
    reply = rpc.call(cluster.saver, "Load", {"app": 7, "registration": registration,
                                             "max_count": 100, "max_bytes": 1 << 20})
    return reply["messages"]


def numbers(cluster, registration="reg-1"):
    return [message["message_id"] - BASE for message in load(cluster, registration)]


def ack(cluster, *ids, registration="reg-1"):
    rpc.call(cluster.saver, "Ack", {"items": [{"app": 7, "registration": registration,
                                               "message_ids": [BASE + number for number in ids]}]})


def fates(cluster):
    metric = cluster.saver.metric
    return {"stored": metric("holdfast_messages_stored_total"),
            "acked": metric("holdfast_messages_acked_total"),
            "collapsed": metric("holdfast_messages_dropped_total", reason="collapsed")}


def test_options_are_kept_with_the_message_even_when_redis_is_lost(fragile_cluster):
    cluster = fragile_cluster
    cluster.add_app(7)
    cluster.start()
    cluster.apps[7].register("reg-1", "reg-2")
    store(cluster, item(1, high=True, label="orders", receipts=1 << 9, receipt_params='{"a":1}',
                        durable=True))
    store(cluster, item(2, durable=True), frame="plain")

    def is_right():
        with_options, plain = load(cluster)
        how = with_options["delivery"]
        return (how["high"], rpc.text(how["label"]), how["receipts"],
                rpc.text(how["receipt_params"]), rpc.text(with_options["frame"]),
                rpc.text(plain["frame"]), plain["delivery"]) == (
                    True, "orders", 1 << 9, '{"a":1}', "frame", "plain", {})
    assert is_right()
    cluster.redis.kill()
    cluster.redis.empty()
    cluster.redis.start()
    cluster.saver.wait_ready(60)
    assert is_right()


def test_the_newer_message_with_a_collapse_key_replaces_the_older(cluster, app):
    cluster.apps[7].register("reg-1", "reg-2")
    store(cluster, item(1, collapse_key="a"), item(2), item(3, collapse_key="b"))
    store(cluster, item(4, collapse_key="a"))
    assert numbers(cluster) == [2, 3, 4]
    store(cluster, item(4, collapse_key="a"))  # a repetition: nothing changes
    store(cluster, item(1, collapse_key="a"))  # a late duplicate of what was replaced
    assert numbers(cluster) == [2, 3, 4]
    assert fates(cluster) == {"stored": 4, "acked": 0, "collapsed": 1}
    store(cluster, item(1, registration="reg-2", collapse_key="a"))
    assert numbers(cluster, "reg-2") == [1], "keys are of one registration"


def test_the_order_of_ids_decides_even_after_the_newer_was_acked(cluster, app):
    cluster.apps[7].register("reg-1", "reg-2")
    store(cluster, item(9, collapse_key="a"))
    store(cluster, item(5, collapse_key="a"))  # overtaken on its way
    store(cluster, item(5, collapse_key="a"))
    assert numbers(cluster) == [9]
    ack(cluster, 9)
    store(cluster, item(5, collapse_key="a"), item(8, collapse_key="a"))
    assert numbers(cluster) == []
    assert fates(cluster) == {"stored": 3, "acked": 1, "collapsed": 2}


def test_only_so_many_collapse_keys_are_remembered(cluster, app):
    cluster.apps[7].register("reg-1", "reg-2")
    for number in range(1, 70):
        store(cluster, item(number, collapse_key=f"key-{number}"))
    assert cluster.redis.call("HLEN", "hf:k:7:reg-1") == ["64"]
    store(cluster, item(100, collapse_key="key-69"), item(101, collapse_key="key-1"))
    assert numbers(cluster) == [*range(1, 69), 100, 101], "the oldest keys were forgotten"
    assert int(cluster.redis.call("PTTL", "hf:k:7:reg-1")[0]) > 0


def test_collapsed_rows_leave_mysql_and_a_refill_knows_the_keys(fragile_cluster):
    cluster = fragile_cluster
    cluster.add_app(7)
    cluster.start()
    cluster.apps[7].register("reg-1", "reg-2")
    store(cluster, item(1, collapse_key="a", durable=True))
    store(cluster, item(2, collapse_key="a", durable=True))

    def ids():
        return [int(row) - BASE for row in
                cluster.mariadb.query("SELECT message_id FROM messages", cluster.database)]
    wait_until(lambda: ids() == [2], what="the row of what was replaced is deleted")
    cluster.redis.kill()
    cluster.redis.empty()
    cluster.redis.start()
    cluster.saver.wait_ready(60)
    assert numbers(cluster) == [2]
    store(cluster, item(3, collapse_key="a"))
    assert numbers(cluster) == [3]


def test_a_delivery_over_its_bounds_is_refused(cluster, app):
    (status, reason), = rpc.call_all(cluster.saver, [("Store", {
        "frames": ["x"], "items": [item(1, collapse_key="k" * 65)]})])
    assert (status, reason) == ("INVALID", "BAD_DELIVERY")


# Receipts and labels: what is told of messages that leave

ACKED, EXPIRED, DROPPED, RECALLED = 9, 10, 11, 12
ALL = sum(1 << event for event in (ACKED, EXPIRED, DROPPED, RECALLED))


def start_without_coordinator(cluster, *events):
    """One callback that wants these events; nobody empties the spool."""
    app = cluster.add_app(7)
    document = app.document()
    document["webhooks"] = [{"id": "a", "url": "https://callback.invalid/", "events": list(events),
                             "secrets": ["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"]}]
    cluster.write_app(app, document)
    cluster.start(coordinator=0, room=0, dispatcher=0, center=0)
    app.register("reg-1")


def spooled(cluster):
    """Events in the spool: (type, data, id)."""
    lanes = {"lanes": {"hex": "ff" * 8}, "max": 1000}
    found = []
    for queue in rpc.call(cluster.saver, "SpoolList", lanes)["queues"]:
        reply = rpc.call(cluster.saver, "SpoolRead", {"queue": queue, "max": 500})
        found += [(event["type"], json.loads(rpc.text(event["data"])), event["id"])
                  for event in reply["events"]]
    return found


def told(cluster):
    return sorted((kind, data.get("reason", "")) for kind, data, _ in spooled(cluster))


def report(cluster, label=""):
    """Today's counts of a label."""
    day = int(time.time()) // 86400
    reply = rpc.call(cluster.saver, "LabelReport", {"app": 7, "label": label, "first_day": day - 1, "days": 2})
    return {key: sum(one[key] for one in reply["days"])
            for key in ("messages", "targets", "acked", "expired", "dropped", "recalled")}


def test_receipts_tell_of_every_way_out(new_cluster):
    cluster = new_cluster
    start_without_coordinator(cluster, "message.*")
    wanted = {"receipts": ALL, "receipt_params": '{"trace":"abc"}', "label": "sale"}
    soon = dict(item(5, **wanted), expires_ms=int(time.time() * 1000) + 1500)
    store(cluster, item(1, **wanted), item(2, **wanted), item(3, collapse_key="a", **wanted))
    store(cluster, item(4, collapse_key="a", **wanted), soon)
    wait_until(lambda: told(cluster) == [(DROPPED, "collapsed")])
    ack(cluster, 1)
    wait_until(lambda: told(cluster) == [(ACKED, ""), (DROPPED, "collapsed")])
    assert rpc.call(cluster.saver, "Purge", {"app": 7, "registration": "nobody"})["purged"] == 0
    wait_until(lambda: 5 not in numbers(cluster), what="a load finds it expired")
    wait_until(lambda: told(cluster) == [(ACKED, ""), (EXPIRED, ""), (DROPPED, "collapsed")])
    assert rpc.call(cluster.saver, "Purge", {"app": 7, "registration": "reg-1"})["purged"] == 2
    wait_until(lambda: told(cluster) == [(ACKED, ""), (EXPIRED, ""), (DROPPED, "collapsed"),
                                         (DROPPED, "purged"), (DROPPED, "purged")])
    (data,) = [data for kind, data, _ in spooled(cluster) if kind == ACKED]
    assert (data["registration_id"], data["label"], data["params"]) == ("reg-1", "sale", {"trace": "abc"})
    wait_until(lambda: report(cluster, "sale")["dropped"] == 3)
    assert report(cluster, "sale") == {"messages": 0, "targets": 5, "acked": 1, "expired": 1, "dropped": 3,
                                       "recalled": 0}


def test_receipts_survive_a_restart_of_the_saver(new_cluster):
    cluster = new_cluster
    start_without_coordinator(cluster, "message.*")
    store(cluster, item(1, receipts=ALL, label="old"), item(2))
    wait_until(lambda: report(cluster, "old")["targets"] == 1)
    cluster.saver.kill()
    cluster.saver.restart()
    ack(cluster, 1, 2)
    ack(cluster, 1, 2)
    assert told(cluster) == [(ACKED, "")]
    wait_until(lambda: report(cluster, "old")["acked"] == 1)
    assert cluster.saver.metric("holdfast_messages_acked_total") == 2
    assert cluster.redis.queue_length(7, "reg-1") == 0


def test_only_what_is_asked_for_and_subscribed_is_told(new_cluster):
    cluster = new_cluster
    start_without_coordinator(cluster, "message.expired")
    store(cluster, item(1, receipts=ALL), item(2, receipts=1 << EXPIRED), item(3))
    ack(cluster, 1, 2, 3)
    assert spooled(cluster) == []


def test_what_is_plain_costs_no_look(cluster, app):
    app.register("reg-1")
    store(cluster, item(1), item(2))
    ack(cluster, 1, 2)
    operations = cluster.saver.metric("holdfast_saver_operations_total", store="redis", op="remove")
    assert operations == 2, "two HDELs, and nothing is read before"


def test_labels_are_counted_by_app_and_day(cluster, app):
    app.register("reg-1", "reg-2")
    first = dict(item(1, label="sale"), counts_message=True)
    store(cluster, first, item(1, registration="reg-2", label="sale"))
    store(cluster, first)  # a repetition counts nothing
    store(cluster, dict(item(2), counts_message=True))
    ack(cluster, 1, 2)
    wait_until(lambda: report(cluster, "sale")["acked"] == 1)
    assert report(cluster, "sale") == {"messages": 1, "targets": 2, "acked": 1, "expired": 0, "dropped": 0,
                                       "recalled": 0}
    assert report(cluster) == {"messages": 2, "targets": 3, "acked": 2, "expired": 0, "dropped": 0,
                               "recalled": 0}
    assert report(cluster, "unknown")["targets"] == 0


def test_labels_beyond_a_day_s_bound_are_counted_as_others(cluster, app):
    day = int(time.time()) // 86400
    app.register(*(f"reg-{number}" for number in range(20)))
    for start in range(0, 1100, 100):
        store(cluster, *[item(number, registration=f"reg-{number % 20}", label=f"label-{number}")
                         for number in range(start + 1, start + 101)])
    wait_until(lambda: report(cluster)["targets"] == 1100)
    wait_until(lambda: report(cluster, "~other")["targets"] == 100)
    assert cluster.redis.call("HLEN", f"hf:l:7:{day}") == ["1002"]
    assert int(cluster.redis.call("TTL", f"hf:l:7:{day}")[0]) > 35 * 86400


def test_a_broadcast_is_counted_once_when_it_is_over(new_cluster):
    cluster = new_cluster
    start_without_coordinator(cluster)
    job = {"id": BASE + 1, "app": 7, "kind": 0, "spec": "spec", "label": "sale"}
    rpc.call(cluster.saver, "PutJob", {"job": job})
    (leased,) = rpc.call(cluster.saver, "LeaseJobs", {"owner": 1, "lease_ms": 60000, "max": 10})["jobs"]
    assert leased["id"] == BASE + 1
    end = {"owner": 1, "lease_ms": 60000, "finish": True,
           "job": {"id": BASE + 1, "app": 7, "state": 4, "progress": {"targets": 10, "dropped": 1}}}
    assert rpc.call(cluster.saver, "RenewJob", end)["held"]
    assert not rpc.call(cluster.saver, "RenewJob", end)["held"]
    wait_until(lambda: report(cluster, "sale")["messages"] == 1)
    assert report(cluster, "sale") == report(cluster) == {
        "messages": 1, "targets": 10, "acked": 0, "expired": 0, "dropped": 1, "recalled": 0}


def test_what_the_api_was_told_is_what_the_store_keeps(cluster, app):
    app.register("reg-1")
    first = app.send(1, "reg-1", collapse_key="order-17", label="sale", priority="high")
    second = app.send(2, "reg-1", collapse_key="order-17", label="sale")
    assert (first.status, second.status) == (202, 202)
    (kept,) = load(cluster)
    how = kept["delivery"]
    assert (rpc.text(how["collapse_key"]), rpc.text(how["label"])) == ("order-17", "sale")
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    push = phone.next_push()
    assert push.payload == b"2"
    phone.ack(push)

    def counted():
        (day,) = [one for one in app.call("GET", "reports/labels?label=sale", role="viewer").json["days"]
                  if one["targets"] > 0]
        return day["messages"], day["targets"], day["acked"], day["dropped"]
    wait_until(lambda: report(cluster, "sale")["acked"] == 1)
    assert counted() == (2, 2, 1, 1)
    counters = app.call("GET", f"messages/{first.json['message_id']}", role="viewer").json["counters"]
    assert (counters["stored"], counters["dropped"], counters["owed"]) == (1, 1, 0)
