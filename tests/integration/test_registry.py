"""The registry: who attached at least once, and as whom; its lists, its users, its end."""

import json
import threading
import time

from harness import rpc, wire
from harness.api import text_message
from harness.stores import Redis
from harness.waiting import wait_until

APP = 7
HOUR = 3600000


def now_ms():
    return int(time.time() * 1000)


def login(saver, registration, **profile):
    """What a room asks for a session that has just attached; the reply."""
    profile = {"platform": "linux", "sdk_version": "1.0.0", **profile}
    return rpc.call(saver, "Load", {"app": APP, "registration": registration, "login": True,
                                    "max_count": 10, "max_bytes": 65536, "profile": profile})


def entries(saver, *registrations):
    reply = rpc.call(saver, "ReadRegistrations", {"app": APP, "registrations": list(registrations)})
    return [plain(entry["record"]) if entry["known"] else None for entry in reply["entries"]]


def plain(record):
    """A record with texts for bytes."""
    found = {name: rpc.text(record[name]) for name in ("user_id", "platform", "sdk_version", "bar_reason")}
    found["tags"] = [rpc.text(tag) for tag in record["tags"]]
    found.update({name: record[name] for name in ("first_seen_ms", "last_seen_ms", "barred_until_ms",
                                                  "revision")})
    return found


def record_of(saver, registration):
    (found,) = entries(saver, registration)
    return found


def change(saver, registration, **fields):
    (answer,) = rpc.call_all(saver, [("ChangeRegistration",
                                      {"app": APP, "registration": registration, **fields})])
    return answer


def users(saver, *user_ids):
    reply = rpc.call(saver, "ReadUsers", {"app": APP, "user_ids": list(user_ids)})
    return [[rpc.text(one) for one in user["registrations"]] for user in reply["users"]]


def listed(saver, **request):
    reply = rpc.call(saver, "ListRegistrations", {"app": APP, "limit": 1000, **request})
    return [rpc.text(one["registration"]) for one in reply["registrations"]]


def rows(cluster, where="1"):
    return int(cluster.mariadb.query(f"SELECT COUNT(*) FROM registrations WHERE {where}",
                                     cluster.database)[0])


def writes(saver):
    return saver.metric("holdfast_saver_operations_total", op="registry_write")


# Records


def test_a_login_makes_the_record_and_later_ones_change_what_they_say(saver):
    before = now_ms()
    first = plain(login(saver, "reg-1", user_id="ana", tags=["b", "a", "b"])["record"])
    assert (first["user_id"], first["tags"], first["platform"]) == ("ana", ["a", "b"], "linux")
    assert before <= first["first_seen_ms"] == first["last_seen_ms"] <= now_ms()
    again = plain(login(saver, "reg-1", platform="android", sdk_version="2.1")["record"])
    assert (again["user_id"], again["tags"]) == ("ana", ["a", "b"]), "nothing said: nothing changed"
    assert (again["platform"], again["sdk_version"]) == ("android", "2.1")
    assert again["first_seen_ms"] == first["first_seen_ms"] and again["revision"] > first["revision"]
    assert plain(login(saver, "reg-1", tags=["c"], platform="android",
                       sdk_version="2.1")["record"])["tags"] == ["c"]
    assert entries(saver, "nobody", "reg-1")[0] is None
    assert record_of(saver, "reg-1")["tags"] == ["c"]


