"""Jobs in the store: who may run one, what survives, what an owner may change."""

import time

from harness import rpc
from harness.stores import Redis
from harness.waiting import wait_until

SCHEDULED, RUNNING, PAUSED, CANCELLED, DONE, FAILED = range(6)
APP = 7


def now_ms():
    return int(time.time() * 1000)


def job(number, **fields):
    return {"id": number, "app": APP, "state": SCHEDULED, "due_ms": now_ms(), "created_ms": now_ms(),
            "spec": {"hex": "00ff0a0d"}, "label": "news", **fields}


def put(saver, number, running_max=0, **fields):
    (answer,) = rpc.call_all(saver, [("PutJob", {"job": job(number, **fields), "running_max": running_max})])
    return answer


def read(saver, number):
    reply = rpc.call(saver, "ReadJob", {"app": APP, "id": number})
    return reply["job"] if reply["known"] else None


def change(saver, number, state):
    return rpc.call(saver, "ChangeJob", {"app": APP, "id": number, "set_state": True, "state": state})


def lease(saver, owner, lease_ms=60000, most=10):
    reply = rpc.call(saver, "LeaseJobs", {"owner": owner, "lease_ms": lease_ms, "max": most})
    return [found["id"] for found in reply["jobs"]]


def renew(saver, owner, number, lease_ms=60000, finish=False, **fields):
    return rpc.call(saver, "RenewJob", {"owner": owner, "lease_ms": lease_ms, "finish": finish,
                                        "job": {"id": number, "app": APP, **fields}})


def test_a_job_goes_from_put_to_done_and_tells_its_story(saver):
    assert put(saver, 11, rate_per_second=50)[0] == "OK"
    assert lease(saver, owner=1) == [11]
    reply = renew(saver, 1, 11, started_ms=5, progress={"targets": 3, "written": 2, "rooms": [
        {"room": 1, "incarnation": 2 ** 62 + 1, "written": 2}]})
    assert reply["held"] and reply["job"]["state"] == RUNNING and reply["job"]["rate_per_second"] == 50
    assert renew(saver, 1, 11, finish=True, state=DONE, finished_ms=9, progress={"written": 3})["held"]
    found = read(saver, 11)
    assert (found["state"], found["started_ms"], found["finished_ms"]) == (DONE, 5, 9)
    assert found["progress"]["written"] == 3 and found["spec"] == {"hex": "00ff0a0d"}
    assert rpc.text(found["label"]) == "news"
    assert found["keep_until_ms"] > now_ms(), "it is kept for a while when nothing is said"
    assert lease(saver, owner=1) == []
    assert not renew(saver, 1, 11)["held"]


def test_putting_a_job_again_changes_nothing(saver):
    put(saver, 11)
    change(saver, 11, CANCELLED)
    assert put(saver, 11, label="other")[0] == "OK"
    found = read(saver, 11)
    assert found["state"] == CANCELLED and rpc.text(found["label"]) == "news"


def test_an_unknown_job_is_said_to_be_unknown(saver):
    assert read(saver, 99) is None
    assert not change(saver, 99, PAUSED)["known"]
    assert not renew(saver, 1, 99)["held"]


def test_a_job_is_leased_when_it_is_due_and_not_before(saver):
    due = now_ms() + 1500
    put(saver, 11, due_ms=due)
    assert lease(saver, owner=1) == []
    wait_until(lambda: lease(saver, owner=1) == [11])
    assert now_ms() >= due


def test_two_centers_that_ask_two_savers_at_once_never_get_one_job_both(new_cluster):
    savers = [new_cluster.add("saver"), new_cluster.add("saver")]
    for saver in savers:
        saver.wait_ready()
    count = 300
    answers = rpc.call_all(savers[0], [("PutJob", {"job": job(n)}) for n in range(1, count + 1)])
    assert all(answer[0] == "OK" for answer in answers)
    given = []
    while True:
        round_ = []
        for owner in range(1, 9):  # each asks for some, many at once, at both
            calls = [("LeaseJobs", {"owner": owner, "lease_ms": 60000, "max": 3})] * 5
            for _, reply in rpc.call_all(savers[owner % 2], calls):
                round_ += [found["id"] for found in reply["jobs"]]
        given += round_
        if not round_:
            break
    assert sorted(given) == list(range(1, count + 1))


def test_the_job_of_a_dead_center_goes_to_another_and_the_dead_one_hears_so(saver):
    put(saver, 11)
    assert lease(saver, owner=1, lease_ms=1000) == [11]
    assert lease(saver, owner=2) == []
    wait_until(lambda: lease(saver, owner=2) == [11])
    assert not renew(saver, 1, 11)["held"], "it was only paused, and must stop"
    assert renew(saver, 2, 11)["held"]


