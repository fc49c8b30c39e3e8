package caddymodule

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// observed is a gateway whose metrics and logs are read as an operator reads
// them: at Caddy's handler and in files.
type observed struct {
	*rig
	metricsPort string
	shadowPort  string            // of a site where nothing happens
	told        map[string]string // what no metric and no log may hold, by what it is
}

func newObserved(t *testing.T) *observed {
	t.Helper()
	o := &observed{rig: newRig(t), metricsPort: dbtest.Port(t), shadowPort: dbtest.Port(t), told: map[string]string{"AppSecret": testSecret}}
	raw, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	all := blocks(string(raw), "caddyfile")
	i := slices.IndexFunc(all, func(b string) bool { return strings.Contains(b, "format filter") })
	_, filter, _ := strings.Cut(all[i], "{\n")
	filter = strings.TrimSuffix(strings.TrimSpace(filter), "}")
	carrier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(carrier.Close)
	lost := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(lost.Close)
	signed := " {\nsecret " + hookSecret + "\n}\n"
	o.run(setup{
		app:    "first_login wechat\n" + o.miniProgram(testMiniID, "shop") + "\nsms webhook " + carrier.URL + signed + "webhook " + carrier.URL + "/events" + signed + "webhook " + lost.URL + signed,
		around: strings.Replace(filter, "log {", "log {\noutput file "+o.accessLog(), 1),
		site:   "login /me/*\nbypass /pay/notify\npublic /static/*\nupstream_login on",
		more: "http://127.0.0.1:" + o.metricsPort + " {\nmetrics /metrics\n}\n" +
			"http://127.0.0.1:" + o.shadowPort + " {\nwxgate {\nexternal_url http://127.0.0.1:" + o.shadowPort + "\nshadow on\n}\nrespond ok\n}",
	})
	return o
}

func (o *observed) accessLog() string { return filepath.Join(o.dir, "access.log") }

// metrics returns our samples of Caddy's metrics handler by name and labels.
func (o *observed) metrics() map[string]float64 {
	o.t.Helper()
	text := o.elsewhere().fetch(http.MethodGet, "http://127.0.0.1:"+o.metricsPort+"/metrics").body
	all := map[string]float64{}
	for line := range strings.SplitSeq(text, "\n") {
		i := strings.LastIndexByte(line, ' ')
		if !strings.HasPrefix(line, "wxgate_") || i < 0 {
			continue
		}
		n, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			o.t.Fatalf("%s: %v", line, err)
		}
		all[line[:i]] = n
	}
	return all
}

