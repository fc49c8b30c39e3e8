package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// memberEffects are those of the options that say who becomes which member.
func memberEffects() []effect {
	return []effect{
		{name: "linking", app: "linking many_unionids", see: func(rg *rig) string {
			li := seeLink(rg, account.Input{AppID: testAppID, OpenID: "o1", UnionID: "u1", Want: account.WantLogin})
			return string(seeLink(rg, account.Input{AppID: testAppID, OpenID: "o2", UnionID: "u2", UserID: li.UserID, UserKind: account.Member}).Code)
		}, want: "ok"},
		{name: "phone_idle", app: "phone_idle 1ms", see: func(rg *rig) string {
			seeLink(rg, account.Input{AppID: testAppID, OpenID: "o1", UnionID: "u1", Phone: "+8613800138000"})
			time.Sleep(2 * time.Millisecond)
			return string(seeLink(rg, account.Input{Phone: "+8613800138000"}).Code)
		}, want: "second_proof_required"},
		{name: "new_members", app: "new_members MAKER/new {\nsecret " + hookSecret + "\n}", see: seeClaim("sub"), want: "shop-1"},
		{name: "webhook", app: "webhook MAKER/hook {\nsecret " + hookSecret + "\n}", see: seeDelivered, want: "[0]"},
	}
}

// seeDelivered makes a member and says how many events wait for each webhook in
// the end.
func seeDelivered(rg *rig) (waiting string) {
	seeLink(rg, account.Input{AppID: testAppID, OpenID: "o1", UnionID: "u1", Want: account.WantLogin})
	rg.waitUntil("the webhook has everything", func() bool {
		states := receivers(rg)
		counts := []int{}
		for _, s := range states {
			counts = append(counts, s.Waiting)
		}
		waiting = fmt.Sprint(counts)
		return len(states) == 0 || states[0].Waiting == 0
	})
	return waiting
}

// receivers are the webhooks of the database.
func receivers(rg *rig) []account.ReceiverState {
	rg.t.Helper()
	loaded, err := caddy.ActiveContext().AppIfConfigured("wxgate")
	if err != nil {
		rg.t.Fatal(err)
	}
	states, err := loaded.(*App).shared.db.Receivers(rg.t.Context())
	if err != nil {
		rg.t.Fatal(err)
	}
	return states
}

// hookSecret signs what is sent to the shop.
const hookSecret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

// newMaker is a shop that makes the user id shop-1 for whoever asks with a good
// signature.
func newMaker(t *testing.T) *httptest.Server {
	hook, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err = errors.Join(err, hook.Verify(body, r.Header)); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, `{"user_id":"shop-1"}`)
	}))
	t.Cleanup(s.Close)
	return s
}

// seeLink runs Link as the sites of the configuration do.
func seeLink(rg *rig, in account.Input) account.Outcome {
	rg.t.Helper()
	loaded, err := caddy.ActiveContext().AppIfConfigured("wxgate")
	if err != nil {
		rg.t.Fatal(err)
	}
	app := loaded.(*App)
	out, err := app.shared.db.Link(rg.t.Context(), app.rules(), in)
	if err != nil {
		rg.t.Fatal(err)
	}
	return out
}

// TestOpenIDsStandInWhereUnionIDIsNone logs in to an app that is bound to no
// Open Platform account.
func TestOpenIDsStandInWhereUnionIDIsNone(t *testing.T) {
	for block, want := range map[string]string{"": "401 false", " {\nunionid none\n}": "200 true"} {
		t.Run(want, func(t *testing.T) { // each with a database and a log of its own
			rg := newRig(t)
			rg.wechat.SetApp(wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}})
			mustLoad(t, strings.Replace(rg.config("", "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n"),
				fmt.Sprintf("%q", testSecret), fmt.Sprintf("%q", testSecret)+block, 1))
			li := rg.browser("li")
			rg.get(li, "/goods")
			got := fmt.Sprint(rg.fetch(li, "/me/orders", nil).StatusCode, " ", strings.Contains(rg.log(), "unionid is none"))
			if got != want {
				t.Errorf("%q: %s, want %s", block, got, want)
			}
		})
	}
}

// TestShopThatMakesNoIDsIsCountedAndSaidOnce has a shop that refuses.
func TestShopThatMakesNoIDsIsCountedAndSaidOnce(t *testing.T) {
	rg := newRig(t)
	maker := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(maker.Close)
	metricsPort := dbtest.Port(t)
	mustLoad(t, rg.config("new_members "+maker.URL+"/new?key=hush {\nsecret "+hookSecret+"\n}",
		"http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\nhttp://127.0.0.1:"+metricsPort+" {\nmetrics /metrics\n}\n"))
	rg.wechat.AddPerson(wechattest.Person{Name: "wang", Follower: true})
	wang := rg.browser("wang")
	rg.get(wang, "/goods")
	for range 3 {
		resp, body := rg.get(wang, "/me/orders")
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "unavailable") {
			t.Errorf("%d %v\n%s", resp.StatusCode, resp.Header, body)
		}
	}
	_, metrics := rg.get(rg.browser(""), "http://127.0.0.1:"+metricsPort+"/metrics")
	for _, want := range []string{`wxgate_store_errors_total{store="new_members"} 3`, `wxgate_links_total{code="unavailable"} 3`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	log := rg.log()
	if strings.Count(log, "new_members: the shop gave no user id") != 1 || !strings.Contains(log, "the shop answered 404") {
		t.Errorf("the log:\n%s", log)
	}
	if strings.Contains(log, "hush") || strings.Contains(log, hookSecret) {
		t.Error("the log tells a secret")
	}
}

// TestReboundAppAlarmsTheOperator changes the unionids of an app so often that
// it must have been bound to another Open Platform account. The database is that
// of the configuration before, the log is today's.
func TestReboundAppAlarmsTheOperator(t *testing.T) {
	rg := newRig(t)
	for range 2 {
		rg.start("GATE\nreverse_proxy SHOP")
	}
	for i := range 21 {
		in := account.Input{AppID: testAppID, OpenID: "o" + strconv.Itoa(i), UnionID: "u" + strconv.Itoa(i)}
		seeLink(rg, in)
		in.UnionID = "other-" + in.UnionID
		seeLink(rg, in)
	}
	if n := strings.Count(rg.log(), "was the app bound to another Open Platform account?"); n != 1 {
		t.Errorf("%d alarms in the log, want 1", n)
	}
}
