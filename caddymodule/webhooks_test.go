package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/wxgate/wxgate/internal/account"
)

// TestReloadsLoseNoEvent loads the configuration again and again while people
// log in. Afterwards no more works than what the one configuration needs.
func TestReloadsLoseNoEvent(t *testing.T) {
	var mu sync.Mutex
	heard := map[string]bool{}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		heard[r.Header.Get("webhook-id")] = true
	}))
	t.Cleanup(hook.Close)
	rg := newRig(t)
	cfg := rg.config("webhook "+hook.URL+" {\nsecret "+hookSecret+"\n}", "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n")
	mustLoad(t, cfg)
	for n := range 12 {
		seeLink(rg, account.Input{AppID: testAppID, OpenID: fmt.Sprint("o", n), UnionID: fmt.Sprint("u", n), Want: account.WantLogin})
		if n%3 == 0 {
			if err := reload(t, cfg); err != nil {
				t.Fatal(err)
			}
		}
	}
	rg.waitUntil("everything is delivered", func() bool { return receivers(rg)[0].Waiting == 0 })
	mu.Lock()
	if len(heard) != 24 { // user.created and identity.linked
		t.Errorf("%d events have arrived", len(heard))
	}
	mu.Unlock()
	settles(t, steadyWorkers+2, workers) // one delivers and one counts
}
