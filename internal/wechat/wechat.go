// Package wechat is a client of the WeChat platform for an auth gateway:
// authorize URLs, the code exchange, the user's data and the server's token.
package wechat

import (
	"errors"
	"fmt"
	"log/slog"
)

// App is one application at WeChat. AppSecret never appears in an error, a
// log or a URL that a browser sees; printing an App shows its AppID.
type App struct {
	AppID     string
	AppSecret string
}

// Format implements fmt.Formatter.
func (a App) Format(f fmt.State, _ rune) { fmt.Fprint(f, a.AppID) }

// LogValue implements slog.LogValuer.
func (a App) LogValue() slog.Value { return slog.StringValue(a.AppID) }

// Scope of an authorization.
type Scope string

const (
	ScopeBase     Scope = "snsapi_base"     // silent, openid only
	ScopeUserInfo Scope = "snsapi_userinfo" // asks the user to confirm
	ScopeLogin    Scope = "snsapi_login"    // a website app's QR code, outside WeChat
)

// Grant is a user's token answer. AccessToken is the user's, not the server's.
// Printing a Grant shows its scope alone.
type Grant struct {
	OpenID      string
	UnionID     string // empty when WeChat did not tell it
	Scope       string // comma separated, as WeChat sent it
	AccessToken string
	Snapshot    bool // is_snapshotuser=1: everything in the answer is virtual
}

// Format implements fmt.Formatter.
func (g Grant) Format(f fmt.State, _ rune) { fmt.Fprint(f, "grant of ", g.Scope) }

// LogValue implements slog.LogValuer.
func (g Grant) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(g)) }

// Profile is what a user shows of himself to one app. Nickname is the user's
// own text, control characters included: escape it on output. Printing a
// Profile shows nothing of it.
type Profile struct {
	OpenID    string
	UnionID   string // empty when the app is bound to no Open Platform account
	Nickname  string
	AvatarURL string // empty when the user has none; dies when he changes it
}

// Format implements fmt.Formatter.
func (p Profile) Format(f fmt.State, _ rune) { fmt.Fprint(f, "profile") }

// LogValue implements slog.LogValuer.
func (p Profile) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(p)) }

// Reactions to errors of WeChat. An *Error matches exactly one of them with
// errors.Is; each names what the caller may do.
var (
	ErrCode        = errors.New("wechat: code is spent, expired or foreign") // start a new round; never retry the code
	ErrBlocked     = errors.New("wechat: user is blocked")                   // tell the visitor, do not loop
	ErrBusy        = errors.New("wechat: busy")                              // later: rate limit or system busy
	ErrConfig      = errors.New("wechat: configuration is wrong")            // appid, secret or IP list; calls stop for a while
	ErrToken       = errors.New("wechat: access token is dead")              // of a business call, or the user's own
	ErrScope       = errors.New("wechat: not authorized for this call")      // e.g. userinfo with a base or snapshot token
	ErrUnavailable = errors.New("wechat: unavailable")                       // network, HTML, wrong JSON, missing fields, any other errcode
)
