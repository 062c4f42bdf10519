"""The goal `million`: what a million clients cost while they log in, while they idle, and for one broadcast."""

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import socket
import struct
import subprocess
import tempfile
import time

import rig
from rig import Rig, cpu_seconds, pss_bytes
from rows import SCALE, row, say, scaled

LOGIN_RATE = 2500  # arrivals a second of all clients together: half of what the machine can do, as who fails comes again
ROOM_SHARE = 18000  # clients for each room, of the 19,700 that fit: who comes back goes to any room; hf-bench takes 64 rooms
# A hundred processes share the processors with those that there is one of, which all of them wait for.
ROOM_NICE, CLIENT_NICE = 5, 10
NEEDED = 12000  # bytes of memory for each client, of the kernel and of all processes, while a broadcast goes out
HELD_STEP = 512 * 1024
BUCKETS = "/proc/sys/net/ipv4/tcp_child_ehash_entries"  # of the table of sockets that a new network has
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
KERNEL = ("Slab", "PageTables", "KernelStack", "Percpu")


def meminfo():
    with open("/proc/meminfo", encoding="ascii") as file:
        return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}


def memory():
    """(bytes not available any more, of these: what the kernel counts as its own, and TCP's buffers)."""
    found = meminfo()
    with open("/proc/net/sockstat", encoding="ascii") as file:
        pages = next(line.split()[-1] for line in file if line.startswith("TCP:"))
    return found["MemTotal"] - found["MemAvailable"], sum(found[name] for name in KERNEL), int(pages) * 4096


def touch_memory(size):
    """Memory that the machine has at hand: (what keeps it so while it lives, seconds a GB took).

    The host of a virtual machine takes free memory back, and the first touch of it then costs up to ten times as much as
    any other: that is no part of what a million clients cost. So it is touched first, and given back but for a page
    of each half MiB, without which the kernel has no block large enough to report as free."""
    begun = time.monotonic()
    held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
    took = time.monotonic() - begun
    for start in range(0, size - HELD_STEP + 1, HELD_STEP):
        held.madvise(mmap.MADV_DONTNEED, start + mmap.PAGESIZE, HELD_STEP - mmap.PAGESIZE)
    return held, took / (size / 1e9)


def become_network(number, descriptor=-1):
    """This process goes into a new network of that many buckets, or back into the one of the descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    if descriptor >= 0:
        libc.setns(descriptor, CLONE_NEWNET)
        return
    limit = os.open(BUCKETS, os.O_RDWR)
    try:
        before = os.pread(limit, 32, 0)
        os.pwrite(limit, str(number).encode(), 0)
        failed = libc.unshare(CLONE_NEWNET)
        os.pwrite(limit, before, 0)
    finally:
        os.close(limit)
    if failed:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


@contextlib.contextmanager
def large_network(sockets):
    """A network whose table of sockets is as large as that; where that is not allowed, the machine's.

    A kernel begins with up to half a million buckets, whatever its memory (thash_entries= on its command line changes that).
    Each packet is looked up in it, and on a loopback both ends of a connection are in it."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        become_network(1 << (sockets - 1).bit_length())
    except OSError as error:
        say(f"  the table of sockets stays as it is: {error}")
    with open("/proc/sys/net/ipv4/tcp_ehash_entries", encoding="ascii") as file:
        say(f"  the table of sockets has {abs(int(file.read())):,} buckets")
    try:
        yield
    finally:
        become_network(0, here)
        os.close(here)


