package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wxgate/wxgate/internal/gate"
	"github.com/wxgate/wxgate/internal/span"
)

// Handler is the gate of one site: it recognises the visitor, asks for a login
// where one is needed, and tells the shop behind it who the visitor is.
//
// Every value may hold placeholders such as `{env.SHOP_URL}`.
type Handler struct {
	// What visitors type: scheme and host. Callbacks, cookies and the issuer and
	// default audience of assertions depend on it, never on the Host header.
	// Required.
	//
	// Caddyfile: `external_url https://shop.example.com`
	ExternalURL string `json:"external_url"`

	// Where the gateway's own endpoints are. Default: `/wxgate`.
	//
	// Caddyfile: `prefix /gate`
	Prefix string `json:"prefix,omitempty"`

	// Which requests need what. `bypass`: the gateway is not there, but headers
	// that could pass for its own are removed. `public`: never challenged and
	// never given a cookie. `login`: a member is needed. `phone`: a member with a
	// verified phone, which needs `sms` or a `mini_program`. Requests that no line
	// is for are at guest level: the visitor is recognised if that takes no tap.
	// Default: none.
	//
	// Caddyfile: `bypass /pay/notify /pos/*` `public /static/* *.css` `login /me/*` `phone /orders/pay`
	Access []Access `json:"access,omitempty"`

	// The names of the headers the shop receives; `openid`, the one that WeChat
	// proved for this session in this site's app, is for shops that need it for
	// payment. Default: `X-User-ID`, `X-User-Kind`, `X-User-Phone-Verified`,
	// `X-User-Previous-ID`, `X-User-Assertion`; the openid is not sent.
	//
	// Caddyfile: `header user_id X-Shop-User` `header openid X-Shop-Openid`
	Headers *Headers `json:"headers,omitempty"`

	// Headers that the shop needs though proxies and frameworks take them for
	// the URL or the method: of X-Original-URL, X-Rewrite-URL,
	// X-HTTP-Method-Override, X-HTTP-Method, X-Method-Override,
	// X-Forwarded-Uri, X-Forwarded-Method and X-Forwarded-Prefix those that
	// are not to be removed. Access lines then judge what they say. Default:
	// none.
	//
	// Caddyfile: `keep_headers X-HTTP-Method-Override`
	KeepHeaders []string `json:"keep_headers,omitempty"`

	// How assertions are signed and what they hold:
	// docs/backends.md#verifying-x-user-assertion.
	Assertion *Assertion `json:"assertion,omitempty"`

	// How the session cookie is set.
	Cookie *Cookie `json:"cookie,omitempty"`

	// Origins that a login may return to besides this site, and whose scripts may
	// call the gateway's endpoints. Default: none.
	//
	// Caddyfile: `return_origins https://www.example.com`
	ReturnOrigins []string `json:"return_origins,omitempty"`

	// Another site of this configuration, to which WeChat sends the codes of this
	// one: an app at WeChat takes callbacks at two domains at most. That site
	// lists this one in its `return_origins` and has the same prefix and apps;
	// the code never leaves it: docs/logins.md#more-domains-than-wechat-takes.
	// Default: none; WeChat sends codes here.
	//
	// Caddyfile: `callback_host https://login.example.com`
	CallbackHost string `json:"callback_host,omitempty"`

	// A file with which WeChat checks whose the domain is, served at the root of
	// the site under its own name to everybody. Default: none.
	//
	// Caddyfile: `verification_file MP_verify_0123456789abcdef.txt`
	VerificationFiles []string `json:"verification_files,omitempty"`

	// Which official account is this site's. Default: the only one; required where
	// the global option has several.
	//
	// Caddyfile: `official_account wx1111111111111111`
	OfficialAccount string `json:"official_account,omitempty"`

	// Which mini programs this site serves; a mini program says itself which one
	// it is. Default: all of them.
	//
	// Caddyfile: `mini_program wx2222222222222222`
	MiniPrograms []string `json:"mini_programs,omitempty"`

	// Which mobile apps this site serves; an app says itself which one it is.
	// Default: all of them.
	//
	// Caddyfile: `mobile_app wx4444444444444444`
	MobileApps []string `json:"mobile_apps,omitempty"`

	// Which website app is this site's. Default: the only one; required where the
	// global option has several.
	//
	// Caddyfile: `website wx3333333333333333`
	Website string `json:"website,omitempty"`

	// Whether the shop's routes are behind a `#`, as `/#/goods/5`. A first visit
	// in WeChat leads through WeChat unseen, and what is behind the `#` would be
	// lost on that way; `on` keeps it, by a script that such a visit begins with.
	// Default: `off`.
	//
	// Caddyfile: `hash_routes on`
	HashRoutes string `json:"hash_routes,omitempty"`

	// Whether the shop decides itself which action needs a login: a 401 with
	// `X-Login-Required: login` or `phone` becomes the gateway's challenge then
	// (docs/backends.md#your-shop-asks-for-a-login). Default: `off`.
	//
	// Caddyfile: `upstream_challenge on`
	UpstreamChallenge string `json:"upstream_challenge,omitempty"`

	// The same, and a redirect to the shop's own login page becomes the
	// challenge, too: `/login.php`, or with the parameters that name the page,
	// `/index.php?route=account/login`. Default: none.
	//
	// Caddyfile: `upstream_challenge redirect_to /login.php`
	UpstreamRedirectTo string `json:"upstream_redirect_to,omitempty"`

	// Whether the shop keeps a login of its own and says who has just come through
	// it: `X-Wxgate-Login: <user id>` in an answer of its logs the visitor in, and
	// `X-Wxgate-Logout: 1` logs him out
	// (docs/backends.md#your-shop-has-a-login-of-its-own). Default: `off`.
	//
	// Caddyfile: `upstream_login on`
	UpstreamLogin string `json:"upstream_login,omitempty"`

	// `on`: headers that could pass for the gateway's are removed, and nothing
	// else happens to anybody; what would have happened is logged and counted.
	// With a share nothing happens to that share of the visitors:
	// docs/adopting.md#shadow. Default: `off`.
	//
	// Caddyfile: `shadow 10%`
	Shadow string `json:"shadow,omitempty"`

	// How the gateway's own pages show whose they are.
	Brand *Brand `json:"brand,omitempty"`

	options []byte // as configured, to be compared
	site    *gate.Site
	tracer  *span.Tracer // see App.tracer
	ttl     time.Duration
	maxAge  time.Duration

	upstream gate.Upstream
	shadow   int // percent of the visitors
	hashed   bool
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
	// What signs. `HS256` is for shops that cannot do more. Default: `ES256`.
	//
	// Caddyfile: `algorithm EdDSA`
	Algorithm string `json:"algorithm,omitempty"`

	// The key that is shared with the shop, at least 32 bytes; needed by
	// `HS256` and refused with any other algorithm, whose keys are made and
	// rotated by themselves. Default: none.
	//
	// Caddyfile: `key {env.SHOP_KEY}`
	Key Secret `json:"key,omitempty"`

	// Whom the assertions are for. Default: the `external_url`.
	//
	// Caddyfile: `audience https://orders.example.com`
	Audience string `json:"audience,omitempty"`

	// How long an assertion is valid after signing, at most `600s`. Default:
	// `300s`.
	//
	// Caddyfile: `ttl 120s`
	TTL string `json:"ttl,omitempty"`

	// What an assertion says besides: the visitor's `openid` and `unionid`, and
	// the whole number of his verified phone, `phone`. Default: none.
	//
	// Caddyfile: `claims openid unionid`
	Claims []string `json:"claims,omitempty"`
}

// Cookie says how the session cookie is set.
type Cookie struct {
	// The domain whose hosts share one session. Default: none; the cookie belongs
	// to this host alone.
	//
	// Caddyfile: `domain example.com`
	Domain string `json:"domain,omitempty"`

	// How long a visitor is remembered after his last visit. Default: `30d`.
	//
	// Caddyfile: `max_age 90d`
	MaxAge string `json:"max_age,omitempty"`
}
