package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestDoctorSeesThatTheShopIsNotThere, of each address that the site's proxies
// name.
func TestDoctorSeesThatTheShopIsNotThere(t *testing.T) {
	rg := newRig(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	lost := gone.Listener.Addr().String()
	all := rg.ailing(setup{app: inOrder, site: "login /me/*", backend: "handle /api/* {\nreverse_proxy " + lost + "\n}\nreverse_proxy " + rg.shop.addr + ""})
	if !says(all, "shop", stateError, "nothing listens at "+lost, rg.url(""), "reverse_proxy") {
		t.Errorf("the one that is gone: %+v", all)
	}
	if !says(all, "shop", stateOK, "listens at "+rg.shop.addr) || says(all, "shop", stateError, rg.shop.addr) {
		t.Errorf("the one that is there: %+v", all)
	}
}
