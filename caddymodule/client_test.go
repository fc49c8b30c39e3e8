package caddymodule

import (
	"fmt"
	"net/http"
	"testing"
)

// TestLimitsCountTheAddressThatCaddyNames: a stranger who invents addresses is
// one client, and behind a proxy that Caddy trusts each visitor is one.
func TestLimitsCountTheAddressThatCaddyNames(t *testing.T) {
	for name, tt := range map[string]struct {
		caddy string
		want  int
	}{
		"a stranger":      {"", 1},
		"a trusted proxy": {"servers {\n" + trustLoopback + "\n}\n", 3},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{app: "mint_limit 1", caddy: tt.caddy})
			guests := 0
			for i := range 3 {
				rg.elsewhere().get("/goods", func(r *http.Request) {
					r.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.%d.9", i+100))
				})
				if id, _ := rg.told(); id != "" {
					guests++
				}
			}
			if guests != tt.want {
				t.Errorf("%d of 3 visitors became guests, want %d", guests, tt.want)
			}
		})
	}
}
