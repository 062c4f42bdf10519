"""Does a message cost the same in a small room, in a full one, and in one of many rooms? And a connection?"""

import contextlib
import os
import statistics
import subprocess
import time

import rig
from rig import APP, Rig, cpu_seconds, program, pss_bytes, run_json
from rows import CONGESTION, ROUNDS, SCALE, end, row, say, scaled, seconds
from harness.waiting import wait_until

SIZES = (1000, 10000, 19000)
ROOMS = (1, 10, 50)
EACH = 1000    # connections of one of many rooms
RATE = 8000    # messages a second to a room while it is measured
OPEN = 256     # at most that many on their way to clients
WARM = 512     # clients that a room has before it is measured
FEW = 1000     # the same where all rooms are of one size: as many again are measured, after what grows only once
NOTES = 65536  # records that a process keeps of what it did lately (why.records)
FEW_NOTES = 1024
WARM_RATE = 16000  # messages a second to all rooms while that fills: saver keeps up
PREFIX = "bench-device-"  # with a number of seven digits: ids of 20 bytes
SETTLE = 10    # seconds from the last login until a connection is idle: all handshakes are forgotten (8 s)


class Crowd:
    """A room, and the clients that one hf-bench keeps in it."""

    def __init__(self, bed, number, cpu):
        self.bed = bed
        self.number = number
        self.cpu = cpu
        self.process = bed.cluster.processes["room"][number]
        self.pid = self.process.process.pid
        self.expected = 0
        self.benches = []
        self.idle = 0.0  # CPU-seconds a second without any message

    def enter(self, count, connrate):
        """Begins the logins of `count` clients more."""
        start = 1000000 + self.number * 40000 + self.expected
        stats = os.path.join(self.bed.folder, f"clients-{self.number}-{len(self.benches)}.stats")
        words = self.bed.client_command("recv", count, connrate=connrate, room=self.bed.cluster.room_address(self.number),
                                        prefix=PREFIX, startnumber=start, duration=0, stats_file=stats)
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL,
                                   preexec_fn=lambda: os.sched_setaffinity(0, self.cpu))
        self.benches.append((process, stats, start, count))
        self.expected += count

    def wait(self):
        def there():
            if any(process.poll() is not None for process, *_ in self.benches):
                raise RuntimeError("hf-bench ended")
            return self.process.metric("holdfast_room_logged_in_connections") == self.expected
        wait_until(there, 120, f"{self.expected} clients are logged in")

    def leave(self):
        for process, *_ in self.benches:
            end(process)

    def drive_command(self, duration, **options):
        """Stored pushes to random clients of the last group, each acked."""
        _, stats, start, count = self.benches[-1]
        return [program("hf-drive"), "push", "--address", self.bed.rpc_address("room", self.number), "--other",
                 self.bed.rpc_address("register"), "--app", str(APP), "--prefix", PREFIX, "--start", str(start),
                 "--count", str(count), "--seconds", str(duration), "--stats-file", stats, "--items", "64",
                 "--inflight", "16", "--open", str(OPEN), "--shuffle", "1"] + rig.flags(options)

    def turns(self):
        return self.process.metric("holdfast_loop_turn_seconds_count")

    def message_us(self, duration):
        """(CPU microseconds of the room for a message and its ack, messages a turn).

        The load is the same for every room: 64 pushes in one call each 8 ms, to clients at random. That is what makes
        rooms comparable. A message costs the less the more of them share a turn (one epoll_wait, one call to saver),
        so that turns must be equally full; at full speed they are not, as the clients are the slower, the more they
        are. Clients that are pushed to in the order of their logins lie side by side in memory, which the processor
        foresees. And a client that gets something each 40 ms or more often costs a packet less, as the kernel's
        acknowledgement then rides on the next message: in a small room at full speed all do.
        What the room spends without any message (measure_idle) is no part of it."""
        turns, begun, cpu = self.turns(), time.monotonic(), cpu_seconds(self.pid)
        units = run_json(self.drive_command(duration, rate=RATE), cpu=self.cpu)["units"]
        time.sleep(0.2)  # the last acks
        cpu, took = cpu_seconds(self.pid) - cpu, time.monotonic() - begun
        return (cpu - self.idle * took) * 1e6 / units, units / max(self.turns() - turns, 1)