// journey makes everything happen that is counted, faults included, and
// remembers what the gateway learned.
func (o *observed) journey() {
	o.t.Helper()
	d := o.inWeChat(wechattest.Person{Name: "wang", Follower: true, Consent: wechattest.Accept})
	d.get("/goods/blue-teapot")
	o.remember(d)
	d.get("/me/orders/2026")
	o.remember(d)
	d.get("/goods/blue-teapot", func(r *http.Request) { r.Header.Set("X-User-ID", "7") })
	d.fetch(http.MethodPost, "/wxgate/logout")
	o.remember(d)
	o.wechat.Fail(wechattest.ExchangeCode, 1, wechattest.ErrCode(40029))
	o.wechat.Fail(wechattest.ExchangeCode, 1, wechattest.HTMLPage())
	li := o.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	li.get("/goods/red-teapot")
	o.remember(li)
	li.clearCookies()
	li.logIn()
	o.remember(li)
	chrome := o.elsewhere()
	chrome.fetch(http.MethodGet, "/me/orders/2026", func(r *http.Request) { r.Header.Set("Authorization", "Wxgate forged-token-of-nobody") })
	o.told["forged token"] = "forged-token-of-nobody"
	chrome.get("http://127.0.0.1:" + o.shadowPort + "/")
	chrome.get("/pay/notify")
	chrome.get("/static/logo.png")
	o.shop.answerWith(http.StatusOK, "X-Wxgate-Login", "4711")
	chrome.get("/goods/login")
	o.remember(chrome)
	o.told["phone"] = "13800138001"
	for path, body := range map[string]string{"/wxgate/phone/code": `{"phone":"13800138001"}`, "/wxgate/phone": `{"phone":"13800138001","code":"000000"}`} {
		chrome.fetch(http.MethodPost, path, func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Type", "application/json")
		})
	}
	_, mini := o.miniLogin(testMiniID)
	o.told["session of a mini program"], _ = mini["session"].(string)
	o.waitUntil("events wait for the webhook that is lost", func() bool { return o.metrics()["wxgate_events_pending"] > 0 })
	o.breakDatabase()
	if got := d.get("/me/orders/2026"); got.StatusCode != http.StatusServiceUnavailable {
		o.t.Fatalf("without a database a login ended with %d at %s", got.StatusCode, got.Request.URL)
	}
	for i, r := range o.wechat.Requests() {
		for _, name := range []string{"code", "js_code", "state", "access_token", "openid"} {
			o.told[name+" "+strconv.Itoa(i)] = r.Query.Get(name)
		}
	}
	for _, p := range o.wechat.People() {
		o.told["openid of "+p.Name], o.told["unionid of "+p.Name] = o.wechat.OpenID(p.Name, testAppID), o.wechat.UnionID(p.Name, testAppID)
		o.told["openid of "+p.Name+" in a mini program"] = o.wechat.OpenID(p.Name, testMiniID)
	}
	maps.DeleteFunc(o.told, func(_, value string) bool { return value == "" })
}

// remember keeps the tokens of a browser and what the shop was told last.
func (o *observed) remember(d *device) {
	o.t.Helper()
	for name, value := range d.cookies() {
		o.told["cookie "+name+" "+strconv.Itoa(len(o.told))] = value
	}
	for _, s := range o.shop.reached() {
		o.told["assertion "+strconv.Itoa(len(o.told))] = s.header.Get("X-User-Assertion")
		o.told["user id "+s.header.Get("X-User-ID")] = s.header.Get("X-User-ID")
	}
}

// TestEveryDocumentedMetricMovesOnAJourney, and there is no other, and no other
// label.
func TestEveryDocumentedMetricMovesOnAJourney(t *testing.T) {
	o := newObserved(t)
	before := o.metrics()
	o.journey()
	after := o.metrics()
	raw, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{} // labels by name
	_, section, _ := strings.Cut(string(raw), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range regexp.MustCompile("`(wxgate_\\w+)(?:\\{([\\w,]+)\\})?`").FindAllStringSubmatch(section, -1) {
		documented[m[1]] = m[2]
	}
	for _, promised := range []string{
		"wxgate_requests_total", "wxgate_identify_duration_seconds", "wxgate_logins_total", "wxgate_wechat_requests_total",
		"wxgate_wechat_duration_seconds", "wxgate_sms_total", "wxgate_links_total", "wxgate_events_pending",
		"wxgate_event_deliveries_total", "wxgate_cache_hits_total", "wxgate_store_errors_total", "wxgate_stripped_headers_total",
	} {
		if _, found := documented[promised]; !found {
			t.Errorf("%s is not documented", promised)
		}
	}
	moved, label := map[string]bool{}, regexp.MustCompile(`(\w+)="[^"]*"`)
	for sample, n := range after {
		base, rest, _ := strings.Cut(sample, "{")
		base = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(base, "_bucket"), "_sum"), "_count")
		moved[base] = moved[base] || n > before[sample]
		var names []string
		for _, l := range label.FindAllStringSubmatch(rest, -1) {
			if l[1] != "le" {
				names = append(names, l[1])
			}
		}
		want, found := documented[base]
		wanted := strings.FieldsFunc(want, func(r rune) bool { return r == ',' })
		slices.Sort(names)
		slices.Sort(wanted)
		if !found || !slices.Equal(names, wanted) {
			t.Errorf("%s is documented with the labels %q, found %t", sample, want, found)
		}
	}
	for name := range documented {
		if !moved[name] {
			t.Errorf("%s has not moved: %v", name, after)
		}
	}
	for _, sample := range []string{
		`wxgate_requests_total{level="guest",outcome="silent"}`, `wxgate_requests_total{level="bypass",outcome="pass"}`,
		`wxgate_requests_total{level="public",outcome="pass"}`, `wxgate_requests_total{level="login",outcome="refused"}`,
		`wxgate_wechat_requests_total{api="sns/oauth2/access_token",code="40029"}`,
		`wxgate_wechat_requests_total{api="cgi-bin/user/info",code="ok"}`, `wxgate_upstream_words_total{outcome="heeded",word="login"}`, `wxgate_store_errors_total{store="database"}`,
		`wxgate_sms_total{carrier="webhook",outcome="sent"}`,
		`wxgate_event_deliveries_total{outcome="delivered"}`, `wxgate_event_deliveries_total{outcome="refused"}`,
	} {
		if after[sample] <= before[sample] {
			t.Errorf("%s has not moved", sample)
		}
	}
}

