package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const apiKey = "the key of the shop's own programs"

// programs are those of the shop, which call wxgate_api.
type programs struct {
	rg   *rig
	port string
}

// withAPI runs a gateway with a wxgate_api beside its site.
func (rg *rig) withAPI(lines string, s setup) programs {
	rg.t.Helper()
	p := programs{rg, dbtest.Port(rg.t)}
	s.more += fmt.Sprintf("http://127.0.0.1:%s {\nwxgate_api {\n%s\n}\n}\n", p.port, lines)
	rg.run(s)
	return p
}

// call asks as a program does that has the key; edits come last.
func (p programs) call(method, path, body string, edit ...func(*http.Request)) (status int, answer map[string]any) {
	p.rg.t.Helper()
	r, err := http.NewRequest(method, "http://127.0.0.1:"+p.port+path, strings.NewReader(body))
	if err != nil {
		p.rg.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+apiKey)
	for _, e := range edit {
		e(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.rg.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(raw, &answer) != nil {
		p.rg.t.Fatalf("%s %s: %d %q, error %v", method, path, resp.StatusCode, raw, err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		p.rg.t.Errorf("%s %s: Cache-Control %q", method, path, resp.Header.Get("Cache-Control"))
	}
	return resp.StatusCode, answer
}

func (p programs) get(path string, edit ...func(*http.Request)) (int, map[string]any) {
	p.rg.t.Helper()
	return p.call(http.MethodGet, path, "", edit...)
}

func TestProgramsNeedTheKey(t *testing.T) {
	rg := newRig(t)
	p := rg.withAPI("key "+quote(apiKey)+"\nkey "+strings.Repeat("k", 32), setup{})
	for name, tt := range map[string]struct {
		header []string
		want   int
	}{
		"the key":              {[]string{"Bearer " + apiKey}, 404},
		"the other key":        {[]string{"Bearer " + strings.Repeat("k", 32)}, 404},
		"in lower case":        {[]string{"bearer " + apiKey}, 404},
		"none":                 {nil, 401},
		"empty":                {[]string{"Bearer "}, 401},
		"a wrong one":          {[]string{"Bearer " + apiKey + "x"}, 401},
		"a part of it":         {[]string{"Bearer " + apiKey[:10]}, 401},
		"another scheme":       {[]string{"Basic " + apiKey}, 401},
		"a wrong one and it":   {[]string{"Bearer x", "Bearer " + apiKey}, 401},
		"it and it once again": {[]string{"Bearer " + apiKey, "Bearer " + apiKey}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			for path, want := range map[string]int{"/users/1": tt.want, "/no/such/path": tt.want} {
				if got, answer := p.get(path, func(r *http.Request) { r.Header["Authorization"] = tt.header }); got != want {
					t.Errorf("%s: %d %v, want %d", path, got, answer, want)
				}
			}
		})
	}
	if log := rg.log(); strings.Contains(log, apiKey) || !strings.Contains(log, "wrong key") {
		t.Error("the log tells the key, or nothing of the wrong ones")
	}
}

// Whoever has the key and calls from outside has stolen it.
func TestProgramsCallFromInside(t *testing.T) {
	for _, tt := range []struct {
		allow, forwarded string
		want             int
	}{
		{"", "", 404}, {"", "10.1.2.3", 404}, {"", "fd00::1, 100.64.1.1", 404},
		{"", "8.8.8.8", 403}, {"", "10.1.2.3, 2001:db8::1", 403}, {"", "unknown", 403},
		{"allow 10.0.0.0/8", "", 403}, {"allow 10.0.0.0/8 127.0.0.1", "", 404}, {"allow 127.0.0.0/8 8.8.8.8", "8.8.8.8", 404},
	} {
		t.Run(tt.allow+" "+tt.forwarded, func(t *testing.T) {
			p := newRig(t).withAPI("key "+quote(apiKey)+"\n"+tt.allow, setup{})
			got, answer := p.get("/users/1", func(r *http.Request) {
				if tt.forwarded != "" {
					r.Header.Set("X-Forwarded-For", tt.forwarded)
				}
			})
			if got != tt.want {
				t.Errorf("%d %v, want %d", got, answer, tt.want)
			}
		})
	}
}

func TestAPIThatCannotBeSafeIsRefused(t *testing.T) {
	t.Setenv("SHORT", "hush")
	for name, tt := range map[string]struct{ lines, want string }{
		"no key":             {"", "wxgate_api: key: is missing"},
		"a short key":        {"key {env.SHORT}", "wxgate_api: key: number 1 has 4 bytes, at least 32 are needed"},
		"a key that is none": {"key {env.NOT_SET}", "wxgate_api: key: evaluated placeholder {env.NOT_SET} is empty"},
		"a range":            {"key " + quote(apiKey) + "\nallow office", `wxgate_api: allow: "office" is no address and no range`},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			err := load(t, rg.caddyfile(setup{more: "http://127.0.0.1:" + dbtest.Port(t) + " {\nwxgate_api {\n" + tt.lines + "\n}\n}\n"}))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	const want = "wxgate_api stands on a port that visitors of a site reach"
	rg := newRig(t)
	api := "wxgate_api {\nkey " + quote(apiKey) + "\n}\n"
	for name, s := range map[string]setup{
		"in the site":           {backend: "handle /internal/* {\n" + api + "}\nreverse_proxy " + rg.shop.addr},
		"beside the site":       {more: "http://internal.example.com:" + rg.port + " {\n" + api + "}\n"},
		"in a route of its own": {more: "http://localhost:" + rg.port + " {\nroute /api/* {\n" + api + "}\n}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := load(t, rg.caddyfile(s)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A guest becomes a member: programs find him by both ids, and are told where
// WeChat knows him.
func TestProgramsFindUsers(t *testing.T) {
	rg := newRig(t)
	p := rg.withAPI("key "+quote(apiKey), setup{app: "first_login wechat", site: "login /me/*"})
	d := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	d.get("/goods")
	guest, _ := rg.told()
	d.logIn()
	d.get("/goods")
	member, _ := rg.told()
	identities := []any{map[string]any{"appid": testAppID, "openid": rg.wechat.OpenID("li", testAppID)}}
	want := map[string]any{
		"id": member, "kind": "member", "previous": []any{guest}, "identities": identities, "phone_verified": false,
	}
	if got, answer := p.get("/users/" + member); got != 200 || !same(answer, want) {
		t.Errorf("the member: %d %v, want %v", got, answer, want)
	}
	want["merged_into"] = member
	if got, answer := p.get("/users/" + guest); got != 200 || !same(answer, want) {
		t.Errorf("the guest: %d %v, want %v", got, answer, want)
	}
	for path, code := range map[string]string{
		"/users/999": "unknown_user", "/users/a%2Fb": "unknown_user", "/users/%00": "malformed", "/users/": "not_found", "/users/1/x": "not_found",
	} {
		if _, answer := p.get(path); answer["code"] != code {
			t.Errorf("%s: %v, want %s", path, answer, code)
		}
	}
}

func TestProgramsReadTheFeed(t *testing.T) {
	rg := newRig(t)
	p := rg.withAPI("key "+quote(apiKey), setup{app: "first_login wechat", site: "login /me/*"})
	if got, answer := p.get("/events"); got != 200 || !same(answer, map[string]any{"events": []any{}, "next": 0.0}) {
		t.Errorf("an empty feed: %d %v", got, answer)
	}
	d := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	d.get("/goods")
	guest, _ := rg.told()
	d.logIn()
	d.get("/goods")
	member, _ := rg.told()
	_, all := p.get("/events?after=0")
	var merged map[string]any
	for _, e := range all["events"].([]any) {
		event := e.(map[string]any)
		if event["specversion"] != "1.0" || event["id"] == "" || event["source"] != "/wxgate" || event["time"] == "" {
			t.Errorf("event %v", event)
		}
		if event["type"] == "wxgate.user.merged" {
			merged = event
		}
	}
	if data, _ := merged["data"].(map[string]any); merged["subject"] != member || data["from"] != guest || data["to"] != member {
		t.Errorf("the merge: %v, want %s into %s", merged, guest, member)
	}
	_, first := p.get("/events?limit=1")
	if len(first["events"].([]any)) != 1 {
		t.Errorf("one event: %v", first)
	}
	if _, rest := p.get(fmt.Sprintf("/events?after=%.0f", first["next"])); len(rest["events"].([]any)) != len(all["events"].([]any))-1 {
		t.Errorf("behind %v: %v", first["next"], rest)
	}
	if got, end := p.get(fmt.Sprintf("/events?after=%.0f", all["next"])); got != 200 || len(end["events"].([]any)) != 0 || end["next"] != all["next"] {
		t.Errorf("the end: %d %v", got, end)
	}
	for _, query := range []string{"after=x", "after=-1", "limit=0", "limit=1001"} {
		if got, answer := p.get("/events?" + query); got != 400 || answer["code"] != "malformed" {
			t.Errorf("%s: %d %v", query, got, answer)
		}
	}
}

// The shop's programs and the gateway use one token, of which neither takes the
// other's away.
func TestProgramsShareTheToken(t *testing.T) {
	rg := newRig(t)
	p := rg.withAPI("key "+quote(apiKey), setup{})
	path := "/apps/" + testAppID + "/token"
	got, first := p.get(path)
	if got != 200 || first["access_token"] == "" || first["expires_at"].(float64) < 1e9 {
		t.Fatalf("%d %v", got, first)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, again := p.get(path); !same(again, first) {
				t.Errorf("%v, then %v", first, again)
			}
		})
	}
	all.Wait()
	if n := rg.wechat.Count(wechattest.StableToken); n != 1 {
		t.Errorf("%d fetches", n)
	}
	// WeChat has refused it a moment ago: asking again at once changes nothing.
	refused := fmt.Sprintf(`{"refused":%q}`, first["access_token"])
	if _, again := p.call(http.MethodPost, path, refused); !same(again, first) {
		t.Errorf("%v, then %v", first, again)
	}
	// Another one has been refused: this one is still good.
	if _, again := p.call(http.MethodPost, path, `{"refused":"75_x"}`); !same(again, first) {
		t.Errorf("%v, then %v", first, again)
	}
	for _, body := range []string{"", "{}", `{"refused":1}`, strings.Repeat("x", 5000)} {
		if got, answer := p.call(http.MethodPost, path, body); got != 400 || answer["code"] != "malformed" {
			t.Errorf("%.20q: %d %v", body, got, answer)
		}
	}
	if got, answer := p.get("/apps/wx9999999999999999/token"); got != 404 || answer["code"] != "unknown_app" {
		t.Errorf("%d %v", got, answer)
	}
	if log := rg.log(); strings.Contains(log, first["access_token"].(string)) {
		t.Error("the log tells the token")
	}
}

func TestProgramsAreToldWhyThereIsNoToken(t *testing.T) {
	for code, want := range map[int]string{-1: "wechat_busy", 40164: "unavailable", 45011: "wechat_busy"} {
		rg := newRig(t)
		p := rg.withAPI("key "+quote(apiKey), setup{})
		rg.wechat.Fail(wechattest.StableToken, wechattest.Forever, wechattest.ErrCode(code))
		got, answer := p.get("/apps/" + testAppID + "/token")
		if detail, _ := answer["detail"].(string); got != 503 || answer["code"] != want || !strings.Contains(detail, fmt.Sprint(code)) {
			t.Errorf("%d: %d %v", code, got, answer)
		}
	}
}

func TestProgramsGetPagesSigned(t *testing.T) {
	rg := newRig(t)
	const website = "wx3333333333333333"
	p := rg.withAPI("key "+quote(apiKey), setup{app: "website " + website + " secret"})
	const page = "https://shop.example.com/goods?id=1&q=%E7%BA%A2#top"
	got, signed := p.get("/apps/" + testAppID + "/jssdk?url=" + url.QueryEscape(page))
	if got != 200 || signed["appId"] != testAppID || !rg.wechat.AcceptsPage(page, wechattest.Signed{
		AppID: testAppID, NonceStr: fmt.Sprint(signed["nonceStr"]), Timestamp: fmt.Sprintf("%.0f", signed["timestamp"]), Signature: fmt.Sprint(signed["signature"]),
	}) {
		t.Errorf("%d %v", got, signed)
	}
	for path, code := range map[string]string{
		testAppID + "/jssdk": "malformed", testAppID + "/jssdk?url=/goods": "malformed",
		website + "/jssdk?url=" + url.QueryEscape(page): "not_found", "wx9/jssdk": "unknown_app",
	} {
		if _, answer := p.get("/apps/" + path); answer["code"] != code {
			t.Errorf("%s: %v, want %s", path, answer, code)
		}
	}
}

// A reload keeps the token: nothing is fetched again.
func TestTokenOutlivesAReload(t *testing.T) {
	rg := newRig(t)
	s := setup{}
	p := rg.withAPI("key "+quote(apiKey), s)
	_, first := p.get("/apps/" + testAppID + "/token")
	p = rg.withAPI("key "+quote(apiKey), setup{app: "sandbox on"})
	if _, again := p.get("/apps/" + testAppID + "/token"); !same(again, first) || rg.wechat.Count(wechattest.StableToken) != 1 {
		t.Errorf("%v, then %v, in %d fetches", first, again, rg.wechat.Count(wechattest.StableToken))
	}
}

func quote(s string) string { return `"` + s + `"` }

// same compares what JSON has become.
func same(a, b map[string]any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }
