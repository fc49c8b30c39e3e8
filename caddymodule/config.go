package caddymodule

import "github.com/caddyserver/caddy/v2/modules/caddyhttp"

// WeChatApp is one application at WeChat: an official account (a service
// account), or a website app.
type WeChatApp struct {
	// The appid, `wx` and 16 letters or digits.
	AppID string `json:"appid"`

	// The AppSecret that belongs to the appid. Placeholders such as
	// `{env.WX_OA_SECRET}` keep it out of the configuration.
	Secret Secret `json:"secret"`

	// `none` for an app that is bound to no Open Platform account, where WeChat
	// never tells a unionid: its openids stand in for unionids, and its members
	// are joined with those of other apps by nothing but a phone. Default: the
	// app is bound, and nobody is linked or logged in before his unionid is
	// known.
	UnionID string `json:"unionid,omitempty"`
}

// NewMembers lets the shop make the user ids of new members.
type NewMembers struct {
	// The URL that is asked, http or https.
	URL string `json:"url"`

	// Secrets that the questions are signed with in the way of Standard
	// Webhooks: `whsec_` and 24 to 64 random bytes in base64. To change the
	// secret, add the new one, let the shop change its own, and remove the old
	// one.
	Secrets []Secret `json:"secrets"`
}

// Webhook is a program of the shop that is sent each event.
type Webhook struct {
	// The URL that events are posted to, http or https. Another URL is another
	// webhook, which begins with what happens from then on.
	URL string `json:"url"`

	// Secrets that events are signed with in the way of Standard Webhooks:
	// `whsec_` and 24 to 64 random bytes in base64. Each signs. To change the
	// secret, add the new one, let the shop change its own, and remove the old
	// one.
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
	API string `json:"api,omitempty"`

	// Base URL of the pages that WeChat's browser is sent to. Default:
	// `https://open.weixin.qq.com`.
	Open string `json:"open,omitempty"`

	// URL of an HTTP proxy that calls to WeChat's API go through. Default:
	// none; the environment's proxy variables are not used.
	Proxy Secret `json:"proxy,omitempty"`
}

// MintLimit bounds how many new guests one block of addresses may become.
type MintLimit struct {
	// How many guests. Default: `6000`.
	Events string `json:"events"`

	// Within how long, as a duration. Default: `10m`.
	Window string `json:"window,omitempty"`
}

// Access is one line of access rules: a level and the requests it is for.
type Access struct {
	// `bypass`: the gateway is not there, but headers that could pass for its
	// own are removed. `public`: never challenged and never given a cookie.
	// `login`: a member is needed. `phone`: a member with a verified phone.
	Level string `json:"level"`

	// Paths the line is for: exact ones, `/me/*` (which covers `/me` too), or
	// `*.ext`. Either paths or matchers are given.
	Paths []string `json:"paths,omitempty"`

	// Matchers the line is for.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	matchers caddyhttp.MatcherSets
}

// Headers names the headers the shop receives.
type Headers struct {
	// The user id. Default: `X-User-ID`.
	UserID string `json:"user_id,omitempty"`

	// `guest` or `member`. Default: `X-User-Kind`.
	Kind string `json:"kind,omitempty"`

	// `1` if the user's phone is verified, else `0`. Default:
	// `X-User-Phone-Verified`.
	PhoneVerified string `json:"phone_verified,omitempty"`

	// The ids that were merged into this user in the last 30 days. Default:
	// `X-User-Previous-ID`.
	Previous string `json:"previous,omitempty"`

	// The signed proof of the above. Default: `X-User-Assertion`.
	Assertion string `json:"assertion,omitempty"`

	// The openid that WeChat proved for this session in this site's app, for
	// shops that need it for payment. Default: not sent.
	OpenID string `json:"openid,omitempty"`
}

// Assertion says how X-User-Assertion is signed and what it holds.
type Assertion struct {
	// `ES256`, `RS256`, `EdDSA`, or `HS256` for shops that cannot do more.
	// Default: `ES256`.
	Algorithm string `json:"algorithm,omitempty"`

	// The key that is shared with the shop, at least 32 bytes; needed by
	// `HS256` and refused with any other algorithm, whose keys are made and
	// rotated by themselves.
	Key Secret `json:"key,omitempty"`

	// The audience. Default: the external URL.
	Audience string `json:"audience,omitempty"`

	// How long an assertion is valid after signing, as a duration, at most
	// `600s`. Default: `300s`.
	TTL string `json:"ttl,omitempty"`

	// Further claims: `openid`, `unionid`. Default: none.
	Claims []string `json:"claims,omitempty"`
}

// Cookie says how the session cookie is set.
type Cookie struct {
	// The domain to share the session with, for example `example.com` for all
	// its subdomains. Default: none; the cookie belongs to this host alone.
	Domain string `json:"domain,omitempty"`

	// How long a visitor is remembered after his last visit, as a duration.
	// Default: `30d`.
	MaxAge string `json:"max_age,omitempty"`
}
