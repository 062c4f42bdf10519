"""kill -9 of any one process in the middle of a stream of pushes: nothing accepted is lost."""

import http.client
import threading

import pytest

from harness.waiting import wait_until

REGISTRATIONS = 6


class Business(threading.Thread):
    """Sends one message after the other to registrations in turn, as fast as they are answered; remembers what was
    accepted. A refusal or a broken connection is tried again with the next message."""

    def __init__(self, app, durable=False):
        super().__init__(daemon=True)
        self.app = app
        self.durable = durable
        self.accepted = {f"reg-{n}": [] for n in range(REGISTRATIONS)}
        self.count = 0
        self.refused = []
        self.stopping = False

    def run(self):
        n = 0
        while not self.stopping:
            registration = f"reg-{n % REGISTRATIONS}"
            n += 1
            try:
                options = {"durable": True} if self.durable else {}
                answer = self.app.send({"n": n}, registration, **options)
            except (OSError, http.client.HTTPException):
                continue
            if answer.status == 202:
                self.accepted[registration].append(answer.json["message_id"])
                self.count += 1
            else:
                self.refused.append((answer.status, answer.reason))

    def wait_for_more(self, more=60, timeout=60):
        target = self.count + more
        wait_until(lambda: self.count >= target, timeout,
                   lambda: f"only {self.count} of {target} accepted; refused {self.refused[-3:]}")

    def stop(self):
        self.stopping = True
        self.join(30)


ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def number(text):
    """A message id as the wire has it."""
    value = 0
    for letter in text:
        value = value * 32 + ALPHABET.index(letter)
    return value


def check_conservation(cluster, app, business, followers):
    """Every accepted message has arrived, a duplicate carries the same id, and nothing is owed any more."""
    for registration, follower in followers.items():
        wanted = [number(one) for one in business.accepted[registration]]
        assert len(set(wanted)) == len(wanted)
        follower.wait_for(wanted, 90)
        # A message that came twice came under one id: no two ids carry the same payload.
        payloads = list(follower.payloads.values())
        assert len(set(payloads)) == len(payloads)
    for registration in followers:
        wait_until(lambda: cluster.redis.queue_length(app.id, registration) == 0, 60,
                   f"nothing is owed to {registration}")


def start(cluster, **counts):
    app = cluster.add_app(7, stored_per_registration=1000)
    cluster.start(**counts)
    followers = {}
    for n in range(REGISTRATIONS):
        followers[f"reg-{n}"] = cluster.follower((app, f"reg-{n}"), device=f"device-{n}")
    for follower in followers.values():
        follower.wait_online()
    return app, followers


@pytest.mark.parametrize("role", ["room", "register", "saver", "center"])
def test_kill_of_a_service_loses_nothing(new_cluster, role):
    cluster = new_cluster
    app, followers = start(cluster)
    business = Business(app)
    business.start()
    business.wait_for_more()
    victim = cluster.processes[role][0]
    victim.kill()
    victim.restart()
    business.wait_for_more()
    business.stop()
    check_conservation(cluster, app, business, followers)


@pytest.mark.parametrize("role", ["room", "register", "saver", "center"])
def test_kill_of_one_of_two_services_loses_nothing_without_its_return(new_cluster, role):
    cluster = new_cluster
    app, followers = start(cluster, **{role: 2})
    business = Business(app)
    business.start()
    business.wait_for_more()
    cluster.processes[role][1].kill()
    business.wait_for_more()
    business.stop()
    check_conservation(cluster, app, business, followers)


def test_kill_of_redis_loses_nothing(fragile_cluster):
    cluster = fragile_cluster
    app, followers = start(cluster)
    business = Business(app)
    business.start()
    business.wait_for_more()
    cluster.redis.kill()
    wait_until(lambda: business.refused, 30, "sends are refused by name while Redis is away")
    assert business.refused[0] == (503, "STORE_UNAVAILABLE")
    cluster.redis.start()
    business.wait_for_more()
    business.stop()
    check_conservation(cluster, app, business, followers)


@pytest.mark.parametrize("durable", [False, True])
def test_kill_of_mariadb_loses_nothing(fragile_cluster, durable):
    cluster = fragile_cluster
    app, followers = start(cluster)
    business = Business(app, durable)
    business.start()
    business.wait_for_more()
    cluster.mariadb.kill()
    if durable:
        wait_until(lambda: business.refused, 30, "durable sends are refused by name")
        assert business.refused[0] == (503, "DATABASE_UNAVAILABLE")
    else:
        business.wait_for_more()
    cluster.mariadb.start()
    business.wait_for_more()
    business.stop()
    check_conservation(cluster, app, business, followers)


def test_kill_of_dispatcher_and_coordinator_touches_no_push(new_cluster):
    cluster = new_cluster
    app, followers = start(cluster)
    business = Business(app)
    business.start()
    for role in ("dispatcher", "coordinator"):
        cluster.processes[role][0].kill()
        cluster.processes[role][0].restart()
        business.wait_for_more()
    business.stop()
    assert not business.refused
    check_conservation(cluster, app, business, followers)


def test_a_restarted_register_answers_right_again_without_any_client_reconnecting(new_cluster):
    cluster = new_cluster
    app, followers = start(cluster)
    cluster.register.kill()
    cluster.register.restart()
    cluster.wait_settled()
    wait_until(lambda: cluster.register.metric("holdfast_register_sessions") == REGISTRATIONS)
    answer = app.send("still there?", list(followers), wait="acked", wait_timeout="10s")
    assert (answer.status, answer.json["state"]) == (200, "acked")
    assert [follower.logins for follower in followers.values()] == [1] * REGISTRATIONS


def test_a_register_that_joins_takes_over_its_slots(new_cluster):
    cluster = new_cluster
    app, followers = start(cluster)
    cluster.add("register").wait_ready()
    cluster.wait_settled()
    assert all(process.metric("holdfast_register_slots_owned") > 0
               for process in cluster.processes["register"])
    wait_until(lambda: sum(process.metric("holdfast_register_sessions")
                           for process in cluster.processes["register"]) == REGISTRATIONS)
    answer = app.send("still there?", list(followers), wait="acked", wait_timeout="10s")
    assert (answer.status, answer.json["state"]) == (200, "acked")


def test_drain_of_a_room_moves_its_clients_and_loses_nothing(new_cluster):
    cluster = new_cluster
    app, followers = start(cluster, room=2)
    business = Business(app)
    business.start()
    business.wait_for_more()
    drained = cluster.processes["room"][0]
    before = sum(follower.logins for follower in followers.values())
    here = drained.metric("holdfast_room_connections")
    drained.terminate()
    assert drained.wait_exit() == 0
    business.wait_for_more()
    business.stop()
    check_conservation(cluster, app, business, followers)
    moved = sum(follower.logins for follower in followers.values()) - before
    assert moved >= here
    byes = [bye.code for follower in followers.values() for bye in follower.byes if bye]
    assert byes.count(4200) == here