def test_a_phone_says_who_it_is_and_the_store_knows(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"), platform="ios", sdk_version="3.2.1")
    wait_until(lambda: record_of(cluster.saver, "reg-1") is not None)
    found = record_of(cluster.saver, "reg-1")
    assert (found["platform"], found["sdk_version"]) == ("ios", "3.2.1")


def test_a_phone_that_attaches_again_says_what_is_new(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    wait_until(lambda: record_of(cluster.saver, "reg-1") is not None)

    def attach_again(**said):
        phone.send_bytes(wire.attach(wire.session(app.id, "reg-1", app.token("reg-1"), **said)))
        return phone.expect("attach_ack").code
    assert attach_again(user_id="ana", tags=["b", "a"]) == 0
    found = record_of(cluster.saver, "reg-1")
    assert (found["user_id"], found["tags"]) == ("ana", ["a", "b"])
    assert attach_again(tags=["a"]) == 0
    assert record_of(cluster.saver, "reg-1")["tags"] == ["a"]
    before = cluster.saver.metric("holdfast_saver_operations_total", op="registry_read")
    assert attach_again(user_id="ana", tags=["a"]) == attach_again() == 0
    assert cluster.saver.metric("holdfast_saver_operations_total", op="registry_read") == before
    cluster.saver.kill()
    assert attach_again(tags=["c"]) == 4100
    cluster.saver.restart()
    wait_until(lambda: attach_again(tags=["c"]) == 0)
    assert record_of(cluster.saver, "reg-1")["tags"] == ["c"]


def test_a_reconnect_writes_nothing(saver):
    login(saver, "reg-1", user_id="ana", tags=["a"])
    before = writes(saver)
    for _ in range(20):
        login(saver, "reg-1", user_id="ana", tags=["a"])
    wait_until(lambda: saver.metric("holdfast_saver_registry_rows_written_total") == 1)
    told = 1  # that the record is in MySQL
    wait_until(lambda: writes(saver) == before + told)
    login(saver, "reg-1", user_id="ana", tags=["a"])
    assert writes(saver) == before + told


def test_last_seen_moves_when_it_is_old(new_cluster):
    saver = new_cluster.add("saver", registry__seen_interval="1s")
    saver.wait_ready()
    first = plain(login(saver, "reg-1")["record"])
    assert plain(login(saver, "reg-1")["record"]) == first
    wait_until(lambda: now_ms() > first["last_seen_ms"] + 1000)
    second = plain(login(saver, "reg-1")["record"])
    assert second["last_seen_ms"] > first["last_seen_ms"]
    assert second["revision"] == first["revision"], "nothing else has changed"
    wait_until(lambda: rows(new_cluster, f"last_seen={second['last_seen_ms']}") == 1)


def test_changes_are_partial_and_bounded(saver):
    assert change(saver, "reg-1", set_user_id=True, user_id="ana")[1]["known"] is False
    login(saver, "reg-1", tags=["a", "b"])
    status, reply = change(saver, "reg-1", tags_add=["c", "a"], tags_remove=["b", "x"])
    assert status == "OK" and reply["known"] and reply["changed"]
    assert plain(reply["record"])["tags"] == ["a", "c"]
    assert change(saver, "reg-1", tags_add=["c"])[1]["changed"] is False
    until = now_ms() + HOUR
    change(saver, "reg-1", set_bar=True, barred_until_ms=until, bar_reason="spam")
    found = record_of(saver, "reg-1")
    assert (found["barred_until_ms"], found["bar_reason"], found["tags"]) == (until, "spam", ["a", "c"])
    change(saver, "reg-1", set_bar=True)
    assert record_of(saver, "reg-1")["bar_reason"] == ""
    change(saver, "reg-1", set_tags=True, tags_add=[f"t{n}" for n in range(100)])
    assert len(record_of(saver, "reg-1")["tags"]) == 100
    for fields in ({"tags_add": ["one more"]}, {"tags_add": [f"u{n}" for n in range(1000)]}):
        assert change(saver, "reg-1", **fields) == ["INVALID", "TOO_MANY_TAGS"]
    assert change(saver, "reg-1", tags_add=["x" * 41]) == ["INVALID", "BAD_TAG"]
    assert change(saver, "reg-1", set_user_id=True, user_id="u" * 129) == ["INVALID", "BAD_USER_ID"]
    assert len(record_of(saver, "reg-1")["tags"]) == 100


def test_an_answer_that_would_be_too_large_is_refused_by_name(saver):
    tags = [f"{n:04}" + "x" * 36 for n in range(100)]
    names = [f"reg-{n}" for n in range(900)]
    calls = [("Load", {"app": APP, "registration": name, "login": True, "max_count": 1,
                       "profile": {"tags": tags}}) for name in names]
    assert all(status == "OK" for status, _ in rpc.call_all(saver, calls))
    (answer,) = rpc.call_all(saver, [("ReadRegistrations", {"app": APP, "registrations": names})])
    assert answer == ["INVALID", "TOO_MANY_RESULTS"]
    assert None not in entries(saver, *names[:500])


def test_the_barred_get_their_record_and_no_messages(cluster, app):
    app.register("reg-1")
    assert app.send("x", "reg-1").status == 202
    change(cluster.saver, "reg-1", set_bar=True, barred_until_ms=now_ms() + HOUR, bar_reason="spam")
    reply = login(cluster.saver, "reg-1")
    assert reply["messages"] == [] and rpc.text(reply["record"]["bar_reason"]) == "spam"
    change(cluster.saver, "reg-1", set_bar=True)
    assert len(login(cluster.saver, "reg-1")["messages"]) == 1


def test_changes_of_one_registration_do_not_undo_each_other(saver):
    login(saver, "reg-1")
    calls = [("ChangeRegistration", {"app": APP, "registration": "reg-1", "tags_add": [f"t{n}"]})
             for n in range(40)]
    calls[20:20] = [("Load", {"app": APP, "registration": "reg-1", "login": True, "max_count": 1,
                              "profile": {"user_id": "ana", "platform": "ios"}})] * 5
    assert all(status == "OK" for status, _ in rpc.call_all(saver, calls))
    found = record_of(saver, "reg-1")
    assert found["tags"] == sorted(f"t{n}" for n in range(40))
    assert (found["user_id"], found["platform"]) == ("ana", "ios")


# Users


def test_users_name_their_registrations_as_they_are_now(new_cluster, saver):
    for n in range(3):
        login(saver, f"reg-{n}", user_id="ana")
    assert users(saver, "ana", "bob") == [["reg-0", "reg-1", "reg-2"], []]
    change(saver, "reg-1", set_user_id=True, user_id="bob")
    login(saver, "reg-2", user_id="bob")
    change(saver, "reg-0", set_user_id=True)
    assert users(saver, "ana", "bob") == [[], ["reg-1", "reg-2"]]
    # What a crash may leave behind: a set that names too many.
    new_cluster.redis.call("SADD", "hf:u:7:bob", "reg-0", "never-was")
    assert users(saver, "bob") == [["reg-1", "reg-2"]]
    wait_until(lambda: new_cluster.redis.call("SCARD", "hf:u:7:bob") == ["2"])


def test_a_user_has_at_most_256_registrations(new_cluster, saver):
    for n in range(256):
        login(saver, f"reg-{n}", user_id="ana")
    login(saver, "extra")
    assert change(saver, "extra", set_user_id=True, user_id="ana") == ["INVALID", "TOO_MANY_REGISTRATIONS"]
    assert record_of(saver, "extra")["user_id"] == ""
    login(saver, "extra", user_id="ana")
    assert record_of(saver, "extra")["user_id"] == "ana"
    assert saver.metric("holdfast_saver_registrations_unindexed_total") == 1
    (found,) = users(saver, "ana")
    assert len(found) == 256 and "extra" not in found


# Lists


def fill(saver, new_cluster, count):
    for n in range(count):
        login(saver, f"reg-{n:03}", user_id=f"user-{n % 3}", platform=("ios", "android")[n % 2],
              sdk_version=f"1.{n}", tags=[f"mod-{n % 4}", "all"])
    wait_until(lambda: rows(new_cluster) == count)


def test_lists_come_in_pages_and_by_filter(new_cluster, saver):
    fill(saver, new_cluster, 24)
    names = [f"reg-{n:03}" for n in range(24)]
    found, after = [], ""
    for _ in range(3):
        reply = rpc.call(saver, "ListRegistrations", {"app": APP, "limit": 10, "after": after})
        page = [rpc.text(one["registration"]) for one in reply["registrations"]]
        found, after = found + page, page[-1]
        assert reply["more"] == (len(found) < 24)
    assert found == names
    assert listed(saver, user_id="user-1") == names[1::3]
    assert listed(saver, platform="ios") == names[0::2]
    assert listed(saver, tag="mod-3") == names[3::4]
    assert listed(saver, tag="mod-3", user_id="user-0", after="reg-003") == ["reg-015"]
    assert listed(saver, tag="' OR 1=1 -- ") == []
    reply = rpc.call(saver, "ListRegistrations", {"app": APP, "limit": 1})
    assert plain(reply["registrations"][0]["record"])["tags"] == ["all", "mod-0"]
    for limit in (0, 1001):
        assert rpc.call_all(saver, [("ListRegistrations", {"app": APP, "limit": limit})]) == [
            ["INVALID", "BAD_LIMIT"]]


def test_tags_are_counted(new_cluster, saver):
    fill(saver, new_cluster, 9)
    reply = rpc.call(saver, "ListTags", {"app": APP, "prefix": "mod-", "limit": 2})
    assert [(rpc.text(one["tag"]), one["registrations"]) for one in reply["tags"]] == [
        ("mod-0", 3), ("mod-1", 2)]
    assert reply["more"]
    reply = rpc.call(saver, "ListTags", {"app": APP, "prefix": "mod-", "after": "mod-1", "limit": 1000})
    assert [rpc.text(one["tag"]) for one in reply["tags"]] == ["mod-2", "mod-3"] and not reply["more"]
    change(saver, "reg-000", set_tags=True, tags_add=["new"])

    def tags():
        reply = rpc.call(saver, "ListTags", {"app": APP, "limit": 1000})
        return {rpc.text(one["tag"]): one["registrations"] for one in reply["tags"]}
    wait_until(lambda: tags() == {"all": 8, "mod-0": 2, "mod-1": 2, "mod-2": 2, "mod-3": 2, "new": 1})


def test_an_audience_is_counted_by_all_that_it_says(new_cluster, saver):
    fill(saver, new_cluster, 24)

    def count(**audience):
        return rpc.call(saver, "CountRegistrations", {"app": APP, "audience": audience})["count"]
    assert count() == 24
    assert count(tag=["mod-0", "mod-1"]) == 12
    assert count(tag_and=["all", "mod-2"]) == 6
    assert count(tag=["all"], tag_not=["mod-0"], platform=["ios"]) == 6
    assert count(exclude=["reg-000", "reg-001", "nobody"]) == 22
    assert count(version_min="1.9", version_max="1.10") == 2
    assert count(version_min="1.10", tag=["mod-0"]) == 3
    half = count(percentage=50, percentage_seed="s")
    assert 0 < half < 24 and half == count(percentage=50, percentage_seed="s")
    assert rpc.call_all(saver, [("CountRegistrations", {"app": APP, "audience": {"percentage": 101}})]) == [
        ["INVALID", "BAD_AUDIENCE"]]


def test_the_report_counts_who_came_and_who_was_seen(new_cluster, saver):
    fill(saver, new_cluster, 5)
    start = now_ms() // HOUR * HOUR - HOUR
    reply = rpc.call(saver, "RegistrationReport", {"app": APP, "start_ms": start, "unit_ms": HOUR,
                                                   "count": 3})
    assert sum(reply["created"]) == sum(reply["last_seen"]) == 5
    assert reply["created"][0] == 0
    assert rpc.call_all(saver, [("RegistrationReport", {"app": APP, "start_ms": 0, "unit_ms": 5,
                                                        "count": 1})]) == [["INVALID", "BAD_RANGE"]]


def test_lists_fail_by_name_without_mysql_and_logins_go_on(fragile_cluster):
    saver = fragile_cluster.add("saver")
    saver.wait_ready()
    login(saver, "reg-1")
    wait_until(lambda: rows(fragile_cluster) == 1)
    fragile_cluster.mariadb.kill()
    assert rpc.call_all(saver, [("ListRegistrations", {"app": APP, "limit": 5})]) == [
        ["UNAVAILABLE", "DATABASE_UNAVAILABLE"]]
    login(saver, "reg-2", user_id="ana")
    assert users(saver, "ana") == [["reg-2"]]
    fragile_cluster.mariadb.start()
    wait_until(lambda: rows(fragile_cluster) == 2, 60)
    wait_until(lambda: fragile_cluster.redis.call("SCARD", "hf:d") == ["0"])


# What survives


def test_the_registry_survives_an_emptied_redis(fragile_cluster):
    cluster = fragile_cluster
    app = cluster.add_app(APP)
    cluster.start()
    app.register("reg-1", user_id="ana", tags=["a", "b"])
    app.register("reg-2", user_id="ana")
    wait_until(lambda: rows(cluster) == 2)
    first = record_of(cluster.saver, "reg-1")
    cluster.redis.kill()
    cluster.redis.empty()
    cluster.redis.start()
    cluster.saver.wait_ready(60)
    assert record_of(cluster.saver, "reg-1") == first
    assert users(cluster.saver, "ana") == [["reg-1", "reg-2"]]
    assert cluster.saver.metric("holdfast_saver_refilled_registrations_total", **{"from": "database"}) == 2


def test_what_mysql_had_not_yet_comes_from_memory(new_cluster):
    cluster = new_cluster
    saver = cluster.add("saver", database__delay="60s")
    saver.wait_ready()
    login(saver, "reg-1", user_id="ana", tags=["a"])
    cluster.redis.kill()
    cluster.redis.empty()
    cluster.redis.start()
    saver.wait_ready(60)
    assert record_of(saver, "reg-1")["tags"] == ["a"] and users(saver, "ana") == [["reg-1"]]
    assert rows(cluster) == 0


def test_a_saver_killed_among_logins_leaves_nothing_half_done(new_cluster):
    """Kill -9, again and again: every login that was answered is in Redis, and all of it reaches MySQL."""
    cluster = new_cluster
    saver = cluster.add("saver", database__delay="300ms")
    saver.wait_ready()
    answered, unanswered = set(), 0
    for turn in range(3):
        calls = [("Load", {"app": APP, "registration": f"reg-{turn}-{n}", "login": True, "max_count": 1,
                           "profile": {"user_id": f"user-{n % 30}", "tags": [f"turn-{turn}"]}})
                 for n in range(1500)]
        results = []
        thread = threading.Thread(target=lambda: results.extend(rpc.call_all(saver, calls)))
        before = int(cluster.redis.call("DBSIZE")[0])
        thread.start()
        wait_until(lambda: int(cluster.redis.call("DBSIZE")[0]) > before + 50)
        saver.kill()
        thread.join()
        unanswered += sum(status != "OK" for status, _ in results)
        answered |= {call[1]["registration"] for call, (status, _) in zip(calls, results) if status == "OK"}
        saver.restart()
    assert unanswered > 0, "it was never killed among them"
    known = {key.rsplit(":", 1)[1] for key in cluster.redis.call("--scan", "--pattern", "hf:r:*")}
    assert answered <= known
    wait_until(lambda: rows(cluster) == len(known), 30, "MySQL has all that Redis has")
    wait_until(lambda: cluster.redis.call("SCARD", "hf:d") == ["0"])
    reply = rpc.call(saver, "ListTags", {"app": APP, "limit": 10})
    assert sum(one["registrations"] for one in reply["tags"]) == len(known)
    assert {name for user in users(saver, *(f"user-{n}" for n in range(30))) for name in user} == known


def test_users_and_records_on_two_nodes_come_back_each_by_itself(new_cluster, tmp_path):
    """A user's set lies on the node of the user's slot, wherever his registrations are."""
    cluster = new_cluster
    other = Redis(str(tmp_path / "redis-2"))
    other.start()
    try:
        saver = cluster.add("saver", redis__nodes=f"[unix:{cluster.redis.socket}, unix:{other.socket}]")
        saver.wait_ready()
        names = [f"reg-{n}" for n in range(40)]
        for n, name in enumerate(names):
            login(saver, name, user_id=f"user-{n % 8}")
        everybody = [f"user-{n}" for n in range(8)]
        wanted = [sorted(names[n::8]) for n in range(8)]
        assert users(saver, *everybody) == wanted
        assert 0 < len(other.call("--scan", "--pattern", "hf:r:*")) < 40
        assert 0 < len(other.call("--scan", "--pattern", "hf:u:*")) < 8
        wait_until(lambda: rows(cluster) == 40)
        other.kill()
        assert rpc.call_all(saver, [("ReadUsers", {"app": APP, "user_ids": everybody})])[0][0] == "UNAVAILABLE"
        other.empty()
        other.start()
        saver.wait_ready(60)
        assert users(saver, *everybody) == wanted
        assert None not in entries(saver, *names)
    finally:
        other.stop()


def test_an_older_record_that_comes_late_does_not_win_in_mysql(new_cluster, saver):
    """As from a saver that was paused while another took its slots over."""
    login(saver, "reg-1", user_id="ana")
    wait_until(lambda: rows(new_cluster) == 1)
    new_cluster.mariadb.query("UPDATE registrations SET revision=99, user_id='newer'", new_cluster.database)
    change(saver, "reg-1", tags_add=["late"])
    wait_until(lambda: saver.metric("holdfast_saver_registry_rows_written_total") == 2)
    assert rows(new_cluster, "revision=99 AND user_id='newer'") == 1


def test_a_full_redis_keeps_nobody_from_what_he_is_owed(cluster, app):
    app.register("reg-1")
    assert app.send("owed", "reg-1").status == 202
    cluster.redis.call("CONFIG", "SET", "maxmemory", "1")
    reply = login(cluster.saver, "reg-1", platform="android")
    assert len(reply["messages"]) == 1 and rpc.text(reply["record"]["platform"]) == "linux"
    (answer,) = rpc.call_all(cluster.saver, [("Load", {"app": APP, "registration": "new", "login": True,
                                                       "max_count": 1, "profile": {}})])
    assert answer == ["UNAVAILABLE", "STORE_FULL"]
    assert change(cluster.saver, "reg-1", tags_add=["x"]) == ["UNAVAILABLE", "STORE_FULL"]
    cluster.redis.call("CONFIG", "SET", "maxmemory", "0")
    assert rpc.text(login(cluster.saver, "reg-1", platform="android")["record"]["platform"]) == "android"


def test_forgetting_leaves_nothing_behind(cluster, app):
    saver = cluster.saver
    app.register("reg-1", user_id="ana", tags=["a"])
    app.register("reg-2", user_id="ana")
    for n in range(3):
        assert app.send(n, "reg-1", collapse_key=f"key-{n}").status == 202
    assert cluster.redis.call("EXISTS", "hf:k:7:reg-1") == ["1"]
    wait_until(lambda: rows(cluster) == 2)
    assert rpc.call(saver, "ForgetRegistration", {"app": APP, "registration": "reg-1"})["known"]
    assert entries(saver, "reg-1", "reg-2")[0] is None
    assert users(saver, "ana") == [["reg-2"]]
    assert cluster.redis.call("EXISTS", "hf:q:7:reg-1", "hf:r:7:reg-1", "hf:k:7:reg-1") == ["0"]
    assert rpc.call(saver, "ForgetRegistration", {"app": APP, "registration": "reg-1"})["known"] is False
    wait_until(lambda: listed(saver) == ["reg-2"])
    assert cluster.mariadb.query("SELECT COUNT(*) FROM registration_tags", cluster.database) == ["0"]
    first = record_of(saver, "reg-2")
    app.register("reg-1")
    again = record_of(saver, "reg-1")
    assert again["tags"] == [] and again["first_seen_ms"] > first["first_seen_ms"]
    wait_until(lambda: listed(saver) == ["reg-1", "reg-2"])


def test_a_new_life_replaces_the_old_one_in_mysql(new_cluster, saver):
    """Forgotten, and back with fewer changes than before: what MySQL had does not win."""
    login(saver, "reg-1", user_id="ana")
    for n in range(5):
        change(saver, "reg-1", tags_add=[f"t{n}"])
    wait_until(lambda: rows(new_cluster, "revision=6") == 1)
    rpc.call(saver, "ForgetRegistration", {"app": APP, "registration": "reg-1"})
    login(saver, "reg-1", user_id="bob")
    wait_until(lambda: rows(new_cluster, "user_id='bob' AND revision=1") == 1)
    wait_until(lambda: rpc.call(saver, "ListTags", {"app": APP, "limit": 5})["tags"] == [])


# Sending to who never attached


def test_a_message_for_nobody_is_404_and_stored_nowhere(cluster, app):
    answer = app.send("x", "never-was")
    assert (answer.status, answer.reason) == (404, "UNREGISTERED")
    answer = app.send("x", ["never-was", "nor-this"], durable=True)
    assert (answer.status, answer.reason) == (404, "UNREGISTERED")
    assert cluster.redis.call("EXISTS", "hf:q:7:never-was", "hf:q:7:nor-this") == ["0"]
    stats = rpc.call(cluster.saver, "SaverStats", {})
    assert stats["stored"] == stats["awaiting_write"] == 0
    assert cluster.mariadb.query("SELECT COUNT(*) FROM messages", cluster.database) == ["0"]
    assert app.send("x", "never-was", qos=0).status == 202, "a transient one looks for who is connected"


def test_those_who_exist_get_it_and_the_others_are_named(cluster, app):
    app.register("reg-1", "reg-2")
    answer = app.send("x", ["gone-1", "reg-1", "gone-2", "reg-2"])
    assert answer.status == 202
    assert answer.json["targets"] == {"kind": "multicast", "requested": 4, "resolved": 2, "accepted": 2}
    assert answer.json["unregistered"] == ["gone-1", "gone-2"]
    assert [cluster.redis.queue_length(APP, name) for name in ("reg-1", "reg-2")] == [1, 1]
    assert "unregistered" not in app.send("x", "reg-1").json


def test_each_message_of_a_batch_or_stream_has_its_own_answer(cluster, app):
    app.register("reg-1")
    messages = [text_message(n, [name]) for n, name in enumerate(["reg-1", "gone", "reg-1"])]
    results = app.call("POST", "messages/batch", {"messages": messages}).json["results"]
    lines = "\n".join(json.dumps(one) for one in messages).encode()
    streamed = app.call("POST", "messages/stream", lines, headers={"Content-Type": "application/x-ndjson"})
    for found in (results, [json.loads(line) for line in streamed.body.splitlines()]):
        assert [one["error"]["reason"] if "error" in one else "ok" for one in found] == [
            "ok", "UNREGISTERED", "ok"]


def test_an_idempotency_key_is_free_again_when_nobody_was_there(cluster, app):
    answer = app.send("x", "reg-1", headers={"Idempotency-Key": "k-1"})
    assert answer.status == 404
    app.register("reg-1")
    assert app.send("x", "reg-1", headers={"Idempotency-Key": "k-1"}).status == 202


def test_who_is_attaching_is_not_refused(new_cluster):
    """Attached, and the store hears of it late: a send waits for that rather than call him unknown."""
    app = new_cluster.add_app(APP)
    new_cluster.start()
    new_cluster.saver.pause()
    phone = new_cluster.phone()
    phone.login((app, "reg-1"))
    answers = []
    thread = threading.Thread(target=lambda: answers.append(app.send("x", "reg-1")))
    thread.start()
    new_cluster.saver.resume()
    thread.join()
    assert answers[0].status == 202
    assert phone.next_push().payload == b'"x"'


def test_the_usual_send_asks_redis_nothing(cluster, app):
    app.register("reg-1")
    before = cluster.saver.metric("holdfast_saver_operations_total", op="registry_read")
    for n in range(10):
        assert app.send(n, "reg-1").status == 202
    assert cluster.saver.metric("holdfast_saver_operations_total", op="registry_read") == before
    assert cluster.saver.metric("holdfast_saver_known_total", result="hit") == 10


def test_the_forgotten_are_refused_at_once_by_whoever_has_the_slot(new_cluster):
    app = new_cluster.add_app(APP)
    new_cluster.start(saver=2)
    names = [f"reg-{n}" for n in range(20)]
    app.register(*names)
    assert app.send("x", names).json["targets"]["accepted"] == 20
    for name in names[:10]:
        assert app.call("DELETE", f"registrations/{name}", role="admin").status == 200
    answer = app.send("x", names)
    assert sorted(answer.json["unregistered"]) == sorted(names[:10])
    new_cluster.savers[1].kill()
    wait_until(lambda: app.send("x", names).json.get("targets", {}).get("accepted") == 10)
    assert sorted(app.send("x", names).json["unregistered"]) == sorted(names[:10])


def test_who_came_back_after_redis_was_emptied_is_still_known(fragile_cluster):
    cluster = fragile_cluster
    app = cluster.add_app(APP)
    cluster.start()
    app.register("reg-1")
    wait_until(lambda: rows(cluster) == 1)
    cluster.redis.call("FLUSHALL")
    wait_until(lambda: cluster.saver.log_has("redis_changed"), 20)
    cluster.saver.wait_ready(60)
    assert app.send("x", "reg-1").status == 202
    assert app.send("x", "never-was").status == 404
