package caddymodule

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// spanned is a span as a collector gets it.
type spanned struct {
	*trace.Span
	attrs map[string]string
}

// told is all of it that somebody may read.
func (s spanned) told() string {
	return fmt.Sprint(s.Name, s.attrs, s.Events, s.Links, s.Status)
}

// collect receives what Caddy's tracing exports, until stop.
type collect struct {
	t   *testing.T
	mu  sync.Mutex
	all []spanned
}

// newCollector lets Caddy export to a collector of the test's own.
func newCollector(t *testing.T) *collect {
	c := &collect{t: t}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var sent collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(raw, &sent)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		c.take(&sent)
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	return c
}

func (c *collect) take(sent *collector.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range sent.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				one := spanned{s, map[string]string{}}
				for _, a := range s.Attributes {
					one.attrs[a.Key] = a.Value.GetStringValue()
					if n := a.Value.GetIntValue(); n != 0 {
						one.attrs[a.Key] = fmt.Sprint(n)
					}
				}
				c.all = append(c.all, one)
			}
		}
	}
}

// stop stops Caddy, which exports what it still has, and returns all spans.
func (c *collect) stop() []spanned {
	c.t.Helper()
	if err := caddy.Stop(); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// traceOf returns Caddy's span of the last request for a path, and its children.
func traceOf(t *testing.T, all []spanned, path string) (root spanned, children []spanned) {
	t.Helper()
	for _, s := range all {
		if s.Kind == trace.Span_SPAN_KIND_SERVER && strings.HasPrefix(s.attrs["url.path"], path) {
			if root.Span == nil || root.StartTimeUnixNano < s.StartTimeUnixNano {
				root = s
			}
		}
	}
	if root.Span == nil {
		t.Fatalf("no request for %s is traced: %v", path, all)
	}
	for _, s := range all {
		if string(s.TraceId) != string(root.TraceId) || s.Span == root.Span {
			continue
		}
		if string(s.ParentSpanId) != string(root.SpanId) {
			t.Errorf("%s hangs on a span that is not the request's", s.Name)
		}
		children = append(children, s)
	}
	return root, children
}

// mustHave finds a child by its name and looks at some of its attributes.
func mustHave(t *testing.T, children []spanned, name string, attrs map[string]string) {
	t.Helper()
	var names []string
	for _, s := range children {
		names = append(names, s.Name)
		if s.Name != name {
			continue
		}
		for key, value := range attrs {
			if s.attrs[key] != value {
				t.Errorf("%s: %s is %q, want %q", name, key, s.attrs[key], value)
			}
		}
		if s.Kind != trace.Span_SPAN_KIND_CLIENT || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s is no call: %v", name, s.Span)
		}
		return
	}
	t.Errorf("no span is called %s, but %q", name, names)
}

