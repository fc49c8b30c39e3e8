// Package gate is the product: it recognises a visitor, says who he is, asks
// for a login where one is needed, and logs people in and out. It knows
// nothing of Caddy.
//
// A Site is one site behind the gateway. For each request its caller takes the
// six steps of Receive, Owns, Level, Identify, Answer and Attach.
package gate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/assertion"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/sms"
	"github.com/wxgate/wxgate/internal/wechat"
)

// Config is what an operator says of one site.
type Config struct {
	ExternalURL   string // what visitors type: scheme and host, nothing else
	Prefix        string // of our own endpoints; default /wxgate
	Rules         []Rule // access lines; their order does not matter
	Headers       HeaderNames
	KeepHeaders   []string // that override URL or method: those the shop needs
	ReturnOrigins []string // origins return_to may name besides this site

	// CallbackHost is the origin of the site that gets WeChat's codes in place
	// of this one. Default: this one gets them.
	CallbackHost string

	// VerificationFiles are served at the root of the site, by their names, so
	// that WeChat can check whose the domain is.
	VerificationFiles map[string][]byte

	CookieDomain string
	CookieMaxAge time.Duration // default 30 days, sliding

	OfficialAccount wechat.App // for pages inside WeChat; zero: none
	Website         wechat.App // for QR codes elsewhere; zero: none
	MiniPrograms    []wechat.App
	MobileApps      []wechat.App
	Account         account.Rules
	Upstream        Upstream
	HashRoutes      bool // the shop's routes are behind a #, and a silent round keeps them
	Brand           Brand
	MintLimit       limit.Limit   // new guests per address block; default 6,000 in 10 minutes
	SMSBudget       int           // codes that all visitors together are sent in a day; default 5,000
	SMSCountries    []int         // country calling codes of the phones that codes are sent to; default 86; EveryCountry stands for all
	StaleFor        time.Duration // how long cached users outlive a lost database; default 10 minutes

	// Shadow is the share of visitors, in percent, whom nothing happens to: what
	// would have been done is logged and counted.
	Shadow int

	ClaimOpenID  bool // put the openid into the assertion
	ClaimUnionID bool // put the unionid into the assertion
	ClaimPhone   bool // put the whole phone number into the assertion

	// CacheSalt changes when the secrets do, so that a session sealed with one
	// that was taken away is not found in memory either.
	CacheSalt string
}

// Deps is what a site works with. All of it outlives the site.
type Deps struct {
	Accounts Accounts
	WeChat   *wechat.Client
	Store    session.Store
	Limiter  limit.Limiter
	Local    *Local // nil: Store and Limiter are of this instance alone
	Cache    *session.Cache
	Watcher  *Watcher
	Live     *Live
	Keys     *session.Keys
	Signer   *assertion.Signer
	JWKS     func() []byte // the published keys, ready to send
	SMS      SMS           // nil: no phone can be verified
	Metrics  Metrics
	Log      *slog.Logger
	// Number returns the number of a request, by which its log lines are found; it
	// is the same each time. Nil: requests have none.
	Number func(*http.Request) string
}

// Accounts is what the gate needs of the account store. An error means that
// the store is broken, except account.ErrSessionDead of Resolve, and where a
// user has gone meanwhile.
type Accounts interface {
	Link(ctx context.Context, rules account.Rules, in account.Input) (account.Outcome, error)
	// Foresee says what Link would answer, and changes nothing.
	Foresee(ctx context.Context, rules account.Rules, in account.Input) (account.Outcome, error)
	Resolve(ctx context.Context, ref account.SessionRef) (account.Resolved, error)
	NewGuestID(ctx context.Context) (string, error)
	// RevokeSession ends a session at a time, at once or after a grace, and
	// may forget about it once every token of it has expired.
	RevokeSession(ctx context.Context, id string, at, forgetAt time.Time) error
	// Hide names text without telling it, in the same way on every instance.
	Hide(text string) string
	// PhoneOf returns the phone of a user, empty if he has none.
	PhoneOf(ctx context.Context, userID string) (account.Phone, error)
	ChangePhone(ctx context.Context, p account.PhoneChange) (account.Outcome, error)
	Self(ctx context.Context, id string) (account.Self, error)
	// Profile returns what somebody has given of himself in an app, and
	// KeepProfile adds to it.
	Profile(ctx context.Context, appID, openID string) (account.Profile, error)
	KeepProfile(ctx context.Context, given account.Profile) (account.Profile, error)
	Unbind(ctx context.Context, u account.Unbinding) (account.Outcome, error)
	Cancel(ctx context.Context, x account.Cancelling) (account.Outcome, error)
	PreviewMerge(ctx context.Context, rules account.Rules, m account.Merging) (account.MergePreview, error)
	Merge(ctx context.Context, rules account.Rules, m account.Merging) (account.Outcome, error)
	Ping(ctx context.Context) error
}

