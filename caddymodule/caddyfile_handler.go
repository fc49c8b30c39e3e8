package caddymodule

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// parseHandler reads the directive `wxgate`.
//
//	wxgate {
//		external_url     <url>
//		prefix           <path>
//		bypass|public|login|phone <paths...>|@matcher  # repeatable
//		header           user_id|kind|phone_verified|previous|assertion|openid <name>  # repeatable
//		keep_headers     <names...>
//		return_origins   <origins...>
//		assertion {
//			algorithm    ES256|RS256|EdDSA|HS256
//			key          <secret>
//			audience     <text>
//			ttl          <duration>
//			claims       openid|unionid|phone...
//		}
//		cookie {
//			domain       <domain>
//			max_age      <duration>
//		}
//		callback_host    <origin>
//		verification_file <file>                       # repeatable
//		official_account <appid>
//		mini_program     <appids...>                   # repeatable
//		website          <appid>
//		mobile_app       <appids...>                   # repeatable
//		brand {
//			name         <text>
//			logo         <file>
//			colour       <rrggbb>
//			contact      <text>
//		}
//		hash_routes      on|off
//		upstream_challenge on|off
//		upstream_challenge redirect_to <path>
//		upstream_login   on|off
//		shadow           on|off|<share>%
//	}
func parseHandler(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	p := &parser{Dispenser: h.Dispenser}
	p.Next()
	if p.NextArg() {
		return nil, p.Errf("no word can stand between 'wxgate' and its block, but there is '%s': "+
			"the gate sees every request of its site; use bypass or public lines", p.Val())
	}
	handler, start := new(Handler), *p.Dispenser
	if err := p.lines(func(name string) error { return p.handlerOption(h, handler, name) }); err != nil {
		return nil, err
	}
	if handler.ExternalURL == "" {
		return nil, start.Err(noExternalURL)
	}
	return h.NewRoute(nil, handler), nil
}

func (p *parser) handlerOption(h httpcaddyfile.Helper, to *Handler, name string) error {
	switch name {
	case "external_url":
		return p.value("external_url <url>", &to.ExternalURL)
	case "prefix":
		return p.value("prefix <path>", &to.Prefix)
	case "bypass", "public", "login", "phone":
		return p.access(h, to)
	case "header":
		return p.header(to)
	case "keep_headers":
		return p.values("keep_headers <names...>", &to.KeepHeaders)
	case "assertion":
		return p.assertion(to)
	case "cookie":
		return p.cookie(to)
	case "return_origins":
		return p.values("return_origins <origins...>", &to.ReturnOrigins)
	case "callback_host":
		return p.value("callback_host <origin>", &to.CallbackHost)
	case "verification_file":
		var file string
		err := p.value("verification_file <file>", &file)
		to.VerificationFiles = append(to.VerificationFiles, file)
		return err
	case "official_account":
		return p.value("official_account <appid>", &to.OfficialAccount)
	case "mini_program":
		return p.more("mini_program <appids...>", &to.MiniPrograms)
	case "mobile_app":
		return p.more("mobile_app <appids...>", &to.MobileApps)
	case "website":
		return p.value("website <appid>", &to.Website)
	case "hash_routes":
		return p.choice(&to.HashRoutes, "on", "off")
	case "upstream_challenge":
		return p.upstreamChallenge(to)
	case "upstream_login":
		return p.choice(&to.UpstreamLogin, "on", "off")
	case "brand":
		return p.brand(to)
	case "shadow":
		return p.shadow(to)
	default:
		return p.unknown(name)
	}
}

// access reads one line of paths or one named matcher.
func (p *parser) access(h httpcaddyfile.Helper, to *Handler) error {
	line := Access{Level: p.Val()}
	for p.NextArg() {
		word := p.Val()
		switch {
		case line.MatcherSetsRaw != nil:
			return p.Errf("surplus word '%s': a line takes paths or one named matcher", word)
		case strings.HasPrefix(word, "@") && line.Paths != nil:
			return p.Errf("surplus word '%s': a line takes paths or one named matcher", word)
		case strings.HasPrefix(word, "@"):
			p.Prev()
			set, _, err := h.MatcherToken()
			if err != nil {
				return p.WrapErr(err)
			}
			line.MatcherSetsRaw = caddyhttp.RawMatcherSets{caddy.ModuleMap(set)}
		case line.Level == "bypass" && (word == "*" || word == "/*"):
			return p.Errf("'bypass %s' would switch the gate off", word)
		case !isPathPattern(word):
			return p.Errf("unknown word '%s', expected a path like /me or /me/*, a suffix like *.css, or a named matcher", word)
		default:
			line.Paths = append(line.Paths, word)
		}
	}
	if line.Paths == nil && line.MatcherSetsRaw == nil {
		return p.missing(line.Level + " <paths...>|@matcher")
	}
	to.Access = append(to.Access, line)
	return p.end()
}