def test_a_lease_that_is_renewed_does_not_lapse(saver):
    put(saver, 11)
    assert lease(saver, owner=1, lease_ms=1000) == [11]
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert renew(saver, 1, 11, lease_ms=1000)["held"]
        assert lease(saver, owner=2) == []


def test_a_paused_job_rests_with_its_center_or_with_nobody(saver):
    put(saver, 11)
    assert lease(saver, owner=1, lease_ms=1000) == [11]
    before = read(saver, 11)["revision"]
    reply = change(saver, 11, PAUSED)
    assert reply["allowed"] and reply["job"]["state"] == PAUSED and reply["job"]["revision"] == before + 1
    assert renew(saver, 1, 11, lease_ms=1000)["job"]["state"] == PAUSED, "its center hears of it"
    time_over = time.monotonic() + 1.5
    while time.monotonic() < time_over:
        assert lease(saver, owner=2) == [], "nobody else is offered it"
    assert change(saver, 11, RUNNING)["allowed"]
    wait_until(lambda: lease(saver, owner=2) == [11], what="resumed without a center: any may have it")


def test_a_job_paused_before_it_is_due_is_scheduled_again_when_resumed(saver):
    put(saver, 11, due_ms=now_ms() + 600000)
    assert change(saver, 11, PAUSED)["job"]["state"] == PAUSED
    assert change(saver, 11, RUNNING)["job"]["state"] == SCHEDULED
    put(saver, 12, due_ms=now_ms() + 300)
    change(saver, 12, PAUSED)
    wait_until(lambda: now_ms() > read(saver, 12)["due_ms"])
    assert lease(saver, owner=1) == []
    assert change(saver, 12, RUNNING)["job"]["state"] == RUNNING
    assert lease(saver, owner=1) == [12]


def test_a_cancelled_job_is_final_but_its_center_may_say_how_far_it_came(saver):
    put(saver, 11)
    lease(saver, owner=1)
    assert change(saver, 11, CANCELLED)["allowed"]
    reply = renew(saver, 1, 11, progress={"written": 5})
    assert not reply["held"] and reply["job"]["state"] == CANCELLED
    assert read(saver, 11)["progress"]["written"] == 5
    assert not renew(saver, 1, 11, finish=True, state=DONE)["held"]
    assert read(saver, 11)["state"] == CANCELLED
    for state in (RUNNING, PAUSED):
        reply = change(saver, 11, state)
        assert reply["known"] and not reply["allowed"]
    reply = rpc.call(saver, "ChangeJob", {"app": APP, "id": 11, "set_pace": True, "rate_per_second": 1})
    assert not reply["allowed"]


def test_the_pace_changes_while_it_runs(saver):
    put(saver, 11)
    lease(saver, owner=1)
    before = read(saver, 11)["revision"]
    reply = rpc.call(saver, "ChangeJob", {"app": APP, "id": 11, "set_pace": True, "duration_ms": 60000})
    assert reply["allowed"] and reply["job"]["duration_ms"] == 60000
    assert renew(saver, 1, 11)["job"]["revision"] == before + 1


def test_so_many_broadcasts_run_at_once_and_later_ones_do_not_count(saver):
    later = now_ms() + 600000
    assert put(saver, 11, running_max=2, due_ms=later)[0] == "OK"
    assert put(saver, 12, running_max=2)[0] == "OK"
    assert put(saver, 13, running_max=2)[0] == "OK"
    assert put(saver, 14, running_max=2) == ["OVERLOADED", "BROADCAST_CONCURRENCY"]
    assert put(saver, 15, running_max=2, due_ms=later)[0] == "OK"
    assert put(saver, 16, kind=1)[0] == "OK", "a scheduled send is no broadcast"
    change(saver, 12, CANCELLED)
    assert put(saver, 14, running_max=2)[0] == "OK"


def test_lists_go_from_the_newest_and_have_no_spec(saver):
    for number in (5, 300, 11, 2 ** 62 + 5, 7):
        put(saver, number)
    put(saver, 1000, app=APP + 1)
    reply = rpc.call(saver, "ListJobs", {"app": APP, "limit": 3})
    assert [found["id"] for found in reply["jobs"]] == [2 ** 62 + 5, 300, 11] and reply["more"]
    assert all(found["spec"] == {"hex": ""} for found in reply["jobs"])
    reply = rpc.call(saver, "ListJobs", {"app": APP, "limit": 3, "after": 11})
    assert [found["id"] for found in reply["jobs"]] == [7, 5] and not reply["more"]


def test_a_final_job_is_forgotten_at_its_time(saver):
    put(saver, 11, keep_until_ms=now_ms() + 1000)
    put(saver, 12)
    change(saver, 11, CANCELLED)
    wait_until(lambda: read(saver, 11) is None)
    reply = rpc.call(saver, "ListJobs", {"app": APP, "limit": 10})
    assert [found["id"] for found in reply["jobs"]] == [12]


