package caddymodule

import (
	"context"
	"errors"
	"time"
)

// settleEvery is how exactly user.merge_settled keeps its time.
const settleEvery = 5 * time.Second

// hourly forgets what is over and rotates keys on schedule.
func (a *App) hourly(ctx context.Context) {
	every(ctx, time.Hour, func(now time.Time) {
		if err := a.shared.db.Prune(ctx, now); err != nil && ctx.Err() == nil {
			a.log.Error("pruning the database", "error", err)
		}
		a.joinSenders(ctx)
		for _, k := range a.rings {
			if err := errors.Join(k.Tick(ctx, now), k.Reseal(ctx)); err != nil && ctx.Err() == nil {
				a.log.Error("rotating assertion keys", "error", err)
			}
		}
	})
}

// settle writes user.merge_settled when it is time, whoever reads it.
func (a *App) settle(ctx context.Context) {
	every(ctx, settleEvery, func(now time.Time) {
		if err := a.shared.db.SettleMerges(ctx, now); err != nil && ctx.Err() == nil {
			a.metrics.StoreError("database")
			a.log.Warn("settling merges", "error", err)
		}
	})
}

// every calls f at once and then again and again until ctx ends.
func every(ctx context.Context, interval time.Duration, f func(now time.Time)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for now := time.Now(); ; {
		f(now)
		select {
		case <-ctx.Done():
			return
		case now = <-ticker.C:
		}
	}
}
