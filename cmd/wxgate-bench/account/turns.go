package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/dbtest"
)

// contender is something that is measured.
type contender struct {
	name  string
	ops   int  // of a turn
	syncs bool // each of them, to disk
	op    func(ctx context.Context) error
	// crowd is how many at once; 0: one after the other.
	crowd int

	done      int
	wall, cpu time.Duration // cpu is that of this process and the server
}

// The contenders. Small and large are the databases.
const (
	selectSmall = iota
	knownSmall
	sessionSmall
	selectLarge
	knownLarge
	sessionLarge
	insertBare
	linkSmall
	linkLarge
	selectCrowd
	knownCrowd
	insertCrowd
	linkCrowd
	contenderCount
)

// crowd is how many visitors a crowd has: those of a shop's opening minute.
const crowd = 32

func (p *place) contenders(o options, small, large, bare *accounts) (all [contenderCount]*contender, err error) {
	all[knownSmall] = &contender{name: "known openid, small", ops: o.reads, op: small.known}
	all[knownLarge] = &contender{name: "known openid, large", ops: o.reads, op: large.known}
	all[sessionSmall] = &contender{name: "session, small", ops: o.reads, op: small.session}
	all[sessionLarge] = &contender{name: "session, large", ops: o.reads, op: large.session}
	all[linkSmall] = &contender{name: "new visitor, small", syncs: true, ops: o.writes, op: small.newVisitor}
	all[linkLarge] = &contender{name: "new visitor, large", syncs: true, ops: o.writes, op: large.newVisitor}
	for i, a := range map[int]*accounts{selectSmall: small, selectLarge: large} {
		stmt, err := a.driver.Prepare(p.numbered(`SELECT unionid, owner_id FROM wxgate_identity WHERE appid = ? AND openid = ?`))
		if err != nil {
			return all, err
		}
		all[i] = &contender{name: "bare SELECT, " + []string{selectSmall: "small", selectLarge: "large"}[i], ops: o.reads, op: func(ctx context.Context) error {
			var unionID, owner string
			return stmt.QueryRowContext(ctx, appID, a.someOpenID()).Scan(&unionID, &owner)
		}}
	}
	insert, err := bare.driver.Prepare(p.numbered(`INSERT INTO bare (id, kind, created) VALUES (?, ?, ?)`))
	all[insertBare] = &contender{name: "bare INSERT", syncs: true, ops: o.writes, op: func(ctx context.Context) error {
		_, err := insert.ExecContext(ctx, wechatID("b", rand.Int()), "guest", time.Now().UnixMilli())
		return err
	}}
	for i, one := range map[int]*contender{
		selectCrowd: all[selectSmall], knownCrowd: all[knownSmall], insertCrowd: all[insertBare], linkCrowd: all[linkSmall],
	} {
		all[i] = &contender{name: one.name + ", crowd", syncs: one.syncs, ops: one.ops / crowd * crowd, op: one.op, crowd: crowd}
	}
	return all, err
}

// numbered writes a query as the driver wants it.
func (p *place) numbered(query string) string {
	if p.engine != string(dbtest.Postgres) {
		return query
	}
	numbered, n := "", 0
	for _, r := range query {
		if r != '?' {
			numbered += string(r)
			continue
		}
		n++
		numbered += "$" + strconv.Itoa(n)
	}
	return numbered
}

// wechatID looks like an id of WeChat's and is always the same for i.
func wechatID(kind string, i int) string {
	sum := sha256.Sum256([]byte(kind + strconv.Itoa(i)))
	return "o" + base64.RawURLEncoding.EncodeToString(sum[:])[:27]
}

func (a *accounts) someOpenID() string { return wechatID("o", rand.IntN(a.people)) }

// known is a visitor whose openid is stored.
func (a *accounts) known(ctx context.Context) error {
	out, err := a.Link(ctx, account.Rules{}, account.Input{AppID: appID, OpenID: a.someOpenID(), InBrowser: true})
	return expect(out, err, account.Member)
}

// newVisitor is one of whom nothing is stored.
func (a *accounts) newVisitor(ctx context.Context) error {
	i := rand.Int()
	out, err := a.Link(ctx, account.Rules{}, account.Input{AppID: appID, OpenID: wechatID("n", i), UnionID: wechatID("m", i), InBrowser: true})
	return expect(out, err, account.Guest)
}

func expect(out account.Outcome, err error, kind account.Kind) error {
	if err == nil && out.Kind != kind {
		err = fmt.Errorf("the visitor is %q, not %q", out.Kind, kind)
	}
	return err
}

// session is a request of a member whom no cache knows.
func (a *accounts) session(ctx context.Context) error {
	_, err := a.Resolve(ctx, account.SessionRef{
		ID: wechatID("s", rand.Int()), UserID: strconv.Itoa(1 + rand.IntN(a.people)), Kind: account.Member, IssuedAt: time.Now(),
	})
	return err
}

// warm has the large database in the memory that a connection sees, as it is
// after some hours. SQLite maps the file anew for each connection, and the first
// touch of a page costs more than all later ones.
func warm(ctx context.Context, all [contenderCount]*contender, o options) error {
	for i, ops := range map[int]int{selectLarge: o.large / 3, knownLarge: o.large / 3, sessionLarge: o.large / 3, linkLarge: o.large / 100} {
		if !all[i].takesPart(o) {
			continue
		}
		for range ops {
			if err := all[i].op(ctx); err != nil {
				return fmt.Errorf("%s: %w", all[i].name, err)
			}
		}
	}
	return nil
}

