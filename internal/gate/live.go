package gate

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// Live follows requests that may last: WebSockets, event streams, large
// uploads. Their identity is fixed at their start, so when it is revoked they
// are ended. It outlives sites, since such a request may outlive the
// configuration that it began under.
type Live struct {
	accounts Accounts
	mu       sync.Mutex
	all      map[*liveRequest]struct{}
}

type liveRequest struct {
	sess   session.Session
	who    identity
	cancel context.CancelFunc
	w      *Writer
	mu     sync.Mutex
	conn   net.Conn // after a hijack
	over   bool     // the handler has returned, and w must not be touched
}

// NewLive returns a Live that follows nothing yet.
func NewLive(accounts Accounts) *Live {
	return &Live{accounts: accounts, all: map[*liveRequest]struct{}{}}
}

// largeUpload is where an upload may last long enough to be followed, in bytes.
const largeUpload = 1 << 20

func mayLast(r *http.Request) bool {
	if r.ContentLength < 0 || r.ContentLength >= largeUpload || r.Method == http.MethodConnect {
		return true
	}
	if _, upgrade := r.Header["Upgrade"]; upgrade {
		return true
	}
	accept := r.Header["Accept"]
	return len(accept) > 0 && strings.HasPrefix(accept[0], "text/event-stream")
}

// follow registers a request that may last and returns what ends that.
func (l *Live) follow(w *Writer, r *http.Request, v *Visit) (*Writer, *http.Request, func()) {
	if !v.who.known() || !mayLast(r) {
		return w, r, func() {}
	}
	sess := v.session()
	if sess == nil {
		return w, r, func() {}
	}
	ctx, cancel := context.WithCancel(r.Context())
	req := &liveRequest{sess: *sess, who: v.who, cancel: cancel, w: w}
	w.hijacked = req.hijacked
	l.mu.Lock()
	l.all[req] = struct{}{}
	l.mu.Unlock()
	return w, r.WithContext(ctx), func() {
		l.mu.Lock()
		delete(l.all, req)
		l.mu.Unlock()
		req.mu.Lock()
		req.over = true
		req.mu.Unlock()
		cancel()
	}
}

func (q *liveRequest) hijacked(c net.Conn) net.Conn {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.conn = c
	return c
}

// end cuts the request off, also where the handler behind us ignores its
// context.
func (q *liveRequest) end() {
	q.cancel()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return
	}
	if q.conn != nil {
		_ = q.conn.Close()
		return
	}
	// The server's own writer may be told from another goroutine; those that
	// middleware wraps around it may not.
	rc := http.NewResponseController(innermost(q.w))
	past := time.Unix(1, 0)
	_ = rc.SetReadDeadline(past)
	_ = rc.SetWriteDeadline(past)
}

func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = outer.Unwrap()
	}
}

// sweepInterval keeps the end of a revoked connection within a minute.
const sweepInterval = 20 * time.Second

// Run ends long requests whose session was revoked or stands for another user
// now, until ctx ends.
func (l *Live) Run(ctx context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.Sweep(ctx)
		}
	}
}

// Sweep looks at every long request once.
func (l *Live) Sweep(ctx context.Context) {
	l.mu.Lock()
	all := make([]*liveRequest, 0, len(l.all))
	for q := range l.all {
		all = append(all, q)
	}
	l.mu.Unlock()
	for _, q := range all {
		if l.revoked(ctx, q) {
			q.end()
		}
	}
}

// revoked asks the account store. While it fails, connections live on: their
// identity was proved when they began.
func (l *Live) revoked(ctx context.Context, q *liveRequest) bool {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	res, err := l.accounts.Resolve(ctx, sessionRef(&q.sess))
	switch {
	case err == nil:
		return res.UserID != q.who.id
	case errors.Is(err, account.ErrSessionDead):
		return true
	default:
		return false
	}
}
