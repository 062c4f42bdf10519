"""The broadcast log: what a login loads of it and when, its bounds, and what survives."""

import threading

from harness import rpc
from harness.broadcast_log import (
    APP, HELD, LOADABLE, REMOVED, TRANSIENT, ack, append, attach, broadcast, change, ids, load, load_request,
    new_id, now_ms, read, recall, store)
from harness.stores import Redis
from harness.waiting import wait_until


def test_a_login_loads_the_log_and_the_queue_in_the_order_of_ids(saver):
    at = now_ms()
    numbers = [new_id(n, at) for n in range(6)]
    for number in numbers[::2]:
        store(saver, number)
    assert ids(load(saver)) == numbers[::2]
    for number in numbers[1::2]:
        version = append(saver, number, delivery={"label": "news"})
    reply = load(saver)
    assert ids(reply) == numbers
    assert [rpc.text(message["frame"]) for message in reply["messages"]] == [f"frame {n}" for n in numbers]
    assert reply["log_version"] == version
    assert rpc.text(reply["messages"][1]["delivery"]["label"]) == "news"
    assert ids(load(saver, "another")) == numbers[1::2]


def test_pages_go_through_queue_and_log_without_a_gap_or_a_repeat(saver):
    at = now_ms()
    numbers = [new_id(n, at) for n in range(40)]
    for n, number in enumerate(numbers):
        if n % 3:
            append(saver, number, frame="x" * 1000)
        else:
            store(saver, number)
    for options in ({"max_count": 1}, {"max_count": 7}, {"max_bytes": 2500}, {"max_bytes": 1}):
        found, after, more = [], 0, True
        while more:
            reply = load(saver, after=after, login=False, **options)
            assert len(reply["messages"]) <= options.get("max_count", 100)
            found += ids(reply)
            after, more = found[-1], reply["more"]
        assert found == numbers, options


def test_an_app_without_broadcasts_is_at_version_0_and_versions_only_grow(saver):
    assert load(saver)["log_version"] == 0
    first = append(saver, new_id(1))
    second = append(saver, new_id(2))
    assert 0 < first < second
    assert load(saver)["log_version"] == second


def test_appending_again_changes_nothing(saver):
    number = new_id()
    version = append(saver, number)
    append(saver, new_id(1))
    assert append(saver, number, frame="another") == version
    assert rpc.text(read(saver, number)["broadcast"]["frame"]) == f"frame {number}"


def test_a_login_after_the_append_was_answered_sees_it_at_any_saver(new_cluster):
    """Many loads are under way all the time, so that checks and fetches overlap with each append."""
    savers = [new_cluster.add("saver"), new_cluster.add("saver")]
    for saver in savers:
        saver.wait_ready()
    ended = threading.Event()
    wrong = []

    def noise(saver, worker):
        while not ended.is_set():
            calls = [load_request(f"noise-{worker}-{n}", max_count=1) for n in range(50)]
            wrong.extend(answer for answer in rpc.call_all(saver, calls) if answer[0] != "OK")

    threads = [threading.Thread(target=noise, args=(saver, worker))
               for worker, saver in enumerate(savers)]
    for thread in threads:
        thread.start()
    try:
        appended = []
        for n in range(25):
            number = new_id(n)
            version = append(savers[n % 2], number)
            appended.append(number)
            for saver in savers:
                answers = rpc.call_all(saver, [load_request(f"reg-{n}-{m}") for m in range(20)])
                for status, reply in answers:
                    assert status == "OK" and ids(reply) == sorted(appended)
                    assert reply["log_version"] >= version
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert not wrong


def test_the_loads_of_a_turn_share_one_look_at_the_log(saver):
    append(saver, new_id())
    before = saver.metric("holdfast_saver_log_checks_total")
    answers = rpc.call_all(saver, [load_request(f"reg-{n}") for n in range(2000)])
    assert all(len(reply["messages"]) == 1 for _, reply in answers)
    assert saver.metric("holdfast_saver_log_checks_total") - before < 500


def test_the_log_is_bounded_and_what_leaves_makes_room(saver):
    numbers = [new_id(n) for n in range(4)]
    for number in numbers[:3]:
        append(saver, number, broadcasts_max=3)
    full = rpc.call_all(saver, [("LogAppend", {"broadcast": broadcast(numbers[3]), "broadcasts_max": 3})])
    assert full == [["OVERLOADED", "LOG_FULL"]]
    assert append(saver, numbers[0], broadcasts_max=3), "what is there is no more than it was"
    change(saver, numbers[0], REMOVED)
    append(saver, numbers[3], broadcasts_max=3)
    assert ids(load(saver)) == numbers[1:]


