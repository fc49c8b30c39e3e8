package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat"
)

type repairRequest struct {
	AppID string  `json:"appid"`
	After string  `json:"after,omitempty"`
	Rate  float64 `json:"rate,omitempty"` // calls to WeChat a second; default repairRate
	reasoned
}

// repairRate is far below what WeChat allows: the login needs its share.
const (
	repairRate    = 5
	maxRepairRate = 50
)

func serveRepair(c *adminCall) error {
	in := repairRequest{Rate: repairRate}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Rate <= 0 || in.Rate > maxRepairRate {
		return malformed(fmt.Sprintf("rate is not above 0 and at most %d", maxRepairRate))
	}
	if in.Reason == "" && !in.DryRun {
		return account.ErrNoReason
	}
	f, err := c.followers(in)
	if err != nil {
		return err
	}
	s, err := c.newStream()
	if err != nil {
		return err
	}
	cfg := account.RepairConfig{
		AppID: in.AppID, Followers: f, After: in.After, DryRun: in.DryRun, By: in.by(), Progress: s.progress,
		Conflict: func(conflict account.RepairConflict) error { return s.send(streamLine{Conflict: &conflict}) },
	}
	report, err := c.db.Repair(c, c.app.rules(), cfg)
	var answer *wechat.Error
	switch {
	case errors.Is(err, account.ErrNoUnionIDs):
		err = newProblem(http.StatusConflict, "no_unionids", account.ErrNoUnionIDs.Error())
	case errors.As(err, &answer):
		err = newProblem(http.StatusServiceUnavailable, "wechat_unavailable", answer.Error())
	}
	return s.end(report, err)
}

// followers finds the official account to repair.
func (c *adminCall) followers(in repairRequest) (*followers, error) {
	i := slices.IndexFunc(c.app.OfficialAccounts, func(o WeChatApp) bool { return o.AppID == in.AppID })
	if i < 0 {
		return nil, newProblem(http.StatusNotFound, "unknown_app",
			"the running configuration has no official_account with that appid, and only official accounts have followers")
	}
	if c.app.standIns()[in.AppID] {
		return nil, newProblem(http.StatusConflict, "unionid_none", "the app is configured with `unionid none`: WeChat tells no unionids of it")
	}
	return &followers{
		client:  c.app.wechat,
		app:     wechat.App{AppID: in.AppID, AppSecret: string(c.app.OfficialAccounts[i].Secret)},
		limiter: rate.NewLimiter(rate.Limit(in.Rate), 1),
	}, nil
}

// followers asks WeChat about an official account's followers, at a rate that
// leaves the login its share.
type followers struct {
	client  *wechat.Client
	app     wechat.App
	limiter *rate.Limiter
}

// Page implements account.Followers.
func (f *followers) Page(ctx context.Context, after string) (openIDs []string, next string, err error) {
	err = f.try(ctx, func() error {
		openIDs, next, err = f.client.FollowerPage(ctx, f.app, after)
		return err
	})
	return openIDs, next, err
}

// Ask implements account.Followers.
func (f *followers) Ask(ctx context.Context, openIDs []string) (answers []account.Follower, err error) {
	var records []wechat.FollowerRecord
	err = f.try(ctx, func() error {
		records, err = f.client.Followers(ctx, f.app, openIDs)
		return err
	})
	for _, r := range records {
		answers = append(answers, account.Follower(r))
	}
	return answers, err
}

// maxTries is how often WeChat is asked before a repair gives up, after half a
// minute.
const maxTries = 6

// try asks again while WeChat is busy or out of reach.
func (f *followers) try(ctx context.Context, ask func() error) error {
	for try := range maxTries {
		if err := f.limiter.Wait(ctx); err != nil {
			return err
		}
		err := ask()
		if !errors.Is(err, wechat.ErrBusy) && !errors.Is(err, wechat.ErrUnavailable) || try == maxTries-1 {
			return err
		}
		select {
		case <-time.After(time.Second << try):
		case <-ctx.Done():
			return err
		}
	}
	return nil
}
