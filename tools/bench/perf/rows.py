"""The goals, one function each: measures both sides in turn and says what came out."""

import json
import os
import re
import statistics
import subprocess
import tempfile
import time

import rig
from rig import APP, Rig, cpu_seconds, program, pss_bytes, run_json
from harness.waiting import wait_until

CONGESTION = "cubic"  # the same on both sides
ROUNDS = int(os.environ.get("HOLDFAST_PERF_ROUNDS", "5"))
SCALE = float(os.environ.get("HOLDFAST_PERF_SCALE", "1"))  # below 1: a smoke test
ROWS = {}


def row(name, key, gate, aim, less_is_better=False):
    def add(function):
        ROWS[name] = (function, key, gate, aim, less_is_better)
        return function
    return add


def scaled(number):
    return max(int(number * SCALE), 1)


def seconds(number):
    return max(number * SCALE, 0.5)


def say(text):
    print(text, flush=True)


class Pairs:
    """A B A B ...: yardstick and Holdfast in turn, and the ratio of each pair."""

    def __init__(self, what):
        self.what = what
        self.pairs = []

    def run(self, yardstick, holdfast):
        for number in range(ROUNDS):
            pair = (yardstick(), holdfast())
            self.pairs.append(pair)
            say(f"  round {number + 1}: yardstick {pair[0]:,.0f}, holdfast {pair[1]:,.0f} {self.what}, "
                f"ratio {pair[1] / pair[0]:.3f}")

    def result(self):
        ratios = [ours / theirs for theirs, ours in self.pairs]
        say(f"  median: yardstick {statistics.median(p[0] for p in self.pairs):,.0f}, "
            f"holdfast {statistics.median(p[1] for p in self.pairs):,.0f} {self.what}")
        return {"ratio": statistics.median(ratios), "spread": rig.spread(ratios),
                "yardstick": statistics.median(p[0] for p in self.pairs),
                "holdfast": statistics.median(p[1] for p in self.pairs)}


def yardstick(name, clients, size, duration, unit="per_cpu_s"):
    ours, others = (next(iter(cpu)) for cpu in rig.cpus())
    return run_json([program(f"yardstick-{name}"), "--clients", str(clients), "--size", str(size), "--seconds",
                     str(duration), "--server-cpu", str(ours), "--client-cpu", str(others), "--congestion",
                     CONGESTION])[unit]


def end(process):
    process.terminate()
    process.wait(30)


