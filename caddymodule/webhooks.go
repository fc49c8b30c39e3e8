package caddymodule

import (
	"context"
	"fmt"
	"time"

	"github.com/wxgate/wxgate/internal/span"
	"github.com/wxgate/wxgate/internal/webhook"
)

const (
	// pendingEvery is how often the events are counted that wait for webhooks.
	pendingEvery = 5 * time.Second

	joinTimeout = 10 * time.Second
)

// newSenders prepares to deliver events.
func (a *App) newSenders() error {
	if len(a.Webhooks) > 0 {
		a.tracer = new(span.Tracer)
	}
	seen := map[string]bool{}
	for i, w := range a.Webhooks {
		e, err := newEndpoint(w.URL, w.Secrets)
		if err != nil {
			return fmt.Errorf("wxgate: webhook number %d: %w", i+1, err)
		}
		s := webhook.NewDeliverer(webhook.DelivererConfig{Endpoint: e, Queue: a.shared.db, Logger: a.log, Observe: a.metrics.observeDelivery, Tracer: a.tracer})
		a.senders = append(a.senders, s)
		r := s.Receiver()
		if seen[r.ID] {
			return fmt.Errorf("wxgate: webhook %s is given twice", r.Name)
		}
		seen[r.ID] = true
	}
	return nil
}

// firstJoin lets events wait for the webhooks from now on.
func (a *App) firstJoin() error {
	ctx, cancel := context.WithTimeout(a.ctx, joinTimeout)
	defer cancel()
	for _, s := range a.senders {
		if err := s.Join(ctx); err != nil {
			return fmt.Errorf("wxgate: webhook: %w", err)
		}
	}
	return nil
}

// joinSenders says that the webhooks are still in use.
func (a *App) joinSenders(ctx context.Context) {
	for _, s := range a.senders {
		if err := s.Join(ctx); err != nil && ctx.Err() != context.Canceled {
			a.log.Error("noting that a webhook is in use", "error", err)
		}
	}
}

// countPending keeps the number of events that wait for this configuration's
// webhooks.
func (a *App) countPending(ctx context.Context) {
	var ours []string
	for _, s := range a.senders {
		ours = append(ours, s.Receiver().ID)
	}
	every(ctx, pendingEvery, func(ctx context.Context, _ time.Time) {
		states, err := a.shared.db.Receivers(ctx, ours...)
		if err != nil {
			return // Run says so
		}
		waiting := 0
		for _, s := range states {
			waiting += s.Waiting
		}
		a.metrics.pending.Set(float64(waiting))
	})
}
