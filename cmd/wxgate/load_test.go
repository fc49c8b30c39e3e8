package main

import (
	"sync"
	"time"
)

// load are people who come and go until it ends.
type load struct {
	f    *fleet
	done chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	failed []error
}

const (
	settledPeople = 4                     // who are logged in, and open pages
	betweenPages  = 10 * time.Millisecond // that each of them waits
)

// load begins with people who log in, and goes on with them and with ever new
// ones, who do something else. They are named by the numbers from n on.
func (f *fleet) load(n int, fresh func(n int) (member string, err error)) *load {
	f.t.Helper()
	l := &load{f: f, done: make(chan struct{})}
	for i := range settledPeople {
		v := f.inWeChat(f.person(n + i))
		member, err := v.logIn()
		if err != nil {
			f.t.Fatal(err)
		}
		l.wg.Go(func() { l.repeat(func(int) error { return v.stays(1, "member "+member) }) })
	}
	l.wg.Go(func() {
		l.repeat(func(i int) error {
			_, err := fresh(n + settledPeople + i)
			return err
		})
	})
	return l
}

func (l *load) repeat(do func(i int) error) {
	for i := 0; ; i++ {
		if err := do(i); err != nil {
			l.mu.Lock()
			l.failed = append(l.failed, err)
			l.mu.Unlock()
		}
		select {
		case <-l.done:
			return
		case <-time.After(betweenPages):
		}
	}
}

// goesOn waits until so many more pages were shown.
func (l *load) goesOn(pages int64) {
	l.f.t.Helper()
	before := l.f.visited.Load()
	l.f.until("the load goes on", func() bool { return l.f.visited.Load()-before >= pages || l.failures() > 0 })
}

func (l *load) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.failed)
}

// ends wants nothing to have failed.
func (l *load) ends() {
	l.f.t.Helper()
	close(l.done)
	l.wg.Wait()
	if len(l.failed) > 0 {
		l.f.t.Errorf("%d things failed beside %d pages, as: %v", len(l.failed), l.f.visited.Load(), l.failed[0])
	}
}