def measure_idle(crowds, duration):
    """CPU-seconds a second of rooms that only keep their connections; noted in each."""
    before = [cpu_seconds(crowd.pid) for crowd in crowds]
    time.sleep(duration)
    for crowd, cpu in zip(crowds, before):
        crowd.idle = (cpu_seconds(crowd.pid) - cpu) / duration


def warm_up(crowds, notes):
    """Messages until each room has noted so much; each is noted when it is written and when it is acked."""
    rate = WARM_RATE / len(crowds)
    duration = seconds(notes / 2 / rate + 1)
    drives = [subprocess.Popen(crowd.drive_command(duration, rate=rate), stdout=subprocess.DEVNULL,
                               preexec_fn=lambda: os.sched_setaffinity(0, crowds[0].cpu)) for crowd in crowds]
    if any([drive.wait() for drive in drives]):
        raise RuntimeError("hf-drive failed")


def fill(crowds, counts, warm, notes, connrate):
    """Bytes (PSS) of each connection beyond the first `warm` ones, and of each room before any and before the rest.

    Before they are counted a room has done a little of everything: buffers have grown to their size, and the ring of
    what it did lately (common/why, 2.6 MB unless it is made smaller) is full. All that is there once, whoever connects."""
    fresh = [pss_bytes(crowd.pid) for crowd in crowds]
    for crowd in crowds:
        crowd.enter(warm, connrate)
    for crowd in crowds:
        crowd.wait()
    warm_up(crowds, notes)
    before = [pss_bytes(crowd.pid) for crowd in crowds]
    for crowd, count in zip(crowds, counts):
        crowd.enter(count, connrate)
    for crowd in crowds:
        crowd.wait()
    time.sleep(seconds(SETTLE))
    bytes_each = [(pss_bytes(crowd.pid) - base) / count for crowd, base, count in zip(crowds, before, counts)]
    return bytes_each, before, fresh


def steps(sizes, each):
    """What a connection more costs from each size to the next, and what a room of the smallest has beside.

    That rest is there once: what came with the logins that made the room as full as that, but not with each."""
    whole = [size * bytes_each for size, bytes_each in zip(sizes, each)]
    found = [(whole[i + 1] - whole[i]) / (sizes[i + 1] - sizes[i]) for i in range(len(sizes) - 1)]
    return found, whole[0] - sizes[0] * found[0]


def largest_deviation(values, middle):
    return max(abs(value / middle - 1) for value in values)


def start_crowds(beds):
    """One Crowd for each room; rooms on one processor, everything else on the other."""
    ours, others = rig.cpus()
    crowds = []
    for bed in beds:
        bed.pin_all(others)
        bed.pin("room", ours)
        crowds.append([Crowd(bed, number, others) for number in range(len(bed.cluster.processes["room"]))])
    return crowds


@row("scale-connections", "deviation", 0.1, 0.05, less_is_better=True)
def scale_connections():
    """Bytes of a connection, CPU of a message in rooms of 1,000, 10,000 and 19,000: largest deviation from the middle.

    Three rooms of one cluster, measured in turn (A B C A B C), so that the machine's moods hit all alike."""
    sizes = [scaled(size) for size in SIZES]
    found = [[] for _ in sizes]
    with Rig() as bed:
        bed.start({"room": {"tcp__congestion": CONGESTION}}, room=len(sizes))
        crowds, = start_crowds([bed])
        try:
            each, before, fresh = fill(crowds, sizes, scaled(WARM), NOTES, 2000)
            measure_idle(crowds, seconds(5))
            for size, crowd, bytes_each, warm, new in zip(sizes, crowds, each, before, fresh):
                say(f"  {size} clients: {bytes_each:.1f} B each; the room {new:,} B when new, {warm:,} B with "
                    f"{crowd.expected - size} clients and when it has worked; idle "
                    f"{crowd.idle * 1e6:,.0f} us of CPU a second")
            bytes_each, once = steps(sizes, each)
            say(f"  a connection more: {', '.join(f'{size:.1f}' for size in bytes_each)} B from size to size; "
                f"{once:,.0f} B are there once")
            for number in range(ROUNDS):
                for crowd, values in zip(crowds, found):
                    values.append(crowd.message_us(seconds(5)))
                say(f"  round {number + 1}: " + ", ".join(
                    f"{size} clients {values[-1][0]:.2f} us a message ({values[-1][1]:.1f} a turn)"
                    for size, values in zip(sizes, found)))
        finally:
            for crowd in crowds:
                crowd.leave()
    cost = [statistics.median(us for us, _ in values) for values in found]
    by_bytes, by_cpu = largest_deviation(bytes_each, bytes_each[0]), largest_deviation(cost, cost[1])
    say(f"  median: {', '.join(f'{us:.2f}' for us in cost)} us a message; bytes deviate by {by_bytes:.1%}, "
        f"CPU by {by_cpu:.1%}")
    return {"deviation": max(by_bytes, by_cpu), "bytes": by_bytes, "cpu": by_cpu,
            "spread": max(rig.spread([us for us, _ in values]) for values in found)}


