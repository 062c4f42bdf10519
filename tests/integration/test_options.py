"""Options of a message in the store: they are kept with it, and collapse keys replace."""

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
