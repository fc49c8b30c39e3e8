package caddymodule

import (
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// stage is a step on the way into an existing shop.
type stage struct {
	name, app, site string
	stranger        string // what the shop hears of a visitor whom nobody knows; empty: his hash decides
	login           string // where a page of customers leads him
}

// stages are those of docs/adopting.md, in their order.
func stages() []stage {
	const shops = "/login?next=%2Faccount"
	return []stage{
		{"shadow", "guests off", "shadow on", "nothing ", shops},
		{"a share", "guests off", "shadow 50%\nupstream_login on", "nothing ", shops},
		{"headers", "guests off", "upstream_login on", "nothing ", shops},
		{"one login path", "guests off", "upstream_login on\nupstream_challenge redirect_to /login", "nothing ", "/wxgate/login?return_to=%2Faccount"},
		{"guests", "guests on", "upstream_login on\nupstream_challenge redirect_to /login", "guest ", "/wxgate/login?return_to=%2Faccount"},
	}
}

// TestNobodyIsLoggedOutOnTheWayIn takes a shop with a login of its own through
// the stages, back, and in again. Whoever is logged in at the shop stays so,
// whatever the gateway makes of him, and so does who logs in on the way.
func TestNobodyIsLoggedOutOnTheWayIn(t *testing.T) {
	rg := newRig(t)
	socket, root := phpFPM(t, strings.NewReplacer("/*login*/", saysLogin, "/*logout*/", saysLogout).Replace(legacyShop))
	enter := func(s stage) {
		rg.run(setup{app: s.app, site: s.site, backend: "root * " + root + "\nphp_fastcgi unix/" + socket + "\nfile_server"})
	}
	type customer struct {
		*device
		since string
	}
	way := stages()
	for i := len(way) - 2; i >= 0; i-- {
		way = append(way, way[i])
	}
	way = append(way, way[len(stages())-1])
	enter(way[0])
	var customers []customer
	for _, d := range []*device{rg.elsewhere(), rg.inWeChat(wechattest.Person{Name: "wang", Follower: true})} {
		d.password("wang@shop.test", "open sesame")
		customers = append(customers, customer{d, "before"})
	}
	for _, s := range way {
		enter(s)
		for _, c := range customers {
			for _, path := range []string{"/goods", "/account"} {
				if got := c.get(path); !strings.HasPrefix(got.body, "the shop knows 4711, ") {
					t.Errorf("%s: who has been logged in since %s is logged out: %d at %s: %s", s.name, c.since, got.StatusCode, got.Request.URL, got.body)
				} else if s.name == "shadow" && !strings.Contains(got.body, "the gateway says nothing ") {
					t.Errorf("%s: the shop was told of him: %s", s.name, got.body)
				}
			}
		}
		stranger := rg.elsewhere()
		if got := stranger.get("/goods"); !strings.HasPrefix(got.body, "the shop knows nobody, the gateway says "+s.stranger) {
			t.Errorf("%s: a stranger: %s", s.name, got.body)
		}
		if to := stranger.stay("/account").Header.Get("Location"); to != s.login {
			t.Errorf("%s: a stranger is led to %s", s.name, to)
		}
		stranger.password("wang@shop.test", "open sesame")
		customers = append(customers, customer{stranger, s.name})
	}
	// In the end the gateway knows whoever logged in while it heard the shop.
	for _, c := range customers {
		got := c.get("/goods")
		if heard := c.since != "shadow" && c.since != "before" && c.since != "a share"; heard && !strings.Contains(got.body, "the gateway says member 4711") {
			t.Errorf("who has been logged in since %s: %s", c.since, got.body)
		}
	}
}
