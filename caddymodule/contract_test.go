package caddymodule

import (
	"net/http"
	"strings"
	"testing"
)

// TestPrefixIsReadAsSent: a rewrite of the shop's leads nobody to our endpoints,
// nor away from them.
func TestPrefixIsReadAsSent(t *testing.T) {
	rg := newRig(t)
	rg.run(setup{around: "rewrite /old /wxgate/logout\nrewrite /wxgate/* /index.php"})
	d := rg.elsewhere()
	d.get("/goods")
	rg.shop.reached()
	if got := d.fetch(http.MethodGet, "/old"); got.StatusCode != http.StatusOK {
		t.Errorf("a rewrite to one of our paths: %d %s", got.StatusCode, got.body)
	}
	if seen := rg.shop.only(t); seen.uri != "/wxgate/logout" {
		t.Errorf("the shop is asked for %s", seen.uri)
	}
	if got := d.fetch(http.MethodGet, "/wxgate/me"); !strings.Contains(got.body, `"kind":"guest"`) {
		t.Errorf("a rewrite of our paths: %d %s", got.StatusCode, got.body)
	}
	if all := rg.shop.reached(); len(all) != 0 {
		t.Errorf("the shop is asked for %s", all[0].uri)
	}
}
