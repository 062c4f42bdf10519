#include <errno.h>
#include <stdio.h>

#include "room.h"
#include "window.h"

#define AT(member)   offsetof(struct room_config, member)
#define ITEM(member) offsetof(struct room_listener_config, member)

static const struct hf_option listener_options[] = {
	{ "bind", HF_OPT_ADDRESS, ITEM(bind), NULL, 0, 0, "where clients connect" },
	{ "advertise", HF_OPT_STRING, ITEM(advertise), "", 0, HF_ADDRESS_MAX - 1,
	  "address told to clients; default the bound one" },
	{ "tls.certificate", HF_OPT_STRING, ITEM(certificate), "", 0, 1024,
	  "certificate chain, PEM; with it, plain and TLS share the port" },
	{ "tls.key_file", HF_OPT_STRING, ITEM(key_file), "", 0, 1024, "private key, PEM" },
	{ "backlog", HF_OPT_UINT, ITEM(backlog), "4096", 1, 1000000,
	  "connections that may wait for accept (the kernel caps it by somaxconn)" },
	{ "reuse_port", HF_OPT_BOOL, ITEM(reuse_port), "false", 0, 0,
	  "let several rooms bind this port; the kernel spreads the connections" },
	{ 0 },
};

#define KEEPALIVE(name, member, initial, max)                                           \
	{ name ".initial",                                                              \
	  HF_OPT_MSEC,                                                                  \
	  AT(member.initial_ms),                                                        \
	  initial,                                                                      \
	  1000,                                                                         \
	  43200000,                                                                     \
	  "heartbeat agreed when the client wishes none",                               \
	  .reloadable = true },                                                         \
		{ name ".min", HF_OPT_MSEC, AT(member.min_ms),    "60s",                \
		  1000,        43200000,    "shortest heartbeat", .reloadable = true }, \
	{                                                                               \
		name ".max", HF_OPT_MSEC, AT(member.max_ms), max, 1000, 43200000,       \
			"longest heartbeat", .reloadable = true                         \
	}

