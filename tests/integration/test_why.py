"""Why: every step of a message and of a registration, in order, from the processes that did it."""

import json
import os
import subprocess
import time

from harness.callback import Callback
from harness.cluster import binary
from harness.waiting import wait_until


def story(app, message, **query):
    """The records of a message, oldest first, as (service, outcome)."""
    return steps(app.call("GET", f"messages/{message}/why" + arguments(query), role="viewer"))


def story_of(app, registration, **query):
    return steps(app.call("GET", f"registrations/{registration}/why" + arguments(query), role="viewer"))


def arguments(query):
    return "?" + "&".join(f"{key}={value}" for key, value in query.items()) if query else ""


def steps(answer):
    assert answer.status == 200, answer
    times = [record["at"] for record in answer.json["records"]]
    assert times == sorted(times)
    return [(record["service"], record["outcome"]) for record in answer.json["records"]]


def in_order(found, *wanted):
    """Are the wanted steps there, one after the other, perhaps with others between?"""
    rest = iter(found)
    return all(step in rest for step in wanted)


def log_in(cluster, app, room=0):
    """A phone whose login is over and loaded: what is sent now is pushed."""
    phone = cluster.phone(room=room)
    process = cluster.rooms[room]
    phone.login((app, "reg-1"))
    wait_until(lambda: process.metric("holdfast_room_loads_total", result="ok") > 0)
    return phone


def test_an_online_unicast(cluster, app):
    phone = log_in(cluster, app)
    message = app.send("hello", "reg-1").json["message_id"]
    phone.ack(phone.next_push())
    wanted = [("center", "accepted"), ("saver", "stored"), ("center", "store_done"),
              ("center", "found_online"), ("room", "written"), ("room", "client_acked"),
              ("saver", "acked")]
    wait_until(lambda: in_order(story(app, message), *wanted),
               what=lambda: f"the story has all its steps: {story(app, message)}")
    assert in_order(story(app, message), ("room", "written"), ("center", "push_written"))
    answer = app.call("GET", f"messages/{message}/why?registration_id=reg-1", role="viewer").json
    assert {record["registration_id"] for record in answer["records"]} == {"reg-1"}
    assert answer["silent"] == [] and answer["remembered_since"] is None
    stored = next(record for record in answer["records"] if record["outcome"] == "store_done")
    assert (stored["node"], stored["text"]) == ("center-1", "stored, says saver-1")
    assert story(app, message, registration_id="reg-2") == []


def test_offline_then_login(cluster, app):
    app.register("reg-1")
    message = app.send("later", "reg-1").json["message_id"]
    wait_until(lambda: in_order(story(app, message), ("saver", "stored"), ("center", "found_offline")))
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    phone.ack(phone.next_push())
    wait_until(lambda: in_order(story_of(app, "reg-1"),
                                ("center", "accepted"), ("saver", "stored"), ("center", "found_offline"),
                                ("register", "session_added"), ("room", "login"), ("saver", "loaded"),
                                ("room", "loaded_written"), ("room", "client_acked"), ("saver", "acked")))
    phone.close()
    wait_until(lambda: in_order(story_of(app, "reg-1"), ("saver", "acked"), ("room", "closed"),
                                ("register", "session_removed")))