// SMS is the carrier that codes are sent with.
type SMS interface {
	// Send hands a message over once, within sms.SendTimeout. Every error is an
	// *sms.Error.
	Send(ctx context.Context, m sms.Message) error
}

// Metrics counts what the gate does. Every argument comes from a closed set.
type Metrics interface {
	Request(level Level, outcome string)
	Shadow(level Level, outcome string) // what would have become of a request, one of ShadowOutcomes
	Identified(d time.Duration)         // one resolution that was not in the cache
	CacheHit()
	Login(channel, outcome string)
	Link(code account.Code)
	SMS(outcome string) // one of SMSOutcomes
	StoreError(store string)
	Upstream(word, outcome string) // what the shop said to the gate
	Stripped(headers int)
}

const (
	defaultPrefix   = "/wxgate"
	defaultMaxAge   = 30 * 24 * time.Hour
	defaultStaleFor = 10 * time.Minute
	defaultBudget   = 5000

	storeTimeout  = 2 * time.Second // a request waits this long for a store
	wechatTimeout = 5 * time.Second // and this long for WeChat
	shopTimeout   = 2 * time.Second // and this long for the shop that makes a user id
)

// Site is one site behind the gateway. It is immutable and may be used by many
// goroutines.
type Site struct {
	cfg      Config
	Deps     // embedded: the site's own code reads better
	external *url.URL
	strip    *stripper
	rules    *rules
	cookies  *session.Cookies
	pages    *pages
	names    [numHeaders]string // canonical header names
	// fingerprint separates cached answers of sites that tell the shop
	// different things of one session.
	fingerprint []byte
	flights     *singleflight.Group
	shopLog     *rate.Sometimes // a shop that makes no user ids is said of once a minute
	budgetLog   *rate.Sometimes // and so is a budget of codes that is spent
	carrierLog  *rate.Sometimes // and a carrier that takes none
	wordLog     *rate.Sometimes // and so is one whose words to the gate are wrong
	sharedLog   *rate.Sometimes // and so is a shared store that fails
	logins      session.Store   // of what a login under way needs
	shopLogin   *url.URL        // the shop's own login page; nil: none is known
	deaf        *listener       // of paths where the shop is not heard
	shadow      *Site           // that looks at visits and changes nothing; nil: everything happens
	shadowOf    *Site           // this one is that of another; nil: it is none
	explains    *Explanation    // the one request that this site is for; nil: it is for visitors
}