// TestOneTraceHoldsALoginAndItsCalls: of WeChat, of the shop that makes user
// ids, of Redis and of the database; and nothing in it tells who logged in, or
// how to be him.
func TestOneTraceHoldsALoginAndItsCalls(t *testing.T) {
	traces := newCollector(t)
	rg := newRig(t)
	var followed sync.Map // traces that others were told of, by who they are
	listening := func(name string, next http.Handler) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if parent := r.Header.Get("Traceparent"); parent != "" {
				followed.Store(name, parent)
			}
			next.ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		return s
	}
	shop := listening("shop", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"user_id":"shop-1"}`) }))
	at, err := url.Parse(rg.wechat.URL)
	if err != nil {
		t.Fatal(err)
	}
	platform := listening("WeChat", httputil.NewSingleHostReverseProxy(at))
	rg.run(setup{
		around: "tracing", site: "login /me/*",
		app:       sharing(dbtest.StartRedis(t).URL()) + "first_login wechat\nnew_members " + shop.URL + "/wxgate/new?token=sesame {\nsecret " + hookSecret + "\n}",
		endpoints: "endpoints {\napi " + platform.URL + "\nopen " + rg.wechat.URL + "\n}",
	})
	d := rg.inWeChat(wechattest.Person{Name: "wang", Consent: wechattest.Accept})
	callback := d.beginLogin("/me/orders")
	if page := d.get(callback); page.StatusCode != http.StatusOK || page.Request.URL.Path != "/me/orders" {
		t.Fatalf("%d at %s", page.StatusCode, page.Request.URL)
	}
	d.get("/me/known")
	all := traces.stop()
	root, children := traceOf(t, all, "/wxgate/callback/"+testAppID)
	if root.attrs["http.response.status_code"] != "302" {
		t.Errorf("the request: %v", root.attrs)
	}
	mustHave(t, children, "GET /sns/oauth2/access_token", map[string]string{
		"http.request.method": "GET", "http.response.status_code": "200", "url.template": "/sns/oauth2/access_token", "server.address": "127.0.0.1",
	})
	mustHave(t, children, "POST", map[string]string{"http.response.status_code": "200", "server.address": "127.0.0.1"})
	mustHave(t, children, "BEGIN", map[string]string{"db.system.name": "sqlite", "db.operation.name": "BEGIN"})
	mustHave(t, children, "COMMIT", nil)
	mustHave(t, children, "INSERT wxgate_user", map[string]string{"db.collection.name": "wxgate_user", "db.query.summary": "INSERT wxgate_user"})
	mustHave(t, children, "GET", map[string]string{"db.system.name": "redis", "db.operation.name": "GET"})
	if _, calls := traceOf(t, all, "/me/known"); len(calls) > 0 {
		t.Errorf("a known visitor's request has called %v", calls)
	}
	if parent, _ := followed.Load("shop"); !strings.Contains(fmt.Sprint(parent), hex.EncodeToString(root.TraceId)) {
		t.Errorf("the shop was told the trace %v", parent)
	}
	if parent, told := followed.Load("WeChat"); told {
		t.Errorf("WeChat was told the trace %v", parent)
	}
	secrets := []string{testSecret, "sesame", rg.wechat.OpenID("wang", testAppID), rg.wechat.UnionID("wang", testAppID)}
	for _, r := range rg.wechat.Requests() {
		secrets = append(secrets, r.Query.Get("code"), r.Query.Get("state"), r.Query.Get("access_token"))
	}
	for _, value := range d.cookies() {
		secrets = append(secrets, value)
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
	for _, s := range all {
		for _, secret := range secrets {
			if strings.Contains(s.told(), secret) {
				t.Errorf("a span tells %q: %s", secret, s.told())
			}
		}
	}
}

// TestADeliveryIsATraceOfItsOwn, linked to the request in which its event
// happened; the receiver is told the trace, and the trace not the receiver's URL.
func TestADeliveryIsATraceOfItsOwn(t *testing.T) {
	traces := newCollector(t)
	rg := newRig(t)
	var followed sync.Map // traces that the receiver was told of
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		followed.Store(strings.Split(r.Header.Get("Traceparent")+"--", "-")[1], true)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(hook.Close)
	rg.run(setup{
		around: "tracing", site: "login /me/*",
		app: "first_login wechat\nwebhook " + hook.URL + "/hush?token=hush {\nsecret " + hookSecret + "\n}",
	})
	d := rg.inWeChat(wechattest.Person{Name: "wang", Consent: wechattest.Accept})
	d.get(d.beginLogin("/me/orders"))
	const delivered = "wxgate_event_deliveries_total{outcome=delivered}"
	rg.waitUntil("he is a member for the receiver", func() bool { return metricsNow(t)[delivered] >= 2 })
	all := traces.stop()
	login, _ := traceOf(t, all, "/wxgate/callback/"+testAppID)
	batches := 0
	for _, s := range all {
		if strings.Contains(s.told(), "hush") {
			t.Errorf("a span tells the receiver's URL: %s", s.told())
		}
		if s.attrs["messaging.operation.type"] == "send" {
			batches++
			oneDelivery(t, all, s, login)
			if _, told := followed.Load(hex.EncodeToString(s.TraceId)); !told {
				t.Errorf("the receiver was not told the trace %x", s.TraceId)
			}
		}
	}
	if batches == 0 {
		t.Errorf("no delivery is traced: %v", all)
	}
}

// oneDelivery looks at a batch of events that happened in one request.
func oneDelivery(t *testing.T, all []spanned, batch, origin spanned) {
	t.Helper()
	var children []spanned
	calls := 0
	for _, s := range all {
		if string(s.ParentSpanId) != string(batch.SpanId) {
			continue
		}
		children = append(children, s)
		if s.Name != "POST" {
			continue
		}
		calls++
		if len(s.Links) != 1 || string(s.Links[0].TraceId) != string(origin.TraceId) || string(s.Links[0].SpanId) != string(origin.SpanId) {
			t.Errorf("a call is linked to %v, and not to %x, in which its event happened", s.Links, origin.TraceId)
		}
	}
	mustHave(t, children, "POST", map[string]string{"http.response.status_code": "204", "server.address": "127.0.0.1"})
	mustHave(t, children, "COMMIT", nil)
	if len(batch.ParentSpanId) > 0 || batch.attrs["messaging.batch.message_count"] != fmt.Sprint(calls) || batch.Status.GetCode() == trace.Status_STATUS_CODE_ERROR {
		t.Errorf("a delivery with %d calls: %s, of %x", calls, batch.told(), batch.ParentSpanId)
	}
}