def descendants(pid):
    """A process and all that it started."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(name))
    found = [pid]
    for process in found:
        found += children.get(process, [])
    return found


class Parts:
    """The processes by what they are, and what they used since the last look."""

    def __init__(self, bed, clients):
        self.bed, self.clients, self.last = bed, clients, {}

    def pids(self):
        cluster = self.bed.cluster
        found = {role: [process.process.pid for process in processes]
                 for role, processes in cluster.processes.items() if processes}
        found["redis"], found["mariadb"] = [self.bed.redis.process.pid], [self.bed.mariadb.process.pid]
        found["clients"] = descendants(self.clients.pid)
        return found

    def cpu(self):
        """CPU-seconds of each part since the last call."""
        now = {part: sum(cpu_seconds(pid) for pid in pids) for part, pids in self.pids().items()}
        used = {part: value - self.last.get(part, 0) for part, value in now.items()}
        self.last = now
        return used

    def pss(self):
        return {part: sum(pss_bytes(pid) for pid in pids) for part, pids in self.pids().items()}


def say_cpu(what, used, count):
    parts = sorted(used.items(), key=lambda part: -part[1])
    say(f"  {what}: CPU {sum(used.values()):.1f} s, {sum(used.values()) / count * 1e6:.1f} us a client: "
        + ", ".join(f"{part} {value / count * 1e6:.1f}" for part, value in parts if value / count > 5e-8))


class Commands:
    """What Redis was asked for since the last look."""

    def __init__(self, redis):
        self.redis, self.last = redis, {}

    def say(self, count):
        now = {}
        for line in self.redis.call("INFO", "all"):
            name, _, value = line.partition(":")
            if name.startswith("cmdstat_"):
                now[name[len("cmdstat_"):]] = int(value.split(",")[0].split("=")[1])
            elif name in ("total_net_input_bytes", "aof_current_size"):
                now[name] = int(value)
        used = {name: (value - self.last.get(name, 0)) / count for name, value in now.items()}
        self.last = now
        commands = {name: value for name, value in used.items() if "_bytes" not in name and "aof" not in name}
        say(f"  Redis, a client: {sum(commands.values()):.2f} commands ("
            + ", ".join(f"{name} {value:.2f}" for name, value in sorted(commands.items(), key=lambda c: -c[1])
                        if value >= 0.005)
            + f"), {used['total_net_input_bytes']:.0f} B in, AOF {used['aof_current_size']:+.0f} B")


def sample(process, start):
    """The sum of the samples whose lines begin so: reads much less than Process.metric()."""
    body = process.admin("GET", "/metrics").body.decode()
    return sum(float(line.rpartition(" ")[2]) for line in body.splitlines() if line.startswith(start))


def wait_for(what, seconds, condition, every=3.0):
    """Asks seldom: fifty rooms have much to tell."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() > begun + seconds:
            raise RuntimeError(f"not in {seconds} s: {what}")
        time.sleep(every)


