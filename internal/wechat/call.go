package wechat

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/wxgate/wxgate/internal/span"
)

// call is one call of the platform's API.
type call struct {
	api   string
	appID string // whose configuration it depends on
	query url.Values
	body  any        // JSON of a POST; nil means GET
	date  *time.Time // set to the platform's clock where it tells; nil: nobody asks
}

// result is the decoded body of a success. problem names what is missing or
// wrong in it, without the value; "" means nothing.
type result interface{ problem() string }

// do makes a call, unless its kind is paused, and decodes its answer into out.
// It repeats an answer of -1 up to retries times.
func (c *Client) do(ctx context.Context, k call, retries int, out result) error {
	err := c.doOnce(ctx, k, out)
	for try := 1; err != nil && err.Code == codeBusy && try <= retries; try++ {
		if !sleep(ctx, time.Duration(try)*busyDelay+rand.N(busyDelay)) {
			break
		}
		err = c.doOnce(ctx, k, out)
	}
	if err == nil {
		return nil // not a nil *Error
	}
	return err
}

func (c *Client) doOnce(ctx context.Context, k call, out result) *Error {
	key := pauseKey{appID: k.appID, api: k.api}
	probe, err := c.pauses.enter(key)
	if err != nil {
		return err
	}
	start := time.Now()
	err = c.send(ctx, k, out)
	c.observe(k.api, cmp.Or(err.label(), "ok"), time.Since(start))
	c.leave(ctx, key, probe, err)
	return err
}

// send makes the request and reads its answer.
func (c *Client) send(ctx context.Context, k call, out result) (failed *Error) {
	req, err := c.request(ctx, k)
	if err != nil {
		return malformed(k.api, "building the request")
	}
	req, told := span.HTTP(req, "/"+k.api)
	defer func() { told.End(failed.label()) }()
	client := c.reads
	if spendsCode(k.api) {
		client = c.exchanges
	}
	resp, err := client.Do(req)
	if err != nil {
		return transportError(ctx, k.api, err)
	}
	defer resp.Body.Close()
	told.Answered(resp.StatusCode)
	if k.date != nil {
		*k.date, _ = http.ParseTime(resp.Header.Get("Date"))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(answerLimit(k.api))+1))
	if err != nil {
		return transportError(ctx, k.api, err)
	}
	return decode(k.api, body, out)
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	target := c.api + "/" + k.api
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	method, body := http.MethodGet, io.Reader(nil)
	if k.body != nil {
		text, err := json.Marshal(k.body)
		if err != nil {
			return nil, err
		}
		method, body = http.MethodPost, bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "wxgate")
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// sleep waits for d; false means that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
