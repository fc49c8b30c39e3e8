package gate

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// explain asks what would become of a request.
func (rg *rig) explain(r *http.Request) Report {
	rg.t.Helper()
	x, rec := new(Explanation), httptest.NewRecorder()
	steps(rec, r, x.Of(rg.site), func(w http.ResponseWriter, r *http.Request) { must(rg.t, x.Reach(w, r)) })
	status := rec.Code
	if len(rec.Header()) == 0 {
		status = 0
	}
	return x.Report(status, rec.Header())
}

// asks is the request that a browser would make next.
func (b *browser) asks(path string, edit ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodGet, b.rg.abs(path), nil)
	b.navigate(r)
	u, err := url.Parse(b.rg.srv.URL)
	must(b.rg.t, err)
	for _, c := range b.client.Jar.Cookies(u) {
		r.AddCookie(c)
	}
	for _, e := range edit {
		e(r)
	}
	return r
}

func as(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = []string{value} }
}

func scripted(method string) func(*http.Request) {
	return func(r *http.Request) {
		r.Method = method
		r.Header.Set("Sec-Fetch-Mode", "cors")
		r.Header.Set("Sec-Fetch-Dest", "empty")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Accept", "*/*")
	}
}

func TestExplanationSaysWhatAndWhy(t *testing.T) {
	rg := newRig(t)
	wang := rg.wechatBrowser(wechattest.Person{Name: "wang", Consent: wechattest.Accept})
	wang.tapLogin(wang.get("/me/orders"))
	ended := rg.browser(uaDesktop)
	ended.get("/goods")
	sess, _ := rg.keys.OpenSession(ended.cookies()["wxgate"], time.Now())
	must(t, rg.db.RevokeSession(t.Context(), sess.ID, time.Now(), time.Now().AddDate(1, 0, 0)))
	rg.cache.Invalidate(sess.ID)
	stranger := func() *browser { return rg.browser(uaDesktop) }

	for name, tt := range map[string]struct {
		r                       *http.Request
		verdict, level, session string
		line, reading           string // the line that decided
		why                     string // a part of it
		answer                  string // status and the path that it leads to
	}{
		"a page for everybody":   {r: stranger().asks("/goods"), verdict: "pass", level: "guest", session: "none", why: "he is a guest"},
		"a page of members":      {r: stranger().asks("/me/orders"), verdict: "challenge", level: "login", session: "none", line: "login /me/* /api/me/*", reading: "/me/orders", why: "he is a guest, and the level asks for more", answer: "302 /wxgate/login"},
		"a script of members":    {r: stranger().asks("/api/me/x", scripted("POST")), verdict: "challenge", level: "login", session: "none", line: "login /me/* /api/me/*", reading: "/api/me/x", why: "no guest id is given", answer: "401 "},
		"another reading":        {r: stranger().asks("/index.php/me/orders"), verdict: "challenge", level: "login", session: "none", line: "login /me/* /api/me/*", reading: "/me/orders", answer: "302 /wxgate/login"},
		"in WeChat":              {r: rg.browser(uaWeChat).asks("/goods"), verdict: "silent", level: "guest", session: "none", why: "WeChat is asked who he is", answer: "302 /connect/oauth2/authorize"},
		"a payment":              {r: stranger().asks("/pay/notify"), verdict: "bypass", level: "bypass", session: "none", line: "bypass /pay/notify"},
		"hardly a payment":       {r: stranger().asks("/pay/notify;x=1"), verdict: "pass", level: "guest", session: "none", line: "not bypass /pay/notify", reading: "/pay/notify;x=1"},
		"a payment by a member":  {r: wang.asks("/pay/notify"), verdict: "bypass", level: "bypass", session: "not_read"},
		"a picture":              {r: stranger().asks("/static/logo.png"), verdict: "pass", level: "public", session: "none", line: "public /static/*", why: "the level asks for nobody"},
		"one of our own pages":   {r: stranger().asks("/wxgate/login?return_to=/"), verdict: "endpoint", session: "none", why: "one of the gateway's own"},
		"a URL not meant well":   {r: stranger().asks("/a%00b"), verdict: "malformed", session: "none", why: "no path that could be meant well", answer: "400 "},
		"a member":               {r: wang.asks("/me/orders"), verdict: "pass", level: "login", session: "live", line: "login /me/* /api/me/*", reading: "/me/orders", why: "he is a member without a verified phone"},
		"a cookie of whatever":   {r: stranger().asks("/goods", as("Cookie", "wxgate=whatever")), verdict: "pass", level: "guest", session: "unreadable"},
		"a session that ended":   {r: ended.asks("/goods"), verdict: "pass", level: "guest", session: "ended", why: "the session was ended"},
		"a header of whatever":   {r: stranger().asks("/me/orders", as("Authorization", "Wxgate whatever")), verdict: "refused", level: "login", session: "unreadable", line: "login /me/* /api/me/*", reading: "/me/orders", why: "sends its session in a header", answer: "401 "},
		"a crawler":              {r: stranger().asks("/goods", as("User-Agent", "Googlebot/2.1")), verdict: "pass", level: "guest", session: "none", why: "a crawler's"},
		"in advance":             {r: stranger().asks("/me/orders", as("Sec-Purpose", "prefetch")), verdict: "challenge", level: "login", session: "none", line: "login /me/* /api/me/*", reading: "/me/orders", why: "he is nobody", answer: "401 "},
		"under another address":  {r: rg.browser(uaWeChat).asks("/goods", func(r *http.Request) { r.Host = "other.test" }), verdict: "silent", level: "guest", session: "none", why: "he came to http://other.test", answer: "302 /goods"},
		"on as a guest":          {r: rg.browser(uaWeChat).asks("/goods?wxgate=guest"), verdict: "pass", level: "guest", session: "none", why: "go on as a guest"},
		"from a payment page":    {r: stranger().asks("/goods", as("Sec-Fetch-Site", "cross-site"), as("Sec-Fetch-User", "")), verdict: "pass", level: "guest", session: "none", why: "may be another site's"},
		"a preflight of members": {r: stranger().asks("/me/x", func(r *http.Request) { r.Method = "OPTIONS" }, as("Origin", "http://other.test"), as("Access-Control-Request-Method", "POST")), verdict: "pass", level: "login", session: "none", line: "login /me/* /api/me/*", reading: "/me/x", why: "a preflight"},
	} {
		t.Run(name, func(t *testing.T) {
			got := rg.explain(tt.r)
			if got.Verdict != tt.verdict || got.Level != tt.level || got.Session.State != tt.session {
				t.Errorf("verdict %s, level %s, session %s; want %s, %s, %s", got.Verdict, got.Level, got.Session.State, tt.verdict, tt.level, tt.session)
			}
			if why := strings.Join(got.Why, "; "); !strings.Contains(why, tt.why) {
				t.Errorf("because %s; want %s", why, tt.why)
			}
			if tt.line != "" {
				text, not := strings.CutPrefix(tt.line, "not ")
				if want := (LineReport{Line: text, Applies: !not, Reading: tt.reading}); !slices.Contains(got.Lines, want) {
					t.Errorf("lines %+v lack %+v", got.Lines, want)
				}
			}
			answer := ""
			if a := got.Answer; a != nil && a.Status != 0 {
				to, err := url.Parse(a.Location)
				must(t, err)
				answer = fmt.Sprintf("%d %s", a.Status, to.Path)
			}
			if got.Verdict != verdictEndpoint && answer != tt.answer && !(tt.answer == "" && got.Verdict == outcomePass) {
				t.Errorf("answers %q, want %q", answer, tt.answer)
			}
		})
	}
}

func TestExplanationShowsHeaders(t *testing.T) {
	rg := newRig(t)
	wang := rg.wechatBrowser(wechattest.Person{Name: "wang", Consent: wechattest.Accept})
	wang.tapLogin(wang.get("/me/orders"))
	r := wang.asks("/me/orders", as("X_user_id", "1"), as("X-Wx-Openid", "o"), as("X-Original-Url", "/admin"), as("Connection", "X-User-ID"), as("Accept-Language", "zh"))
	got := rg.explain(r)
	want := []string{"Connection", "Cookie", "X-Original-Url", "X-Wx-Openid", "X_user_id"}
	if diff := cmp.Diff(want, got.Removed); diff != "" {
		t.Errorf("removed (-want +got)\n%s", diff)
	}
	id := rg.last().Header.Get("X-User-ID")
	added := map[string]string{}
	for _, h := range got.Added {
		added[h.Name] = h.Value
	}
	if added["X-User-Id"] != id || id == "" || added["X-User-Kind"] != "member" || added["X-User-Assertion"] != "(signed)" {
		t.Errorf("added %v, and a request got %s", added, id)
	}
	if s := got.Session; s.UserID != id || s.Kind != "member" || s.Via != "cookie" || !s.HasUnion || s.AppID != testAppID || s.Expires.Before(time.Now()) {
		t.Errorf("session %+v", s)
	}
	stranger := rg.explain(rg.browser(uaDesktop).asks("/goods"))
	if want := (HeaderReport{"X-User-Id", "(new)"}); !slices.Contains(stranger.Added, want) || !stranger.Answer.Session {
		t.Errorf("a stranger: %+v, %+v", stranger.Added, stranger.Answer)
	}
	silent := rg.explain(rg.browser(uaWeChat).asks("/goods"))
	if !strings.Contains(silent.Answer.Location, "state=REDACTED&") && !strings.Contains(silent.Answer.Location, "state=REDACTED#") {
		t.Errorf("leads to %s", silent.Answer.Location)
	}
}

// A guest whose unionid is known becomes a member by the very request that is
// asked about, and only by it.
func TestExplanationForeseesAPromotion(t *testing.T) {
	rg := newRig(t)
	li := rg.wechatBrowser(wechattest.Person{Name: "li", Follower: true})
	li.get("/goods")
	guest := rg.last().Header.Get("X-User-ID")
	got := rg.explain(li.asks("/me/orders"))
	if got.Verdict != outcomePass || !strings.Contains(strings.Join(got.Why, " "), "becomes a member without a page") {
		t.Errorf("%+v", got)
	}
	if got := rg.explain(li.asks("/goods")); got.Session.UserID != guest || got.Session.Kind != kindGuest {
		t.Errorf("afterwards he is %+v", got.Session)
	}
	li.get("/me/orders")
	if kind := rg.last().Header.Get("X-User-Kind"); kind != kindMember {
		t.Errorf("in earnest he becomes %s", kind)
	}
}

// TestExplainingChangesNothing: no row, no id, no limit, no round, no session.
func TestExplainingChangesNothing(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.MintLimit = limit.Limit{Events: 2, Window: 1 << 40} })
	li := rg.wechatBrowser(wechattest.Person{Name: "li", Follower: true})
	li.get("/goods")
	age(t, rg)
	before, cookies := dump(t, rg), li.cookies()
	for range 4 {
		for _, r := range []*http.Request{
			rg.browser(uaDesktop).asks("/goods"), rg.browser(uaWeChat).asks("/goods"), li.asks("/me/orders"), li.asks("/goods"), li.asks("/wxgate/logout"),
		} {
			rg.explain(r)
		}
	}
	if diff := cmp.Diff(before, dump(t, rg)); diff != "" {
		t.Errorf("the database (-before +after)\n%s", diff)
	}
	first := rg.browser(uaDesktop)
	first.get("/goods")
	if id := rg.last().Header.Get("X-User-ID"); id != "1000000001" {
		t.Errorf("the next guest is %q: ids or the limit were used up", id)
	}
	li.get("/me/orders")
	if kind := rg.last().Header.Get("X-User-Kind"); kind != kindMember || li.cookies()["wxgate"] == cookies["wxgate"] {
		t.Errorf("li's login in earnest: %s", kind)
	}
}

// What is foretold is what happens.
func TestExplanationIsWhatHappens(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Consent: wechattest.Accept})
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	plain := rg.browser(uaDesktop)
	plain.client.CheckRedirect = b.client.CheckRedirect
	for _, path := range []string{"/goods", "/me/orders", "/pay/notify", "/static/x", "/index.php/me/x", "/a%00b", "/me%2forders", "/goods?wxgate=guest"} {
		for _, visitor := range []*browser{b, plain} {
			told := rg.explain(visitor.asks(path))
			reached := rg.reached()
			got := visitor.get(path)
			switch passed := rg.reached() > reached; {
			case passed != (told.Verdict == outcomePass || told.Verdict == verdictBypass):
				t.Errorf("%s: foretold %s, and passed: %t", path, told.Verdict, passed)
			case !passed && told.Answer.Status != got.StatusCode:
				t.Errorf("%s: foretold %d, came %d", path, told.Answer.Status, got.StatusCode)
			}
		}
	}
}

func TestExplanationOfAFailingStore(t *testing.T) {
	rg := newRig(t)
	wang := rg.wechatBrowser(wechattest.Person{Name: "wang", Consent: wechattest.Accept})
	wang.tapLogin(wang.get("/me/orders"))
	rg.cache.Flush()
	rg.db.down.Store(true)
	got := rg.explain(wang.asks("/me/orders"))
	if got.Verdict != outcomeFailed || got.Session.State != "unknown" || got.Answer.Status != http.StatusServiceUnavailable {
		t.Errorf("%+v", got)
	}
}

// dump reads every row of the database.
func dump(t *testing.T, rg *rig) map[string][]string {
	t.Helper()
	db, err := sql.Open("sqlite", rg.dbPath)
	must(t, err)
	defer db.Close()
	all := map[string][]string{}
	rows, err := db.QueryContext(t.Context(), "SELECT name FROM sqlite_master WHERE type = 'table'")
	must(t, err)
	for rows.Next() {
		var name string
		must(t, rows.Scan(&name))
		all[name] = nil
	}
	must(t, rows.Err())
	for name := range all {
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+name)
		must(t, err)
		columns, err := rows.Columns()
		must(t, err)
		for rows.Next() {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			must(t, rows.Scan(into...))
			all[name] = append(all[name], fmt.Sprint(values...))
		}
		must(t, rows.Err())
	}
	return all
}

// age makes everybody one who was not seen for long, whose next visit is noted.
func age(t *testing.T, rg *rig) {
	t.Helper()
	db, err := sql.Open("sqlite", rg.dbPath)
	must(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), "UPDATE wxgate_user SET last_seen = 1")
	must(t, err)
}
