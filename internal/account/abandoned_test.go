package account

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A database that has stopped answering keeps those who come later waiting only
// as long as somebody waits for those who came before.
func TestThoseForWhomNobodyWaitsHoldUpNobody(t *testing.T) {
	g := gatherer[*arrival]{timeout: time.Hour}
	free, calls := make(chan struct{}), make(chan context.Context, 3)
	run := func(ctx context.Context, some []*arrival) error {
		calls <- ctx
		switch some[0].in.OpenID {
		case "first":
			<-free
		case "hung":
			<-ctx.Done()
		}
		return ctx.Err()
	}
	go func() { _ = g.together(t.Context(), &arrival{in: at("oa", "first")}, run) }()
	<-calls
	comes := func(ctx context.Context, openID string, waiting int) chan error {
		told := make(chan error, 1)
		go func() { told <- g.together(ctx, &arrival{in: at("oa", openID)}, run) }()
		for n := -1; n != waiting; time.Sleep(time.Millisecond) {
			g.mu.Lock()
			n = len(g.waiting)
			g.mu.Unlock()
		}
		return told
	}
	impatient, leave := context.WithCancel(t.Context())
	patient, leaveLast := context.WithCancel(t.Context())
	one, other := comes(impatient, "hung", 1), comes(patient, "hung with it", 2)
	close(free)
	hung := <-calls
	late := comes(t.Context(), "late", 1)

	leave()
	if err := <-one; !errors.Is(err, context.Canceled) || hung.Err() != nil {
		t.Errorf("who gives up is told %v, and the other is stopped: %v", err, hung.Err())
	}
	leaveLast()
	diff(t, "who came later", nil, <-late)
	if err := <-other; !errors.Is(err, context.Canceled) {
		t.Errorf("who gives up last is told %v", err)
	}
}
