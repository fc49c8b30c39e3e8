package caddymodule

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// parseApp reads the global option `wxgate`.
//
//	wxgate {
//		secret           <secret>                 # repeatable
//		database         sqlite:<path>|<url>
//		redis            <url>
//		official_account|mini_program|website|mobile_app <appid> <secret> {  # repeatable
//			unionid none                          # and its block may be left out
//		}
//		first_login      wechat|wechat_phone
//		sms              <carrier> ...            # as the carriers say
//		sms_budget       <codes>
//		sms_countries    all|<countries...>
//		linking          one_to_one|many_unionids
//		guests           on|off
//		user_ids         integer [<start>]|uuid
//		new_members <url> {
//			secret       <secret>                 # repeatable
//		}
//		webhook <url> {                           # repeatable
//			secret       <secret>                 # repeatable
//		}
//		phone_idle       <duration>
//		stale_for        <duration>
//		mint_limit       <guests> [per <duration>]
//		endpoints {
//			api          <url>
//			open         <url>
//			proxy        <url>
//		}
//		sandbox          on|off
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	p := &parser{Dispenser: d}
	p.Next()
	if existing != nil {
		return nil, p.Errf("option 'wxgate' is repeated")
	}
	if p.NextArg() {
		return nil, p.Errf("surplus word '%s'", p.Val())
	}
	app := new(App)
	if err := p.lines(func(name string) error { return p.appOption(app, name) }); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "wxgate", Value: caddyconfig.JSON(app, nil)}, nil
}

func (p *parser) appOption(app *App, name string) error {
	switch name {
	case "secret":
		var s Secret
		err := p.secret("secret <secret>", &s)
		app.Secrets = append(app.Secrets, s)
		return err
	case "database":
		return p.database(app)
	case "redis":
		return p.secret("redis redis://:<password>@<host>:<port>/<database> | redis+sentinel://... | redis+cluster://...", &app.Redis)
	case "official_account":
		return p.weChatApp(app, &app.OfficialAccounts)
	case "mini_program":
		return p.weChatApp(app, &app.MiniPrograms)
	case "mobile_app":
		return p.weChatApp(app, &app.MobileApps)
	case "website":
		return p.weChatApp(app, &app.Websites)
	case "first_login":
		return p.choice(&app.FirstLogin, "wechat", "wechat_phone")
	case "linking":
		return p.choice(&app.Linking, "one_to_one", "many_unionids")
	case "guests":
		return p.choice(&app.Guests, "on", "off")
	case "user_ids":
		return p.userIDs(app)
	case "new_members":
		return p.newMembers(app)
	case "phone_idle":
		return p.value("phone_idle <duration>", &app.PhoneIdle)
	case "endpoints":
		return p.endpoints(app)
	case "webhook":
		app.Webhooks = append(app.Webhooks, Webhook{})
		w := &app.Webhooks[len(app.Webhooks)-1]
		return p.shop("webhook <url>", &w.URL, &w.Secrets)
	case "sandbox":
		return p.choice(&app.Sandbox, "on", "off")
	case "stale_for":
		return p.value("stale_for <duration>", &app.StaleFor)
	case "mint_limit":
		return p.mintLimit(app)
	case "sms":
		return p.sms(app)
	case "sms_budget":
		return p.value("sms_budget <codes>", &app.SMSBudget)
	case "sms_countries":
		return p.values("sms_countries all|<countries...>", &app.SMSCountries)
	default:
		return p.unknown(name)
	}
}

// database keeps a refused value out of the message: it may hold a password.
func (p *parser) database(app *App) error {
	const usage = "database sqlite:<path> | postgres://<user>:<password>@<host>/<database> | mysql://..."
	if err := p.secret(usage, &app.Database); err != nil {
		return err
	}
	switch scheme, _, _ := strings.Cut(string(app.Database), ":"); {
	case scheme == "sqlite", scheme == "postgres", scheme == "postgresql", scheme == "mysql", strings.HasPrefix(scheme, "{"):
		return nil
	}
	return p.Errf("unknown kind of database, usage: %s", usage)
}

func (p *parser) weChatApp(app *App, to *[]WeChatApp) error {
	kind := p.Val()
	usage := kind + " <appid> <secret>"
	var appid, secret string
	if err := p.args(usage, &appid, &secret); err != nil {
		return err
	}
	if err := checkAppID(kind, appid); err != nil && !strings.Contains(appid, "{") { // else it is known when Caddy starts
		return p.Err(err.Error())
	}
	if app.knows(appid) {
		return p.Errf("appid '%s' is repeated", appid)
	}
	account := WeChatApp{AppID: appid, Secret: Secret(secret)}
	if p.NextArg() {
		return p.Errf("surplus word, usage: %s", usage)
	}
	err := p.lines(func(name string) error {
		if name != "unionid" {
			return p.unknown(name)
		}
		return p.choice(&account.UnionID, "none")
	})
	*to = append(*to, account)
	return err
}

func (p *parser) newMembers(app *App) error {
	if err := p.once(p.Val(), app.NewMembers != nil); err != nil {
		return err
	}
	app.NewMembers = new(NewMembers)
	return p.shop("new_members <url>", &app.NewMembers.URL, &app.NewMembers.Secrets)
}

// shop reads a URL of the shop and the block with the secrets of its calls.
func (p *parser) shop(usage string, url *string, secrets *[]Secret) error {
	if err := p.args(usage, url); err != nil {
		return err
	}
	if p.NextArg() {
		return p.Errf("surplus word '%s'", p.Val())
	}
	if !p.opensBlock() {
		return p.Errf("a block with a secret is missing after '%s'", usage)
	}
	return p.lines(func(name string) error {
		if name != "secret" {
			return p.unknown(name)
		}
		var s Secret
		err := p.secret("secret <secret>", &s)
		*secrets = append(*secrets, s)
		return err
	})
}

func (p *parser) userIDs(app *App) error {
	if err := p.once(p.Val(), app.UserIDs != nil); err != nil {
		return err
	}
	app.UserIDs = new(UserIDs)
	if err := p.args("user_ids integer [<start>] | uuid", &app.UserIDs.Scheme); err != nil {
		return err
	}
	if err := p.oneOf(app.UserIDs.Scheme, "integer", "uuid"); err != nil {
		return err
	}
	if app.UserIDs.Scheme == "integer" && p.NextArg() {
		app.UserIDs.Start = p.Val()
	}
	return p.end()
}

func (p *parser) endpoints(app *App) error {
	if err := p.openBlock(app.Endpoints != nil); err != nil {
		return err
	}
	e := new(Endpoints)
	app.Endpoints = e
	return p.lines(func(name string) error {
		switch name {
		case "api":
			return p.value("api <url>", &e.API)
		case "open":
			return p.value("open <url>", &e.Open)
		case "proxy":
			return p.secret("proxy <url>", &e.Proxy)
		default:
			return p.unknown(name)
		}
	})
}

func (p *parser) mintLimit(app *App) error {
	const usage = "mint_limit <guests> [per <duration>]"
	if err := p.once(p.Val(), app.MintLimit != nil); err != nil {
		return err
	}
	l := new(MintLimit)
	app.MintLimit = l
	if err := p.args(usage, &l.Events); err != nil {
		return err
	}
	if !p.NextArg() {
		return p.end()
	}
	if p.Val() != "per" {
		return p.Errf("surplus word '%s'", p.Val())
	}
	if !p.NextArg() {
		return p.missing(usage)
	}
	l.Window = p.Val()
	return p.end()
}
