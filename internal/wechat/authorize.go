package wechat

import (
	"errors"
	"net/url"
	"regexp"
)

// stateFormat is what WeChat carries through: letters and digits, at most 128.
var stateFormat = regexp.MustCompile(`^[a-zA-Z0-9]{1,128}$`)

// page is where a scope is asked for: in WeChat's browser, or by a QR code
// that a browser elsewhere shows.
func page(s Scope) (path string, ok bool) {
	switch s {
	case ScopeBase, ScopeUserInfo:
		return "/connect/oauth2/authorize", true
	case ScopeLogin:
		return "/connect/qrconnect", true
	}
	return "", false
}

// AuthorizeParams are the parameters of WeChat's authorize page.
type AuthorizeParams struct {
	AppID       string
	RedirectURI string // absolute, http or https, without a fragment
	Scope       Scope
	State       string // 1 to 128 letters and digits
}

// AuthorizeURL returns the URL of the authorize page, to be opened in WeChat's
// browser, or with ScopeLogin of the page with a QR code, to be opened in any
// other. An error means that WeChat would refuse the parameters.
//
// WeChat matches order and letter case of the parameters with a regular
// expression and insists on the fragment, so the URL is put together by hand
// (developers.weixin.qq.com/doc/service/guide/h5/auth.html and
// developers.weixin.qq.com/doc/oplatform/developers/dev/auth/web.html).
func (c *Client) AuthorizeURL(p AuthorizeParams) (string, error) {
	redirect, err := url.Parse(p.RedirectURI)
	path, known := page(p.Scope)
	switch {
	case !identifier.MatchString(p.AppID):
		return "", errors.New("building the authorize URL: appid is malformed")
	case err != nil, redirect.Host == "", redirect.Scheme != "https" && redirect.Scheme != "http":
		return "", errors.New("building the authorize URL: redirect URI is not absolute")
	case redirect.Fragment != "":
		return "", errors.New("building the authorize URL: redirect URI has a fragment")
	case !known:
		return "", errors.New("building the authorize URL: unknown scope")
	case !stateFormat.MatchString(p.State):
		return "", errors.New("building the authorize URL: state is not 1 to 128 letters and digits")
	}
	return c.open + path + "?appid=" + p.AppID +
		"&redirect_uri=" + url.QueryEscape(p.RedirectURI) +
		"&response_type=code&scope=" + string(p.Scope) +
		"&state=" + p.State + "#wechat_redirect", nil
}

// Refused reports whether the code parameter of a callback says that the user
// refused. Most refusals bring no callback at all.
func Refused(code string) bool { return code == "" || code == "authdeny" }
