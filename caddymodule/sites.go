package caddymodule

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wxgate/wxgate/internal/gate"
)

// checkSites looks at the routes of all servers. They are known now that every
// App of the configuration is provisioned, and not before.
func (a *App) checkSites() error {
	httpApp, err := a.ctx.AppIfConfigured("http")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil
	}
	if err != nil {
		return err
	}
	found, err := checkGates(httpApp.(*caddyhttp.App))
	if err != nil {
		return err
	}
	if len(a.handlers) == 0 {
		a.log.Warn("no site has a wxgate block: the global option wxgate is without effect")
	}
	var sites []*gate.Site
	for _, h := range a.handlers {
		sites = append(sites, h.site)
	}
	for _, h := range a.handlers {
		if err := h.site.CheckCallbackHost(sites); err != nil {
			return fmt.Errorf("wxgate: site %s: %w", h.ExternalURL, err)
		}
		if !slices.Contains(found, h) {
			a.log.Warn("a wxgate block stands inside a handler that is not Caddy's own: whether requests can walk around it is not known",
				"site", h.ExternalURL)
		}
	}
	return nil
}