// New checks cfg and builds a site. Errors name the option that is wrong.
func New(cfg Config, deps Deps) (*Site, error) {
	s := &Site{
		cfg: cfg, Deps: deps, flights: new(singleflight.Group),
		shopLog: oncePerMinute(), budgetLog: oncePerMinute(), carrierLog: oncePerMinute(), wordLog: oncePerMinute(),
		sharedLog: oncePerMinute(),
	}
	s.logins = logins{s}
	s.deaf = &listener{site: s}
	s.setDefaults()
	var err error
	if s.shopLogin, err = parseLoginPage(cfg.Upstream.LoginURL); err != nil {
		return nil, err
	}
	if s.external, err = parseExternalURL(cfg.ExternalURL); err != nil {
		return nil, err
	}
	if err := checkPrefix(s.cfg.Prefix); err != nil {
		return nil, err
	}
	if s.cfg.ReturnOrigins, err = parseOrigins(cfg.ReturnOrigins); err != nil {
		return nil, err
	}
	if s.cfg.CallbackHost, err = s.parseCallbackHost(cfg.CallbackHost); err != nil {
		return nil, err
	}
	if err := checkProofs(cfg.VerificationFiles); err != nil {
		return nil, err
	}
	if s.strip, err = newStripper(s.cfg.Headers, cfg.KeepHeaders); err != nil {
		return nil, err
	}
	if s.rules, err = compileRules(cfg.Rules); err != nil {
		return nil, err
	}
	s.cookies, err = session.NewCookies(session.CookieConfig{
		Secure: s.external.Scheme == "https", Domain: cfg.CookieDomain, MaxAge: s.cfg.CookieMaxAge,
	})
	if err != nil {
		return nil, fmt.Errorf("cookie: %w", err)
	}
	if host := s.external.Hostname(); cfg.CookieDomain != "" && !strings.HasSuffix("."+host, "."+cfg.CookieDomain) {
		return nil, fmt.Errorf("cookie domain %s does not cover %s: no browser would keep the session", cfg.CookieDomain, host)
	}
	if err := cfg.Brand.check(); err != nil {
		return nil, err
	}
	if s.pages, err = newPages(s.origin()+s.cfg.Prefix, cfg.Brand); err != nil {
		return nil, err
	}
	s.names = s.cfg.Headers.canonical()
	s.fingerprint = s.fingerprintOf()
	return s, s.castShadow()
}

func oncePerMinute() *rate.Sometimes { return &rate.Sometimes{First: 1, Interval: time.Minute} }

func (s *Site) setDefaults() {
	c := &s.cfg
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if c.CookieMaxAge == 0 {
		c.CookieMaxAge = defaultMaxAge
	}
	if c.StaleFor == 0 {
		c.StaleFor = defaultStaleFor
	}
	if c.SMSBudget == 0 {
		c.SMSBudget = defaultBudget
	}
	if c.SMSCountries == nil {
		c.SMSCountries = []int{86}
	}
	if c.MintLimit == (limit.Limit{}) {
		c.MintLimit = limit.Limit{Events: 6000, Window: 10 * time.Minute}
	}
}

func (s *Site) fingerprintOf() []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%t %t %t %q\n%s\n", s.cfg.CacheSalt, s.Signer.Fingerprint(), s.cfg.ClaimOpenID, s.cfg.ClaimUnionID, s.cfg.ClaimPhone,
		s.cfg.Headers.OpenID, s.cfg.OfficialAccount.AppID)
	for _, app := range slices.Concat(s.cfg.MiniPrograms, s.cfg.MobileApps) {
		fmt.Fprintln(h, app.AppID)
	}
	return h.Sum(nil)
}

func parseExternalURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("external_url is missing: what visitors type, for example https://shop.example.com")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "",
		u.User != nil, u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "", u.ForceQuery:
		return nil, fmt.Errorf("external_url %q is not a scheme and a host, like https://shop.example.com", raw)
	}
	return &url.URL{Scheme: u.Scheme, Host: stripDefaultPort(u.Scheme, strings.ToLower(u.Host))}, nil
}

func checkPrefix(p string) error {
	if len(p) < 2 || p[0] != '/' {
		return fmt.Errorf("prefix %q is not a path like /wxgate", p)
	}
	for seg := range strings.SplitSeq(p[1:], "/") {
		if seg == "" || strings.Trim(seg, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return fmt.Errorf("prefix %q may hold letters, digits, '-', '_' and single slashes only", p)
		}
	}
	return nil
}

// parseOrigins brings origins into the form that browsers send.
func parseOrigins(raw []string) ([]string, error) {
	var out []string
	for _, o := range raw {
		u, err := parseExternalURL(o)
		if err != nil {
			return nil, fmt.Errorf("return_origins: %q is not an origin like https://www.example.com", o)
		}
		out = append(out, u.Scheme+"://"+u.Host)
	}
	return out, nil
}
