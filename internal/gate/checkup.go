package gate

import (
	"cmp"

	"github.com/wxgate/wxgate/internal/wechat"
)

// EndpointURL is where visitors find one of the site's own endpoints, such as
// /login.
func (s *Site) EndpointURL(path string) string { return s.origin() + s.cfg.Prefix + path }

// Callbacks are the authorize pages that visitors of the site are sent to. No
// login comes of them: their state is nobody's.
func (s *Site) Callbacks() (all []wechat.AuthorizeParams) {
	for _, scope := range []wechat.Scope{wechat.ScopeBase, wechat.ScopeLogin} {
		p := pending{AppID: s.app(scope).AppID, Site: cmp.Or(s.cfg.CallbackHost, s.origin()), Prefix: s.cfg.Prefix}
		if p.AppID != "" {
			all = append(all, wechat.AuthorizeParams{AppID: p.AppID, RedirectURI: p.callback(), Scope: scope, State: "checkup"})
		}
	}
	return all
}
