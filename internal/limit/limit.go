// Package limit counts events per key and says when there were too many.
package limit

import (
	"context"
	"time"
)

// Limit allows Events per Window, with bursts up to Events: each event costs
// Window/Events, and after a quiet Window all of them may come at once. So a
// burst and the events earned behind it may put nearly twice Events into one
// Window, and never more. A limit of no events or no window allows none.
type Limit struct {
	Events int
	Window time.Duration
}

// Limiter says whether one more event of key is within l, and counts it if so.
// An event that is refused costs nothing, and after retryAfter the next one is
// allowed, unless another was quicker. A key must always come with the same
// limit. An error means that the limiter's store is broken; the caller decides
// what that means. It may be called by many goroutines.
type Limiter interface {
	Allow(ctx context.Context, key string, l Limit) (ok bool, retryAfter time.Duration, err error)
}
