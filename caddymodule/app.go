// Package caddymodule makes the gateway a Caddy plugin: the app `wxgate`, which
// owns what outlives a request, and the handler `http.handlers.wxgate`. It
// decides nothing; that is internal/gate's.
package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/assertion"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/sms"
	"github.com/wxgate/wxgate/internal/webhook"
	"github.com/wxgate/wxgate/internal/wechat"
)

func init() { caddy.RegisterModule(new(App)) }

// App holds what all sites behind the gateway share: the secret, the database,
// the WeChat apps of one Open Platform account, and the rules for accounts.
//
// Every value may hold placeholders such as `{env.WXGATE_SECRET}`.
type App struct {
	// Secrets that session tokens are sealed with, at least 32 bytes each. The
	// first seals, all open; to change the secret, put the new one first and
	// remove the old one after 30 days. Default: a secret that is made once
	// and kept beside the SQLite file. On a database server it is required, the
	// same for all instances.
	Secrets []Secret `json:"secrets,omitempty"`

	// Where accounts are stored: `sqlite:<path>`, or on a server that several
	// instances may share, `postgres://user:password@host:port/database` or
	// `mysql://` with the same parts (MySQL 8.0 or MariaDB 10.6 and later).
	// Default: `wxgate.db` in Caddy's data directory.
	Database Secret `json:"database,omitempty"`

	// The Redis that several gateways share for what is short-lived:
	// `redis://:password@host:port/database`, `redis+sentinel://host,host/master`
	// or `redis+cluster://host,host`, with `rediss` in the place of `redis` for
	// encrypted connections. It needs the secret. Default: none, and each gateway
	// keeps that in memory.
	Redis Secret `json:"redis,omitempty"`

	// The official accounts whose pages run inside WeChat.
	OfficialAccounts []WeChatApp `json:"official_accounts,omitempty"`

	// The mini programs. They send their login codes to `/wxgate/mini/login`.
	MiniPrograms []WeChatApp `json:"mini_programs,omitempty"`

	// The mobile apps, as the Open Platform calls them. They send their login
	// codes to `/wxgate/app/login`.
	MobileApps []WeChatApp `json:"mobile_apps,omitempty"`

	// The website apps with which people log in at a computer, by a QR code that
	// their phone scans.
	Websites []WeChatApp `json:"websites,omitempty"`

	// What a first login needs: `wechat`, a WeChat account that the Open
	// Platform knows, or `wechat_phone`, a verified phone besides, which joins
	// what a person does on several devices. Default: `wechat_phone` where a
	// phone can be verified, else `wechat`.
	FirstLogin string `json:"first_login,omitempty"`

	// How many WeChat accounts a member may have: `one_to_one` or
	// `many_unionids`. Default: `one_to_one`.
	Linking string `json:"linking,omitempty"`

	// Whether visitors get a guest id before they log in: `on` or `off`.
	// Default: `on`.
	Guests string `json:"guests,omitempty"`

	// How user ids are made. Default: integers from 1000000000.
	UserIDs *UserIDs `json:"user_ids,omitempty"`

	// Lets the shop make the user ids of new members; `user_ids` makes those of
	// guests then. Default: the gateway makes both.
	NewMembers *NewMembers `json:"new_members,omitempty"`

	// Programs of the shop that are sent each event, such as the merge of a guest
	// with a member: at least once, and those about one user in order. Default:
	// none.
	Webhooks []Webhook `json:"webhooks,omitempty"`

	// After how long without a visit a phone number alone no longer logs in a
	// member who has a WeChat account, as a duration: the carrier may have given
	// the number to somebody else. Default: `180d`.
	PhoneIdle string `json:"phone_idle,omitempty"`

	// What sends the codes that verify a phone: `aliyun`, `tencent`, `webhook`
	// or `log`. Default: none, and no phone can be verified.
	SMSRaw json.RawMessage `json:"sms,omitempty" caddy:"namespace=wxgate.sms inline_key=carrier"`

	// How many codes all visitors together are sent in a day. Default: `5000`.
	SMSBudget string `json:"sms_budget,omitempty"`

	// Replaces the addresses of the WeChat platform.
	Endpoints *Endpoints `json:"endpoints,omitempty"`

	// `on` allows `endpoints` and `sms log` beside a site with an external https
	// address, where a pretend WeChat, or whoever reads the log, would let anyone
	// in. Default: `off`.
	Sandbox string `json:"sandbox,omitempty"`

	// How long users that are already known keep working while the database is
	// out of reach, as a duration. Default: `10m`.
	StaleFor string `json:"stale_for,omitempty"`

	// How many new guests one block of addresses (/24, /64) may become.
	// Default: 6000 in 10 minutes.
	MintLimit *MintLimit `json:"mint_limit,omitempty"`

	ctx      caddy.Context
	log      *slog.Logger // taken at once: later the context names whatever module was loaded last
	shared   *shared
	poolKey  string
	redis    *session.Redis // nil: none
	redisKey string
	keys     *session.Keys
	salt     string // of the secrets, so that what an old one sealed is not found in memory
	wechat   *wechat.Client
	metrics  *metrics
	shop     *webhook.Endpoint // that makes user ids; nil: none
	carrier  sms.Sender        // of codes; nil: none
	budget   int               // of codes in a day
	start    int64             // of integer user ids
	stale    time.Duration
	idle     time.Duration // of phones
	mint     limit.Limit

	senders []*webhook.Deliverer // of events, one for each webhook

	rings map[string]*assertion.Keyring // by algorithm, loaded; one for each that a site signs with

	handlers []*Handler // of this configuration

	stop    context.CancelFunc
	workers sync.WaitGroup
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "wxgate", New: func() caddy.Module { return new(App) }}
}

// Provision expands placeholders, sets defaults, and acquires what the app
// owns.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.log, a.rings = ctx, ctx.Slogger(), map[string]*assertion.Keyring{}
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
