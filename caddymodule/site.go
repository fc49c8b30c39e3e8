package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wxgate/wxgate/internal/assertion"
	"github.com/wxgate/wxgate/internal/gate"
)

func init() { caddy.RegisterModule(new(Handler)) }

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.wxgate", New: func() caddy.Module { return new(Handler) }}
}

// Provision builds the site. The gate checks the options and names the wrong
// one.
func (h *Handler) Provision(ctx caddy.Context) error {
	loaded, err := ctx.App("wxgate")
	if err != nil {
		return err
	}
	app := loaded.(*App)
	app.handlers, h.tracer = append(app.handlers, h), app.tracer
	if h.options, err = json.Marshal(h); err != nil {
		return err
	}
	if err := h.expand(); err != nil {
		return err
	}
	cfg, err := h.config(ctx, app)
	if err != nil {
		return fmt.Errorf("wxgate: site %s: %w", h.ExternalURL, err)
	}
	signer, jwks, err := h.signer(app)
	if err != nil {
		return fmt.Errorf("wxgate: site %s: %w", h.ExternalURL, err)
	}
	h.site, err = gate.New(cfg, gate.Deps{
		Accounts: app.shared.db, WeChat: app.wechat, Store: app.store(), Limiter: app.limiter(), Local: app.local(),
		Cache: app.shared.cache, Watcher: app.shared.watcher, Live: app.shared.live, Keys: app.keys, Signer: signer, JWKS: jwks,
		SMS: app.carrier, Metrics: app.metrics, Log: gate.NumberLog(ctx.Slogger()), Number: requestNumber,
	})
	if err != nil {
		return fmt.Errorf("wxgate: site %s: %w", h.ExternalURL, err)
	}
	return nil
}

// expand replaces placeholders.
func (h *Handler) expand() error {
	if h.Assertion == nil {
		h.Assertion = new(Assertion)
	}
	if h.Cookie == nil {
		h.Cookie = new(Cookie)
	}
	if h.Brand == nil {
		h.Brand = new(Brand)
	}
	if h.Headers == nil {
		h.Headers = new(Headers)
	}
	e := expander{repl: caddy.NewReplacer(), where: "wxgate"}
	e.text("external_url", &h.ExternalURL)
	e.where = "wxgate: site " + h.ExternalURL
	e.text("prefix", &h.Prefix)
	e.text("callback_host", &h.CallbackHost)
	e.text("official_account", &h.OfficialAccount)
	e.text("website", &h.Website)
	e.text("header user_id", &h.Headers.UserID)
	e.text("header kind", &h.Headers.Kind)
	e.text("header phone_verified", &h.Headers.PhoneVerified)
	e.text("header previous", &h.Headers.Previous)
	e.text("header assertion", &h.Headers.Assertion)
	e.text("header openid", &h.Headers.OpenID)
	e.text("assertion algorithm", &h.Assertion.Algorithm)
	e.text("assertion audience", &h.Assertion.Audience)
	e.text("cookie domain", &h.Cookie.Domain)
	e.text("upstream_challenge redirect_to", &h.UpstreamRedirectTo)
	e.text("brand name", &h.Brand.Name)
	e.text("brand logo", &h.Brand.Logo)
	e.text("brand colour", &h.Brand.Colour)
	e.text("brand contact", &h.Brand.Contact)
	e.texts("mini_program", h.MiniPrograms)
	e.texts("mobile_app", h.MobileApps)
	e.texts("keep_headers", h.KeepHeaders)
	e.texts("return_origins", h.ReturnOrigins)
	e.texts("verification_file", h.VerificationFiles)
	e.texts("assertion claims", h.Assertion.Claims)
	for i := range h.Access {
		e.texts(h.Access[i].Level, h.Access[i].Paths)
	}
	e.secret("assertion key", &h.Assertion.Key)
	h.upstream = gate.Upstream{
		Challenge: e.onOff("upstream_challenge", &h.UpstreamChallenge) || h.UpstreamRedirectTo != "",
		LoginURL:  h.UpstreamRedirectTo,
		Login:     e.onOff("upstream_login", &h.UpstreamLogin),
	}
	h.shadow = e.share("shadow", &h.Shadow)
	h.hashed = e.onOff("hash_routes", &h.HashRoutes)
	h.ttl = e.duration("assertion ttl", &h.Assertion.TTL)
	h.maxAge = e.duration("cookie max_age", &h.Cookie.MaxAge)
	return errors.Join(e.errs...)
}