const struct hf_option room_options[] = {
	HF_SERVICE_OPTIONS(struct room_config),
	{ "listeners", HF_OPT_LIST, AT(listeners), "[{bind: \"0.0.0.0:7001\"}]", 1, 8,
	  "ports for clients", .items = listener_options,
	  .item_size = sizeof(struct room_listener_config) },
	{ "limits.connections", HF_OPT_UINT, AT(limits.connections), "1000000", 1, 16000000,
	  "client connections at once; descriptors may allow fewer" },
	{ "limits.accept_rate", HF_OPT_UINT, AT(limits.accept_rate), "20000", 1, 1000000,
	  "new connections a second; those above it are closed with 4100", .reloadable = true },
	{ "limits.per_ip_connections", HF_OPT_UINT, AT(limits.per_ip_connections), "2000", 0,
	  16000000, "connections of one address (IPv6: of one /64); 0: no limit",
	  .reloadable = true },
	{ "limits.per_ip_accept_rate", HF_OPT_UINT, AT(limits.per_ip_accept_rate), "200", 0,
	  1000000, "new connections a second of one address; 0: no limit", .reloadable = true },
	{ "limits.per_ip_failed_logins", HF_OPT_UINT, AT(limits.per_ip_failed_logins), "30", 0,
	  1000000, "failed logins a minute of one address before the penalty; 0: no limit",
	  .reloadable = true },
	{ "limits.per_ip_penalty", HF_OPT_MSEC, AT(limits.per_ip_penalty_ms), "1m", 1000, 86400000,
	  "how long an address is refused then", .reloadable = true },
	{ "limits.per_ip_exempt", HF_OPT_STRINGS, AT(limits.per_ip_exempt), "127.0.0.0/8, ::1/128",
	  0, IP_NETWORKS_MAX,
	  "networks that the per_ip limits do not count, such as load balancers",
	  .reloadable = true },
	{ "limits.handshake_timeout", HF_OPT_MSEC, AT(limits.handshake_timeout_ms), "8s", 100,
	  600000, "from accept to a valid LOGIN", .reloadable = true },
	{ "limits.register_timeout", HF_OPT_MSEC, AT(limits.register_timeout_ms), "1s", 10, 60000,
	  "longest wait for register in a login; it goes on without", .reloadable = true },
	{ "limits.logins_in_flight", HF_OPT_UINT, AT(limits.logins_in_flight), "256", 1, 1000000,
	  "logins that wait for register or saver at once; the clients after them are read later",
	  .reloadable = true },
	{ "limits.login_rate", HF_OPT_UINT, AT(limits.login_rate), "5000", 0, 1000000,
	  "logins a second; the clients after them are read later; 0: no limit",
	  .reloadable = true },
	{ "limits.login_max", HF_OPT_SIZE, AT(limits.login_max), "64KiB", 1024, HF_WIRE_LOGIN_MAX,
	  "body of a LOGIN frame", .reloadable = true },
	{ "limits.frame_max", HF_OPT_SIZE, AT(limits.frame_max), "64KiB", 1024,
	  HF_WIRE_PAYLOAD_MAX + 1024, "body of an UPSTREAM frame", .reloadable = true },
	{ "limits.partial_frames", HF_OPT_SIZE, AT(limits.partial_frames), "256MiB", 65536, 0,
	  "memory of the room for frames that are not complete", .reloadable = true },
	{ "limits.frames_per_second", HF_OPT_UINT, AT(limits.frames_per_second), "50", 0, 1000000,
	  "frames of one client, but ACKs of what is in flight; bursts of two seconds' worth; "
	  "0: no limit",
	  .reloadable = true },
	{ "limits.bytes_per_second", HF_OPT_SIZE, AT(limits.bytes_per_second), "64KiB", 0,
	  1ull << 30, "bytes of one client; bursts of two seconds' worth; 0: no limit",
	  .reloadable = true },
	{ "limits.unacked", HF_OPT_UINT, AT(limits.unacked), "32", 1, WINDOW_MAX,
	  "stored messages sent to a session and not acked", .reloadable = true },
	{ "limits.ack_timeout", HF_OPT_MSEC, AT(limits.ack_timeout_ms), "60s", 1000, 3600000,
	  "longest time that window may stay full; then the client is cut with 4102",
	  .reloadable = true },
	{ "limits.ack_backlog", HF_OPT_UINT, AT(limits.ack_backlog), "200000", 1000, 100000000,
	  "acks waiting for saver; above it they are lost and the messages come again",
	  .reloadable = true },
	{ "limits.upstream_in_flight", HF_OPT_UINT, AT(limits.upstream_in_flight), "8", 1,
	  UINT8_MAX, "UPSTREAM messages of one client that are not answered; above it 4101",
	  .reloadable = true },
	{ "limits.events", HF_OPT_UINT, AT(limits.events), "20000", 100, 10000000,
	  "events for callbacks that may wait here; above it they are counted and dropped",
	  .reloadable = true },
	{ "limits.upstream_timeout", HF_OPT_MSEC, AT(limits.upstream_timeout_ms), "25s", 1000,
	  120000, "longest wait for the outcome of one; above a callback's timeout and its queue's",
	  .reloadable = true },
	{ "limits.send_queue", HF_OPT_SIZE, AT(limits.send_queue), "256KiB", 4096, 1ull << 26,
	  "bytes queued for a client behind its full socket; overflow closes with 4102",
	  .reloadable = true },
	{ "tcp.user_timeout", HF_OPT_MSEC, AT(tcp.user_timeout_ms), "60s", 0, 3600000,
	  "how long sent bytes may stay unacknowledged by the peer's TCP; 0: the system's" },
	{ "tcp.notsent_lowat", HF_OPT_SIZE, AT(tcp.notsent_lowat), "16KiB", 0, 1ull << 30,
	  "unsent bytes that the kernel may hold for a client; 0: the system's" },
	{ "tcp.congestion", HF_OPT_STRING, AT(tcp.congestion), "", 0, 15,
	  "congestion control, such as cubic; default the system's" },
	KEEPALIVE("keepalive.cellular", keepalive.cellular, "270s", "570s"),
	KEEPALIVE("keepalive.wifi", keepalive.wifi, "300s", "900s"),
	{ "keepalive.grace", HF_OPT_MSEC, AT(keepalive.grace_ms), "15s", 0, 600000,
	  "beyond 1.5 heartbeats of silence, then the client is cut with 4201",
	  .reloadable = true },
	{ "broadcast.tasks", HF_OPT_UINT, AT(broadcast_tasks), "64", 1, 1024,
	  "broadcasts that are not done; above it TOO_MANY_TASKS", .reloadable = true },
	{ "broadcast.rate", HF_OPT_UINT, AT(broadcast_rate), "200000", 0, 10000000,
	  "messages a second of all broadcasts together; 0: no limit", .reloadable = true },
	{ "linger.time", HF_OPT_MSEC, AT(linger.time_ms), "30s", 0, 600000,
	  "how long the sessions of a connection that died wait for the client's return; 0: not",
	  .reloadable = true },
	{ "linger.share", HF_OPT_UINT, AT(linger.share), "50", 0, 100,
	  "dead connections whose sessions may wait, in percent of limits.connections" },
	{ "linger.session_bytes", HF_OPT_SIZE, AT(linger.session_bytes), "64KiB", 0, 1ull << 26,
	  "frames kept for one session until they are acked; the rest saver has to load again",
	  .reloadable = true },
	{ "linger.memory", HF_OPT_SIZE, AT(linger.memory), "64MiB", 0, 0,
	  "the same for all sessions together, each frame counted once", .reloadable = true },
	{ "shutdown.drain_rate", HF_OPT_UINT, AT(drain_rate), "1000", 1, 1000000,
	  "connections a second that a drain sends to other rooms", .reloadable = true },
	{ 0 },
};

