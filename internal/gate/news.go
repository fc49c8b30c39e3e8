package gate

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"sync"
	"sync/atomic"
)

// News carries word between instances. Some of it may be lost, and nothing
// depends on it: the invalidation log says the same a little later.
type News interface {
	// Publish sends news to all instances that Subscribe at the time.
	Publish(ctx context.Context, news string) error
	// Subscribe tells all news to heard until ctx ends.
	Subscribe(ctx context.Context, heard func(news string))
}

// outbox are subjects of the cache that other instances are to forget.
type outbox struct {
	from     string // this instance
	subjects chan string
	sharing  *atomic.Int32
}

const (
	// outboxSize is how many subjects wait for a slow News before the log has to
	// do, as after a change of very many users.
	outboxSize = 4096
	// newsSize is how many subjects go into one message.
	newsSize = 256
)

func newOutbox() outbox {
	return outbox{from: rand.Text(), subjects: make(chan string, outboxSize), sharing: new(atomic.Int32)}
}

func (o outbox) put(subject string) {
	if subject == "" || o.sharing.Load() == 0 {
		return
	}
	select {
	case o.subjects <- subject:
	default:
	}
}

// message is what instances tell each other, as JSON.
type message struct {
	From   string   `json:"from"`
	Forget []string `json:"forget"`
}

// Share lets other instances hear at once what this one changes, and this one
// what they change, until ctx ends.
func (w *Watcher) Share(ctx context.Context, news News) {
	w.outbox.sharing.Add(1)
	defer w.outbox.sharing.Add(-1)
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Go(func() { news.Subscribe(ctx, w.hear) })
	for {
		select {
		case <-ctx.Done():
			return
		case subject := <-w.outbox.subjects:
			_ = news.Publish(ctx, w.outbox.message(subject)) // else the log has it
		}
	}
}

// message tells of a subject and of those that wait behind it.
func (o outbox) message(subject string) string {
	m := message{From: o.from, Forget: []string{subject}}
	for len(m.Forget) < newsSize && len(o.subjects) > 0 {
		select {
		case next := <-o.subjects:
			m.Forget = append(m.Forget, next)
		default: // around a reload another one takes them too
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err) // a struct of strings
	}
	return string(raw)
}

// hear drops what another instance has changed.
func (w *Watcher) hear(news string) {
	var m message
	if json.Unmarshal([]byte(news), &m) != nil || m.From == w.outbox.from {
		return
	}
	for _, subject := range m.Forget {
		w.forget(subject)
	}
}
