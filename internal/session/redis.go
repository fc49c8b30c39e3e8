package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/wxgate/wxgate/internal/span"
)

// Redis is a Redis server, a master that Sentinels name, or a Cluster, which
// several instances share. It is a Store, it carries news between instances,
// and other packages keep in it what they have in common (Client).
//
// No call takes longer than redisTimeout. After one that got no answer all
// further ones fail at once, while a ping in the background finds out when
// Redis is back: of all visitors, only those who came in the moment of the
// failure have waited for it. An error that Redis has answered is only that
// call's.
type Redis struct {
	client  redis.UniversalClient
	channel string // of news; unlike keys, channels do not belong to a database
	spans   span.Database
	log     atomic.Pointer[slog.Logger]
	down    atomic.Bool

	mu     sync.Mutex // around the start of a search and Close
	closed chan struct{}
	search sync.WaitGroup
}

const (
	// redisTimeout leaves something of the two seconds that a request may wait
	// for a store.
	redisTimeout = 1500 * time.Millisecond

	firstPing = 10 * time.Millisecond
	lastPing  = time.Second
)

// errUnreachable is the error of calls that were not made.
var errUnreachable = errors.New("redis is out of reach")

// The library writes to standard error whatever it meets with. All of it comes
// out of its calls as an error too.
func init() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// OpenRedis returns the Redis that a URL names; see parseRedisURL. An error
// means that the URL is wrong, and does not show it; whether Redis can be
// reached is not looked at.
func OpenRedis(url string) (*Redis, error) {
	opts, err := parseRedisURL(url)
	if err != nil {
		return nil, err
	}
	return newRedis(opts), nil
}

func newRedis(opts *redis.UniversalOptions) *Redis {
	opts.Protocol = 2 // which servers before Redis 6 and proxies speak too
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opts.ContextTimeoutEnabled = true
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout, opts.PoolTimeout = time.Second, redisTimeout, redisTimeout, redisTimeout
	opts.DialerRetries = 1
	opts.MaxRetries = 2 // a connection may break just now, and a master become a replica
	r := &Redis{
		client: redis.NewUniversalClient(opts), channel: fmt.Sprintf("wxgate:news:%d", opts.DB),
		spans: span.NewDatabase("redis", nil), closed: make(chan struct{}),
	}
	r.client.AddHook(hook{r})
	return r
}

// Client is for what other packages keep in the same Redis. Its calls are
// bounded in time like those of the Store. What they name begins with
// "wxgate:", and each keeps to one key, as a Cluster demands.
func (r *Redis) Client() redis.Scripter { return r.client }

// LogTo lets Redis say that it is out of reach, and that it is back.
func (r *Redis) LogTo(l *slog.Logger) { r.log.Store(l) }

// Ping says whether Redis answers.
func (r *Redis) Ping(ctx context.Context) error { return r.client.Ping(ctx).Err() }

// Clock asks Redis for the time, also while other calls are not made because it
// did not answer. The error says what to mend.
func (r *Redis) Clock(ctx context.Context) (now time.Time, err error) {
	err = call(ctx, func(ctx context.Context) error {
		now, err = r.client.Time(ctx).Result()
		return err
	})
	if err == nil {
		return now, nil
	}
	for _, refused := range []string{"WRONGPASS", "NOAUTH", "invalid password"} {
		if strings.Contains(err.Error(), refused) {
			return now, fmt.Errorf("asking Redis: the user or the password in its URL is wrong or missing: %w", err)
		}
	}
	return now, fmt.Errorf("asking Redis: %w", err)
}

// Close ends all connections.
func (r *Redis) Close() error {
	r.mu.Lock()
	close(r.closed)
	r.mu.Unlock()
	r.search.Wait()
	return r.client.Close()
}

// hook stands around each command.
type hook struct{ *Redis }

// underWay marks the context of a call that passed the hook: the library may
// send commands of its own, to greet a new connection.
type underWay struct{}

func (h hook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) (err error) {
		if ctx.Value(underWay{}) != nil {
			return next(ctx, cmd)
		}
		ctx, told := h.spans.Start(ctx, span.Operation{Command: cmd.Name()})
		defer func() { told.EndWith(failureOf(err)) }()
		if h.down.Load() {
			return errUnreachable
		}
		err = call(ctx, func(ctx context.Context) error { return next(ctx, cmd) })
		if noAnswer(err) && ctx.Err() == nil { // else the caller has given up
			h.lost(err)
		}
		return err
	}
}

// failureOf leaves out that there is no such key.
func failureOf(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// call runs f within redisTimeout and past the hook.
func call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, underWay{}, true), redisTimeout)
	defer cancel()
	return f(ctx)
}

// noAnswer says whether an error is one that Redis has not sent.
func noAnswer(err error) bool {
	var answer redis.Error // redis.Nil is one too
	return err != nil && !errors.As(err, &answer) && !errors.Is(err, redis.ErrClosed)
}

// lost begins the search for a Redis that does not answer.
func (r *Redis) lost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.closed:
		return
	default:
	}
	if r.down.Swap(true) {
		return
	}
	r.search.Go(func() { r.find(err) })
}

// find pings until Redis answers again, or Close. What a first ping finds was
// not worth a word.
func (r *Redis) find(lost error) {
	said := false
	for wait := firstPing; ; wait = min(2*wait, lastPing) {
		err := call(context.Background(), func(ctx context.Context) error { return r.client.Ping(ctx).Err() })
		if !noAnswer(err) {
			break
		}
		if l := r.log.Load(); l != nil && !said {
			said = true
			l.Error("redis is out of reach; what each visitor meets meanwhile is in the operations manual", "error", lost)
		}
		select {
		case <-r.closed:
			return
		case <-time.After(wait):
		}
	}
	r.down.Store(false)
	if l := r.log.Load(); l != nil && said {
		l.Info("redis is back")
	}
}
