package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/wxgate/wxgate/internal/wechat"
)

// visitTimeout bounds a look at the site from outside.
const visitTimeout = 5 * time.Second

// weChatApp looks whether WeChat takes an app's appid, AppSecret and this
// server's address, whether unionids come, and what WeChat's clock says.
func (up checkup) weChatApp(ctx context.Context, kind string, o *WeChatApp) []finding {
	app := wechat.App{AppID: o.AppID, AppSecret: string(o.Secret)}
	f := finding{Check: "app", Subject: o.AppID, State: stateOK}
	var said wechat.Checkup
	if kind == "official_account" || kind == "mini_program" {
		said = up.app.wechat.CheckToken(ctx, app)
		f.Text = kind + ": appid and AppSecret are right, and this server's address is allowed"
	} else {
		said = up.app.wechat.CheckCode(ctx, app)
		f.Text = kind + ": appid and AppSecret are right"
	}
	if said.Err != nil {
		f.State, f.Text, f.Advice = stateError, kind+": "+said.Err.Error(), said.Advice
		if errors.Is(said.Err, wechat.ErrBusy) {
			f.State = stateWarning
		}
		if said.CallerIP != "" {
			f.Text += "; WeChat sees this server at " + said.CallerIP
		}
	}
	all := []finding{f, up.unionIDs(ctx, o)}
	if !said.Date.IsZero() {
		all = append(all, clockFinding("WeChat, asked for "+o.AppID, sample{said.Date, said.Sent, said.Came, time.Second}))
	}
	return all
}

// enoughPeople is of how many without a unionid it can be said that none ever
// comes: of who has neither followed nor consented WeChat tells none.
const enoughPeople = 20

// unionIDs looks whether WeChat tells unionids for an app, by what it has told
// so far.
func (up checkup) unionIDs(ctx context.Context, o *WeChatApp) finding {
	f := finding{Check: "unionid", Subject: o.AppID, State: stateOK}
	n, err := up.db.CountUnionIDs(ctx, o.AppID)
	const bind = "Bind the app to the Open Platform account (open.weixin.qq.com) of your other apps; if it cannot be bound, say `unionid none`."
	switch {
	case err != nil:
		f.State, f.Text = stateUnknown, err.Error()
	case o.UnionID == "none":
		f.State, f.Text = stateWarning, "openids stand in for unionids: nobody is recognised across apps but by a phone"
		f.Advice = "If the app is bound to an Open Platform account by now, take `unionid none` away."
	case n.Known == 0 && n.Unknown == 0:
		f.State, f.Text = stateUnknown, "nobody has come by this app yet"
	case n.Known == 0 && n.Unknown < enoughPeople:
		f.State, f.Text = stateUnknown, fmt.Sprintf("WeChat has told no unionid of %d people, who may neither have followed nor consented", n.Unknown)
	case n.Known == 0:
		f.State, f.Text = stateError, fmt.Sprintf("WeChat has told no unionid of any of %d people", n.Unknown)
		f.Advice = bind
	default:
		f.Text = fmt.Sprintf("WeChat has told the unionids of %d people, and not yet of %d", n.Known, n.Unknown)
	}
	return f
}

// site looks at a site as its visitors and WeChat do.
func (up checkup) site(ctx context.Context, h *Handler) []finding {
	ctx, cancel := context.WithTimeout(ctx, visitTimeout)
	defer cancel()
	all := []finding{reaches(ctx, h)}
	for _, path := range h.VerificationFiles {
		all = append(all, proves(ctx, h, filepath.Base(path)))
	}
	all = append(all, up.shop(ctx, h)...)
	for _, p := range h.site.Callbacks() {
		all = append(all, up.callback(ctx, p))
	}
	return all
}

// reaches looks whether external_url leads to this gateway: it signs with keys
// that no other has.
func reaches(ctx context.Context, h *Handler) finding {
	f := finding{Check: "site", Subject: h.ExternalURL, State: stateOK, Text: "external_url leads to this gateway"}
	const advice = "external_url is what visitors type. Look at the name server, at what stands before Caddy, and at the site's address; a server may also be unable to reach its own public address."
	status, body, err := fetch(ctx, h.site.EndpointURL("/jwks.json"))
	switch {
	case err != nil:
		f.State, f.Text, f.Advice = stateWarning, "external_url cannot be reached from this server: "+err.Error(), advice
	case status/100 == 3:
		f.State, f.Text, f.Advice = stateError, "external_url is redirected elsewhere, where cookies and callbacks do not work", advice
	case status != http.StatusOK || !bytes.Equal(body, h.site.JWKS()):
		f.State, f.Text, f.Advice = stateError, fmt.Sprintf("external_url leads to something else than this gateway (HTTP %d)", status), advice
	}
	return f
}

// proves looks whether WeChat finds a file that proves whose the domain is.
func proves(ctx context.Context, h *Handler, name string) finding {
	f := finding{Check: "callback", Subject: name, State: stateOK, Text: "the proof of the domain is found at the root of " + h.ExternalURL}
	at, err := url.JoinPath(h.ExternalURL, name)
	if err != nil {
		at = h.ExternalURL
	}
	content, readErr := h.proofs()
	status, body, err := fetch(ctx, at)
	switch {
	case readErr != nil:
		f.State, f.Text, f.Advice = stateWarning, readErr.Error(), "Put the file back, or take its line away: the next reload would be refused."
	case err != nil:
		f.State, f.Text = stateWarning, "it cannot be fetched from this server: "+err.Error()
	case status != http.StatusOK || !bytes.Equal(body, content[name]):
		f.State, f.Text = stateError, fmt.Sprintf("something else than the file is found at the root of %s (HTTP %d)", h.ExternalURL, status)
		f.Advice = "What stands before the gateway has to let /" + name + " through, without a redirect or a login."
	}
	return f
}

// callback looks whether WeChat sends people back to a site.
func (up checkup) callback(ctx context.Context, p wechat.AuthorizeParams) finding {
	f := finding{Check: "callback", Subject: p.AppID, State: stateOK, Text: "WeChat takes " + p.RedirectURI}
	console, field := "mp.weixin.qq.com", "网页授权域名"
	if p.Scope == wechat.ScopeLogin {
		console, field = "open.weixin.qq.com", "授权回调域"
	}
	host := p.RedirectURI
	if u, err := url.Parse(p.RedirectURI); err == nil {
		host = u.Hostname()
	}
	switch took, err := up.app.wechat.CheckCallback(ctx, p); {
	case err != nil:
		f.State, f.Text = stateUnknown, "WeChat's page for logins cannot be opened from this server: "+err.Error()
	case took == wechat.CallbackRefused:
		f.State, f.Text = stateError, "WeChat refuses callbacks to "+host+": it is not the domain that the account names"
		f.Advice = fmt.Sprintf("Enter %s as %s in the account's console (%s), exactly, without scheme and port; or name a callback_host.", host, field, console)
	case took == wechat.CallbackUnknown:
		f.State, f.Text = stateUnknown, "WeChat says only in its own browser whether it takes callbacks to "+host
		f.Advice = fmt.Sprintf("Compare it with %s in the account's console (%s), and open the site in WeChat once.", field, console)
	}
	return f
}

// fetch gets a page as anybody does, and follows nothing.
func fetch(ctx context.Context, at string) (status int, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, nil, err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // without the URL
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, body, err
}
