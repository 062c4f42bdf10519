"""Broadcasts: who gets one, how fast, what stops it, and what survives whom."""

import collections
import json
import time

import pytest

from harness import rpc, wire
from harness.fleet import Fleet
from harness.waiting import wait_until

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def number(text):
    """A message id as the wire has it."""
    value = 0
    for letter in text:
        value = value * 32 + ALPHABET.index(letter)
    return value


@pytest.fixture
def crowd_of(new_cluster):
    """Makes crowds that are closed before the cluster stops."""
    crowds = []

    def make(app, count, prefix="crowd", tags=lambda n: (), platform=lambda n: "linux", acks=True):
        def login(n):
            name = f"{prefix}-{n}"
            one = wire.session(app.id, name, app.token(name), tags=tags(n))
            return name, wire.login(f"device-{name}", [one], platform=platform(n))

        crowd = Fleet(new_cluster.live_rooms, count, login, acks)
        crowds.append(crowd)
        return crowd

    yield make
    for crowd in crowds:
        crowd.close()


def broadcast(app, audience="all", center=0, data="to many", qos=None, platform=None, **options):
    body = {"audience": audience, "message": {"data": data}}
    if qos is not None:
        body["message"]["qos"] = qos
    if platform is not None:
        body["platform"] = platform
    if options:
        body["options"] = options
    return app.call("POST", "messages", body, center=center)


def accepted(answer):
    assert answer.status == 202, answer
    return answer.json["message_id"]


def state(app, message, center=0):
    answer = app.call("GET", f"messages/{message}", role="viewer", center=center)
    assert answer.status == 200, answer
    return answer.json


def wait_state(app, message, wanted, timeout=60, center=0):
    return wait_until(lambda: next((one for one in [state(app, message, center)]
                                    if one["state"] == wanted), None), timeout,
                      lambda: f"not {wanted}: {state(app, message, center)}")


def assert_once(crowd, message, members=None):
    for one in crowd.members if members is None else members:
        assert one.frames[message] == 1, f"{one.registration}: {one.frames[message]}"


