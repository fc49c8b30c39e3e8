package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// TestDoctorEndsByTheWorstOfItsFindings, and reads Caddy's own settings too.
func TestDoctorEndsByTheWorstOfItsFindings(t *testing.T) {
	g := newGateway(t, "", nil)
	got := g.do("doctor")
	if got.code != 7 || !strings.Contains(got.out, "\nwarning  setting   endpoints ") || !strings.Contains(got.err, "may not be meant so") ||
		!strings.HasPrefix(got.out, "ok       app       "+shopApp) {
		t.Errorf("exit %d\n%s%s", got.code, got.out, got.err)
	}
	g.wechat.SetApp(wechattest.App{ID: shopApp, Secret: "changed", Domains: []string{"shop.test"}, OpenPlatform: "shop"})
	got = g.do("doctor", "--json")
	var view struct {
		Findings []struct{ Check, Subject, State, Text, Advice string }
	}
	if err := json.Unmarshal([]byte(got.out), &view); err != nil {
		t.Fatalf("%v: %s", err, got.out)
	}
	first := view.Findings[0]
	if got.code != 8 || first.State != "error" || first.Subject != shopApp || !strings.Contains(first.Text, "40125") || !strings.Contains(first.Advice, "AppSecret is wrong") {
		t.Errorf("exit %d: %+v", got.code, first)
	}
	if strings.Contains(got.out, secret) {
		t.Error("it tells the secret")
	}
}

// TestDoctorReadsTheRunningConfiguration, of which Caddy tells only at its
// admin endpoint: the log of this site hides nothing.
func TestDoctorReadsTheRunningConfiguration(t *testing.T) {
	g := prepare(t)
	site := strings.Replace(g.config(""), "http://shop.test {", "http://shop.test {\n\tlog", 1)
	g.write("Caddyfile", site)
	g.run()
	if got := g.do("doctor"); !strings.Contains(got.out, "log default") || !strings.Contains(got.out, "ticket in request>uri") {
		t.Errorf("exit %d\n%s%s", got.code, got.out, got.err)
	}
}
