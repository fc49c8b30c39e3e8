package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestOwnShopGoesBehindItByTwoLines changes the two lines that the Caddyfile and
// the README name, and visits a shop that has never heard of the gateway.
func TestOwnShopGoesBehindItByTwoLines(t *testing.T) {
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s of %s %s", r.URL.Path, r.Header.Get("X-User-Kind"), r.Header.Get("X-User-ID"))
	}))
	t.Cleanup(own.Close)
	lines := map[string]string{"1": "login /account/*", "2": "reverse_proxy " + own.Listener.Addr().String()}
	d := startDemo(t, lines["1"], lines["2"])

	li, id := d.inWeChat(t), `^%s of %s ([0-9]+)$`
	guest := li.find(li.open("/"), fmt.Sprintf(id, "/", "guest"))
	page := li.open("/account/orders")
	if page.path != "/wxgate/login?return_to=%2Faccount%2Forders" {
		t.Fatalf("arrived at %s, want the login page: %s", page.path, page.body)
	}
	member := li.find(li.logIn(page), fmt.Sprintf(id, "/account/orders", "member"))
	if member == guest || li.find(li.open("/"), fmt.Sprintf(id, "/", "member")) != member {
		t.Errorf("the guest %s became the member %s", guest, member)
	}
	if got := d.outside(t).fetch(http.MethodGet, "/account/data"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a script of nobody's: %s %s", got.Status, got.body)
	}

	for _, file := range []string{"../../Caddyfile", "../../README.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for number, line := range lines {
			word, _, _ := strings.Cut(line, " ")
			if !regexp.MustCompile(`\(` + number + `\) [^()]*\n\s*` + word + ` `).Match(text) {
				t.Errorf("%s does not name the line of %s as (%s)", file, word, number)
			}
		}
	}
}
