package caddymodule

import "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

// parseAPI reads the directive `wxgate_api`.
//
//	wxgate_api {
//		key   <secret>           # repeatable
//		allow <addresses...>
//	}
func parseAPI(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	p := &parser{Dispenser: h.Dispenser}
	p.Next()
	if p.NextArg() {
		return nil, p.Errf("no word can stand between 'wxgate_api' and its block, but there is '%s'", p.Val())
	}
	api := new(API)
	err := p.lines(func(name string) error {
		switch name {
		case "key":
			var key Secret
			err := p.secret("key <key>", &key)
			api.Keys = append(api.Keys, key)
			return err
		case "allow":
			return p.values("allow <addresses or ranges...>", &api.Allow)
		default:
			return p.unknown(name)
		}
	})
	if err != nil {
		return nil, err
	}
	return h.NewRoute(nil, api), nil
}