def test_a_room_that_was_killed_is_missing_in_the_story_and_the_rest_goes_on(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(room=2)
    phone = log_in(cluster, app)
    message = app.send("unacked", "reg-1").json["message_id"]
    phone.next_push()
    wait_until(lambda: ("center", "push_written") in story(app, message))
    cluster.rooms[0].kill()
    second = cluster.phone(room=1, device="device-2")
    second.login((app, "reg-1"))
    second.ack(second.next_push())
    wait_until(lambda: in_order(story(app, message),
                                ("saver", "stored"), ("center", "push_written"), ("saver", "loaded"),
                                ("room", "loaded_written"), ("saver", "acked")),
               what=lambda: f"the second room's part: {story(app, message)}")
    assert ("room", "written") not in story(app, message), "who wrote it first is dead"


def test_dropped_by_the_cap(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7, stored_per_registration=2)
    cluster.start()
    app.register("reg-1")
    messages = [app.send(n, "reg-1").json["message_id"] for n in range(3)]
    wait_until(lambda: in_order(story(app, messages[0]), ("saver", "stored"), ("saver", "dropped_cap")))
    assert ("saver", "dropped_cap") not in story(app, messages[2])


def test_a_process_that_does_not_answer_is_named(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(coordinator=2)
    app.register("reg-1")
    message = app.send("hello", "reg-1").json["message_id"]
    cluster.coordinators[1].pause()
    try:
        answer = app.call("GET", f"messages/{message}/why", role="viewer", timeout=30).json
    finally:
        cluster.coordinators[1].resume()
    assert answer["silent"] == ["coordinator-2"]
    assert ("saver", "stored") in [(r["service"], r["outcome"]) for r in answer["records"]]


def test_one_app_does_not_see_the_messages_of_another(cluster, app):
    other = cluster.add_app(8)
    app.register("reg-1")
    other.register("reg-1")
    wait_until(lambda: other.send("x", "reg-1").status == 202)
    message = app.send("mine", "reg-1").json["message_id"]
    wait_until(lambda: ("saver", "stored") in story(app, message))
    assert story(other, message) == []


def test_only_the_newest_steps_are_kept_and_it_is_told(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"saver": {"why__records": "1024"}})
    app.register("reg-1", *(f"other-{n}" for n in range(600)))
    first = app.send(0, "reg-1").json["message_id"]
    for _ in range(2):
        app.send("many", [f"other-{n}" for n in range(600)])
    answer = app.call("GET", f"messages/{first}/why", role="viewer").json
    assert answer["remembered_since"] is not None
    assert "saver" not in [record["service"] for record in answer["records"]]


def test_hfctl_tells_it_in_words(cluster, app):
    phone = log_in(cluster, app)
    message = app.send("hello", "reg-1").json["message_id"]
    phone.ack(phone.next_push())
    wait_until(lambda: ("saver", "acked") in story(app, message))

    def hfctl(*arguments):
        variables = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST_")}
        variables |= {"HOLDFAST_URL": f"http://{cluster.api_address()}", "HOLDFAST_APP": "7",
                      "HOLDFAST_KEY": app.key("viewer")}
        return subprocess.run([binary("tools/hfctl/hfctl"), *arguments], env=variables,
                              capture_output=True, text=True, timeout=60, check=False)
    told = hfctl("why", message)
    assert told.returncode == 0, told.stderr
    lines = [line.split(maxsplit=1)[1] for line in told.stdout.splitlines()[1:]]
    assert in_order(lines, "saver-1 stored", "room-1 written to the client", "saver-1 acked: no longer owed")
    told = hfctl("why", "--registration", "reg-1")
    assert "room-1 logged in" in told.stdout and f"({message})" in told.stdout
    assert json.loads(hfctl("-o", "json", "why", message).stdout)["silent"] == []
    told = hfctl("why", "--registration", "nobody")
    assert (told.returncode, told.stdout) == (2, "no process remembers it\n")


def test_a_broadcast_is_a_story_too(cluster, app):
    phone = log_in(cluster, app)
    answer = app.call("POST", "messages", {"audience": "all", "message": {"data": "to all"}})
    assert answer.status == 202, answer
    message = answer.json["message_id"]
    phone.ack(phone.next_push())
    wait_until(lambda: in_order(story(app, message), ("center", "job_accepted"), ("center", "job_leased"),
                                ("room", "task_written"), ("room", "client_acked"), ("saver", "acked")),
               what=lambda: f"all its steps: {story(app, message)}")
    wait_until(lambda: ("center", "job_over") in story(app, message))
    phone.reset()
    lost = wait_until(lambda: [record["text"] for record in app.call(
        "GET", "registrations/reg-1/why", role="viewer").json["records"] if record["outcome"] == "lingering"])
    assert lost == ["connection lost: the session waits to be resumed"]
    later = app.send("while it is away", "reg-1").json["message_id"]
    wait_until(lambda: in_order(story(app, later), ("center", "found_online"), ("room", "parked")))


def test_a_receipt_is_the_end_of_the_story(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    server = Callback(lambda received: (200, {}, b""))
    document = app.document()
    document["webhooks"] = [{"id": "a", "url": server.url, "events": ["message.*", "connection.*"],
                             "secrets": ["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"],
                             "allow_cidrs": ["127.0.0.0/8"]}]
    cluster.write_app(app, document)
    cluster.start()
    phone = log_in(cluster, app)
    answer = app.call("POST", "messages", {
        "audience": {"registration_id": ["reg-1"]}, "message": {"data": 1, "label": "sale"},
        "options": {"receipts": {"events": ["message.acked"], "params": {"trace": "abc"}}}})
    assert answer.status == 202, answer
    message = answer.json["message_id"]
    phone.ack(phone.next_push())

    def receipts():
        return [event for received in server.received for event in received.json["events"]
                if event["type"] == "message.acked"]
    (event,) = wait_until(receipts, what="the business hears that its message was acked")
    data = event["data"]
    assert (data["message_id"], data["registration_id"], data["label"], data["params"]) == (
        message, "reg-1", "sale", {"trace": "abc"})
    wait_until(lambda: in_order(story(app, message), ("saver", "acked"), ("coordinator", "event_delivered")))
    assert in_order(story_of(app, "reg-1"), ("room", "login"), ("coordinator", "event_delivered"))
    server.stop()


def test_what_the_business_asked_of_a_message_is_told(cluster, app):
    app.register("reg-1")
    in_an_hour = int(time.time()) + 3600
    answer = app.call("POST", "messages", {"audience": "all", "message": {"data": 1},
                                           "options": {"send_at": in_an_hour}})
    assert answer.status == 202, answer
    message = answer.json["message_id"]
    for method, path, body in (("POST", "/pause", None), ("POST", "/resume", None),
                               ("PATCH", "", {"pace": {"rate_per_second": 5}}), ("DELETE", "", None)):
        answer = app.call(method, f"messages/{message}{path}", body)
        assert answer.status in (200, 202), answer
    assert [step for step in story(app, message) if step != ("center", "job_accepted")] == [
        ("center", "job_paused"), ("center", "job_resumed"), ("center", "job_paced"), ("center", "taken_back")]
    assert app.call("POST", f"messages/{message}/pause").status == 409
    assert story(app, message)[-1] == ("center", "taken_back")
    message = app.send("owed", "reg-1").json["message_id"]
    assert app.call("DELETE", f"messages/{message}").status == 202
    assert ("center", "taken_back") in story(app, message)
