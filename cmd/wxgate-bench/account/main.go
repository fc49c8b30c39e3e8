// Command account measures what the account database costs beside the bare
// statements that it cannot do without, on each kind of database, and fails if
// that is more than docs/performance.md promises.
//
// What counts are the ratios. The contenders take turns, in short slices, since
// a machine's speed drifts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

type options struct {
	engines      string
	rounds       int
	small, large int
	reads        int
	writes       int
	sync         time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.engines, "engines", "sqlite,postgres,mariadb", "the `kinds` of databases")
	flag.IntVar(&o.rounds, "rounds", 100, "turns of each contender: many short ones, since a machine's speed drifts")
	flag.IntVar(&o.small, "small", 10_000, "identities of the small database")
	flag.IntVar(&o.large, "large", 1_000_000, "identities of the large database")
	flag.IntVar(&o.reads, "reads", 2000, "reads of a turn")
	flag.IntVar(&o.writes, "writes", 128, "writes of a turn")
	flag.DurationVar(&o.sync, "sync", 0, "let each sync to disk take so much longer, as that of a network volume does, and look at writes alone (needs strace)")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: account [flags]\n\nCompares the account database with bare statements.")
		flag.PrintDefaults()
	}
	flag.Parse()
	if o.sync > 0 {
		if err := slowDown(o.sync); err != nil {
			fmt.Fprintln(os.Stderr, "wxgate-bench/account:", err)
			os.Exit(1)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "wxgate-bench/account:", err)
		os.Exit(1)
	}
}

// errMissed means that a bound does not hold.
var errMissed = errors.New("a bound was missed")

func run(ctx context.Context, o options) (missed error) {
	for _, engine := range strings.Split(o.engines, ",") {
		held, err := measure(ctx, engine, o)
		if err != nil {
			return fmt.Errorf("%s: %w", engine, err)
		}
		if !held {
			missed = errMissed
		}
	}
	return missed
}

// measure runs all contenders on one kind of database, and says whether the
// bounds hold.
func measure(ctx context.Context, engine string, o options) (held bool, err error) {
	place, err := newPlace(engine)
	if err != nil {
		return false, err
	}
	defer place.close()
	small, err := place.accounts(ctx, o.small)
	if err != nil {
		return false, err
	}
	defer small.close()
	large, err := place.accounts(ctx, o.large)
	if err != nil {
		return false, err
	}
	defer large.close()
	bare, err := place.bare(ctx)
	if err != nil {
		return false, err
	}
	defer bare.close()
	all, err := place.contenders(o, small, large, bare)
	if err != nil {
		return false, err
	}
	if err := warm(ctx, all, o); err != nil {
		return false, err
	}
	if err := takeTurns(ctx, all[:], o); err != nil {
		return false, err
	}
	return report(engine, all, o), nil
}
