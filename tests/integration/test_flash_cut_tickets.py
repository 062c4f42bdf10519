"""Sessions of a connection that died: for how long they stay, who may go on with them, and what ends them."""

import signal

import pytest

from harness.flash_cut import LONG, come_back, lingering, numbers, online, resumes, send, wait_lingering
from harness.phone import Closed
from harness.waiting import wait_until


def test_an_end_of_stream_lingers_and_a_bye_does_not(lasting):
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    phone.cut()
    wait_lingering(cluster)
    assert online(app, "reg-1")
    other = cluster.phone(device="device-2")
    other.login((app, "reg-2"))
    other.close()
    wait_until(lambda: not online(app, "reg-2"))
    assert lingering(cluster) == 1


def test_the_time_can_be_changed_while_sessions_linger(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    path = f"{cluster.folder}/room.yaml"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "linger: {time: 60s}\n")
    cluster.start()
    phone = cluster.phone()
    assert phone.login((app, "reg-1")).linger_s == 60
    phone.reset()
    wait_lingering(cluster)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "linger: {time: 0s}\n")
    cluster.room.process.send_signal(signal.SIGHUP)
    wait_lingering(cluster, 0)
    assert not online(app, "reg-1")
    assert cluster.phone().login((app, "reg-1")).ticket == b""


def test_a_ticket_is_good_once_and_for_its_owner_alone(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings=LONG, room=2)
    phone = cluster.phone(device="device-1")
    first = phone.login((app, "reg-1"))
    phone.reset()
    wait_lingering(cluster)

    # Another device, another registration, another room, a bit that is wrong: none of them gets at it.
    thief, ack = come_back(cluster, first, (app, "reg-1"), device="device-2", room=1)
    assert not ack.resumed and resumes(cluster, "unknown", room=1) == 1
    thief.close()
    phone = cluster.phone(device="device-1")
    first = phone.login((app, "reg-1"))
    phone.reset()
    wait_lingering(cluster)
    thief, ack = come_back(cluster, first, (app, "reg-9"), device="device-2")
    assert not ack.resumed and resumes(cluster, "foreign") == 1
    thief, ack = come_back(cluster, first, (app, "reg-8"), device="device-1")
    assert not ack.resumed and resumes(cluster, "changed") == 1
    forged = cluster.phone()
    bent = bytes([first.ticket[0] ^ 1]) + first.ticket[1:]
    assert not forged.login((app, "reg-7"), ticket=bent).resumed
    assert not cluster.phone().login((app, "reg-6"), ticket=b"x" * 64).resumed
    assert resumes(cluster, "unknown") == 2

    # The owner does, once.
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert ack.resumed
    phone.reset()
    wait_lingering(cluster)
    _, replayed = come_back(cluster, first, (app, "reg-1"))
    assert not replayed.resumed and replayed.results == [(7, 0)]
    assert resumes(cluster, "expired") == 1


def test_a_ticket_of_the_room_before_its_restart_is_an_ordinary_login(lasting):
    """Killed while sessions linger: all is owed by the saver, and comes with the login."""
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    send(app, "reg-1", 1)
    phone.next_push()
    phone.reset()
    wait_lingering(cluster)
    send(app, "reg-1", 2, 3)
    cluster.room.kill()
    cluster.room.restart()
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert not ack.resumed and resumes(cluster, "unknown") == 1
    assert numbers(phone.pushes(3)) == [1, 2, 3]


def test_who_comes_too_late_logs_in_and_gets_everything(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"room": {"linger__time": "1s"}})
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    send(app, "reg-1", 1)
    phone.next_push()
    phone.reset()
    wait_until(lambda: not online(app, "reg-1"))
    assert lingering(cluster) == 0
    assert cluster.room.metric("holdfast_room_lingers_total", event="over") == 1
    send(app, "reg-1", 2)
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert not ack.resumed and resumes(cluster, "expired") == 1
    assert sorted(numbers(phone.pushes(2))) == [1, 2]  # the second may still be under way, and pass the page