// takeTurns lets each contender run once a round, in another order each time.
// The first rounds only warm up. Stopped after these, it is content with the
// rounds it has.
func takeTurns(ctx context.Context, all []*contender, o options) error {
	rounds := o.rounds
	all = slices.DeleteFunc(slices.Clone(all), func(c *contender) bool { return !c.takesPart(o) })
	for round := -2; round < rounds; round++ {
		if ctx.Err() != nil && round > 0 {
			fmt.Printf("stopped after %d rounds\n", round)
			return nil
		}
		for _, i := range rand.Perm(len(all)) {
			if err := all[i].turn(context.WithoutCancel(ctx), round >= 0); err != nil {
				return fmt.Errorf("%s: %w", all[i].name, err)
			}
		}
	}
	return nil
}

// turn runs a contender.
func (c *contender) turn(ctx context.Context, counts bool) error {
	runtime.GC()                           // of the garbage of others
	ctx, cancel := context.WithCancel(ctx) // as a request's is
	defer cancel()
	servers := serversCPU() // to look costs time of ours, so it comes first and last
	own, began := ownCPU(), time.Now()
	if err := c.all(ctx); err != nil {
		return err
	}
	wall, spent := time.Since(began), ownCPU()-own
	if counts {
		c.done += c.ops
		c.wall += wall
		c.cpu += spent + serversCPU() - servers
	}
	return nil
}

// all does the operations of a turn.
func (c *contender) all(ctx context.Context) error {
	visitors := max(c.crowd, 1)
	failed := make(chan error, visitors)
	for range visitors {
		go func() {
			for range c.ops / visitors {
				if err := c.op(ctx); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	var errs []error
	for range visitors {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

// takesPart says whether a contender is of interest: a slow disk has nothing to
// do with those who only read.
func (c *contender) takesPart(o options) bool { return c.syncs || o.sync == 0 }

func (c *contender) each() time.Duration    { return c.wall / time.Duration(c.done) }
func (c *contender) cpuEach() time.Duration { return c.cpu / time.Duration(c.done) }

// report prints what was measured, and says whether the bounds hold.
func report(engine string, all [contenderCount]*contender, o options) (held bool) {
	fmt.Printf("\n%-26s %12s %12s\n", engine, "each", "CPU")
	for _, c := range all {
		if !c.takesPart(o) {
			continue
		}
		fmt.Printf("%-26s %12v %12v\n", c.name, c.each().Round(100*time.Nanosecond), c.cpuEach().Round(100*time.Nanosecond))
	}
	held = true
	for _, b := range []struct {
		name     string
		a, b     int
		beside   [2]int // what the ratio of a and b is divided by; zero: nothing
		min, max float64
		slow     bool // min is that of a disk whose syncs take their time
	}{
		{name: "rate: known openid / bare SELECT, small", a: selectSmall, b: knownSmall, min: 0.8},
		{name: "rate: known openid / bare SELECT, large", a: selectLarge, b: knownLarge, min: 0.8},
		{name: "rate: known openid / bare SELECT, crowd", a: selectCrowd, b: knownCrowd},
		{name: "rate: new visitor / bare INSERT, crowd", a: insertCrowd, b: linkCrowd, min: 0.6, slow: true},
		{name: "rate: new visitor / bare INSERT, small", a: insertBare, b: linkSmall, min: 0.6, slow: true},
		{name: "rate: new visitor / bare INSERT, large", a: insertBare, b: linkLarge, min: 0.6, slow: true},
		{name: "cost: bare SELECT, large / small", a: selectLarge, b: selectSmall},
		{name: "cost: known openid, large / small", a: knownLarge, b: knownSmall},
		{name: "cost: the same beside a bare SELECT", a: knownLarge, b: knownSmall, beside: [2]int{selectLarge, selectSmall}, max: 1.3},
		{name: "cost: session, large / small", a: sessionLarge, b: sessionSmall},
		{name: "cost: the same beside a bare SELECT", a: sessionLarge, b: sessionSmall, beside: [2]int{selectLarge, selectSmall}, max: 1.3},
		{name: "cost: new visitor, large / small", a: linkLarge, b: linkSmall, max: 1.3},
	} {
		if !all[b.b].takesPart(o) {
			continue
		}
		if b.slow && o.sync == 0 {
			b.min = 0
		}
		ratio := func(of func(*contender) time.Duration) float64 {
			r := float64(of(all[b.a])) / float64(of(all[b.b]))
			if b.beside != [2]int{} {
				r *= float64(of(all[b.beside[1]])) / float64(of(all[b.beside[0]]))
			}
			return r
		}
		wall, cpu := ratio((*contender).each), ratio((*contender).cpuEach)
		ok := wall >= b.min && (b.max == 0 || wall <= b.max)
		held = held && ok
		fmt.Printf("%-46s %6.2f  (CPU %.2f) %v\n", b.name, wall, cpu, map[bool]string{true: "", false: "MISSED"}[ok])
	}
	fmt.Println()
	return held
}
