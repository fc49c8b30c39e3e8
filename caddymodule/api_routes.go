package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/webhook"
	"github.com/wxgate/wxgate/internal/wechat"
)

const (
	apiTimeout = 10 * time.Second
	apiBody    = 4 << 10 // bytes; the longest token has 512
)

func (a *API) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(*API, *apiCall) error{
		"GET /events":             (*API).events,
		"GET /users/{id}":         (*API).user,
		"GET /apps/{appid}/token": (*API).token,
		// What is refused does not stand in a URL, which gets into logs.
		"POST /apps/{appid}/token": (*API).renewToken,
		"GET /apps/{appid}/jssdk":  (*API).signPage,
	} {
		mux.Handle(pattern, a.route(serve))
	}
	mux.Handle("/", a.route(func(*API, *apiCall) error {
		return newProblem(http.StatusNotFound, "not_found", "there is no such route, or it takes another method")
	}))
	return mux
}

// apiCall is one request of a program of the shop. It is the context of what
// is done for it.
type apiCall struct {
	context.Context
	w http.ResponseWriter
	r *http.Request
}

func (a *API) route(serve func(*API, *apiCall) error) http.Handler {
	return adminHandler(func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), apiTimeout)
		defer cancel()
		return serve(a, &apiCall{Context: ctx, w: w, r: r})
	})
}

func (c *apiCall) answer(v any) error { return writeJSON(c.w, v) }

// tokenView is an access token as programs read it.
type tokenView struct {
	AccessToken string `json:"access_token"`
	ExpiresAt   int64  `json:"expires_at"` // Unix seconds
}

func (a *API) token(c *apiCall) error {
	app, err := a.weChatApp(c)
	if err != nil {
		return err
	}
	token, err := a.app.wechat.Token(c, app)
	if err != nil {
		return err
	}
	return c.answer(tokenView{token.Value, token.Expires.Unix()})
}

// renewToken answers a program whose token WeChat has refused.
func (a *API) renewToken(c *apiCall) error {
	app, err := a.weChatApp(c)
	if err != nil {
		return err
	}
	var in struct {
		Refused string `json:"refused"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, apiBody))
	if err != nil || json.Unmarshal(body, &in) != nil || in.Refused == "" {
		return malformed(`the body is not {"refused": "<access_token>"}`)
	}
	token, err := a.app.wechat.RenewToken(c, app, in.Refused)
	if err != nil {
		return err
	}
	return c.answer(tokenView{token.Value, token.Expires.Unix()})
}

// signatureView is what wx.config takes.
type signatureView struct {
	AppID     string `json:"appId"`
	Timestamp int64  `json:"timestamp"`
	NonceStr  string `json:"nonceStr"`
	Signature string `json:"signature"`
}

func (a *API) signPage(c *apiCall) error {
	app, err := a.weChatApp(c)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(a.app.OfficialAccounts, func(o WeChatApp) bool { return o.AppID == app.AppID }) {
		return newProblem(http.StatusNotFound, "not_found", "the app is no official account: it has no pages to sign")
	}
	signed, err := a.app.wechat.SignPage(c, app, c.r.URL.Query().Get("url"))
	if errors.Is(err, wechat.ErrPageURL) {
		return malformed("url is not the whole URL of a page, percent-encoded")
	}
	if err != nil {
		return err
	}
	return c.answer(signatureView{app.AppID, signed.Timestamp, signed.NonceStr, signed.Signature})
}

// weChatApp is the app that the path names.
func (a *API) weChatApp(c *apiCall) (wechat.App, error) {
	for _, o := range a.app.weChatApps() {
		if o.AppID == c.r.PathValue("appid") {
			return wechat.App{AppID: o.AppID, AppSecret: string(o.Secret)}, nil
		}
	}
	return wechat.App{}, newProblem(http.StatusNotFound, "unknown_app", "the configuration has no app of that appid")
}

// userView is a user as programs read him.
type userView struct {
	ID            string         `json:"id"`
	Kind          string         `json:"kind"`
	MergedInto    string         `json:"merged_into,omitempty"` // the id, where a replaced one was asked for
	Previous      []string       `json:"previous"`              // newest first
	Identities    []identityView `json:"identities"`
	PhoneVerified bool           `json:"phone_verified"`
}

type identityView struct {
	AppID  string `json:"appid"`
	OpenID string `json:"openid"`
}

func (a *API) user(c *apiCall) error {
	id := c.r.PathValue("id")
	if strings.ContainsRune(id, 0) { // no database stores it in a text
		return malformed("a user id holds no NUL character")
	}
	contact, err := a.app.shared.db.Contact(c, id)
	if err != nil {
		return err
	}
	view := userView{
		ID: contact.ID, Kind: string(contact.Kind), PhoneVerified: contact.PhoneVerified,
		Previous: []string{}, Identities: []identityView{},
	}
	if contact.ID != id {
		view.MergedInto = contact.ID
	}
	for _, p := range contact.Previous {
		view.Previous = append(view.Previous, p.ID)
	}
	for _, i := range contact.Identities {
		view.Identities = append(view.Identities, identityView{i.AppID, i.OpenID})
	}
	return c.answer(view)
}

// feedView is a part of the feed. Next is where the following part begins; Lost
// says that events behind the cursor are gone.
type feedView struct {
	Events []webhook.CloudEvent `json:"events"`
	Next   int64                `json:"next"`
	Lost   bool                 `json:"lost,omitempty"`
}

// events answers with what follows a position, from the oldest event that is
// kept if none is named.
func (a *API) events(c *apiCall) error {
	after, limit, err := part(c.r)
	if err != nil {
		return err
	}
	page, err := a.app.shared.db.Events(c, after, limit)
	if err != nil {
		return err
	}
	view := feedView{Events: []webhook.CloudEvent{}, Next: page.Next, Lost: page.Lost}
	for _, e := range page.Events {
		view.Events = append(view.Events, webhook.NewCloudEvent(e))
	}
	return c.answer(view)
}