def test_a_broadcast_reaches_who_is_there_and_who_comes_later(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start(room=2)
    crowd = crowd_of(app, 60)
    here, away = crowd.members[:40], crowd.members[40:]
    crowd.open()  # all are known from now on
    text = accepted(broadcast(app))
    crowd.wait_for(number(text))
    done = wait_state(app, text, "sent")
    assert done["counters"]["targets"] == done["counters"]["written"] + done["counters"]["deferred"] == 60
    assert done["finished_at"] and done["started_at"] and done["kind"] == "broadcast"
    assert done["progress"] == {"rooms": 2, "rooms_done": 2}
    wait_until(lambda: state(app, text)["counters"]["acked"] == 60, 20, "every ack is counted")
    assert_once(crowd, number(text))
    listed = app.call("GET", "broadcasts", role="viewer").json["broadcasts"]
    assert [one["message_id"] for one in listed] == [text]
    assert here and away


def test_who_is_offline_gets_it_at_login_and_only_once(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start()
    app.registered("late").close()
    text = accepted(broadcast(app))
    wait_state(app, text, "sent")
    again = new_cluster.phone(device="late")
    again.login((app, "late"))
    push = again.next_push()
    assert push.id == number(text)
    again.ack(push)
    wait_until(lambda: state(app, text)["counters"]["acked"] == 1, 20, "its ack is counted")
    again.close()
    third = new_cluster.phone(device="late")
    third.login((app, "late"))
    assert third.quiet()


def test_tags_platform_and_exclusions_decide_who_gets_it(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start()
    crowd = crowd_of(app, 40, tags=lambda n: ("even" if n % 2 == 0 else "odd", "vip" if n < 20 else "rest"),
                     platform=lambda n: "android" if n % 4 == 0 else "ios")
    crowd.open()
    text = accepted(broadcast(app, {"tag": ["even", "nobody"], "tag_and": ["vip"]}, platform=["android"],
                              exclude_registration_id=["crowd-8"]))
    wanted = [one for one in crowd.members if one.number % 4 == 0 and one.number < 20 and one.number != 8]
    wait_state(app, text, "sent")
    crowd.wait_for(number(text), wanted)
    assert_once(crowd, number(text), wanted)
    assert crowd.having(number(text)) == len(wanted) == 4


def test_everybody_has_it_once_though_a_center_and_a_room_die(new_cluster, crowd_of):
    """2,000 clients in 4 rooms; the center that runs it is killed half-way, and a room is killed and comes back."""
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(room=4, center=2)
    crowd = crowd_of(app, 2000)
    crowd.open(timeout=240)
    text = accepted(broadcast(app, pace={"rate_per_second": 200}))
    message = number(text)
    wait_until(lambda: crowd.having(message) >= 600, 60, "the broadcast is on its way")
    runner = next(one for one in cluster.processes["center"]
                  if one.metric("holdfast_center_jobs_running") > 0)
    runner.kill()
    wait_until(lambda: crowd.having(message) >= 1000, 60, "half of them have it")
    victim = cluster.processes["room"][1]
    lost = {one.number for one in crowd.members if one.number % 4 == 1}
    victim.kill()
    victim.restart()
    crowd.wait_for(message, timeout=120)
    other = next(n for n, one in enumerate(cluster.processes["center"]) if one is not runner)
    wait_state(app, text, "sent", 60, center=other)
    # Whose room died before its ack was stored is given it again, under the same id.
    for one in crowd.members:
        assert one.frames[message] == 1 or (one.logins > 0 and one.frames[message] <= 2), one.frames
    assert all(one.frames[message] == 1 for one in crowd.members if one.logins == 0) and lost


def test_what_was_accepted_is_carried_out_though_its_center_dies_at_once(new_cluster, crowd_of):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(center=2)
    crowd = crowd_of(app, 20)
    crowd.open()
    text = accepted(broadcast(app, pace={"rate_per_second": 5}))
    killed = time.monotonic()
    for process in cluster.processes["center"]:
        process.kill()  # whoever has the lease
    cluster.processes["center"][1].restart()
    crowd.wait_for(number(text), timeout=60)
    assert wait_state(app, text, "sent", center=1)["counters"]["targets"] == 20
    assert_once(crowd, number(text))
    assert time.monotonic() - killed < 30


def test_a_pace_is_even_to_within_a_tenth_each_second(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start(room=2)
    crowd = crowd_of(app, 600)
    crowd.open()
    text = accepted(broadcast(app, pace={"rate_per_second": 100}))
    crowd.wait_for(number(text), timeout=60)
    times = crowd.times(number(text))
    seconds = collections.Counter(int(one - times[0]) for one in times)
    assert 5.3 < times[-1] - times[0] < 7, seconds
    for second in range(int(times[-1] - times[0])):
        assert 90 <= seconds[second] <= 110, seconds


def test_a_duration_spreads_it_evenly(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start(room=2)
    crowd = crowd_of(app, 200)
    crowd.open()
    text = accepted(broadcast(app, pace={"duration": "5s"}))
    crowd.wait_for(number(text), timeout=60)
    times = crowd.times(number(text))
    assert 4.2 < times[-1] - times[0] < 6.5
    assert state(app, text)["counters"]["targets"] == 200


def test_pause_stops_it_within_a_second_and_resume_ends_it(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start(room=2)
    crowd = crowd_of(app, 300)
    late = crowd.members[280:]
    crowd.open(crowd.members[:280])
    text = accepted(broadcast(app, pace={"rate_per_second": 60}))
    message = number(text)
    wait_until(lambda: crowd.having(message) >= 60, 30, "it is on its way")
    answer = app.call("POST", f"messages/{text}/pause")
    assert answer.status in (200, 202) and answer.json["state"] == "paused", answer
    answered = time.monotonic()
    crowd.open(late)  # they come while it rests
    wait_until(lambda: time.monotonic() > answered + 2.5, 5)
    assert max(crowd.times(message)) < answered + 1
    assert not any(message in one.frames for one in late)
    assert state(app, text)["state"] == "paused"
    answer = app.call("PATCH", f"messages/{text}", {"pace": {"rate_per_second": 500}})
    assert answer.status == 200 and answer.json["pace"] == {"rate_per_second": 500}, answer
    assert app.call("POST", f"messages/{text}/resume").json["state"] == "sending"
    crowd.wait_for(message, crowd.members[:280], timeout=30)
    wait_state(app, text, "sent")
    assert_once(crowd, message, crowd.members[:280])
    assert app.call("POST", f"messages/{text}/pause").reason == "ALREADY_FINISHED"


def test_cancelled_is_cancelled(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start(room=2)
    crowd = crowd_of(app, 200)
    crowd.open()
    text = accepted(broadcast(app, pace={"rate_per_second": 40}))
    message = number(text)
    wait_until(lambda: crowd.having(message) >= 40, 30, "it is on its way")
    answer = app.call("DELETE", f"messages/{text}")
    assert answer.status == 202 and answer.json["state"] in ("cancelled", "cancelling"), answer
    assert answer.json["already_sent"] > 0
    answered = time.monotonic()
    wait_until(lambda: time.monotonic() > answered + 2, 5)
    assert max(crowd.times(message)) < answered + 1
    assert crowd.having(message) < 150
    assert state(app, text)["state"] == "cancelled"
    # Nobody gets it at a login either.
    missed = next(one for one in crowd.members if message not in one.frames)
    crowd.close()
    phone = new_cluster.phone(device=f"device-{missed.registration}")
    phone.login((app, missed.registration))
    assert phone.quiet()


def test_what_is_for_later_survives_the_restart_of_everything(new_cluster, crowd_of):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start()
    crowd = crowd_of(app, 20)
    crowd.open()
    at = time.time() + 6
    later = accepted(broadcast(app, send_at=at))
    single = accepted(app.call("POST", "messages", {
        "audience": {"registration_id": ["crowd-1"]}, "message": {"data": 1}, "options": {"send_at": at}}))
    dropped = accepted(broadcast(app, send_at=at))
    assert state(app, later)["state"] == state(app, single)["state"] == "scheduled"
    assert app.call("DELETE", f"messages/{dropped}").json == {
        "message_id": dropped, "state": "cancelled", "already_sent": 0}
    for process in reversed(cluster.all()):
        process.kill()
    for process in cluster.all():
        process.restart()
    cluster.wait_settled()
    crowd.wait_for(number(later), timeout=60)
    crowd.wait_for(number(single), crowd.members[1:2], timeout=30)
    assert min(crowd.times(number(later))) - time.monotonic() + time.time() >= at - 0.1
    assert state(app, wait_state(app, single, "sent")["message_id"])["kind"] == "scheduled_send"
    assert state(app, dropped)["state"] == "cancelled"
    assert crowd.having(number(dropped)) == 0


def test_a_dry_run_counts_and_sends_nothing(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start(room=2)
    crowd = crowd_of(app, 30, tags=lambda n: ("a",) if n < 10 else ())
    crowd.open()
    answer = broadcast(app, {"tag": ["a"]}, validate_only=True)
    assert answer.status == 200 and answer.json["complete"], answer
    assert answer.json["targets"]["online"] == 10
    assert broadcast(app, validate_only=True).json["targets"]["online"] == 30
    assert app.call("GET", "broadcasts", role="viewer").json["broadcasts"] == []
    wait_until(lambda: broadcast(app, {"tag": ["a"]}, validate_only=True).json["targets"]["registered"] == 10,
               30, "the registry has them all")


def test_so_many_broadcasts_at_once_and_no_more(new_cluster, crowd_of):
    app = new_cluster.add_app(7, broadcasts=2)
    new_cluster.start()
    crowd = crowd_of(app, 40)
    crowd.open()
    slow = [accepted(broadcast(app, pace={"rate_per_second": 1})) for _ in range(2)]
    answer = broadcast(app)
    assert (answer.status, answer.reason) == (429, "BROADCAST_CONCURRENCY"), answer
    assert int(answer.headers["Retry-After"]) > 0
    assert app.call("DELETE", f"messages/{slow[0]}").status == 202
    crowd.wait_for(number(accepted(broadcast(app))))


def test_others_do_not_wait_for_a_large_broadcast(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    other = new_cluster.add_app(8)
    new_cluster.start()
    crowd = crowd_of(app, 800)
    crowd.open()
    phone = new_cluster.phone(device="other")
    phone.login((other, "other"))
    messages = [accepted(broadcast(app, data="x" * 3000)) for _ in range(3)]
    slowest = 0
    for n in range(10):
        begun = time.monotonic()
        other.send(n, "other")
        phone.ack(phone.next_push())
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 2, slowest
    for text in messages:
        crowd.wait_for(number(text))
        wait_state(app, text, "sent")


def test_users_are_all_their_registrations(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start()
    phones = {name: app.registered(name, user=user)
              for name, user in (("r1", "ana"), ("r2", "ana"), ("r3", "bob"), ("r4", "bob"))}
    send = {"audience": {"user_id": ["ana", "bob", "nobody"]}, "message": {"data": "hi"},
            "options": {"exclude_registration_id": ["r4"]}}
    answer = app.call("POST", "messages", send)
    assert answer.status == 202 and answer.json["targets"]["kind"] == "multicast", answer
    assert answer.json["targets"]["accepted"] == 3, answer
    for name in ("r1", "r2", "r3"):
        push = phones[name].next_push()
        assert push.id == number(answer.json["message_id"])
        phones[name].ack(push)
    assert phones["r4"].quiet()
    both = app.call("POST", "messages", {"audience": {"user_id": ["ana"], "registration_id": ["r2", "r3"]},
                                         "message": {"data": 1}})
    assert both.json["targets"]["accepted"] == 1, both
    assert phones["r2"].next_push().id == number(both.json["message_id"])
    nobody = app.call("POST", "messages", {"audience": {"user_id": ["nobody"]}, "message": {"data": 1}})
    assert (nobody.status, nobody.reason) == (404, "NO_RECIPIENTS"), nobody


def test_a_replaced_message_is_owed_no_more(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start()
    app.registered("away").close()
    old = app.send("old", "away").json["message_id"]
    body = {"audience": {"registration_id": ["away"]}, "message": {"data": "new"}, "options": {"replaces": old}}
    new = accepted(app.call("POST", "messages", body))
    third = app.send("unwanted", "away").json["message_id"]
    answer = app.call("DELETE", f"messages/{third}")
    assert answer.status == 202 and answer.json == {
        "message_id": third, "state": "cancelled", "already_sent": 0}, answer
    back = new_cluster.phone(device="away")
    back.login((app, "away"))
    push = back.next_push()
    assert push.id == number(new)
    back.ack(push)
    assert back.quiet()
    wait_until(lambda: state(app, old)["counters"]["recalled"] == 1, 20, "the recalled copy is counted")
    wait_until(lambda: app.call("DELETE", f"messages/{new}").status == 409, 20, "an acked one can't be taken back")


def test_a_paced_list_is_stored_at_once_and_pushed_over_time(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start()
    crowd = crowd_of(app, 200)
    crowd.open()
    answer = app.call("POST", "messages", {
        "audience": {"registration_id": [one.registration for one in crowd.members]},
        "message": {"data": 1}, "options": {"pace": {"rate_per_second": 40}}})
    text = accepted(answer)
    assert answer.json["targets"]["accepted"] == 200
    crowd.wait_for(number(text), timeout=30)
    times = crowd.times(number(text))
    assert 4 < times[-1] - times[0] < 6.5
    assert_once(crowd, number(text))


def test_the_business_is_told_when_it_is_over(new_cluster, crowd_of):
    """The event is in the spool when the broadcast is finished; here no coordinator takes it from there."""
    app = new_cluster.add_app(7)
    document = app.document()
    document["webhooks"] = [{"id": "shop", "url": "https://callback.invalid/", "events": ["message.completed"],
                             "secrets": ["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"]}]
    new_cluster.write_app(app, document)
    new_cluster.start(coordinator=0)
    crowd = crowd_of(app, 5)
    crowd.open()
    told = accepted(broadcast(app, receipts={"events": ["message.completed"], "params": {"trace": 7}}))
    quiet = accepted(broadcast(app))
    for text in (told, quiet):
        wait_state(app, text, "sent")
    saver = new_cluster.processes["saver"][0]
    events = [one for queue in rpc.call(saver, "SpoolList", {"lanes": {"hex": "ff" * 8}, "max": 1000})["queues"]
              for one in rpc.call(saver, "SpoolRead", {"queue": queue, "max": 500})["events"]]
    assert [(one["type"], rpc.text(one["key"])) for one in events] == [(13, told)], events
    data = json.loads(rpc.text(events[0]["data"]))
    assert data["message_id"] == told and data["state"] == "sent" and data["params"] == {"trace": 7}
    assert data["counters"] == {"targets": 5, "written": 5, "deferred": 0, "dropped": 0}


def test_the_pace_of_a_scheduled_send_can_be_changed(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start()
    crowd = crowd_of(app, 120)
    crowd.open()
    text = accepted(app.call("POST", "messages", {
        "audience": {"registration_id": [one.registration for one in crowd.members]},
        "message": {"data": 1}, "options": {"send_at": time.time() + 4}}))
    assert app.call("PATCH", f"messages/{text}", {"pace": {"rate_per_second": 40}}).status == 200
    crowd.wait_for(number(text), timeout=30)
    times = crowd.times(number(text))
    assert 2.2 < times[-1] - times[0] < 5


def test_a_paced_list_that_is_taken_back_is_pushed_no_more(new_cluster, crowd_of):
    app = new_cluster.add_app(7)
    new_cluster.start()
    crowd = crowd_of(app, 200)
    crowd.open()
    text = accepted(app.call("POST", "messages", {
        "audience": {"registration_id": [one.registration for one in crowd.members]},
        "message": {"data": 1}, "options": {"pace": {"rate_per_second": 40}}}))
    wait_until(lambda: crowd.having(number(text)) >= 40, 20, "it is on its way")
    answer = app.call("DELETE", f"messages/{text}")
    assert answer.status == 202 and answer.json["state"] == "cancelled", answer
    answered = time.monotonic()
    wait_until(lambda: time.monotonic() > answered + 2, 5)
    assert max(crowd.times(number(text))) < answered + 0.5
    assert crowd.having(number(text)) < 100