func isPathPattern(word string) bool {
	return strings.HasPrefix(word, "/") || strings.HasPrefix(word, "*.") || strings.HasPrefix(word, "{")
}

func (p *parser) header(to *Handler) error {
	const usage = "header <which> <name>"
	var which, name string
	if err := p.args(usage, &which); err != nil {
		return err
	}
	if to.Headers == nil {
		to.Headers = new(Headers)
	}
	targets := map[string]*string{
		"user_id": &to.Headers.UserID, "kind": &to.Headers.Kind, "phone_verified": &to.Headers.PhoneVerified,
		"previous": &to.Headers.Previous, "assertion": &to.Headers.Assertion, "openid": &to.Headers.OpenID,
	}
	target, ok := targets[which]
	if !ok {
		return p.Errf("unknown word '%s', expected user_id, kind, phone_verified, previous, assertion or openid", which)
	}
	if err := p.once("header "+which, *target != ""); err != nil {
		return err
	}
	if err := p.args(usage, &name); err != nil {
		return err
	}
	*target = name
	return p.end()
}

func (p *parser) upstreamChallenge(to *Handler) error {
	const usage = "upstream_challenge on|off|redirect_to <path>"
	var word string
	if err := p.once(p.Val(), to.UpstreamChallenge != "" || to.UpstreamRedirectTo != ""); err != nil {
		return err
	}
	if err := p.args(usage, &word); err != nil {
		return err
	}
	if word == "redirect_to" {
		if err := p.args(usage, &to.UpstreamRedirectTo); err != nil {
			return err
		}
		return p.end()
	}
	to.UpstreamChallenge = word
	if err := p.oneOf(word, "on", "off", "redirect_to"); err != nil {
		return err
	}
	return p.end()
}

func (p *parser) shadow(to *Handler) error {
	if err := p.value("shadow on|off|<share>%", &to.Shadow); err != nil {
		return err
	}
	if _, ok := share(to.Shadow); !ok && !strings.Contains(to.Shadow, "{") {
		return p.Errf("unknown word '%s', expected on, off or a share of the visitors like 10%%", to.Shadow)
	}
	return nil
}

func (p *parser) assertion(to *Handler) error {
	if err := p.openBlock(to.Assertion != nil); err != nil {
		return err
	}
	a := new(Assertion)
	to.Assertion = a
	return p.lines(func(name string) error {
		switch name {
		case "algorithm":
			return p.choice(&a.Algorithm, "ES256", "RS256", "EdDSA", "HS256")
		case "key":
			return p.secret("key <key>", &a.Key)
		case "audience":
			return p.value("audience <audience>", &a.Audience)
		case "ttl":
			return p.value("ttl <duration>", &a.TTL)
		case "claims":
			return p.claims(a)
		default:
			return p.unknown(name)
		}
	})
}

func (p *parser) claims(a *Assertion) error {
	if err := p.once(p.Val(), a.Claims != nil); err != nil {
		return err
	}
	for p.NextArg() {
		claim := p.Val()
		if err := p.oneOf(claim, "openid", "unionid", "phone"); err != nil {
			return err
		}
		if slices.Contains(a.Claims, claim) {
			return p.Errf("word '%s' is repeated", claim)
		}
		a.Claims = append(a.Claims, claim)
	}
	if a.Claims == nil {
		return p.missing("claims openid|unionid|phone...")
	}
	return p.end()
}

func (p *parser) brand(to *Handler) error {
	if err := p.openBlock(to.Brand != nil); err != nil {
		return err
	}
	b := new(Brand)
	to.Brand = b
	return p.lines(func(name string) error {
		switch name {
		case "name":
			return p.value("name <name>", &b.Name)
		case "logo":
			return p.value("logo <file>", &b.Logo)
		case "colour":
			return p.value("colour <rrggbb>", &b.Colour)
		case "contact":
			return p.value("contact <text>", &b.Contact)
		default:
			return p.unknown(name)
		}
	})
}

func (p *parser) cookie(to *Handler) error {
	if err := p.openBlock(to.Cookie != nil); err != nil {
		return err
	}
	c := new(Cookie)
	to.Cookie = c
	return p.lines(func(name string) error {
		switch name {
		case "domain":
			return p.value("domain <domain>", &c.Domain)
		case "max_age":
			return p.value("max_age <duration>", &c.MaxAge)
		default:
			return p.unknown(name)
		}
	})
}
