package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// TestTwoGatewaysShareADatabaseServer: they start at once on an empty database,
// whoever logs in on one is known to the other, and what is revoked on one is
// dead on the other, where it was in memory.
func TestTwoGatewaysShareADatabaseServer(t *testing.T) {
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) {
			one, other := prepare(t), prepare(t)
			one.databaseAt = dbtest.Shared(t, e).Database(t)
			other.databaseAt, other.wechat = one.databaseAt, one.wechat
			for _, g := range []*gateway{one, other} {
				g.write("Caddyfile", g.config(""))
				g.begin()
			}
			for _, g := range []*gateway{one, other} {
				g.await()
			}
			li := one.browser("li")
			member := one.logIn(li)
			there := other.browser("li")
			there.Jar = li.Jar // one browser, which a balancer sends here and there
			for range 2 {
				if said := other.open(there, "/me/orders"); said != "member "+member {
					t.Fatalf("on the other gateway: %s", said)
				}
			}
			one.must("user", "revoke", member, "--reason", "lost his phone", "--yes")
			revoked := time.Now()
			there.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // to WeChat, which knows him
			for other.open(there, "/me/orders") == "member "+member {
				if time.Since(revoked) > time.Minute {
					t.Fatal("the other gateway serves him on")
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Logf("revoked on the other gateway after %s", time.Since(revoked))
			if again := other.logIn(other.browser("li")); again != member {
				t.Errorf("his WeChat account opens %s, not %s", again, member)
			}
		})
	}
}