def test_an_expired_token_does_not_resume_and_does_not_spend_the_ticket(lasting):
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    phone.reset()
    wait_lingering(cluster)
    send(app, "reg-1", 1)
    late = cluster.phone()
    with pytest.raises(Closed) as closed:
        late.login(late._session(app, "reg-1", lifetime=-3600), ticket=first.ticket)
    assert closed.value.bye.code == 4300
    assert resumes(cluster, "refused") == 1
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert ack.resumed
    assert numbers([phone.next_push()]) == [1]


def test_a_kick_ends_a_session_that_lingers(lasting):
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    phone.reset()
    wait_lingering(cluster)
    answer = app.call("POST", "connections/disconnect", {"registration_id": ["reg-1"]}, role="admin")
    assert answer.status == 200
    wait_lingering(cluster, 0)
    assert not online(app, "reg-1")
    _, ack = come_back(cluster, first, (app, "reg-1"))
    assert not ack.resumed and resumes(cluster, "expired") == 1


def test_two_apps_resume_together_or_not_at_all(lasting):
    cluster, app = lasting, lasting.apps[7]
    other = cluster.add_app(8)
    wait_until(lambda: other.send("x", "nobody", validate_only=True).status == 200)
    phone = cluster.phone()
    first = phone.login((app, "reg-a"))
    assert phone.attach(other, "reg-b").code == 0  # the ticket is good for this one too
    phone.reset()
    wait_lingering(cluster)
    send(app, "reg-a", 1)
    send(other, "reg-b", 2)
    phone, second = come_back(cluster, first, (other, "reg-b"), (app, "reg-a"))
    assert second.resumed and second.results == [(8, 0), (7, 0)]
    assert sorted(numbers(phone.pushes(2))) == [1, 2]
    phone.reset()
    wait_lingering(cluster)
    phone, ack = come_back(cluster, second, (app, "reg-a"))
    assert not ack.resumed and resumes(cluster, "changed") == 1
    assert online(app, "reg-a") and online(other, "reg-b")


def test_without_a_session_there_is_nothing_to_wait_for(lasting):
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    assert phone.detach(app).code == 0
    phone.reset()
    wait_until(lambda: cluster.room.metric("holdfast_room_connections") == 0)
    assert lingering(cluster) == 0
    _, ack = come_back(cluster, first, (app, "reg-1"))
    assert not ack.resumed and ack.results == [(7, 0)]


def test_a_login_elsewhere_ends_what_lingers(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings=LONG, room=2)
    phone = cluster.phone(room=0)
    phone.login((app, "reg-1"))
    send(app, "reg-1", 1)
    phone.next_push()
    phone.reset()
    wait_lingering(cluster)
    send(app, "reg-1", 2)
    phone = cluster.phone(room=1)
    phone.login((app, "reg-1"))
    assert numbers(phone.pushes(2)) == [1, 2]
    wait_lingering(cluster, 0)


def test_a_drain_ends_what_lingers(lasting):
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    phone.reset()
    wait_lingering(cluster)
    cluster.room.terminate()
    assert cluster.room.wait_exit(20) == 0
    wait_until(lambda: cluster.register.metric("holdfast_register_sessions") == 0)


def test_only_a_share_may_linger(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"room": {"linger__time": "60s", "limits__connections": "4"}})
    phones = [cluster.phone(device=f"device-{n}") for n in range(4)]
    for n, phone in enumerate(phones):
        phone.login((app, f"reg-{n}"))
    for phone in phones:
        phone.reset()
    wait_until(lambda: cluster.room.metric("holdfast_room_connections") == 0)
    assert lingering(cluster) == 2
    assert cluster.room.metric("holdfast_room_lingers_total", event="no_place") == 2
    again = [cluster.phone(device=f"other-{n}") for n in range(4)]  # none of them takes a client's place
    for n, phone in enumerate(again):
        phone.login((app, f"reg-{n}"))


def test_switched_off_there_is_no_ticket_and_nothing_lingers(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"room": {"linger__time": "0s"}})
    phone = cluster.phone()
    ack = phone.login((app, "reg-1"))
    assert (ack.linger_s, ack.ticket) == (0, b"")
    phone.reset()
    wait_until(lambda: not online(app, "reg-1"))
    assert cluster.room.metric("holdfast_room_kept_bytes") == 0
