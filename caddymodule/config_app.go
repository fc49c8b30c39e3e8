package caddymodule

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wxgate/wxgate/internal/assertion"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/sms"
	"github.com/wxgate/wxgate/internal/span"
	"github.com/wxgate/wxgate/internal/webhook"
	"github.com/wxgate/wxgate/internal/wechat"
)

// App holds what all sites behind the gateway share: the secret, the database,
// the WeChat apps of one Open Platform account, and the rules for accounts.
//
// Every value may hold placeholders such as `{env.WXGATE_SECRET}`.
type App struct {
	// At least 32 bytes that seal sessions, the keys of assertions and the key of
	// phone numbers. Of several the first seals and all open: to change the
	// secret, put the new one first and remove the old one after 30 days
	// (docs/operations.md#secrets). Default: made once and kept beside the SQLite
	// file, mode 0600; required with a database server or `redis`, and the same
	// for all gateways.
	//
	// Caddyfile: `secret {env.WXGATE_SECRET}`
	Secrets []Secret `json:"secrets,omitempty"`

	// Where accounts are stored: in a file, whose directory exists, for one
	// gateway; or on a server, for one or several: PostgreSQL 13, MariaDB 10.6,
	// MySQL 8.0 or later. `@ / ? # %` in a password are written as `%40 %2F %3F
	// %23 %25`, and options stand behind a `?`, as `sslmode=verify-full`
	// (PostgreSQL) and `tls=true` (the others); keep the URL in an environment
	// variable (docs/operations.md#accounts-on-a-database-server). Caddy does not
	// start with a database that cannot be opened. Default: `wxgate.db` in
	// Caddy's data directory.
	//
	// Caddyfile: `database sqlite:/var/lib/wxgate/wxgate.db`
	Database Secret `json:"database,omitempty"`

	// The Redis, 6.2 or later, that several gateways share for what is
	// short-lived: logins under way, codes, limits, WeChat's access tokens. A
	// single one, one behind Sentinels, or a Cluster; `rediss` in the place of
	// `redis` encrypts. A user stands before the colon; Sentinels with a password
	// of their own get it by `?sentinel_password=`. It need not be there when
	// Caddy starts (docs/operations.md#several-gateways). Default: none; each
	// gateway keeps that in memory.
	//
	// Caddyfile: `redis {env.WXGATE_REDIS}`
	Redis Secret `json:"redis,omitempty"`

	// The verified service accounts (服务号) whose pages run inside WeChat; where
	// there are several, a site names its own. Default: none.
	//
	// Caddyfile: `official_account wx1111111111111111 {env.WX_OA_SECRET}`
	OfficialAccounts []WeChatApp `json:"official_accounts,omitempty"`

	// The mini programs (小程序), docs/miniprogram.md. A site serves all of them
	// unless it names its own. Default: none.
	//
	// Caddyfile: `mini_program wx2222222222222222 {env.WX_MP_SECRET}`
	MiniPrograms []WeChatApp `json:"mini_programs,omitempty"`

	// The mobile apps (移动应用) of the Open Platform account, which send the codes
	// of the WeChat SDK: docs/apps.md. A site serves all of them unless it names
	// its own. Default: none.
	//
	// Caddyfile: `mobile_app wx4444444444444444 {env.WX_APP_SECRET}`
	MobileApps []WeChatApp `json:"mobile_apps,omitempty"`

	// The website apps (网站应用) of the Open Platform account, with which people
	// log in at a computer, by a QR code that their phone scans. Their callback
	// domain (授权回调域) is the host of `external_url`. Default: none.
	//
	// Caddyfile: `website wx3333333333333333 {env.WX_WEB_SECRET}`
	Websites []WeChatApp `json:"websites,omitempty"`

	// What a first login needs: `wechat`, WeChat telling the unionid, or
	// `wechat_phone`, a verified phone besides: the same phone on several devices
	// is one member. Default: `wechat_phone` with `sms` or a `mini_program`, else
	// `wechat`; the log says which and why.
	//
	// Caddyfile: `first_login wechat`
	FirstLogin string `json:"first_login,omitempty"`

	// Whether a member has one WeChat account or may bind more. A WeChat account
	// has one member either way. Default: `one_to_one`.
	//
	// Caddyfile: `linking many_unionids`
	Linking string `json:"linking,omitempty"`

	// Whether visitors have an id before they log in. With `off` nobody but
	// members has one. Default: `on`.
	//
	// Caddyfile: `guests off`
	Guests string `json:"guests,omitempty"`

	// What user ids look like. Numbers count up from the start and are reserved
	// in blocks, so that a new guest costs no write. The start lies above every
	// id that your shop gives out: an imported id, or one that `new_members`
	// answers, is refused there, and so is a start at or below an imported id.
	// `uuid` are random ones (RFC 9562). Default: `integer 1000000000`.
	//
	// Caddyfile: `user_ids integer 5000000000`
	UserIDs *UserIDs `json:"user_ids,omitempty"`

	// Lets your shop make the user ids of new members:
	// docs/backends.md#your-shop-makes-the-user-ids. `user_ids` makes those of
	// guests then. Default: none; the gateway makes both.
	//
	// Caddyfile: `new_members https://shop.internal/wxgate/new`
	NewMembers *NewMembers `json:"new_members,omitempty"`

	// A program of the shop that is sent each event, such as the merge of a guest
	// with a member, at least once, and those about one user in order:
	// docs/events.md#webhooks. Each URL once. Default: none.
	//
	// Caddyfile: `webhook https://shop.internal/hooks/wxgate`
	Webhooks []Webhook `json:"webhooks,omitempty"`

	// After how long without a visit a phone number alone, or with a WeChat
	// account that is not his, no longer logs in a member who has a WeChat
	// account: the carrier may have given the number to somebody else. Default:
	// `180d`.
	//
	// Caddyfile: `phone_idle 90d`
	PhoneIdle string `json:"phone_idle,omitempty"`

	// What sends the codes that verify a phone:
	// docs/configuration.md#codes-by-sms. Default: none; phones can be verified in
	// mini programs alone.
	//
	// Caddyfile: `sms log`
	SMSRaw json.RawMessage `json:"sms,omitempty" caddy:"namespace=wxgate.sms inline_key=carrier"`

	// How many codes all visitors together are sent in a day. Then none is sent
	// until the next, visitors are asked to try later, and the log says so once a
	// minute. Default: `5000`.
	//
	// Caddyfile: `sms_budget 20000`
	SMSBudget string `json:"sms_budget,omitempty"`

	// The countries whose phones codes are sent to, by their calling codes without
	// a plus, or `all`: a message to some costs a hundred times as much as one to
	// others, and there are networks that live on having them sent to themselves.
	// Phones of other countries are refused as `phone_invalid`; those that WeChat
	// has verified are taken of any. Default: `86`, China's mainland.
	//
	// Caddyfile: `sms_countries 86 852 853 886`
	SMSCountries []string `json:"sms_countries,omitempty"`

	// Replaces the addresses of the WeChat platform. Default: WeChat's own.
	Endpoints *Endpoints `json:"endpoints,omitempty"`

	// Allows `endpoints` and `sms log` beside a site with an external https
	// address, where a pretend WeChat, or whoever reads the log, would let anyone
	// in. Default: `off`.
	//
	// Caddyfile: `sandbox on`
	Sandbox string `json:"sandbox,omitempty"`

	// How long users that are already known are served from memory while the
	// database cannot be read. Default: `10m`.
	//
	// Caddyfile: `stale_for 30m`
	StaleFor string `json:"stale_for,omitempty"`

	// How many new guests one block of addresses (/24, /64) may become; beyond it
	// visitors have no id. As many codes of WeChat are taken from its mini
	// programs and apps, and more are answered `rate_limited`. Default:
	// `6000 per 10m`.
	//
	// Caddyfile: `mint_limit 20000 per 10m`
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
	reached  []int             // countries of the phones that codes are sent to; nil: the default
	start    int64             // of integer user ids
	stale    time.Duration
	idle     time.Duration // of phones
	mint     limit.Limit

	senders []*webhook.Deliverer // of events, one for each webhook
	tracer  *span.Tracer         // of what they send; nil: nobody sends

	rings map[string]*assertion.Keyring // by algorithm, loaded; one for each that a site signs with

	handlers []*Handler // of this configuration

	stop    context.CancelFunc
	workers sync.WaitGroup
}

