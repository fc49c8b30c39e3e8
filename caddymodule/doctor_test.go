package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// doctor examines the running gateway, whose Caddyfile is given.
func (rg *rig) doctor(caddyfile string) []finding {
	rg.t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		rg.t.Fatal(err)
	}
	ctx := caddy.ActiveContext()
	app, err := ctx.AppIfConfigured("wxgate")
	if err != nil {
		rg.t.Fatal(err)
	}
	web, err := ctx.AppIfConfigured("http")
	if err != nil {
		rg.t.Fatal(err)
	}
	up := checkup{app: app.(*App), db: app.(*App).shared.db, web: web.(*caddyhttp.App)}
	if err := json.Unmarshal(adapted, &up.raw); err != nil {
		rg.t.Fatal(err)
	}
	return up.examine(rg.t.Context())
}

// ailing runs a gateway and returns what its doctor says.
func (rg *rig) ailing(s setup) []finding {
	rg.t.Helper()
	rg.run(s)
	return rg.doctor(rg.caddyfile(s))
}

// says finds the finding of a state whose text and advice hold some words.
func says(all []finding, check, state string, words ...string) bool {
	return slices.ContainsFunc(all, func(f finding) bool {
		text := f.Subject + " " + f.Text + " " + f.Advice
		return f.Check == check && f.State == state && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
}

const inOrder = "secret aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestDoctorFindsNothingWrong(t *testing.T) {
	rg := newRig(t)
	s := setup{app: inOrder, site: "login /me/*"}
	rg.run(s)
	rg.inWeChat(wechattest.Person{Name: "wang", Consent: wechattest.Accept}).logIn()
	all := rg.doctor(rg.caddyfile(s))
	for _, f := range all {
		if sandboxed := f.Subject == "endpoints"; f.State == stateError || f.State == stateWarning && !sandboxed {
			t.Errorf("%+v", f)
		}
	}
	for check, words := range map[string]string{
		"app": "appid and AppSecret are right", "unionid": "the unionids of 1 people", "database": "read and written",
		"clock": "it agrees", "site": "leads to this gateway",
	} {
		if !says(all, check, stateOK, words) {
			t.Errorf("nothing said of %s: %+v", check, all)
		}
	}
	if err := verdictOf(all); err != errWarnings { // of endpoints
		t.Errorf("it ends with %v", err)
	}
}

func TestDoctorNamesWhatIsWrongAtWeChat(t *testing.T) {
	good := wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}, OpenPlatform: "shop"}
	for name, tt := range map[string]struct {
		app   func(*wechattest.App)
		check string
		words []string
	}{
		"the AppSecret":           {func(a *wechattest.App) { a.Secret = "another" }, "app", []string{"40125", "the AppSecret is wrong", testAppID}},
		"the appid":               {func(a *wechattest.App) { a.ID = "wx9999999999999999" }, "app", []string{"40013", "does not know this appid"}},
		"the AppSecret is frozen": {func(a *wechattest.App) { a.SecretFrozen = true }, "app", []string{"40243", "frozen"}},
		"the IP list":             {func(a *wechattest.App) { a.AllowedIPs = []string{"192.0.2.1"} }, "app", []string{"40164", "WeChat sees this server at 127.0.0.1", "IP whitelist"}},
		"the callback domain":     {func(a *wechattest.App) { a.Domains = []string{"www.shop.test"} }, "callback", []string{"refuses callbacks to 127.0.0.1", "网页授权域名", "mp.weixin.qq.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			rg.wechat.Close()
			app := good
			tt.app(&app)
			rg.wechat = wechattest.NewServer(wechattest.Config{Apps: []wechattest.App{app}})
			t.Cleanup(rg.wechat.Close)
			if all := rg.ailing(setup{app: inOrder, site: "login /me/*"}); !says(all, tt.check, stateError, tt.words...) || verdictOf(all) != errErrors {
				t.Errorf("%+v", all)
			}
		})
	}
}

// A website has no access token: WeChat is asked by a code that is nobody's.
func TestDoctorLooksAtWebsites(t *testing.T) {
	const id = "wx3333333333333333"
	for secret, want := range map[string]string{"right": stateOK, "wrong": stateError} {
		rg := newRig(t)
		rg.wechat.SetApp(wechattest.App{ID: id, Secret: "right", Website: true, Domains: []string{"other.test"}, OpenPlatform: "shop"})
		all := rg.ailing(setup{app: inOrder + "\nwebsite " + id + " " + secret, site: "login /me/*"})
		if !says(all, "app", want, id, "website") {
			t.Errorf("%s: %+v", secret, all)
		}
		if !says(all, "callback", stateError, id, "授权回调域", "open.weixin.qq.com") {
			t.Errorf("its callback: %+v", all)
		}
	}
}

