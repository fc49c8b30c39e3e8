package caddymodule

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/wxgate/wxgate/internal/gate"
)

// metricsNow returns what the running configuration's registry holds of ours:
// counts of counters, numbers of observations of histograms.
func metricsNow(t *testing.T) map[string]float64 {
	t.Helper()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			if name := f.GetName(); strings.HasPrefix(name, "wxgate_") {
				all[name+labels(m)] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return all
}

func labels(m *dto.Metric) string {
	var all []string
	for _, l := range m.Label {
		all = append(all, fmt.Sprintf("%s=%s", l.GetName(), l.GetValue()))
	}
	if all == nil {
		return ""
	}
	return "{" + strings.Join(all, ",") + "}"
}

// TestMetricsTellWhatHappened takes one visitor from his first page to his
// orders.
func TestMetricsTellWhatHappened(t *testing.T) {
	rg := newRig(t)
	rg.start("GATE\nreverse_proxy SHOP")
	li := rg.browser("li")
	rg.get(li, "/goods")
	rg.logIn(li, "/me/orders")
	rg.fetch(rg.browser(""), "/me/orders", http.Header{"X-User-Id": {"forged"}})
	rg.fetch(rg.browser(""), "/pay/notify", nil)
	got := metricsNow(t)
	maps.DeleteFunc(got, func(name string, n float64) bool { return n == 0 })
	want := map[string]float64{
		"wxgate_requests_total{level=bypass,outcome=pass}":     1,
		"wxgate_requests_total{level=guest,outcome=silent}":    1,
		"wxgate_requests_total{level=guest,outcome=pass}":      1,
		"wxgate_requests_total{level=login,outcome=challenge}": 2,
		"wxgate_requests_total{level=login,outcome=pass}":      1,
		"wxgate_logins_total{channel=h5,outcome=silent}":       1,
		"wxgate_logins_total{channel=h5,outcome=ok}":           1,
		"wxgate_links_total{code=guest}":                       1,
		"wxgate_links_total{code=ok}":                          1,
		"wxgate_stripped_headers_total":                        1,
	}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s: %v, want %v", name, got[name], n)
		}
	}
	for _, name := range []string{
		"wxgate_identify_duration_seconds",
		"wxgate_wechat_requests_total{api=sns/oauth2/access_token,code=ok}",
		"wxgate_wechat_duration_seconds{api=sns/oauth2/access_token}",
	} {
		if got[name] == 0 {
			t.Errorf("%s: nothing", name)
		}
	}
	if t.Failed() {
		t.Logf("all: %v", slices.Sorted(maps.Keys(got)))
	}
}

// TestMetricsAreThoseThatArePromised, no more and no fewer, from the start.
func TestMetricsAreThoseThatArePromised(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	m.Login("h5", "ok")
	m.Link("ok")
	m.StoreError("database")
	m.SMS("sent")
	m.Shadow(gate.Guest, "pass")
	m.Upstream("login", "met")
	m.observeDelivery("delivered")
	m.observeWeChat("sns/userinfo", "ok", 0)
	newMetrics(reg).CacheHit() // a second time on one registry
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		var names []string
		for _, l := range f.Metric[0].Label {
			names = append(names, l.GetName())
		}
		got = append(got, f.GetName()+"{"+strings.Join(names, ",")+"}")
	}
	want := []string{
		"wxgate_cache_hits_total{}",
		"wxgate_event_deliveries_total{outcome}",
		"wxgate_events_pending{}",
		"wxgate_identify_duration_seconds{}",
		"wxgate_links_total{code}",
		"wxgate_logins_total{channel,outcome}",
		"wxgate_requests_total{level,outcome}",
		"wxgate_shadow_requests_total{level,outcome}",
		"wxgate_sms_total{carrier,outcome}",
		"wxgate_store_errors_total{store}",
		"wxgate_stripped_headers_total{}",
		"wxgate_upstream_words_total{outcome,word}",
		"wxgate_wechat_duration_seconds{api}",
		"wxgate_wechat_requests_total{api,code}",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := families[0].Metric[0].GetCounter().GetValue(); n != 1 {
		t.Errorf("the second registration counts elsewhere: %v", n)
	}
}

// TestMetricsAfterAReload: the new configuration has a registry of its own.
func TestMetricsAfterAReload(t *testing.T) {
	rg := newRig(t)
	cfg := rg.config("", "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n")
	mustLoad(t, cfg)
	rg.get(rg.browser(""), "/goods")
	if err := reload(t, cfg); err != nil {
		t.Fatal(err)
	}
	rg.get(rg.browser(""), "/goods")
	if n := metricsNow(t)["wxgate_requests_total{level=guest,outcome=pass}"]; n != 1 {
		t.Errorf("%v requests in the new registry", n)
	}
}

// TestPlaceholdersTellWhoTheVisitorIs to the rest of the configuration.
func TestPlaceholdersTellWhoTheVisitorIs(t *testing.T) {
	rg := newRig(t)
	rg.start("GATE\nreverse_proxy SHOP {\nheader_up X-Seen \"{http.auth.user.id} {http.auth.user.kind} {http.auth.user.channel} {http.vars.wxgate.visit}\"\n}")
	rg.get(rg.browser(""), "/goods")
	h := rg.shop.only(t).header
	if got, want := h.Get("X-Seen"), h.Get("X-User-ID")+" guest browser visit"; got != want {
		t.Errorf("a guest: %q, want %q", got, want)
	}
	li := rg.browser("li")
	rg.logIn(li, "/me/orders")
	rg.shop.reached()
	rg.get(li, "/me/orders")
	h = rg.shop.only(t).header
	if got, want := h.Get("X-Seen"), h.Get("X-User-ID")+" member h5 visit"; got != want {
		t.Errorf("a member: %q, want %q", got, want)
	}
	rg.fetch(rg.browser(""), "/pay/notify", nil)
	if got := rg.shop.only(t).header.Get("X-Seen"); strings.TrimSpace(got) != "visit" {
		t.Errorf("nobody: %q", got)
	}
}

// TestLogTellsNoSecrets looks for everything that must not be in a log after a
// journey with refusals and failures on its way.
func TestLogTellsNoSecrets(t *testing.T) {
	rg := newRig(t)
	cfg := rg.config("", "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n")
	mustLoad(t, strings.NewReplacer("\tdebug\n", "", "level DEBUG", "level INFO").Replace(cfg)) // Caddy itself tells headers in its debug log
	li := rg.browser("li")
	rg.get(li, "/goods")
	rg.logIn(li, "/me/orders")
	rg.get(li, "/wxgate/callback/"+testAppID+"?code=forgedcode&state=forgedstate")
	rg.fetch(rg.browser(""), "/me/orders", http.Header{"Authorization": {"Wxgate forgedtoken"}})
	log := rg.log()
	secrets := []string{testSecret, "forgedcode", "forgedstate", "forgedtoken", rg.wechat.OpenID("li", testAppID), rg.wechat.UnionID("li", testAppID), "wxgate="}
	for _, r := range rg.shop.reached() {
		secrets = append(secrets, r.header.Get("X-User-Assertion"))
	}
	for _, s := range secrets {
		if s != "" && strings.Contains(log, s) {
			t.Errorf("the log has %q:\n%s", s, log)
		}
	}
	if !strings.Contains(log, "http.handlers.wxgate") && !strings.Contains(log, `"wxgate"`) {
		t.Errorf("nothing of ours is in the log:\n%s", log)
	}
}