// WeChatApp is one application at WeChat: an official account, a mini program,
// a website app or a mobile app.
type WeChatApp struct {
	// The appid, `wx` and 16 letters or digits.
	AppID string `json:"appid"`

	// The AppSecret that belongs to the appid. Placeholders such as
	// `{env.WX_OA_SECRET}` keep it out of the configuration.
	Secret Secret `json:"secret"`

	// For an app that is bound to no Open Platform account, where WeChat never
	// tells a unionid: its openids stand in for unionids, and its members are
	// joined with those of other apps by nothing but a phone; the log warns of
	// it. Default: the app is bound, and nobody is linked or logged in before his
	// unionid is known.
	//
	// Caddyfile: `unionid none`
	UnionID string `json:"unionid,omitempty"`
}

// NewMembers lets the shop make the user ids of new members.
type NewMembers struct {
	// The URL that is asked, http or https.
	URL string `json:"url"`

	// What the questions are signed with in the way of Standard Webhooks:
	// `whsec_` and 24 to 64 random bytes in base64. Each signs: to change the
	// secret, add the new one, let the shop change its own, and remove the old
	// one. Required.
	//
	// Caddyfile: `secret {env.HOOK_SECRET}`
	Secrets []Secret `json:"secrets"`
}

// Webhook is a program of the shop that is sent each event.
type Webhook struct {
	// The URL that events are posted to, http or https. Another URL is another
	// webhook, which begins with what happens from then on.
	URL string `json:"url"`

	// What events are signed with, as for `new_members`. Required.
	//
	// Caddyfile: `secret {env.HOOK_SECRET}`
	Secrets []Secret `json:"secrets"`
}

