#include "bench.h"

const char *const counter_names[COUNTERS] = {
	[COUNT_STARTED] = "started",
	[COUNT_CONNECTED] = "connected",
	[COUNT_LOGINS] = "logins",
	[COUNT_FAILED] = "failed",
	[COUNT_FAILED_REFUSED] = "failed_refused",
	[COUNT_FAILED_UNREACHABLE] = "failed_unreachable",
	[COUNT_FAILED_TIMEOUT] = "failed_timeout",
	[COUNT_FAILED_RESET] = "failed_reset",
	[COUNT_FAILED_BYE] = "failed_bye",
	[COUNT_FAILED_TLS] = "failed_tls",
	[COUNT_FAILED_PROTOCOL] = "failed_protocol",
	[COUNT_FAILED_LOCAL] = "failed_local",
	[COUNT_CUT] = "cut",
	[COUNT_RECONNECTED] = "reconnected",
	[COUNT_RECONNECTED_FAILED] = "reconnected_failed",
	[COUNT_RECONNECTED_CLOSED] = "reconnected_closed",
	[COUNT_RECONNECTED_CUT] = "reconnected_cut",
	[COUNT_RECONNECTED_WAVE] = "reconnected_wave",
	[COUNT_RECONNECTED_CHURN] = "reconnected_churn",
	[COUNT_RESUMED] = "resumed",
	[COUNT_CHURNED] = "churned",
	[COUNT_RX_MESSAGES] = "rx_messages",
	[COUNT_RX_BYTES] = "rx_bytes",
	[COUNT_UNIQUE] = "unique",
	[COUNT_EXPECTED] = "expected",
	[COUNT_DUPLICATED] = "duplicated",
	[COUNT_REORDERED] = "reordered",
	[COUNT_FOREIGN] = "foreign",
	[COUNT_CLOCK_NEGATIVE] = "clock_negative",
	[COUNT_ACKS] = "acks",
	[COUNT_APP_LOST] = "app_lost",
	[COUNT_REDELIVERED] = "redelivered",
	[COUNT_SENT] = "sent",
	[COUNT_SENT_MESSAGES] = "sent_messages",
	[COUNT_ACCEPTED] = "accepted",
	[COUNT_DUE] = "deliveries_due",
	[COUNT_ACKED] = "accepted_and_acked",
	[COUNT_ANSWERED] = "answered",
	[COUNT_DROPPED_ARRIVALS] = "dropped_arrivals",
	[COUNT_HTTP_2XX] = "http_2xx",
	[COUNT_HTTP_429] = "http_429",
	[COUNT_HTTP_4XX] = "http_4xx",
	[COUNT_HTTP_5XX] = "http_5xx",
	[COUNT_HTTP_LOST] = "http_lost",
	[COUNT_UPSTREAM_SENT] = "upstream_sent",
	[COUNT_UPSTREAM_ACCEPTED] = "upstream_accepted",
	[COUNT_UPSTREAM_REFUSED] = "upstream_refused",
	[COUNT_UPSTREAM_ANSWERS] = "upstream_answers",
};

const char *const hist_names[HISTS] = {
	[HIST_CONNECT] = "connect",
	[HIST_TLS] = "tls",
	[HIST_AUTH] = "auth",
	[HIST_LOGIN] = "login",
	[HIST_LOGIN_UNCORRECTED] = "login_uncorrected",
	[HIST_DELIVER] = "deliver",
	[HIST_DELIVER_UNCORRECTED] = "deliver_uncorrected",
	[HIST_DELIVER_STORM] = "deliver_storm",
	[HIST_DELIVER_BACK] = "deliver_back",
	[HIST_DELIVER_SLOW] = "deliver_slow",
	[HIST_REDELIVER] = "redeliver",
	[HIST_REQUEST] = "request",
	[HIST_REQUEST_UNCORRECTED] = "request_uncorrected",
	[HIST_ACK] = "ack",
	[HIST_ACK_UNCORRECTED] = "ack_uncorrected",
	[HIST_UPSTREAM] = "upstream",
	[HIST_UPSTREAM_UNCORRECTED] = "upstream_uncorrected",
	[HIST_LAG] = "lag",
};

void stats_add(struct stats *into, const struct stats *from)
{
	for (int i = 0; i < COUNTERS; i++)
		into->counters[i] += from->counters[i];
	into->open += from->open;
	into->opening += from->opening;
	for (int i = 0; i < CLOSE_CODES; i++) {
		into->refused[i] += from->refused[i];
		into->closed[i] += from->closed[i];
	}
	into->cpu_us += from->cpu_us;
	if (into->refusal[0] == '\0')
		memcpy(into->refusal, from->refusal, sizeof(into->refusal));
	into->lag_max_us = HF_MAX(into->lag_max_us, from->lag_max_us);
	for (int i = 0; i < WAVES_MAX; i++) {
		struct wave *to = &into->waves[i];
		const struct wave *wave = &from->waves[i];

		if (wave->begin_ns != 0 && (to->begin_ns == 0 || wave->begin_ns < to->begin_ns))
			to->begin_ns = wave->begin_ns;
		to->dropped += wave->dropped;
		to->recovered += wave->recovered;
		to->done_ns = HF_MAX(to->done_ns, wave->done_ns);
	}
	for (int i = 0; i < HISTS; i++)
		hf_histogram_merge(&into->hist[i], &from->hist[i]);
}
