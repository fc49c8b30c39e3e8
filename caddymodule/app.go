// Package caddymodule makes the gateway a Caddy plugin: the app `wxgate`, which
// owns what outlives a request, and the handler `http.handlers.wxgate`. It
// decides nothing; that is internal/gate's.
package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/assertion"
	"github.com/wxgate/wxgate/internal/gate"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

func init() { caddy.RegisterModule(new(App)) }

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "wxgate", New: func() caddy.Module { return new(App) }}
}

// Provision expands placeholders, sets defaults, and acquires what the app
// owns.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.log, a.rings = ctx, gate.NumberLog(ctx.Slogger()), map[string]*assertion.Keyring{}
	if err := a.expand(); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return err
	}
	a.metrics = newMetrics(ctx.GetMetricsRegistry())
	if err := a.acquire(); err != nil {
		return err
	}
	if err := a.acquireRedis(); err != nil {
		return err
	}
	var err error
	if a.wechat, err = a.newClient(); err != nil {
		return err
	}
	if a.shop, err = a.newShop(); err != nil {
		return err
	}
	if err := a.newSenders(); err != nil {
		return err
	}
	return a.newCarrier(ctx)
}

// expand replaces placeholders and sets defaults.
func (a *App) expand() error {
	e := expander{repl: caddy.NewReplacer(), where: "wxgate"}
	for i := range a.Secrets {
		e.secret("secret", &a.Secrets[i])
	}
	for kind, o := range a.weChatApps() {
		e.text(kind, &o.AppID)
		e.secret(kind+" "+o.AppID, &o.Secret)
		e.text("unionid", &o.UnionID)
	}
	if a.Endpoints == nil {
		a.Endpoints = new(Endpoints)
	}
	if a.UserIDs == nil {
		a.UserIDs = new(UserIDs)
	}
	if a.MintLimit == nil {
		a.MintLimit = new(MintLimit)
	}
	if a.NewMembers != nil {
		e.text("new_members", &a.NewMembers.URL)
		for i := range a.NewMembers.Secrets {
			e.secret("new_members secret", &a.NewMembers.Secrets[i])
		}
	}
	for i := range a.Webhooks {
		e.text("webhook", &a.Webhooks[i].URL)
		for j := range a.Webhooks[i].Secrets {
			e.secret("webhook secret", &a.Webhooks[i].Secrets[j])
		}
	}
	e.secret("database", &a.Database)
	e.secret("redis", &a.Redis)
	e.text("first_login", &a.FirstLogin)
	e.text("linking", &a.Linking)
	e.text("guests", &a.Guests)
	e.text("user_ids", &a.UserIDs.Scheme)
	e.text("sandbox", &a.Sandbox)
	e.text("endpoints api", &a.Endpoints.API)
	e.text("endpoints open", &a.Endpoints.Open)
	e.secret("endpoints proxy", &a.Endpoints.Proxy)
	a.start = e.number("user_ids", &a.UserIDs.Start)
	a.stale = e.duration("stale_for", &a.StaleFor)
	a.budget = int(e.number("sms_budget", &a.SMSBudget))
	a.reached = e.countries("sms_countries", a.SMSCountries)
	a.idle = e.duration("phone_idle", &a.PhoneIdle)
	a.mint = limit.Limit{
		Events: int(e.number("mint_limit", &a.MintLimit.Events)), Window: e.duration("mint_limit", &a.MintLimit.Window),
	}
	if a.mint.Events > 0 && a.mint.Window == 0 {
		a.mint.Window = 10 * time.Minute
	}
	if a.UserIDs.Scheme == "" {
		a.UserIDs.Scheme = "integer"
	}
	if a.Database == "" {
		a.Database = defaultDatabase()
	}
	a.defaultFirstLogin()
	return errors.Join(e.errs...)
}

func (a *App) defaultFirstLogin() {
	switch {
	case a.FirstLogin != "":
	case a.SMSRaw != nil:
		a.FirstLogin = string(account.FirstLoginWeChatPhone)
		a.log.Info("first_login is wechat_phone: phones can be verified, by sms")
	case len(a.MiniPrograms) > 0:
		a.FirstLogin = string(account.FirstLoginWeChatPhone)
		a.log.Info("first_login is wechat_phone: phones can be verified, in mini programs; " +
			"without sms everybody's first login is there")
	default:
		a.FirstLogin = string(account.FirstLoginWeChat)
		a.log.Info("first_login is wechat: no phone can be verified, since there is no sms and no mini_program")
	}
}