def idle_bytes(room, connrate=4000, **options):
    """PSS of a room with 19,000 idle clients, less that without any, by client.

    The ring of what it did lately (common/why) is left small: it is there once, and fills whoever connects. A
    connection is idle when its login is history, the 8 s in which it had to log in included."""
    count = scaled(19000)
    found = []
    for _ in range(max(ROUNDS // 2, 1)):
        with Rig() as bed:
            bed.start({"room": {"why__records": 1024, **room(bed)}})
            pid = bed.cluster.room.process.pid
            before = pss_bytes(pid)
            clients = bed.clients("conn", count, prefix="bench-device-", startnumber=1000000, connrate=connrate, **options)
            time.sleep(seconds(10))
            after = pss_bytes(pid)
            found.append((after - before) / count)
            say(f"  {count} clients: {before:,} B before, {after:,} B with them, {found[-1]:.1f} B each")
            end(clients)
    return {"bytes": statistics.median(found), "spread": rig.spread(found)}


@row("idle-memory", "bytes", 300, 160, less_is_better=True)
def idle_memory():
    """PSS of a room with 19,000 idle clients, one session each, ids of 20 bytes, less that without any."""
    return idle_bytes(lambda bed: {})


@row("tls-memory", "bytes", 15500, 15000, less_is_better=True)
def tls_memory():
    """The same over TLS 1.3, with a certificate of P-256; arrivals no faster than their handshakes are done."""
    def room(bed):
        certificate, key = bed.certificate()
        return {"listeners": f"[{{bind: '127.0.0.1:0', tls: {{certificate: '{certificate}', key_file: '{key}'}}}}]"}
    return idle_bytes(room, connrate=1200, tls=True)


class Rooms:
    """A cluster with clients, for what is measured in CPU-seconds of its room."""

    def __init__(self, count, settings=None):
        self.ours, self.others = rig.cpus()
        self.bed = Rig()
        self.count = count
        try:
            self._start({"tcp__congestion": CONGESTION, **(settings or {})})
        except BaseException:
            self.bed.__exit__()
            raise

    def _start(self, room):
        self.bed.start({"room": room})
        self.bed.pin_all(self.others)
        self.bed.pin("room", self.ours)
        self.stats_file = os.path.join(self.bed.folder, "clients.stats")
        self.clients = self.bed.clients("recv", self.count, cpu=self.others, connrate=4000, stats_file=self.stats_file)
        self.room = self.bed.cluster.room

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        end(self.clients)
        self.bed.__exit__(*exception)

    def drive(self, operation, duration, **options):
        words = [program("hf-drive"), operation, "--address", self.bed.rpc_address("room"), "--other",
                 self.bed.rpc_address("register"), "--app", str(APP), "--count", str(self.count), "--seconds",
                 str(duration), "--stats-file", self.stats_file] + rig.flags(options)
        return run_json(words, cpu=self.others)

    def per_cpu_second(self, metric, work):
        """What `metric` grew by while `work` ran, by CPU-second of the room."""
        pid = self.room.process.pid
        cpu, before = cpu_seconds(pid), self.room.metric(metric)
        work()
        grown = -1
        while grown != self.room.metric(metric):  # the last acks
            grown = self.room.metric(metric)
            time.sleep(0.2)
        return (grown - before) / (cpu_seconds(pid) - cpu)


@row("push-ack", "ratio", 0.75, 0.9)
def push_ack():
    """Stored pushes through Room.Push, each acked by its client, by CPU-second of the room alone."""
    clients = scaled(10000)
    pairs = Pairs("push+ack a CPU-second")
    with Rooms(clients) as rooms:
        pairs.run(lambda: yardstick("ack-loop", clients, 256, seconds(4)),
                  lambda: rooms.per_cpu_second("holdfast_messages_acked_total",
                                               lambda: rooms.drive("push", seconds(4), items=64, inflight=16)))
    return pairs.result()


def fan(items, clients):
    pairs = Pairs("deliveries a CPU-second")
    with Rooms(clients) as rooms:
        pairs.run(lambda: yardstick("send-loop", clients, 256, seconds(4)),
                  lambda: rooms.per_cpu_second("holdfast_messages_written_total",
                                               lambda: rooms.drive("fanout", seconds(4), items=items, inflight=1,
                                                                   transient=1)))
    return pairs.result()


@row("fanout", "ratio", 0.85, 0.95)
def fanout():
    """One message to all clients of a room, again and again (Room.Push: rooms have no tags yet)."""
    return fan(1, scaled(10000))


@row("burst", "ratio", 10, 17)
def burst():
    """20 messages to each of 3,000 clients within a turn (a call takes 65,536 targets), against the same loop."""
    return fan(20, scaled(3000))


@row("why", "ns", 100, 50, less_is_better=True)
def why():
    """One record of common/why, with the hash of a registration, beside one reading of the clock."""
    found = []
    for number in range(ROUNDS):
        cost = run_json([program("hf-why-cost")])
        found.append(cost["note_with_name_ns"])
        say(f"  round {number + 1}: clock {cost['clock_ns']} ns, record {cost['note_ns']} ns, "
            f"with a name {cost['note_with_name_ns']} ns, one look through 65,536: {cost['find_us']} us")
    return {"ns": statistics.median(found), "spread": rig.spread(found)}


@row("login", "ratio", 0.3, 0.5)
def login():
    """Logins, and their ends, by CPU-second of the room: token, register, load from saver."""
    clients = scaled(10000)
    pairs = Pairs("logins a CPU-second")
    ours, others = rig.cpus()
    with Rig() as bed:
        bed.start({"room": {"tcp__congestion": CONGESTION}})
        bed.pin_all(others)
        bed.pin("room", ours)
        pid = bed.cluster.room.process.pid

        def logins():
            cpu = cpu_seconds(pid)
            with tempfile.TemporaryDirectory() as out:
                run = subprocess.run(bed.client_command("conn", clients, connrate=20000, duration="4s", out=out),
                                     stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, others),
                                     check=False)
                with open(os.path.join(out, "summary.json"), encoding="utf-8") as file:
                    done = json.load(file)["connections"]["opened"]
            if run.returncode not in (0, 6):
                raise RuntimeError(f"hf-bench ended with {run.returncode}")
            while bed.cluster.room.metric("holdfast_room_connections") > 0:
                time.sleep(0.1)
            return done / (cpu_seconds(pid) - cpu)
        pairs.run(lambda: yardstick("accept-loop", 1, 300, seconds(4)), logins)
    return pairs.result()


def unicasts(batch):
    clients = scaled(10000)
    pairs = Pairs("messages acked a second")
    duration = seconds(6)
    with Rig() as bed:
        bed.start({"room": {"tcp__congestion": CONGESTION}})
        listeners = bed.clients("recv", clients, connrate=4000)
        room = bed.cluster.room

        def push():
            before, start = room.metric("holdfast_messages_acked_total"), time.monotonic()
            subprocess.run(bed.push_command(clients, rate=0, batch=batch, connections=16,
                                            pipeline=32 if batch == 1 else 4, duration=f"{int(duration * 1000)}ms"),
                           stdout=subprocess.DEVNULL, check=False)
            acked = -1
            while acked != room.metric("holdfast_messages_acked_total"):
                acked = room.metric("holdfast_messages_acked_total")
                took = time.monotonic() - start
                time.sleep(0.2)
            return (acked - before) / took
        pairs.run(lambda: yardstick("ack-loop", clients, 256, seconds(4), "per_second"), push)
        end(listeners)
    result = pairs.result()
    result["per_second"] = result["holdfast"]
    return result


@row("unicast", "ratio", 0.35, 0.5)
def unicast():
    """The whole path from an HTTP request to the ack, 100 messages a request, all of it on these processors."""
    return unicasts(100)


@row("unicast-single", "ratio", None, None)
def unicast_single():
    """The same, one message a request."""
    return unicasts(1)


def redis_benchmark(address, calls, *command):
    words = ["redis-benchmark", *address, "-c", "1", "-P", "64", "-n", str(calls), "--csv", *command]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return float(re.findall(r'^"[^"]*","([0-9.]+)"', out, re.MULTILINE)[-1])


@row("rpc", "ratio", 0.5, 1.0)
def rpc():
    """Calls of 64 bytes each way, 64 in flight on one connection, against PING of redis-benchmark."""
    ours, others = rig.cpus()
    pairs = Pairs("calls a second")
    with tempfile.TemporaryDirectory() as folder:
        redis = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", f"{folder}/r", "--save", "",
                                  "--appendonly", "no", "--dir", folder], stdout=subprocess.DEVNULL)
        rig.pin(redis.pid, ours)
        wait_until(lambda: os.path.exists(f"{folder}/r"), 10, "redis listens")
        server = subprocess.Popen([program("hf-drive"), "echo-server", "--address", f"unix:{folder}/h"],
                                  stdout=subprocess.PIPE, text=True)
        server.stdout.readline()
        rig.pin(server.pid, ours)
        os.sched_setaffinity(0, others)
        try:
            pairs.run(lambda: redis_benchmark(["-s", f"{folder}/r"], scaled(2000000), "-t", "ping_mbulk"),
                      lambda: run_json([program("hf-drive"), "echo", "--address", f"unix:{folder}/h", "--inflight",
                                        "64", "--seconds", str(seconds(3))])["per_second"])
        finally:
            end(server)
            end(redis)
    return pairs.result()


