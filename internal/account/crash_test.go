package account

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// crashVictim makes this test binary a process that does what people and
// operators do, or imports, says so only when it was done, and waits to be
// killed.
const crashVictim = "WXGATE_TEST_CRASH_VICTIM"

func TestMain(m *testing.M) {
	// Without a seed of one's own each run tells the same stories, so that a
	// change that breaks one is known by it; others are told on demand.
	if !slices.ContainsFunc(os.Args, func(a string) bool { return strings.Contains(a, "rapid.seed") }) {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			panic(err)
		}
	}
	if url := os.Getenv(crashVictim); url != "" {
		if file := os.Getenv(importVictim); file != "" {
			fmt.Fprintln(os.Stderr, importOn(url, file))
		} else {
			fmt.Fprintln(os.Stderr, liveOn(url))
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const forever = 1 << 40

func liveOn(url string) error {
	db, err := Open(context.Background(), Config{URL: url})
	if err != nil {
		return err
	}
	if err := db.Unlock(context.Background(), secrets{"first"}); err != nil {
		return err
	}
	var out sync.Mutex
	c := &crowd{instances: []*DB{db}, linking: OneToOne, answered: func(events []Event) {
		out.Lock()
		defer out.Unlock()
		for _, e := range events {
			fmt.Println(e.ID, e.Type, e.Subject)
		}
	}}
	errs := make(chan error)
	for i := range 4 {
		go func() { errs <- c.work(context.Background(), uint64(os.Getpid()*4+i), forever) }()
	}
	return <-errs
}

// Killed in the middle of whatever is under way: what was answered is there,
// and nothing is half there.
func TestAProcessIsKilled(t *testing.T) {
	onEachURL(t, func(t *testing.T, url string) {
		var answered []Event
		for round := range 3 {
			victim := exec.Command(os.Args[0])
			victim.Env = append(os.Environ(), crashVictim+"="+url)
			stdout, err := victim.StdoutPipe()
			must(t, err)
			victim.Stderr = os.Stderr
			must(t, victim.Start())
			lines := bufio.NewScanner(stdout)
			for n := 0; lines.Scan(); n++ { // also what it said before it died
				if f := strings.Split(lines.Text(), " "); len(f) == 3 {
					answered = append(answered, Event{ID: f[0], Type: EventType(f[1]), Subject: f[2]})
				}
				if n == 40+30*round {
					must(t, victim.Process.Kill())
				}
			}
			_ = victim.Wait() // killed
			db := openURL(t, url)
			checkInvariants(t, db)
			checkStored(t, db, answered)
		}
		if len(answered) < 150 {
			t.Errorf("only %d events were answered", len(answered))
		}
	})
}

// The same when the database is killed. Whoever waited for an answer gets an
// error; when the database is back, nobody does.
func TestADatabaseServerIsKilled(t *testing.T) {
	for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
		t.Run(string(e), func(t *testing.T) {
			server := dbtest.Start(t, e)
			db := openURL(t, server.Database(t))
			var answered []Event
			c := &crowd{instances: []*DB{db}, linking: OneToOne}
			for round := range 3 {
				seen := 0
				c.answered = func(events []Event) {
					c.lock.Lock()
					defer c.lock.Unlock()
					answered = append(answered, events...)
					if seen += len(events); seen > 60 && seen-len(events) <= 60 {
						server.Kill()
					}
				}
				errs := make([]error, 8)
				var wg sync.WaitGroup
				for i := range errs {
					wg.Go(func() { errs[i] = c.work(context.Background(), uint64(100*round+i), forever) })
				}
				wg.Wait()
				if errors.Join(errs...) == nil {
					t.Error("nobody has noticed")
				}
				server.Restart(t)
				must(t, db.Ping(t.Context()))
				checkInvariants(t, db)
				checkStored(t, db, answered)
			}
		})
	}
}
