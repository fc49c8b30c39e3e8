package caddymodule

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/gate"
)

// explain asks the running Caddy, as the admin route does.
func (rg *rig) explain(in explainRequest) gate.Report {
	rg.t.Helper()
	ctx := caddy.ActiveContext()
	app, err := ctx.AppIfConfigured("wxgate")
	if err != nil {
		rg.t.Fatal(err)
	}
	r, external, err := app.(*App).asked(in)
	if err != nil {
		rg.t.Fatal(err)
	}
	web, err := ctx.AppIfConfigured("http")
	if err != nil {
		rg.t.Fatal(err)
	}
	srv := serverOf(web.(*caddyhttp.App), external)
	if srv == nil {
		rg.t.Fatalf("no server for %s", external)
	}
	return explain(srv, r, external.Scheme)
}

func asked(t *testing.T, args ...string) explainRequest {
	t.Helper()
	in, err := question{}.request(args)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// What stands before the gate has its say, and nothing behind it has: the shop
// does not hear of what is asked.
func TestExplainedRequestGoesThroughTheSite(t *testing.T) {
	rg := newRig(t)
	rg.run(setup{
		around: "@writes method POST PUT\nredir /old /new\nrewrite /shortcut /me/orders",
		site:   "login /me/*\nlogin @writes\nbypass /pay/notify",
		caddy:  "servers {\ntrusted_proxies static 198.51.100.0/24\n}",
	})
	for name, tt := range map[string]struct {
		args          []string
		edit          func(*explainRequest)
		verdict, line string
		check         func(*testing.T, gate.Report)
	}{
		"a page":          {args: []string{"/goods"}, verdict: "pass"},
		"a payment":       {args: []string{"POST", "/pay/notify"}, verdict: "bypass", line: "bypass /pay/notify"},
		"a named matcher": {args: []string{"POST", "/cart"}, verdict: "challenge", line: `login requests that match [{"method":["POST","PUT"]}]`},
		"a rewrite": {args: []string{"/shortcut"}, verdict: "challenge", line: "login /me/*", check: func(t *testing.T, rep gate.Report) {
			if rep.Request.Path != "/shortcut" || rep.Request.Rewritten != "/me/orders" {
				t.Errorf("%+v", rep.Request)
			}
		}},
		"a redirect before the gate": {args: []string{"/old"}, verdict: "not_reached", check: func(t *testing.T, rep gate.Report) {
			if rep.Answer == nil || rep.Answer.Status != http.StatusFound || rep.Answer.Location != "/new" {
				t.Errorf("%+v", rep.Answer)
			}
		}},
		"through a proxy that is trusted": {
			args: []string{"/goods"}, verdict: "pass", edit: func(in *explainRequest) {
				in.ClientIP = "198.51.100.7"
				in.Header.Set("X-Forwarded-For", "203.0.113.9")
			}, check: func(t *testing.T, rep gate.Report) {
				if !rep.Request.Trusted || rep.Request.ClientIP != "203.0.113.9" {
					t.Errorf("%+v", rep.Request)
				}
			},
		},
		"a forged header": {
			args: []string{"/goods"}, verdict: "pass", edit: func(in *explainRequest) { in.Header.Set("X_User_Id", "1") },
			check: func(t *testing.T, rep gate.Report) {
				if !slices.Equal(rep.Removed, []string{"X_user_id"}) {
					t.Errorf("removed %v", rep.Removed)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := asked(t, tt.args...)
			if tt.edit != nil {
				tt.edit(&in)
			}
			rep := rg.explain(in)
			if rep.Verdict != tt.verdict {
				t.Errorf("%s: %v", rep.Verdict, rep.Why)
			}
			if tt.line != "" && !slices.ContainsFunc(rep.Lines, func(l gate.LineReport) bool { return l.Applies && l.Line == tt.line }) {
				t.Errorf("lines %+v", rep.Lines)
			}
			if tt.check != nil {
				tt.check(t, rep)
			}
		})
	}
	if reached := rg.shop.reached(); len(reached) > 0 {
		t.Errorf("the shop was asked: %v", reached)
	}
}

// Of several sites the one is asked that the URL names.
func TestExplainedRequestMeetsItsSite(t *testing.T) {
	rg := newRig(t)
	other := dbtest.Port(t)
	rg.run(setup{
		site: "login /me/*",
		more: "http://127.0.0.1:" + other + " {\nwxgate {\nexternal_url http://127.0.0.1:" + other + "\nlogin /goods\n}\nreverse_proxy " + rg.shop.addr + "\n}\nhttp://open.test:" + other + " {\nrespond ok\n}\n",
	})
	for url, want := range map[string]string{rg.url("/goods"): "pass", "http://127.0.0.1:" + other + "/goods": "challenge"} {
		if rep := rg.explain(asked(t, url)); rep.Verdict != want || !strings.HasPrefix(url, rep.Site) {
			t.Errorf("%s: %s at %s", url, rep.Verdict, rep.Site)
		}
	}
	ctx := caddy.ActiveContext()
	app, err := ctx.AppIfConfigured("wxgate")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := app.(*App).asked(asked(t, "/goods")); err == nil || !strings.Contains(err.Error(), rg.url("")) {
		t.Errorf("a path alone: %v", err)
	}
	web, err := ctx.AppIfConfigured("http")
	if err != nil {
		t.Fatal(err)
	}
	if _, external, _ := app.(*App).asked(asked(t, "http://open.test/")); serverOf(web.(*caddyhttp.App), external) != nil {
		t.Error("a site without a gate was found")
	}
}