def test_a_registration_without_a_record_gets_what_everybody_gets(saver):
    numbers = [new_id(n) for n in range(5)]
    append(saver, numbers[0], audience={"tag": ["vip"]})
    append(saver, numbers[1], audience={"tag_not": ["vip"]})
    append(saver, numbers[2], audience={"exclude": ["reg-1"]})
    append(saver, numbers[3], audience={"percentage": 50, "percentage_seed": "seed"})
    append(saver, numbers[4])
    found = ids(load(saver))
    assert numbers[4] in found and not set(numbers[:3]) & set(found)
    shares = rpc.call_all(saver, [load_request(f"reg-{n}") for n in range(200)])
    chosen = sum(numbers[3] in ids(reply) for _, reply in shares)
    assert 60 < chosen < 140


def test_who_a_registration_is_decides_on_every_page(saver):
    attach(saver, "ana", tags=["vip", "beta"], sdk_version="2.1")
    attach(saver, "bob", tags=["beta"], platform="ios", sdk_version="1.9")
    numbers = [new_id(n) for n in range(5)]
    append(saver, numbers[0], audience={"tag": ["vip"]})
    append(saver, numbers[1], audience={"tag_not": ["vip"]})
    append(saver, numbers[2], audience={"platform": ["ios"]})
    append(saver, numbers[3], audience={"version_min": "2"})
    append(saver, numbers[4], audience={"tag_and": ["vip", "beta"]})
    wanted = {"ana": [numbers[0], numbers[3], numbers[4]], "bob": numbers[1:3], "unknown": []}
    for registration, of_it in wanted.items():
        assert ids(load(saver, registration)) == of_it
        assert ids(load(saver, registration, login=False)) == of_it
    assert ids(attach(saver, "ana", sdk_version="2.1")) == wanted["ana"]
    assert ids(load(saver, "ana", after=numbers[0], max_count=1, login=False)) == [numbers[3]]


def test_who_came_after_a_broadcast_was_sent_does_not_get_it(saver):
    number = new_id()
    attach(saver, "early")
    time_over = now_ms() + 5
    wait_until(lambda: now_ms() > time_over)
    append(saver, number)
    wait_until(lambda: now_ms() > time_over + 10)
    assert ids(attach(saver, "late")) == []
    assert ids(load(saver, "late", login=False)) == []
    assert ids(attach(saver, "early")) == [number]


def test_a_barred_registration_gets_no_broadcasts(saver):
    attach(saver)
    append(saver, new_id())
    rpc.call(saver, "ChangeRegistration", {"app": APP, "registration": "reg-1", "set_bar": True,
                                           "barred_until_ms": now_ms() + 60000})
    assert ids(attach(saver)) == [] and ids(load(saver, login=False)) == []


def test_more_than_the_cache_takes_is_loaded_all_the_same(new_cluster):
    saver = new_cluster.add("saver", broadcasts__cache="1MiB")
    saver.wait_ready()
    numbers = [new_id(n) for n in range(60)]
    for number in numbers:
        append(saver, number, frame="x" * 60000)
    for _ in range(2):
        found, after, more = [], 0, True
        while more:
            reply = load(saver, after=after)
            assert all(len(message["frame"]["hex"]) == 120000 for message in reply["messages"])
            found += ids(reply)
            after, more = found[-1], reply["more"]
        assert found == numbers
    assert saver.metric("holdfast_saver_log_evictions_total") > 0
    assert saver.metric("holdfast_saver_log_bytes") <= 1 << 20


def test_a_long_log_is_read_in_pages_and_shown_as_a_whole(saver):
    at = now_ms()
    numbers = [new_id(n, at) for n in range(2500)]
    calls = [("LogAppend", {"broadcast": broadcast(number), "broadcasts_max": 5000}) for number in numbers]
    assert all(answer[0] == "OK" for answer in rpc.call_all(saver, calls, 30000))
    fetches = saver.metric("holdfast_saver_log_fetches_total")
    reply = load(saver)
    assert saver.metric("holdfast_saver_log_fetches_total") == fetches + 1
    found, more = ids(reply), reply["more"]
    while more:
        reply = load(saver, after=found[-1], login=False)
        found, more = found + ids(reply), reply["more"]
    assert found == numbers


def test_what_left_the_log_before_its_time_leaves_what_a_saver_knows(saver, new_cluster):
    """Of an app with very many cancelled broadcasts the entry goes at once, and "f" tells who is behind."""
    first, second = new_id(1), new_id(2)
    append(saver, first)
    version = append(saver, second)
    assert ids(load(saver)) == [first, second]
    script = """local id = redis.call('HKEYS', KEYS[1])[1]
        for _, key in ipairs({ KEYS[1], KEYS[2] }) do redis.call('HDEL', key, id) end
        redis.call('ZREM', KEYS[3], 'b' .. id) redis.call('ZREM', KEYS[4], 'b' .. id)
        redis.call('HSET', KEYS[1], 'f', ARGV[1]) redis.call('SET', KEYS[5], ARGV[1])"""
    keys = [f"hf:l{kind}:{APP}" for kind in "mfzxv"]
    new_cluster.redis.call("EVAL", script, "5", *keys, str(version + 1))
    assert len(load(saver)["messages"]) == 1


