package caddymodule

import (
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/gate"
	"github.com/wxgate/wxgate/internal/webhook"
)

// metrics counts on Caddy's registry. Labels come from closed sets only: an
// address, an id or a path in a label would make the set grow without end.
type metrics struct {
	outcomes  []string
	requests  [gate.Phone + 1][]prometheus.Counter // by level and place of the outcome
	identify  prometheus.Histogram
	hits      prometheus.Counter
	stripped  prometheus.Counter
	shadow    *prometheus.CounterVec
	logins    *prometheus.CounterVec
	links     *prometheus.CounterVec
	sms       *prometheus.CounterVec
	carrier   string // of this configuration's codes
	upstream  *prometheus.CounterVec
	stores    *prometheus.CounterVec
	pending   prometheus.Gauge
	delivered *prometheus.CounterVec
	wechat    *prometheus.CounterVec
	wechatDur *prometheus.HistogramVec
}

func newMetrics(reg *prometheus.Registry) *metrics {
	m := &metrics{
		outcomes: gate.Outcomes(),
		identify: register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wxgate_identify_duration_seconds", Help: "Resolutions of sessions that were not in memory.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8),
		})),
		hits:     register(reg, prometheus.NewCounter(opts("cache_hits_total", "Requests whose session was in memory."))),
		stripped: register(reg, prometheus.NewCounter(opts("stripped_headers_total", "Headers removed because they could pass for the gateway's."))),
		shadow:   register(reg, prometheus.NewCounterVec(opts("shadow_requests_total", "What would have become of requests in the shadow."), []string{"level", "outcome"})),
		logins:   register(reg, prometheus.NewCounterVec(opts("logins_total", "Ends of authorizations."), []string{"channel", "outcome"})),
		links:    register(reg, prometheus.NewCounterVec(opts("links_total", "Account decisions."), []string{"code"})),
		sms:      register(reg, prometheus.NewCounterVec(opts("sms_total", "Codes for phones."), []string{"carrier", "outcome"})),
		upstream: register(reg, prometheus.NewCounterVec(opts("upstream_words_total", "What the shop said to the gateway in its answers."), []string{"word", "outcome"})),
		stores:   register(reg, prometheus.NewCounterVec(opts("store_errors_total", "Failures of stores."), []string{"store"})),
		pending: register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wxgate_events_pending", Help: "Events that webhooks have not taken yet, of all instances together.",
		})),
		delivered: register(reg, prometheus.NewCounterVec(opts("event_deliveries_total", "Attempts to deliver events to webhooks."), []string{"outcome"})),
		wechat:    register(reg, prometheus.NewCounterVec(opts("wechat_requests_total", "Calls to WeChat."), []string{"api", "code"})),
		wechatDur: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wxgate_wechat_duration_seconds", Help: "Calls to WeChat.", Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 8),
		}, []string{"api"})),
	}
	requests := register(reg, prometheus.NewCounterVec(opts("requests_total", "Requests that were weighed."), []string{"level", "outcome"}))
	for level := range m.requests {
		for _, outcome := range m.outcomes {
			m.requests[level] = append(m.requests[level], requests.WithLabelValues(gate.Level(level).String(), outcome))
		}
	}
	return m
}

func opts(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Name: "wxgate_" + name, Help: help}
}

// register adds a collector, or finds the one that is there already.
func register[C prometheus.Collector](reg *prometheus.Registry, c C) C {
	var already prometheus.AlreadyRegisteredError
	if err := reg.Register(c); errors.As(err, &already) {
		return already.ExistingCollector.(C)
	}
	return c
}

// Request implements gate.Metrics, like the methods that follow. It is called
// for every request and looks nothing up in a map.
func (m *metrics) Request(level gate.Level, outcome string) {
	m.requests[level][slices.Index(m.outcomes, outcome)].Inc()
}

// Shadow implements gate.Metrics.
func (m *metrics) Shadow(level gate.Level, outcome string) {
	m.shadow.WithLabelValues(level.String(), outcome).Inc()
}

func (m *metrics) Identified(d time.Duration)    { m.identify.Observe(d.Seconds()) }
func (m *metrics) CacheHit()                     { m.hits.Inc() }
func (m *metrics) Login(channel, outcome string) { m.logins.WithLabelValues(channel, outcome).Inc() }
func (m *metrics) Link(code account.Code)        { m.links.WithLabelValues(string(code)).Inc() }
func (m *metrics) SMS(outcome string)            { m.sms.WithLabelValues(m.carrier, outcome).Inc() }
func (m *metrics) Upstream(word, outcome string) { m.upstream.WithLabelValues(word, outcome).Inc() }
func (m *metrics) StoreError(store string)       { m.stores.WithLabelValues(store).Inc() }
func (m *metrics) Stripped(headers int)          { m.stripped.Add(float64(headers)) }

func (m *metrics) observeDelivery(o webhook.Outcome) { m.delivered.WithLabelValues(string(o)).Inc() }

func (m *metrics) observeWeChat(api, code string, d time.Duration) {
	m.wechat.WithLabelValues(api, code).Inc()
	m.wechatDur.WithLabelValues(api).Observe(d.Seconds())
}