// UserIDs says how user ids are made.
type UserIDs struct {
	// `integer`: numbers that count up; `uuid`: random UUIDs (RFC 9562).
	// Default: `integer`.
	Scheme string `json:"scheme"`

	// The first number, with `integer` only. Choose one above every id that
	// the shop has given out itself. Default: `1000000000`.
	Start string `json:"start,omitempty"`
}

// Endpoints replaces the addresses of the WeChat platform, for a sandbox or
// for a proxy on the way to the platform.
type Endpoints struct {
	// Base URL of WeChat's API. Default: `https://api.weixin.qq.com`.
	//
	// Caddyfile: `api http://127.0.0.1:9001`
	API string `json:"api,omitempty"`

	// Base URL of the pages that WeChat's browser is sent to. Default:
	// `https://open.weixin.qq.com`.
	//
	// Caddyfile: `open http://127.0.0.1:9001`
	Open string `json:"open,omitempty"`

	// URL of an HTTP proxy that calls to WeChat's API go through. Default:
	// none; the environment's proxy variables are not used.
	//
	// Caddyfile: `proxy http://10.0.0.5:3128`
	Proxy Secret `json:"proxy,omitempty"`
}

// MintLimit bounds how many new guests one block of addresses may become.
type MintLimit struct {
	// How many guests. Default: `6000`.
	Events string `json:"events"`

	// Within how long, as a duration. Default: `10m`.
	Window string `json:"window,omitempty"`
}