def test_apps_beyond_the_bound_are_read_again(new_cluster):
    saver = new_cluster.add("saver", broadcasts__apps="2")
    saver.wait_ready()
    numbers = {app: new_id(app) for app in range(1, 7)}
    for app, number in numbers.items():
        rpc.call(saver, "LogAppend", {"broadcast": broadcast(number, app=app)})
    for _ in range(3):
        for app, number in numbers.items():
            method, request = load_request()
            assert ids(rpc.call(saver, method, {**request, "app": app})) == [number]
    assert saver.metric("holdfast_saver_log_evictions_total") >= 10


def test_the_log_survives_the_loss_of_redis_and_versions_go_on(saver, new_cluster):
    """Who had acked is not known any more: better twice than never."""
    loadable, held, removed, recalled, stored = (new_id(n) for n in range(5))
    store(saver, stored)
    store(saver, recalled)
    for number in (loadable, held, removed):
        append(saver, number, audience={"platform": ["test"]})
    ack(saver, loadable)
    change(saver, held, HELD)
    change(saver, removed, REMOVED)
    before = recall(saver, recalled)
    wait_until(lambda: new_cluster.redis.call("ZCARD", "hf:lk") == ["0"])
    new_cluster.redis.kill()
    new_cluster.redis.empty()
    new_cluster.redis.start()
    saver.wait_ready(60)
    reply = attach(saver)
    assert ids(reply) == [loadable, stored]
    assert reply["log_version"] > before
    (span,) = read(saver, loadable)["spans"]
    assert 0 < span["from"] <= reply["log_version"] and span["until"] == 0
    change(saver, held, LOADABLE)
    assert ids(load(saver)) == [loadable, held, stored]
    change(saver, removed, LOADABLE)
    assert ids(load(saver)) == [loadable, held, stored], "what is removed stays so"


def test_a_log_and_the_acks_of_it_may_be_on_two_nodes(new_cluster, tmp_path):
    other = Redis(str(tmp_path / "redis-2"))
    other.start()
    try:
        saver = new_cluster.add("saver", redis__nodes=f"[unix:{new_cluster.redis.socket}, unix:{other.socket}]")
        saver.wait_ready()
        number = new_id()
        append(saver, number)
        names = [f"reg-{n}" for n in range(20)]
        for name in names[:10]:
            ack(saver, number, registration=name)
        found = [ids(reply) for _, reply in rpc.call_all(saver, [load_request(name) for name in names])]
        assert found == [[]] * 10 + [[number]] * 10
        wait_until(lambda: read(saver, number)["acked"] == 10)
        log, acks = ([redis for redis in (new_cluster.redis, other) if redis.call("KEYS", pattern) != [""]]
                     for pattern in (f"hf:lf:{APP}", f"hf:a:{APP}:*"))
        assert len(log) == 1 and len(acks) == 2

        log[0].kill()  # who may get what is not known: no load passes for complete
        wait_until(lambda: saver.metric("holdfast_saver_redis_up") == 1)
        answers = rpc.call_all(saver, [load_request(name) for name in names])
        assert {tuple(answer) for answer in answers} == {("UNAVAILABLE", "STORE_UNAVAILABLE")}
        log[0].start()
        wait_until(saver.ready)
        found = [ids(reply) for _, reply in rpc.call_all(saver, [load_request(name) for name in names])]
        assert found == [[]] * 10 + [[number]] * 10
    finally:
        other.stop()


def test_what_breaks_a_rule_is_refused(saver):
    for fields, reason in (({"message_id": 0}, "BAD_ID"), ({"frame": ""}, "BAD_FRAME"),
                           ({"frame": "x" * 66000}, "BAD_FRAME"), ({"class": TRANSIENT}, "BAD_CLASS"),
                           ({"audience": {"percentage": 101}}, "BAD_AUDIENCE"),
                           ({"delivery": {"collapse_key": "x" * 65}}, "BAD_DELIVERY")):
        request = {"broadcast": {**broadcast(new_id()), **fields}}
        assert rpc.call_all(saver, [("LogAppend", request)]) == [["INVALID", reason]], fields
    assert rpc.call_all(saver, [("LogAppend", {"app": APP})]) == [["INVALID", "BAD_ID"]]