const noExternalURL = "external_url is missing: what visitors type, for example https://shop.example.com"

func (h *Handler) config(ctx caddy.Context, app *App) (gate.Config, error) {
	if h.ExternalURL == "" {
		return gate.Config{}, errors.New(noExternalURL)
	}
	own, err := h.weChatApps(app)
	if err != nil {
		return gate.Config{}, err
	}
	rules, err := h.rules(ctx, app.carrier != nil || len(own.mini) > 0)
	if err != nil {
		return gate.Config{}, err
	}
	if err := h.checkSandbox(app); err != nil {
		return gate.Config{}, err
	}
	proofs, err := h.proofs()
	if err != nil {
		return gate.Config{}, err
	}
	if h.shadow > 0 {
		ctx.Slogger().Warn("shadow: nothing happens to visitors, whatever they ask for", "site", h.ExternalURL, "percent", h.shadow)
	}
	if !h.needsLogin() {
		ctx.Slogger().Warn("the site has no login line: nobody is ever asked to log in", "site", h.ExternalURL)
	}
	for _, c := range h.Assertion.Claims {
		if c != "openid" && c != "unionid" && c != "phone" {
			return gate.Config{}, fmt.Errorf("assertion claims: %q is none of: openid, unionid, phone", c)
		}
	}
	brand, err := h.Brand.load()
	if err != nil {
		return gate.Config{}, err
	}
	return gate.Config{
		ExternalURL: h.ExternalURL, Prefix: h.Prefix, Rules: rules, Headers: gate.HeaderNames(*h.Headers), KeepHeaders: h.KeepHeaders,
		ReturnOrigins: h.ReturnOrigins, VerificationFiles: proofs, CallbackHost: h.CallbackHost, CookieDomain: h.Cookie.Domain, CookieMaxAge: h.maxAge,
		OfficialAccount: own.official, Website: own.website, MiniPrograms: own.mini, MobileApps: own.mobile, Account: app.rules(), MintLimit: app.mint, SMSBudget: app.budget, SMSCountries: app.reached, StaleFor: app.stale,
		ClaimOpenID: slices.Contains(h.Assertion.Claims, "openid"), ClaimUnionID: slices.Contains(h.Assertion.Claims, "unionid"),
		ClaimPhone: slices.Contains(h.Assertion.Claims, "phone"),
		Upstream:   h.upstream, Brand: brand, CacheSalt: app.salt, Shadow: h.shadow, HashRoutes: h.hashed,
	}, nil
}

// proofs reads the files that prove whose the domain is.
func (h *Handler) proofs() (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, path := range h.VerificationFiles {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("verification_file: %w", err)
		}
		name := filepath.Base(path)
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("verification_file: %s is given twice", name)
		}
		all[name] = content
	}
	return all, nil
}

// needsLogin says whether any request may need a member.
func (h *Handler) needsLogin() bool {
	return h.upstream.Challenge || slices.ContainsFunc(h.Access, func(a Access) bool { return a.Level == "login" || a.Level == "phone" })
}