// TestLabelsAndLogsNameNobody: labels come from closed sets, and neither they
// nor our log lines tell who a visitor is, what he looks at, or how to be him.
func TestLabelsAndLogsNameNobody(t *testing.T) {
	o := newObserved(t)
	o.journey()
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	closed := map[string]*regexp.Regexp{
		"level": regexp.MustCompile(`^(bypass|public|guest|login|phone)$`), "outcome": regexp.MustCompile(`^[a-z_]{2,30}$`),
		"code": regexp.MustCompile(`^([a-z_]{2,30}|-1|\d{5})$`), "channel": regexp.MustCompile(`^(h5|browser|mini_program)$`),
		"api":     regexp.MustCompile(`^(sns/oauth2/access_token|sns/userinfo|sns/jscode2session|cgi-bin/stable_token|cgi-bin/user/info)$`),
		"carrier": regexp.MustCompile(`^(aliyun|tencent|webhook|log)$`),
		"word":    regexp.MustCompile(`^(login_required|login|logout)$`),
		"store":   regexp.MustCompile(`^(database|session|limit)$`), "le": regexp.MustCompile(`^[\d.e+-]+$|^\+Inf$`),
	}
	for sample := range o.metrics() {
		for _, l := range label.FindAllStringSubmatch(sample, -1) {
			if closed[l[1]] == nil || !closed[l[1]].MatchString(l[2]) {
				t.Errorf("%s: the value of %s is from no closed set", sample, l[1])
			}
		}
	}
	ours := 0
	for _, line := range logLines(t, logFile(o.dir)) {
		if !strings.Contains(line.logger, "wxgate") {
			continue
		}
		ours++
		for what, value := range o.told {
			if strings.Contains(line.text, value) {
				t.Errorf("a log line of ours holds the %s:\n%s", what, line.text)
			}
		}
		if strings.Contains(line.text, "teapot") || strings.Contains(line.text, "/me/orders") {
			t.Errorf("a log line of ours holds a path:\n%s", line.text)
		}
	}
	if ours < 3 {
		t.Errorf("only %d log lines are ours", ours)
	}
	access := logLines(t, o.accessLog())
	for _, line := range access {
		for what, value := range o.told {
			// Caddy itself tells the user id in its access log, which is for that.
			if strings.Contains(line.text, value) && !strings.HasPrefix(what, "user id") {
				t.Errorf("the access log of the documentation holds the %s:\n%s", what, line.text)
			}
		}
	}
	if len(access) < 15 {
		t.Errorf("only %d requests are in the access log", len(access))
	}
}

type logLine struct{ logger, text string }

func logLines(t *testing.T, file string) (all []logLine) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct{ Logger string }
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%v:\n%s", err, lines.Text())
		}
		all = append(all, logLine{l.Logger, lines.Text()})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
