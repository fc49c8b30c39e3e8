package wechat

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	configPause     = time.Minute // doubled with each further refusal
	configPauseMost = 10 * time.Minute

	// A minute limit may be one user's own, so that pauses start short: a
	// stranger who runs into his limit must not close the login for others.
	limitPause     = 5 * time.Second
	limitPauseMost = time.Minute
)

// pauses stops calls that cannot work: wrong configuration and used-up limits.
// When a pause is over, one call at a time tries whether they work again.
//
// They are kept per app and call: an IP whitelist that refuses the token does
// not take the login down.
type pauses struct {
	mu sync.Mutex
	m  map[pauseKey]*pause // only of configured apps, so it stays small
}

type pauseKey struct{ appID, api string }

type pause struct {
	until time.Time
	last  time.Duration
	err   *Error
}

// enter says whether a call may be made: err is the answer if not. probe means
// that this call is the one that tries.
func (p *pauses) enter(key pauseKey) (probe bool, err *Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stopped := p.m[key]
	if stopped == nil {
		return false, nil
	}
	if now := time.Now(); !now.Before(stopped.until) {
		stopped.until = now.Add(callTimeout) // others wait for the outcome
		return true, nil
	}
	paused := *stopped.err
	paused.paused = true
	return false, &paused
}

// begin starts or prolongs a pause. started is false if other calls that were
// under way at the same time have done so already.
func (p *pauses) begin(key pauseKey, probe bool, err *Error) (d time.Duration, started bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stopped := p.m[key]
	if stopped != nil && !probe {
		return 0, false
	}
	first, most := configPause, configPauseMost
	if err.Code == CodeMinuteLimit {
		first, most = limitPause, limitPauseMost
	}
	d = first
	if stopped != nil {
		d = max(first, min(2*stopped.last, most))
	}
	if p.m == nil {
		p.m = map[pauseKey]*pause{}
	}
	p.m[key] = &pause{until: time.Now().Add(d), last: d, err: err}
	return d, true
}

func (p *pauses) end(key pauseKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.m, key)
}

// leave draws the conclusions from a call's outcome, with one log line per
// change.
func (c *Client) leave(ctx context.Context, key pauseKey, probe bool, err *Error) {
	switch {
	case err != nil && err.Logged(): // further calls would fail in the same way
		if d, started := c.pauses.begin(key, probe, err); started {
			c.logPause(ctx, key, d, err)
		}
	case probe && (err == nil || err.answered()):
		c.pauses.end(key)
		c.logger.InfoContext(ctx, "WeChat accepts calls again", slog.String("appid", key.appID), slog.String("api", key.api))
	}
}

func (c *Client) logPause(ctx context.Context, key pauseKey, d time.Duration, err *Error) {
	level := slog.LevelError
	if err.Code == CodeMinuteLimit {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("appid", key.appID), slog.String("api", key.api),
		slog.Int("errcode", err.Code), slog.Duration("next_try_in", d),
	}
	if err.RID != "" {
		attrs = append(attrs, slog.String("rid", err.RID))
	}
	if err.callerIP != "" {
		attrs = append(attrs, slog.String("caller_ip", err.callerIP))
	}
	c.logger.LogAttrs(ctx, level, "WeChat refuses calls: "+advice(err.Code), attrs...)
}

// advice says what to do, to somebody who runs a shop.
func advice(code int) string {
	switch code {
	case 40013:
		return "it does not know this appid. Check the appid in the configuration, letter by letter."
	case 40001, 40125:
		return "the AppSecret is wrong. Copy it again from the account's console (mp.weixin.qq.com) into the configuration."
	case 40164, 61004:
		return "this server's address is not on the account's IP whitelist. Add it in the account's console (mp.weixin.qq.com), next to the AppSecret."
	case 40243:
		return "the AppSecret is frozen. Unfreeze it in the account's console (mp.weixin.qq.com); it takes 10 minutes to work."
	case 89503:
		return "an administrator of the account must confirm this server's address in the message WeChat has sent him. Refusing it blocks the address for an hour."
	case 48004:
		return "this interface is banned for the account. Read the notices in the account's console (mp.weixin.qq.com)."
	case codeDailyQuota:
		return "the daily quota of this interface is used up. It is reset at midnight in China, or by hand in the account's console."
	case CodeMinuteLimit:
		return "too many calls in this minute. Nothing needs to be done unless it stays."
	}
	return "its answer does not say why."
}
