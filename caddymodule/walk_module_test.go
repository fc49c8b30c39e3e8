package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wxgate/wxgate/internal/dbtest"
)

func init() {
	caddy.RegisterModule(new(box))
	caddy.RegisterModule(new(otherProxy))
}

// box is another author's handler that holds handlers.
type box struct {
	HandleRaw []json.RawMessage `json:"handle" caddy:"namespace=http.handlers inline_key=handler"`
}

func (*box) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.box", New: func() caddy.Module { return new(box) }}
}

func (b *box) Provision(ctx caddy.Context) error {
	_, err := ctx.LoadModule(b, "HandleRaw")
	return err
}

func (*box) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// otherProxy is another author's proxy.
type otherProxy struct{}

func (*otherProxy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.other_proxy", New: func() caddy.Module { return new(otherProxy) }}
}

func (*otherProxy) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error { return nil }

// handlers is a configuration of one route.
func handlers(t *testing.T, list string) []byte {
	return fmt.Appendf(nil, `{"admin":{"disabled":true},"logging":{"logs":{"default":{"writer":{"output":"file","filename":%q}}}},
		"apps":{"http":{"servers":{"edge":{"listen":["127.0.0.1:%s"],"automatic_https":{"disable":true},"routes":[{"handle":[%s]}]}}}}}`,
		logFile(dataDir(t)), dbtest.Port(t), list)
}

func TestOtherAuthorsProxyBeforeTheGateIsRefused(t *testing.T) {
	err := caddy.Load(handlers(t, `{"handler":"other_proxy"},{"handler":"wxgate","external_url":"http://127.0.0.1"}`), true)
	if err == nil || !strings.Contains(err.Error(), "server edge, site without a host: requests can reach 'other_proxy' without passing wxgate") {
		t.Errorf("got %v", err)
	}
}

// TestGateThatCannotBeCheckedIsSaidInTheLog: routes inside other authors'
// handlers are not known.
func TestGateThatCannotBeCheckedIsSaidInTheLog(t *testing.T) {
	dataDir(t) // goes when Caddy, which writes there, has stopped
	t.Cleanup(func() { stop(t) })
	if err := caddy.Load(handlers(t, `{"handler":"box","handle":[{"handler":"wxgate","external_url":"http://127.0.0.1"}]}`), true); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(logFile(dataDir(t)))
	if err != nil || !strings.Contains(string(log), "whether requests can walk around it is not known") {
		t.Errorf("%v\n%s", err, log)
	}
}