func TestDoctorSaysThatNoUnionIDComes(t *testing.T) {
	rg := newRig(t)
	rg.wechat.SetApp(wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}})
	s := setup{app: inOrder, site: "login /me/*"}
	rg.run(s)
	if all := rg.doctor(rg.caddyfile(s)); !says(all, "unionid", stateUnknown, "nobody has come") {
		t.Errorf("%+v", all)
	}
	rg.inWeChat(wechattest.Person{Name: "wang", Follower: true}).get("/goods")
	if all := rg.doctor(rg.caddyfile(s)); !says(all, "unionid", stateUnknown, "of 1 people") {
		t.Errorf("%+v", all)
	}
	for i := range enoughPeople {
		rg.inWeChat(wechattest.Person{Name: fmt.Sprint("visitor ", i), Follower: true}).get("/goods")
	}
	if all := rg.doctor(rg.caddyfile(s)); !says(all, "unionid", stateError, "no unionid of any of 21 people", "unionid none") {
		t.Errorf("%+v", all)
	}
}

func TestDoctorSaysThatWeChatCannotBeReached(t *testing.T) {
	rg := newRig(t)
	gone := "http://127.0.0.1:" + dbtest.Port(t)
	all := rg.ailing(setup{app: inOrder, endpoints: "endpoints {\napi " + gone + "\nopen " + gone + "\n}", site: "login /me/*"})
	if !says(all, "app", stateError, "cannot be reached from this server", "name servers") || !says(all, "callback", stateUnknown, "cannot be opened") {
		t.Errorf("%+v", all)
	}
}

// aheadBy stands before WeChat and shows a clock of its own.
func aheadBy(t *testing.T, upstream string, off time.Duration) string {
	t.Helper()
	to, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(resp *http.Response) error {
		resp.Header.Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		return nil
	}
	srv := httptest.NewServer(proxy)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestDoctorNamesAClockThatIsWrong(t *testing.T) {
	for off, want := range map[time.Duration]struct{ state, text string }{
		10 * time.Minute:  {stateError, "behind it"},
		-10 * time.Minute: {stateError, "ahead of it"},
		20 * time.Second:  {stateWarning, "behind it"},
		time.Second:       {stateOK, "it agrees"},
	} {
		rg := newRig(t)
		all := rg.ailing(setup{
			app: inOrder, site: "login /me/*",
			endpoints: "endpoints {\napi " + aheadBy(t, rg.wechat.URL, off) + "\nopen " + rg.wechat.URL + "\n}",
		})
		if !says(all, "clock", want.state, "WeChat", want.text) {
			t.Errorf("%s off: %+v", off, all)
		}
	}
}

func TestDoctorNamesADatabaseThatOnlyReads(t *testing.T) {
	server := dbtest.Shared(t, dbtest.MariaDB)
	rg := newRig(t)
	s := setup{app: inOrder + "\ndatabase " + server.Database(t), site: "login /me/*"}
	rg.run(s)
	if all := rg.doctor(rg.caddyfile(s)); !says(all, "database", stateOK) || !says(all, "clock", stateOK, "database") {
		t.Errorf("before: %+v", all)
	}
	server.Exec(t, "SET GLOBAL read_only = 1")
	defer server.Exec(t, "SET GLOBAL read_only = 0")
	if all := rg.doctor(rg.caddyfile(s)); !says(all, "database", stateError, "the server only reads") {
		t.Errorf("%+v", all)
	}
}

func TestDoctorNamesADatabaseThatIsBroken(t *testing.T) {
	rg := newRig(t)
	s := setup{app: inOrder, site: "login /me/*"}
	rg.run(s)
	rg.breakDatabase()
	if all := rg.doctor(rg.caddyfile(s)); !says(all, "database", stateError, "wxgate_revocation") {
		t.Errorf("%+v", all)
	}
}

func TestDoctorLooksWhereExternalURLLeads(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wxgate/jwks.json" {
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write([]byte(`{"keys":[]}`))
			return
		}
		http.Redirect(w, r, "http://elsewhere.test/", http.StatusFound)
	}))
	t.Cleanup(other.Close)
	moved := httptest.NewServer(http.RedirectHandler("http://elsewhere.test/", http.StatusFound))
	t.Cleanup(moved.Close)
	dir := write(t, "MP_verify_abcdefghijklmnop.txt", "abcdefghijklmnop")
	proof := "verification_file " + filepath.Join(dir, "MP_verify_abcdefghijklmnop.txt")
	for external, want := range map[string]finding{
		other.URL:                            {Check: "site", State: stateError, Text: "something else than this gateway"},
		moved.URL:                            {Check: "site", State: stateError, Text: "redirected elsewhere"},
		"http://127.0.0.1:" + dbtest.Port(t): {Check: "site", State: stateWarning, Text: "cannot be reached from this server"},
		"":                                   {Check: "callback", State: stateOK, Text: "the proof of the domain is found"},
		other.URL + "/":                      {Check: "callback", State: stateError, Text: "something else than the file"},
	} {
		rg := newRig(t)
		if all := rg.ailing(setup{app: inOrder, external: external, site: "login /me/*\n" + proof}); !says(all, want.Check, want.State, want.Text) {
			t.Errorf("%s: %+v", external, all)
		}
	}
}