@row("store", "ratio", 0.5, 0.8)
def store():
    """Saver.Store of one message of 256 bytes, 64 in flight, against HSET on the same Redis."""
    pairs = Pairs("appends a second")
    value = "x" * 288
    with Rig() as bed:
        bed.start()
        pairs.run(lambda: redis_benchmark(["-s", bed.redis.socket, "-r", "10000"], scaled(200000), "HSET",
                                          "yardstick:__rand_int__", "f__rand_int__", value),
                  lambda: run_json([program("hf-drive"), "store", "--address", bed.rpc_address("saver"), "--app",
                                    str(APP), "--count", "10000", "--size", "256", "--inflight", "64",
                                    "--seconds", str(seconds(4))])["per_second"])
    return pairs.result()


def salt_of(bed):
    with open(os.path.join(bed.cluster.keeper, "config", "cluster"), encoding="utf-8") as file:
        return json.load(file)["salt"]


@row("register", "bytes", 64, 48, less_is_better=True)
def register():
    """PSS a session with a million of them, ids of 20 bytes; lookups a second, 64 a call."""
    count = scaled(1000000)
    ours, others = rig.cpus()
    with Rig() as bed:
        bed.start()
        process = bed.cluster.register
        pid = process.process.pid
        room = bed.cluster.room.instance()
        bed.pin_all(others)
        bed.pin("register", ours)
        before = pss_bytes(pid)
        words = ["--address", bed.rpc_address("register"), "--app", str(APP), "--count", str(count), "--prefix",
                 "bench-device-1"]
        filled = run_json([program("hf-drive"), "fill", "--seconds", "0", "--inflight", "1", "--salt", salt_of(bed),
                           "--room", str(room["number"]), "--incarnation", room["incarnation"]] + words,
                          cpu=others)
        bytes_each = (pss_bytes(pid) - before) / count
        known = process.metric("holdfast_register_sessions")
        if known != count:
            raise RuntimeError(f"register knows {known} of {count} sessions")
        say(f"  {count} sessions in {filled['seconds']} s: {bytes_each:.1f} B each by PSS, "
            f"{process.metric('holdfast_register_table_bytes') / count:.1f} B by its own count")
        rates = []
        for _ in range(ROUNDS):
            cpu = cpu_seconds(pid)
            done = run_json([program("hf-drive"), "lookup", "--items", "64", "--inflight", "16", "--seconds",
                             str(seconds(2))] + words, cpu=others)
            rates.append(done["per_second"])
            say(f"  {done['per_second']:,.0f} lookups a second, "
                f"{done['units'] / (cpu_seconds(pid) - cpu):,.0f} a CPU-second of register, "
                f"{done['units'] / done['cpu_s']:,.0f} of the caller")
    return {"bytes": bytes_each, "per_second": statistics.median(rates), "per_second_gate": 300000,
            "per_second_aim": 1000000, "spread": rig.spread(rates),
            "also_ok": statistics.median(rates) >= 300000}


