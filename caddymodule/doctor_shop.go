package caddymodule

import (
	"context"
	"net"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// shop looks whether the shop listens where the site's proxies lead to.
func (up checkup) shop(ctx context.Context, h *Handler) (all []finding) {
	w, _ := up.walkWith(h)
	if w == nil {
		return nil
	}
	slices.Sort(w.upstreams)
	for _, dial := range slices.Compact(w.upstreams) {
		if !strings.Contains(dial, "{") { // else it is known with the request
			all = append(all, listens(ctx, h.ExternalURL, dial))
		}
	}
	return all
}

// listens knocks at an address of the shop and sends nothing.
func listens(ctx context.Context, site, dial string) finding {
	f := finding{Check: "shop", Subject: site, State: stateOK, Text: "the shop listens at " + dial}
	at, err := caddy.ParseNetworkAddress(dial)
	if err == nil {
		var conn net.Conn
		if conn, err = new(net.Dialer).DialContext(ctx, at.Network, at.JoinHostPort(0)); err == nil {
			_ = conn.Close() // it has told all that it can
		}
	}
	if err != nil {
		f.State, f.Text = stateError, "nothing listens at "+dial+", where the site's proxy leads to: "+err.Error()
		f.Advice = "Start the shop, or correct the address in the site's reverse_proxy: whoever passes the gate gets a 502."
	}
	return f
}