func TestDoctorNamesRiskySettings(t *testing.T) {
	hidden := "log {\nformat filter {\n" +
		"request>uri query {\nreplace code X\nreplace state X\nreplace ticket X\n}\n" +
		"request>headers>Referer query {\nreplace code X\nreplace state X\nreplace ticket X\n}\n" +
		"resp_headers>Location query {\nreplace code X\nreplace state X\nreplace ticket X\n}\n" +
		"request>headers>X-Wxgate-Session delete\nresp_headers>X-Wxgate-Session delete\n}\n}"
	for name, tt := range map[string]struct {
		with, without setup
		state         string
		words         []string
	}{
		"a secret of the gateway's own":  {setup{}, setup{app: inOrder}, stateWarning, []string{"secret", "Back it up"}},
		"sandbox":                        {setup{app: inOrder + "\nsandbox on"}, setup{app: inOrder}, stateWarning, []string{"sandbox"}},
		"endpoints":                      {setup{app: inOrder}, setup{app: inOrder, endpoints: "stale_for 10m"}, stateWarning, []string{"endpoints", "another WeChat"}},
		"sms log":                        {setup{app: inOrder + "\nsms log\nfirst_login wechat"}, setup{app: inOrder}, stateWarning, []string{"sms log"}},
		"http":                           {setup{app: inOrder, external: "http://shop.test"}, setup{app: inOrder}, stateWarning, []string{"external_url is http"}},
		"shadow":                         {setup{app: inOrder, site: "shadow 10%"}, setup{app: inOrder}, stateWarning, []string{"10% of the visitors"}},
		"a proxy that is not trusted":    {setup{app: inOrder + "\nsandbox on", external: "https://shop.test"}, setup{app: inOrder + "\nsandbox on", external: "https://shop.test", caddy: "servers {\ntrusted_proxies static 10.0.0.0/8\n}"}, stateWarning, []string{"trusted_proxies names nobody"}},
		"proxies that are everybody":     {setup{app: inOrder, caddy: "servers {\ntrusted_proxies static 0.0.0.0/0\n}"}, setup{app: inOrder, caddy: "servers {\ntrusted_proxies static private_ranges\n}"}, stateError, []string{"trusts everybody"}},
		"an access log without a filter": {setup{app: inOrder, around: "log"}, setup{app: inOrder, around: hidden}, stateWarning, []string{"log", "code in request>uri", "X-Wxgate-Session", "docs/operations.md"}},
	} {
		t.Run(name, func(t *testing.T) {
			for s, want := range map[*setup]bool{&tt.with: true, &tt.without: false} {
				t.Run(fmt.Sprint(want), func(t *testing.T) {
					if all := newRig(t).ailing(*s); says(all, "setting", tt.state, tt.words...) != want {
						t.Errorf("said, or not: %+v", all)
					}
				})
			}
		})
	}
}

func TestDoctorLooksWhoReachesTheAdminEndpoint(t *testing.T) {
	for listen, risky := range map[string]bool{
		"": false, "localhost:2019": false, "127.0.0.1:2019": false, "[::1]:2019": false, "unix//run/caddy.sock": false,
		"0.0.0.0:2019": true, ":2019": true, "10.0.0.5:2019": true,
	} {
		var up checkup
		up.raw.Admin.Listen = listen
		if all := up.adminSetting(); says(all, "setting", stateError, "admin endpoint") != risky {
			t.Errorf("%q: %+v", listen, all)
		}
	}
}

func TestDoctorNamesTheRedisPassword(t *testing.T) {
	server := dbtest.StartRedis(t, "--requirepass", "right")
	for url, want := range map[string]finding{
		server.URL(): {State: stateOK, Text: "it answers"},
		strings.Replace(server.URL(), ":right@", ":wrong@", 1): {State: stateError, Text: "the password in its URL is wrong or missing"},
		strings.Replace(server.URL(), ":right@", "", 1):        {State: stateError, Text: "the password in its URL is wrong or missing"},
		"redis://127.0.0.1:" + dbtest.Port(t):                  {State: stateError, Text: "refused"},
	} {
		rg := newRig(t)
		all := rg.ailing(setup{app: sharing(url), site: "login /me/*"})
		if !says(all, "redis", want.State, want.Text) {
			t.Errorf("%s: %+v", url, all)
		}
		if want.State == stateOK && !says(all, "clock", stateOK, "redis") {
			t.Errorf("its clock: %+v", all)
		}
	}
}

// The Caddyfile that people copy, and the filter that the documentation shows,
// hide what the doctor looks for.
func TestDoctorIsContentWithTheDocumentedFilters(t *testing.T) {
	root, err := os.ReadFile("../Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	all := []string{string(root)}
	for _, block := range blocks(string(page), "caddyfile") {
		if strings.Contains(block, "format filter") {
			all = append(all, block)
		}
	}
	for _, text := range all {
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		up := checkup{web: &caddyhttp.App{Servers: map[string]*caddyhttp.Server{"srv0": {Logs: new(caddyhttp.ServerLogConfig)}}}}
		if err := json.Unmarshal(adapted, &up.raw); err != nil {
			t.Fatal(err)
		}
		if found := up.logSettings(); len(found) > 0 {
			t.Errorf("%+v of\n%s", found, text)
		}
	}
	if len(all) < 2 {
		t.Error("no filter is documented")
	}
}
