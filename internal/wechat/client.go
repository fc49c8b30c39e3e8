package wechat

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	defaultAPI  = "https://api.weixin.qq.com"
	defaultOpen = "https://open.weixin.qq.com"

	callTimeout = 5 * time.Second // one public call, its retries included
	dialTimeout = 4 * time.Second
	bodyLimit   = 64 << 10
	listLimit   = 1 << 20 // a page of 10,000 openids is 310 KB

	busyRetries = 2                      // of a read that got -1
	busyDelay   = 100 * time.Millisecond // doubled by jitter
)

// The calls this package makes, named by their path. Also values of the
// metric's api label.
const (
	apiExchange    = "sns/oauth2/access_token"
	apiUserInfo    = "sns/userinfo"
	apiStableToken = "cgi-bin/stable_token"
	apiFollower    = "cgi-bin/user/info"
	apiFollowers   = "cgi-bin/user/info/batchget"
	apiFollowerIDs = "cgi-bin/user/get"
	apiTicket      = "cgi-bin/ticket/getticket"

	apiCode2Session = "sns/jscode2session"
	apiPhoneNumber  = "wxa/business/getuserphonenumber"
)

// takesSecret says that a call carries the AppSecret and not a token.
func takesSecret(api string) bool {
	return api == apiExchange || api == apiCode2Session || api == apiStableToken
}

// spendsCode says that a call uses a code up, so that it must not be repeated.
func spendsCode(api string) bool {
	return api == apiExchange || api == apiCode2Session || api == apiPhoneNumber
}

// answerLimit is the length of the longest answer that is read, in bytes.
func answerLimit(api string) int {
	if api == apiFollowers || api == apiFollowerIDs {
		return listLimit
	}
	return bodyLimit
}

// Config of a Client. The zero value talks to WeChat directly.
type Config struct {
	// API is the base URL of the calls, https://api.weixin.qq.com if empty.
	API string
	// Open is the base URL of the authorize page, https://open.weixin.qq.com
	// if empty.
	Open string
	// Proxy is the HTTP proxy on the way to API; nil means none. The
	// environment is not asked.
	Proxy *url.URL
	// Logger gets one line when calls stop and one when they work again; nil
	// means none.
	Logger *slog.Logger
	// Observe is told of every request to API; nil means nobody. Both labels
	// come from closed sets: api is the path, code is "ok", a known errcode,
	// "other", "timeout", "canceled", "network" or "malformed".
	Observe func(api, code string, d time.Duration)
	// Shared keeps access tokens for all instances of the gateway; nil means
	// that there is but this one.
	Shared Shared
}

// Client calls the WeChat platform. Its methods may be called by many
// goroutines; each returns within 5 s, earlier if ctx ends. Errors are *Error.
type Client struct {
	api, open   string
	logger      *slog.Logger
	observe     func(api, code string, d time.Duration)
	reads       *http.Client // keeps connections
	exchanges   *http.Client // one connection per request, see newTransport
	pauses      pauses
	credentials credentials
}

// New returns a client. An error means that a base URL is unusable.
func New(cfg Config) (*Client, error) {
	api, err := baseURL(cfg.API, defaultAPI)
	if err != nil {
		return nil, fmt.Errorf("reading the api endpoint: %w", err)
	}
	open, err := baseURL(cfg.Open, defaultOpen)
	if err != nil {
		return nil, fmt.Errorf("reading the open endpoint: %w", err)
	}
	c := &Client{
		api: api, open: open, logger: cfg.Logger, observe: cfg.Observe,
		reads:     newHTTPClient(newTransport(cfg.Proxy, true)),
		exchanges: newHTTPClient(newTransport(cfg.Proxy, false)),
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	if c.observe == nil {
		c.observe = func(string, string, time.Duration) {}
	}
	c.credentials.shared, c.credentials.logger = cfg.Shared, c.logger
	return c, nil
}

// Close gives back idle connections. Calls under way finish.
func (c *Client) Close() {
	c.reads.CloseIdleConnections()
	c.exchanges.CloseIdleConnections()
}

// baseURL returns raw, or the default, without a trailing slash.
func baseURL(raw, def string) (string, error) {
	if raw == "" {
		return def, nil
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("not a URL") // err would repeat a password in it
	case u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("scheme must be https or http")
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("must be scheme, host and path alone")
	}
	return strings.TrimSuffix(raw, "/"), nil
}

// newTransport returns a transport of HTTP/1.1. Without keepAlive every
// request has a connection of its own: net/http repeats a GET on its own when
// a reused connection dies before the first byte of the answer, which would
// send a code twice. A fresh connection is never tried again, and it cannot
// have gone stale either. HTTP/2 has repeats of its own and is left out.
func newTransport(proxy *url.URL, keepAlive bool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(8)},
		Protocols:              protocols,
		DisableKeepAlives:      !keepAlive,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: bodyLimit,
	}
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	return t
}

// newHTTPClient follows no redirects: WeChat's API sends none, and a hotel's
// login page must not be taken for it.
func newHTTPClient(t *http.Transport) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}