@row("storm", "ratio", 5, 2, less_is_better=True)
def storm():
    """p99 of what steady clients get while half of all come back at once, by the quiet p99.

    Each time in a new cluster: what the last push left owed would come to the next clients as old messages."""
    clients = scaled(8000)
    ratios = []
    for _ in range(max(ROUNDS // 2, 1)):
        with Rig() as bed, tempfile.TemporaryDirectory() as out:
            bed.start({"room": {"tcp__congestion": CONGESTION, "limits__login_rate": 5000}})  # the default
            settle, every = (f"{int(seconds(number) * 1000)}ms" for number in (8, 6))
            run = subprocess.Popen(bed.client_command("storm", clients, connrate=4000, settle=settle, waves=6,
                                                      wave_every=every, duration=settle, out=out),
                                   stdout=subprocess.DEVNULL)
            wait_until(lambda: bed.cluster.room.metric("holdfast_room_connections") >= clients, 60, "the logins")
            push = subprocess.Popen(bed.push_command(clients, rate=500, qos=1, duration=0), stdout=subprocess.DEVNULL)
            run.wait(120)
            end(push)
            with open(os.path.join(out, "summary.json"), encoding="utf-8") as file:
                summary = json.load(file)
        latency = summary["latency_us"]
        quiet, during = latency["deliver"]["corrected"]["p99"], latency["deliver_storm"]["p99"]
        ratios.append(during / quiet)
        waves = statistics.median(wave["recovery_s"] for wave in summary["connections"]["waves"])
        say(f"  quiet p99 {quiet / 1000:.2f} ms, in the storm {during / 1000:.2f} ms "
            f"({latency['deliver_storm']['count']} deliveries), back after {waves:.2f} s, ratio {ratios[-1]:.2f}")
    return {"ratio": statistics.median(ratios), "spread": rig.spread(ratios)}


def p99_of(bed, clients, rate, meanwhile=lambda: None):
    """p99 of unicast deliveries, in ms, while `meanwhile` is called again and again."""
    with tempfile.TemporaryDirectory() as out:
        listeners = subprocess.Popen(bed.client_command("recv", clients, connrate=4000, duration=0, out=out),
                                     stdout=subprocess.DEVNULL)
        wait_until(lambda: bed.cluster.room.metric("holdfast_room_connections") >= clients, 60, "the logins")
        push = subprocess.Popen(bed.push_command(clients, rate=rate, qos=1, duration=f"{int(seconds(10) * 1000)}ms"),
                                stdout=subprocess.DEVNULL)
        while push.poll() is None:
            meanwhile()
            time.sleep(0.05)
        end(listeners)
        with open(os.path.join(out, "summary.json"), encoding="utf-8") as file:
            found = json.load(file)
        wait_until(lambda: bed.cluster.room.metric("holdfast_room_connections") == 0, 60, "the clients' end")
    return found["latency_us"]["deliver"]["corrected"]["p99"] / 1000, found["messages"]["received"]


@row("mixed", "ratio", 3, 1.5, less_is_better=True)
def mixed():
    """p99 of unicasts while broadcasts to all run one after the other, by the p99 without."""
    clients = scaled(10000)
    ratios = []
    for _ in range(max(ROUNDS // 2, 1)):
        with Rig() as bed:
            bed.start({"room": {"tcp__congestion": CONGESTION}})
            quiet, _ = p99_of(bed, clients, 500)
            done = []

            def broadcast():
                if not done or bed.message_state(done[-1]) in ("sent", "failed"):
                    done.append(bed.broadcast(b"to everybody, again", ttl=60))
            busy, received = p99_of(bed, clients, 500, broadcast)
            ratios.append(busy / quiet)
            say(f"  quiet p99 {quiet:.2f} ms, beside {len(done)} broadcasts to {clients} clients {busy:.2f} ms "
                f"({received} messages in all), ratio {ratios[-1]:.2f}")
    return {"ratio": statistics.median(ratios), "spread": rig.spread(ratios)}


def measure(name):
    function, key, gate, aim, less = ROWS[name]
    say(f"{name}: {function.__doc__.splitlines()[0]}")
    result = function()
    ok = None
    if gate == "done":
        ok = result.pop("done")
    elif gate is not None:
        ok = (result[key] <= gate if less else result[key] >= gate) and result.pop("also_ok", True)
    line = {"name": name, **{field: round(value, 4) for field, value in result.items()}, "gate": gate, "aim": aim,
            "ok": ok}
    say(json.dumps(line))
    return ok is not False