def test_what_breaks_a_rule_is_refused(saver):
    assert put(saver, 0) == ["INVALID", "BAD_ID"]
    assert put(saver, 1, state=DONE) == ["INVALID", "BAD_STATE"]
    assert put(saver, 1, kind=7) == ["INVALID", "BAD_KIND"]
    assert put(saver, 1, spec="x" * (256 * 1024 + 1)) == ["INVALID", "SPEC_TOO_LONG"]
    assert put(saver, 1, label="x" * 51) == ["INVALID", "LABEL_TOO_LONG"]
    (answer,) = rpc.call_all(saver, [("LeaseJobs", {"max": 1})])
    assert answer == ["INVALID", "BAD_OWNER"]
    (answer,) = rpc.call_all(saver, [("RenewJob", {"owner": 1, "finish": True,
                                                   "job": {"id": 1, "app": APP, "state": RUNNING}})])
    assert answer == ["INVALID", "BAD_STATE"]


def test_schedules_and_leases_survive_a_kill_of_saver_and_redis(saver, new_cluster):
    due = now_ms() + 2000
    put(saver, 11, due_ms=due)
    put(saver, 12)
    assert lease(saver, owner=1) == [12]
    saver.kill()
    new_cluster.redis.kill()
    new_cluster.redis.start()
    saver.restart()
    assert lease(saver, owner=2) == [] or now_ms() >= due
    wait_until(lambda: 11 in lease(saver, owner=2) or read(saver, 11)["state"] == RUNNING)
    assert renew(saver, 1, 12)["held"]


def written(cluster):
    """Everything that changed is in MySQL."""
    wait_until(lambda: cluster.redis.call("ZCARD", "hf:lk") == ["0"], what="changes are written to MySQL")


def lose_redis(cluster):
    cluster.redis.kill()
    cluster.redis.empty()
    cluster.redis.start()
    cluster.saver.wait_ready(60)


def test_jobs_survive_the_loss_of_redis(saver, new_cluster):
    later = now_ms() + 600000
    put(saver, 11, due_ms=later, spec="x" * 200000, rate_per_second=7)
    put(saver, 12)
    put(saver, 13)
    put(saver, 14)
    assert lease(saver, owner=1) == [12, 13, 14]
    assert renew(saver, 1, 12, finish=True, state=DONE, started_ms=5, progress={"written": 3})["held"]
    change(saver, 13, PAUSED)
    written(new_cluster)
    before = {number: read(saver, number) for number in (11, 12, 13)}
    lose_redis(new_cluster)
    for number, found in before.items():
        assert read(saver, number) == found
    assert lease(saver, owner=2) == [14], "what ran is offered, what rests or is over is not"
    assert change(saver, 13, RUNNING)["allowed"]
    assert lease(saver, owner=2) == [13]
    reply = rpc.call(saver, "ListJobs", {"app": APP, "limit": 10})
    assert [found["id"] for found in reply["jobs"]] == [14, 13, 12, 11]
    assert put(saver, 15, running_max=2) == ["OVERLOADED", "BROADCAST_CONCURRENCY"]


def test_a_change_that_mysql_does_not_have_yet_is_not_forgotten(fragile_cluster):
    """MySQL is away while a job changes, and the saver is killed: the note of it lies in Redis."""
    saver = fragile_cluster.add("saver")
    saver.wait_ready()
    put(saver, 11)
    written(fragile_cluster)
    fragile_cluster.mariadb.kill()
    assert change(saver, 11, CANCELLED)["allowed"]
    saver.kill()
    fragile_cluster.mariadb.start()
    saver.restart()
    written(fragile_cluster)
    lose_redis(fragile_cluster)
    assert read(saver, 11)["state"] == CANCELLED


def test_one_redis_of_two_away_keeps_its_jobs_and_nobody_elses(new_cluster, tmp_path):
    other = Redis(str(tmp_path / "redis-2"))
    other.start()
    try:
        saver = new_cluster.add("saver", redis__nodes=f"[unix:{new_cluster.redis.socket}, unix:{other.socket}]")
        saver.wait_ready()
        apps = range(1, 21)
        answers = rpc.call_all(saver, [("PutJob", {"job": job(n, app=n)}) for n in apps])
        assert all(answer[0] == "OK" for answer in answers)
        there = [n for n in apps if other.call("EXISTS", f"hf:ja:{n}") == ["1"]]
        assert 0 < len(there) < len(apps)
        other.kill()
        wait_until(lambda: saver.metric("holdfast_saver_redis_up") == 1)
        assert sorted(lease(saver, owner=1, most=64)) == sorted(set(apps) - set(there))
        other.start()
        wait_until(lambda: saver.ready())
        assert sorted(lease(saver, owner=1, most=64)) == there
    finally:
        other.stop()