// rules turns the access lines into the gate's, matchers included.
func (h *Handler) rules(ctx caddy.Context, phones bool) ([]gate.Rule, error) {
	levels := map[string]gate.Level{"bypass": gate.Bypass, "public": gate.Public, "login": gate.Login, "phone": gate.Phone}
	var rules []gate.Rule
	for i := range h.Access {
		line := &h.Access[i]
		level, ok := levels[line.Level]
		if !ok {
			return nil, fmt.Errorf("access level %q is none of: bypass, public, login, phone", line.Level)
		}
		if level == gate.Phone && !phones {
			return nil, errors.New("phone: no phone can be verified, since the global option wxgate has no sms and no mini_program of this site")
		}
		rule := gate.Rule{Level: level, Paths: line.Paths, Name: h.matcherName(line)}
		if len(line.MatcherSetsRaw) > 0 {
			mods, err := ctx.LoadModule(line, "MatcherSetsRaw")
			if err != nil {
				return nil, fmt.Errorf("%s: loading a matcher: %w", line.Level, err)
			}
			if err := line.matchers.FromInterface(mods); err != nil {
				return nil, fmt.Errorf("%s: loading a matcher: %w", line.Level, err)
			}
			rule.Match = line.matchers.AnyMatchWithError
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// matcherName shows a matcher to whoever asks why a line applies. A Caddyfile's
// name for it is lost on the way.
func (h *Handler) matcherName(line *Access) string {
	raw, err := json.Marshal(line.MatcherSetsRaw)
	if err != nil || len(line.MatcherSetsRaw) == 0 {
		return ""
	}
	return "requests that match " + string(raw)
}

// checkSandbox keeps a pretend WeChat, which logs anyone in as anyone, and codes
// that stand in the log away from sites that the public can reach.
func (h *Handler) checkSandbox(app *App) error {
	_, logs := app.carrier.(*SMSLog)
	real := isWeChat(app.Endpoints.API) && isWeChat(app.Endpoints.Open)
	if app.Sandbox == "on" || real && !logs {
		return nil
	}
	u, err := url.Parse(h.ExternalURL)
	if err != nil || u.Scheme != "https" {
		return nil
	}
	if isLoopback(u.Hostname()) {
		return nil
	}
	if real {
		return errors.New("sms log: next to a site on https it needs `sandbox on`, since whoever reads the log can log in as anybody")
	}
	return errors.New("endpoints: another WeChat than the real one, next to a site on https, needs `sandbox on`")
}

// isWeChat says whether an endpoint is one of WeChat's own, which has several
// for its regions. Empty stands for the usual one.
func isWeChat(endpoint string) bool {
	if endpoint == "" {
		return true
	}
	u, err := url.Parse(endpoint)
	return err == nil && u.Scheme == "https" && strings.HasSuffix(strings.ToLower(u.Hostname()), ".weixin.qq.com")
}

// signer returns what signs this site's assertions, and its published keys.
func (h *Handler) signer(app *App) (*assertion.Signer, func() []byte, error) {
	cfg := assertion.SignerConfig{
		Key: string(h.Assertion.Key), Algorithm: h.Assertion.Algorithm, Issuer: strings.TrimSuffix(h.ExternalURL, "/"),
		Audience: h.Assertion.Audience, TTL: h.ttl,
	}
	if cfg.Algorithm == "" {
		cfg.Algorithm = assertion.ES256
	}
	jwks := func() []byte { return []byte(`{"keys":[]}`) }
	if cfg.Algorithm != assertion.HS256 {
		if !slices.Contains([]string{assertion.ES256, assertion.RS256, assertion.EdDSA}, cfg.Algorithm) {
			return nil, nil, fmt.Errorf("assertion algorithm: %q is none of: ES256, RS256, EdDSA, HS256", cfg.Algorithm)
		}
		ring, err := app.keyring(cfg.Algorithm)
		if err != nil {
			return nil, nil, fmt.Errorf("loading assertion keys: %w", err)
		}
		cfg.Keyring, jwks = ring, ring.JWKS
	}
	signer, err := assertion.NewSigner(cfg)
	return signer, jwks, err
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