// check refuses what cannot work, by the option's name.
func (a *App) check() error {
	errs := a.checkApps()
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf("wxgate: "+format, args...)) }
	for i, s := range a.Secrets {
		if len(s) < 32 {
			refuse("secret: number %d has %d bytes, at least 32 are needed (is its environment variable set?)", i+1, len(s))
		}
		if slices.Index(a.Secrets, s) < i {
			refuse("secret: number %d is given twice", i+1)
		}
	}
	if a.onServer() && len(a.Secrets) == 0 {
		refuse("secret: a database server needs one, the same for all instances; make it with: openssl rand -base64 32")
	}
	if a.Redis != "" && len(a.Secrets) == 0 {
		refuse("secret: redis needs one, the same for all instances; make it with: openssl rand -base64 32")
	}
	oneOf := func(option, value string, allowed ...string) {
		if value != "" && !slices.Contains(allowed, value) {
			refuse("%s: %q is none of: %s", option, value, strings.Join(allowed, ", "))
		}
	}
	oneOf("first_login", a.FirstLogin, "wechat", "wechat_phone")
	if a.FirstLogin == string(account.FirstLoginWeChatPhone) && a.SMSRaw == nil && len(a.MiniPrograms) == 0 {
		refuse("first_login: wechat_phone needs sms or a mini_program: without them no phone can be verified")
	}
	if a.SMSBudget != "" && a.SMSRaw == nil {
		refuse("sms_budget: there is no sms that it could be for")
	}
	if a.SMSCountries != nil && a.SMSRaw == nil {
		refuse("sms_countries: there is no sms that it could be for")
	}
	oneOf("linking", a.Linking, "one_to_one", "many_unionids")
	oneOf("guests", a.Guests, "on", "off")
	oneOf("sandbox", a.Sandbox, "on", "off")
	oneOf("user_ids", a.UserIDs.Scheme, "integer", "uuid")
	if a.UserIDs.Start != "" && a.UserIDs.Scheme == "uuid" {
		refuse("user_ids: uuid has no start")
	}
	if a.mint.Window > 0 && a.mint.Events == 0 {
		refuse("mint_limit: the number of guests is missing")
	}
	return errors.Join(errs...)
}

func (a *App) newClient() (*wechat.Client, error) {
	cfg := wechat.Config{
		API: a.Endpoints.API, Open: a.Endpoints.Open, Logger: a.log, Observe: a.metrics.observeWeChat,
		Shared: session.NewSealed(a.store(), a.keys, session.TypeCredential),
	}
	if a.Endpoints.Proxy != "" {
		u, err := url.Parse(string(a.Endpoints.Proxy))
		if err != nil || u.Host == "" {
			return nil, errors.New("wxgate: endpoints proxy is not a URL like http://10.0.0.5:3128")
		}
		cfg.Proxy = u
	}
	c, err := wechat.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("wxgate: endpoints: %w", err)
	}
	return c, nil
}

// Start looks for ways around the gate and runs the workers.
func (a *App) Start() error {
	if err := a.checkSites(); err != nil {
		return err
	}
	for appid := range a.standIns() {
		a.log.Warn("unionid is none: openids stand in for unionids, so that nobody is recognised across apps; "+
			"bind the app to the Open Platform account of the others if it can be bound", "appid", appid)
	}
	if err := a.firstJoin(); err != nil {
		return err
	}
	a.shared.db.LogTo(a.log)
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	run := func(f func(context.Context)) { a.workers.Go(func() { f(ctx) }) }
	run(func(ctx context.Context) { a.shared.watcher.Run(ctx, a.log) })
	run(a.shared.live.Run)
	if a.redis != nil {
		run(a.runRedis)
	}
	run(a.hourly)
	run(a.settle)
	for _, s := range a.senders {
		run(s.Run)
	}
	if len(a.senders) > 0 {
		run(a.countPending)
	}
	return nil
}

// Stop ends the workers and waits for them. The handlers work on until
// Cleanup.
func (a *App) Stop() error {
	if a.stop != nil {
		a.stop()
	}
	a.workers.Wait()
	return nil
}

// Cleanup gives back exactly what Provision has acquired; Caddy calls it after
// a failed Provision too.
func (a *App) Cleanup() error {
	if a.wechat != nil {
		a.wechat.Close()
	}
	if a.shop != nil {
		a.shop.Close()
	}
	for _, s := range a.senders {
		s.Endpoint.Close()
	}
	released := a.releaseRedis()
	if a.shared == nil {
		return released
	}
	a.shared = nil
	_, err := pool.Delete(a.poolKey)
	return errors.Join(released, err)
}

var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
