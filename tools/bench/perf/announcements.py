"""What it costs one room that the others announce their load:

    HOLDFAST_BUILD=BUILD python3 tools/bench/perf/announcements.py [ROOMS]

One room runs; ROOMS - 1 entries are held beside its own, as rooms hold them, and announce in turn, 20 a second. Prints
its CPU and its system calls a second while nobody announces, and beyond that for each announcement."""

import collections
import fcntl
import json
import os
import struct
import subprocess
import sys
import tempfile
import time

RATE = 20  # announcements a second of all together
SECONDS = 10
F_OFD_SETLK = 37


class Holder:
    """An entry like that of a room without clients: written beside its place, locked, renamed."""

    def __init__(self, folder, number):
        self.file, self.temporary = f"{folder}/held-{number}", f"{folder}/.tmp-{number}"
        self.instance = {
            "id": f"held-{number}", "number": number, "state": "serving", "rpc": "127.0.0.1:9",
            "admin": "127.0.0.1:9", "weight": 100, "load": 0, "zone": "default", "since_ms": 1769860798412,
            "incarnation": "0123456789ABC", "endpoints": [{"transport": "tcp", "address": f"127.0.0.1:{number}"}]}
        self.fd = -1

    def announce(self):
        self.instance["load"] += 1
        fd = os.open(self.temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.write(fd, json.dumps(self.instance).encode())
        fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        os.rename(self.temporary, self.file)
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = fd


def cpu_ns(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


def announce(holders, seconds):
    """At an even pace, in turn. Returns how many."""
    begun = time.monotonic()
    for i in range(seconds * RATE):
        time.sleep(max(0, begun + i / RATE - time.monotonic()))
        if holders:
            holders[i % len(holders)].announce()
    time.sleep(max(0, begun + seconds - time.monotonic()))
    return seconds * RATE if holders else 0


def calls_of(summary):
    """{system call: count} of what `strace -c` printed."""
    rows = [line.split() for line in summary.splitlines()]
    return collections.Counter({row[-1]: int(row[3]) for row in rows
                                if len(row) in (5, 6) and row[0][0].isdigit() and row[-1] != "total"})


def measure(pid, holders):
    """(CPU ns, {system call: count}) of the room; the CPU without strace, which costs some."""
    used = -cpu_ns(pid)
    announce(holders, SECONDS)
    used += cpu_ns(pid)
    with tempfile.NamedTemporaryFile("r") as out:
        strace = subprocess.Popen(["strace", "-c", "-f", "-o", out.name, "-p", str(pid)], stderr=subprocess.DEVNULL)
        announce(holders, SECONDS)
        strace.terminate()
        strace.wait()
        return used, calls_of(out.read())


def say(what, used, calls, count):
    calls = {name: calls[name] / count for name in calls if calls[name] / count >= 0.05}
    print(f"{what}: {used / count / 1000:.1f} us of CPU, {sum(calls.values()):.1f} system calls: "
          + ", ".join(f"{name} {n:.1f}" for name, n in sorted(calls.items(), key=lambda call: -call[1])))


def main():
    rooms = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    binary = os.environ["HOLDFAST_BUILD"] + "/services/room/holdfast-room"
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/room.yaml", "w", encoding="ascii") as file:
            file.write('listeners: [{bind: "127.0.0.1:0"}]\n')
        room = subprocess.Popen([binary, "-c", f"{folder}/room.yaml", "--node-id", "measured",
                                 "--set", f"keeper.backend=dir:{folder}/keeper"], stderr=subprocess.DEVNULL)
        try:
            place = f"{folder}/keeper/instances/room"
            while not os.path.exists(f"{place}/measured"):
                if room.poll() is not None:
                    sys.exit(f"the room ended with {room.returncode}")
                time.sleep(0.05)
            holders = [Holder(place, number) for number in range(1, rooms)]
            for holder in holders:
                holder.announce()
            time.sleep(5)  # until all are old enough for their stamps to vouch for them
            idle_ns, idle_calls = measure(room.pid, [])
            busy_ns, busy_calls = measure(room.pid, holders)
            busy_calls.subtract(idle_calls)
            say(f"{rooms} rooms, nobody announces, a second", idle_ns, idle_calls, SECONDS)
            say("an announcement", busy_ns - idle_ns, busy_calls, SECONDS * RATE)
        finally:
            room.terminate()
            room.wait()


if __name__ == "__main__":
    main()