static int check_keepalive(const char *name, const struct room_keepalive_config *keepalive,
			   char error[HF_CONFIG_ERROR_SIZE])
{
	if (keepalive->min_ms <= keepalive->initial_ms &&
	    keepalive->initial_ms <= keepalive->max_ms)
		return 0;
	snprintf(error, HF_CONFIG_ERROR_SIZE, "keepalive.%s: min <= initial <= max is required",
		 name);
	return -EINVAL;
}

static int check_listeners(const struct room_config *config, char error[HF_CONFIG_ERROR_SIZE])
{
	const struct room_listener_config *listener = config->listeners.items;

	for (size_t i = 0; i < config->listeners.count; i++, listener++) {
		if ((listener->certificate[0] != '\0') == (listener->key_file[0] != '\0'))
			continue;
		snprintf(error, HF_CONFIG_ERROR_SIZE,
			 "listeners[%zu].tls: certificate and key_file go together", i);
		return -EINVAL;
	}
	return 0;
}

int room_config_check(void *ret, char error[HF_CONFIG_ERROR_SIZE])
{
	struct room_config *config = ret;
	const struct hf_strings *exempt = &config->limits.per_ip_exempt;
	struct ip_limits *limits = &config->ip_limits;

	limits->connections = config->limits.per_ip_connections;
	limits->accept_per_second = config->limits.per_ip_accept_rate;
	limits->failed_per_minute = config->limits.per_ip_failed_logins;
	limits->penalty_ms = config->limits.per_ip_penalty_ms;
	limits->exempt_count = exempt->count;
	for (size_t i = 0; i < exempt->count; i++) {
		if (hf_cidr_parse(exempt->values[i], &limits->exempt[i]) == 0)
			continue;
		snprintf(error, HF_CONFIG_ERROR_SIZE,
			 "limits.per_ip_exempt: %s is not a network such as 10.0.0.0/8",
			 exempt->values[i]);
		return -EINVAL;
	}
	if (config->linger.time_ms > 0 && config->linger.time_ms < 1000) {
		snprintf(error, HF_CONFIG_ERROR_SIZE,
			 "linger.time: 0, or at least 1s: clients are told whole seconds");
		return -EINVAL;
	}
	if (check_keepalive("cellular", &config->keepalive.cellular, error) < 0 ||
	    check_keepalive("wifi", &config->keepalive.wifi, error) < 0)
		return -EINVAL;
	return check_listeners(config, error);
}
