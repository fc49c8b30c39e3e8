// Package webhook calls the shop over HTTP, signed in the way of Standard
// Webhooks.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"golang.org/x/sync/singleflight"

	"github.com/wxgate/wxgate/internal/span"
)

const (
	// CallTimeout bounds a call that somebody waits for, from looking up the
	// host's name to the last byte of the answer.
	CallTimeout = 2 * time.Second

	answerLimit = 64 << 10
	// A shop that answers slowly is not asked by all its visitors at once.
	maxConnections = 32

	maxIdle = 30 * time.Second

	secretPrefix = "whsec_"
	minSecret    = 24 // bytes, as Standard Webhooks asks for
	maxSecret    = 64
)

// Config of an Endpoint.
type Config struct {
	URL string // http or https
	// Secrets are shared with the shop: whsec_ and 24 to 64 bytes in base64.
	// Each signs, so that a secret can be replaced while the shop knows both
	// or only one.
	Secrets []string
}

// Endpoint is a URL of the shop. Its methods may be called by many goroutines.
type Endpoint struct {
	url     string
	signers []*standardwebhooks.Webhook
	client  *http.Client
	breaker breaker
	flights singleflight.Group // questions by their key
}

// New checks cfg. Errors name what is wrong and hold no secret.
func New(cfg Config) (*Endpoint, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("the URL is not one like https://shop.internal/hooks/wxgate, without a password")
	}
	if len(cfg.Secrets) == 0 {
		return nil, errors.New("secret is missing: whsec_ and 24 to 64 random bytes in base64")
	}
	e := &Endpoint{url: u.String()}
	for i, secret := range cfg.Secrets {
		signer, err := newSigner(secret)
		if err != nil {
			return nil, fmt.Errorf("secret number %d: %w", i+1, err)
		}
		e.signers = append(e.signers, signer)
	}
	e.client = &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: CallTimeout}).DialContext,
			MaxConnsPerHost:        maxConnections,
			MaxIdleConnsPerHost:    maxConnections,
			IdleConnTimeout:        maxIdle,
			MaxResponseHeaderBytes: answerLimit,
			ForceAttemptHTTP2:      true,
		},
		// What is signed for one address is not for another.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e, nil
}

func newSigner(secret string) (*standardwebhooks.Webhook, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return nil, errors.New("it does not begin with " + secretPrefix)
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("what follows " + secretPrefix + " is not base64") // err may quote it
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Errorf("it holds %d bytes, %d to %d are needed", len(key), minSecret, maxSecret)
	}
	return standardwebhooks.NewWebhookRaw(key)
}

// Close gives back idle connections.
func (e *Endpoint) Close() { e.client.CloseIdleConnections() }

// message is what is sent: the same id each time it is sent.
type message struct {
	id          string
	contentType string // default: application/json
	body        []byte
	within      time.Duration // all of the call; default: CallTimeout
	deaf        bool          // a 2xx says all, whatever follows it
	origin      string        // the span that it comes of (span.Origin), if that is not the one in the context
}

// post sends m and returns the body of a 2xx answer. answered says that the
// shop is there and has said something, if only no.
func (e *Endpoint) post(ctx context.Context, m message) (body []byte, answered bool, err error) {
	m.within = cmp.Or(m.within, CallTimeout)
	ctx, cancel := context.WithTimeout(ctx, m.within)
	defer cancel()
	req, err := e.request(ctx, m)
	if err != nil {
		return nil, false, err
	}
	req, told := span.HTTP(req, "")
	told.From(m.origin)
	span.Propagate(req)
	resp, err := e.client.Do(req)
	if err != nil {
		told.EndWith(err)
		return nil, false, plain(err, m.within)
	}
	defer resp.Body.Close()
	told.Answered(resp.StatusCode)
	body, err = io.ReadAll(io.LimitReader(resp.Body, answerLimit+1))
	ok := resp.StatusCode >= 200 && resp.StatusCode <= 299
	if ok && m.deaf {
		err = nil
	}
	told.EndWith(err)
	switch {
	case err != nil:
		return nil, false, plain(err, m.within)
	case !ok:
		busy := resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests
		return nil, !busy, &StatusError{resp.StatusCode, retryAfter(resp.Header, time.Now())}
	case len(body) > answerLimit && !m.deaf:
		return nil, true, fmt.Errorf("the shop's answer is longer than %d bytes", answerLimit)
	}
	return body, true, nil
}

func (e *Endpoint) request(ctx context.Context, m message) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	signatures := make([]string, len(e.signers))
	for i, s := range e.signers {
		if signatures[i], err = s.Sign(m.id, now, m.body); err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
	}
	req.Header.Set("User-Agent", "wxgate")
	req.Header.Set("Content-Type", cmp.Or(m.contentType, "application/json"))
	req.Header.Set(standardwebhooks.HeaderWebhookID, m.id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	// net/http sends a POST again over a new connection when an idle one turns
	// out to be dead, if it knows that nothing can happen twice.
	req.Header.Set("Idempotency-Key", m.id)
	return req, nil
}

// plain leaves the URL out of an error: its query may hold a token.
func plain(err error, within time.Duration) error {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return fmt.Errorf("the shop did not answer within %s", within)
		}
		err = u.Err
	}
	return fmt.Errorf("calling the shop: %w", err)
}

// encode makes JSON of a struct of strings and numbers.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
