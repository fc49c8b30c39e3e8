package caddymodule

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// TestSecretThatOpensNoPhoneNumbersIsRefused: a wrong secret, on a reload and on
// a start, before it can do harm; the one that is taken back goes on.
func TestSecretThatOpensNoPhoneNumbersIsRefused(t *testing.T) {
	first, second := "secret "+strings.Repeat("a", 32), "secret "+strings.Repeat("b", 32)
	config := func(app string) string {
		return globals(t, app) + "http://127.0.0.1:" + dbtest.Port(t) + " {\nwxgate {\nexternal_url http://127.0.0.1\n}\n}\n"
	}
	refused := func(when string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "wxgate: database: opening the phone numbers") ||
			!strings.Contains(err.Error(), "put that `secret` back") {
			t.Errorf("%s: %v", when, err)
		}
	}
	mustLoad(t, config(first))
	refused("reload", reload(t, config(second)))
	stop(t)
	refused("start", reload(t, config(second)))

	for _, app := range []string{second + "\n" + first, second, first, first + "\n" + second} {
		if err := reload(t, config(app)); err != nil {
			t.Fatalf("%q: %v", app, err)
		}
		stop(t)
	}
}

// TestValidatingLetsANewSecretOpenThePhoneNumbers, so that after a restore the
// old one is replaced without a moment in which its cookies open anything.
func TestValidatingLetsANewSecretOpenThePhoneNumbers(t *testing.T) {
	first, second := "secret "+strings.Repeat("a", 32), "secret "+strings.Repeat("b", 32)
	config := func(app string) string {
		return globals(t, app) + "http://127.0.0.1:" + dbtest.Port(t) + " {\nwxgate {\nexternal_url http://127.0.0.1\n}\n}\n"
	}
	mustLoad(t, config(first))
	stop(t)
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config(second+"\n"+first)), nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(raw, cfg); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(cfg); err != nil {
		t.Fatal(err)
	}
	if err := reload(t, config(second)); err != nil {
		t.Error(err)
	}
}