def role_costs(bed, duration):
    """{role: (CPU-seconds a second, bytes by PSS)} of a cluster that nobody uses."""
    pids = {role: [process.process.pid for process in processes]
            for role, processes in bed.cluster.processes.items()}
    before = {role: sum(map(cpu_seconds, found)) for role, found in pids.items()}
    time.sleep(duration)
    return {role: ((sum(map(cpu_seconds, found)) - before[role]) / duration, sum(map(pss_bytes, found)))
            for role, found in pids.items()}


def say_cost_of_a_room(small, large, rooms):
    """What each room more costs every process of the cluster, by two clusters that differ in rooms only."""
    for role in small:
        cpu, size = ((large[role][i] - small[role][i]) / rooms for i in (0, 1))
        say(f"  a room more: {role} {cpu * 1e6:+,.0f} us of CPU a second, {size:+,.0f} B")


@row("scale-rooms", "deviation", 0.1, 0.05, less_is_better=True)
def scale_rooms():
    """The same in a room of 1,000 in clusters of 1, 10 and 50 rooms, the mean over their rooms; and what a room costs.

    Three clusters side by side, measured in turn. Their rooms get the load one after the other, as two processors are
    not 50: so the turns of each are as full as those of a room that is alone, and what the others cost it shows."""
    each = scaled(EACH)
    numbers = [max(int(number * min(SCALE * 10, 1)), 1) for number in ROOMS]
    found = [[] for _ in numbers]
    with contextlib.ExitStack() as stack:
        # A process of 5 MB may keep 128 KiB that it has freed, or not: as much as 600 connections.
        os.environ["MALLOC_TRIM_THRESHOLD_"] = "16384"
        stack.callback(os.environ.pop, "MALLOC_TRIM_THRESHOLD_")
        beds = [stack.enter_context(Rig()) for _ in numbers]
        for bed, number in zip(beds, numbers):
            bed.start({"room": {"tcp__congestion": CONGESTION, "why__records": FEW_NOTES}}, room=number)
        clusters = start_crowds(beds)
        costs = [role_costs(bed, seconds(5)) for bed in beds]
        say_cost_of_a_room(costs[0], costs[-1], max(numbers[-1] - numbers[0], 1))
        everybody = [crowd for crowds in clusters for crowd in crowds]
        for crowd in everybody:
            stack.callback(crowd.leave)
        by_room = iter(fill(everybody, [each] * len(everybody), scaled(FEW), FEW_NOTES, 60)[0])
        size = [statistics.mean(next(by_room) for _ in crowds) for crowds in clusters]
        measure_idle(everybody, seconds(5))
        for number, crowds, bytes_each in zip(numbers, clusters, size):
            say(f"  {number} rooms of {each}: {bytes_each:.1f} B a connection; idle "
                f"{statistics.mean(crowd.idle for crowd in crowds) * 1e6:,.0f} us of CPU a second in each room")
        for number in range(ROUNDS):
            for crowds, values in zip(clusters, found):
                duration = seconds(max(10 / len(crowds), 0.5))
                values.append([statistics.mean(each) for each in zip(*(crowd.message_us(duration) for crowd in crowds))])
            say(f"  round {number + 1}: " + ", ".join(
                f"{rooms} rooms {values[-1][0]:.2f} us a message ({values[-1][1]:.1f} a turn)"
                for rooms, values in zip(numbers, found)))
    cost = [statistics.median(us for us, _ in values) for values in found]
    by_bytes, by_cpu = (largest_deviation(values, values[1]) for values in (size, cost))
    say(f"  median: {', '.join(f'{us:.2f}' for us in cost)} us a message; bytes deviate by {by_bytes:.1%}, "
        f"CPU by {by_cpu:.1%}")
    return {"deviation": max(by_bytes, by_cpu), "bytes": by_bytes, "cpu": by_cpu,
            "spread": max(rig.spread([us for us, _ in values]) for values in found)}
