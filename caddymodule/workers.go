package caddymodule

import (
	"context"
	"errors"
	"time"
)

// settleEvery is how exactly user.merge_settled keeps its time.
const settleEvery = 5 * time.Second

// hourly rotates keys on schedule and forgets what is over, which may take long.
func (a *App) hourly(ctx context.Context) {
	every(ctx, time.Hour, func(ctx context.Context, now time.Time) {
		for _, k := range a.rings {
			if err := errors.Join(k.Tick(ctx, now), k.Reseal(ctx)); err != nil && ctx.Err() != context.Canceled {
				a.log.Error("rotating assertion keys", "error", err)
			}
		}
		a.joinSenders(ctx)
		if err := a.shared.db.Prune(ctx, now); err != nil && ctx.Err() != context.Canceled {
			a.log.Error("pruning the database", "error", err)
		}
	})
}

// settle writes user.merge_settled when it is time, whoever reads it.
func (a *App) settle(ctx context.Context) {
	every(ctx, settleEvery, func(ctx context.Context, now time.Time) {
		if err := a.shared.db.SettleMerges(ctx, now); err != nil && ctx.Err() != context.Canceled {
			a.metrics.StoreError("database")
			a.log.Warn("settling merges", "error", err)
		}
	})
}

// workWithin bounds each round of a worker, or one of an hour by that. A database
// that vanishes without a word leaves connections that are waited for in vain for
// a quarter of an hour, while another one has long taken its place.
const workWithin = time.Minute

// every calls f at once and then again and again until ctx ends.
func every(ctx context.Context, interval time.Duration, f func(ctx context.Context, now time.Time)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for now := time.Now(); ; {
		round, cancel := context.WithTimeout(ctx, max(interval, workWithin))
		f(round, now)
		cancel()
		select {
		case <-ctx.Done():
			return
		case now = <-ticker.C:
		}
	}
}