class Crowd:
    """The clients, from their logins to what they got."""

    def __init__(self, bed, count, folder):
        self.bed, self.count, self.folder = bed, count, folder
        self.rooms, self.saver = bed.cluster.processes["room"], bed.cluster.processes["saver"]
        self.process = None

    def rooms_say(self, start):
        return sum(sample(room, start) for room in self.rooms)

    def savers_say(self, start):
        return sum(sample(saver, start) for saver in self.saver)

    def log_in(self):
        """Back when all are logged in, what they are owed was loaded, and MySQL has their records."""
        begun = time.monotonic()
        for room in self.rooms:
            os.setpriority(os.PRIO_PROCESS, room.process.pid, ROOM_NICE)
        words = self.bed.client_command("recv", self.count, connrate=LOGIN_RATE, duration=0, out=self.folder,
                                        lag_limit="10s", interval="20s")
        words.remove("--quiet")
        self.process = subprocess.Popen(words, preexec_fn=lambda: os.nice(CLIENT_NICE))
        times = []
        for what, have in (
                ("all are logged in", lambda: self.rooms_say("holdfast_room_logged_in_connections ")),
                ("all is loaded", lambda: self.rooms_say('holdfast_room_loads_total{result="ok"}')),
                ("MySQL has all", lambda: self.savers_say("holdfast_saver_registry_rows_written_total "))):
            wait_for(what, 600 * SCALE + 60, lambda have=have: have() >= self.count)
            times.append(time.monotonic() - begun)
        failed, refused = (self.rooms_say(f'holdfast_room_loads_total{{result="{result}"}}')
                           for result in ("failed", "overloaded"))
        say(f"  {self.count:,} clients in {len(self.rooms)} rooms: all logged in after {times[0]:.0f} s, "
            f"what they are owed loaded after {times[1]:.0f} s ({failed:,.0f} loads failed, {refused:,.0f} were too much for the saver), "
            f"their records in MySQL after {times[2]:.0f} s")

    def broadcast(self):
        """One message to all; back when all have acked it, or will not in time."""
        shares = [(room, sample(room, "holdfast_room_logged_in_connections ")) for room in self.rooms]
        begun = time.monotonic()
        self.bed.broadcast(rig.payload(256), ttl=600)
        try:
            for room, share in shares:
                wait_for("all acks are in the rooms", 120,
                         lambda room=room, share=share: sample(room, "holdfast_messages_acked_total ") >= share, 0.1)
            took = time.monotonic() - begun
            wait_for("all acks are in the store", 120,
                     lambda: self.savers_say("holdfast_saver_broadcasts_acked_total ") >= self.count, 0.1)
            say(f"  the acks were in the rooms after {took:.1f} s, in the store after {time.monotonic() - begun:.1f} s")
        except RuntimeError as error:
            say(f"  {error}")

    def end(self):
        """What they say of it."""
        self.process.terminate()
        self.process.wait(120)
        with open(os.path.join(self.folder, "summary.json"), encoding="utf-8") as file:
            return json.load(file)


def say_memory(before, parts, count):
    used, kernel, tcp = (now - then for now, then in zip(memory(), before))
    pss = parts.pss()
    say(f"  memory: {used / 1e9:.2f} GB more in use, {used / count:,.0f} B a client; kernel's own {kernel / 1e9:.2f} GB, "
        f"TCP's buffers {tcp / 1e9:.2f} GB; PSS: "
        + ", ".join(f"{part} {value / 1e9:.3f}" for part, value in sorted(pss.items(), key=lambda part: -part[1])
                    if value > 5e5) + " GB")
    return used


@row("million", "seconds", "done", 15, less_is_better=True)
def million():
    """A million clients on one machine (HOLDFAST_PERF_SCALE of it), then one broadcast: all have it (aim: 12 GB, 15 s)."""
    count = scaled(1000000)
    held, took = touch_memory(count * NEEDED)
    say(f"  memory, the first touch of a GB: {took:.2f} s")
    with held, large_network(2 * count), Rig("1G", "256M") as bed, tempfile.TemporaryDirectory() as folder:
        before = memory()
        bed.start(room=count // ROOM_SHARE + 1)
        crowd = Crowd(bed, count, folder)
        crowd.log_in()
        parts, commands = Parts(bed, crowd.process), Commands(bed.redis)
        say_cpu("a first login", parts.cpu(), count)
        commands.say(count)
        used = say_memory(before, parts, count)
        time.sleep(10)
        idle = {part: value * 10 for part, value in parts.cpu().items()}
        say("  idle, percent of a processor: "
            + ", ".join(f"{part} {value:.2f}" for part, value in sorted(idle.items(), key=lambda part: -part[1])))
        commands.say(count)
        crowd.broadcast()
        say_cpu("a broadcast", parts.cpu(), count)
        commands.say(count)
        found = crowd.end()
    received, latency = found["messages"]["received"], found["latency_us"]["deliver"]["corrected"]
    say(f"  {received:,} of {count:,} have it; p50 {latency['p50'] / 1e6:.2f} s, p99 {latency['p99'] / 1e6:.2f} s, "
        f"last {latency['max'] / 1e6:.2f} s")
    return {"seconds": latency["max"] / 1e6, "spread": 0.0, "bytes": used,
            "idle_percent": sum(value for part, value in idle.items() if part != "clients"),
            "done": received == count}
