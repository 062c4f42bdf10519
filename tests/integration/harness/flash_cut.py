"""What rooms, register and saver tell of connections that were cut, and a client that comes back with its ticket."""

import json

from .waiting import wait_until

LONG = {"room": {"linger__time": "60s"}}


def calls(cluster):
    """Calls that a login makes: of the register's index, and of the saver's queues."""
    return (cluster.register.metric("holdfast_rpc_served_total", method="hf.Register.Update")
            + cluster.register.metric("holdfast_rpc_served_total", method="hf.Register.Sync"),
            cluster.saver.metric("holdfast_rpc_served_total", method="hf.Saver.Load"))


def resumes(cluster, result, room=0):
    return cluster.processes["room"][room].metric("holdfast_room_resumes_total", result=result)


def lingering(cluster, room=0):
    return cluster.processes["room"][room].metric("holdfast_room_lingering_connections")


def wait_lingering(cluster, count=1):
    wait_until(lambda: lingering(cluster) == count, what=f"{count} connections linger")


def wait_pushed(cluster, count, parked):
    """So many pushes have come for sessions that linger, and so many of them were parked."""
    wait_until(lambda: cluster.room.metric("holdfast_room_pushes_total", result="deferred") == count)
    assert cluster.room.metric("holdfast_room_parked_total") == parked


def online(app, registration):
    answer = app.call("POST", "registrations/query", {"registration_ids": [registration]}, role="viewer")
    return answer.json["registrations"][0]["online"]


def come_back(cluster, ack, *sessions, device="device-1", room=0):
    phone = cluster.phone(device=device, room=room)
    return phone, phone.login(*sessions, ticket=ack.ticket)


def numbers(pushes):
    return [json.loads(push.payload)["n"] for push in pushes]


def send(app, registration, *values, **options):
    for n in values:
        answer = app.send({"n": n}, registration, **options)
        assert answer.status == 202, answer
