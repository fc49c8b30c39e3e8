package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Link takes what has just been proved about a visitor and says who he is now,
// after storing, linking and merging what the linking rules ask for. Login and
// binding are this one operation. It is one transaction; a visitor of whom
// nothing new is learnt costs no write.
func (db *DB) Link(ctx context.Context, rules Rules, in Input) (Outcome, error) {
	if in.Snapshot {
		return db.snapshot(ctx, rules)
	}
	if (in.OpenID == "") != (in.AppID == "") || in.UnionID != "" && in.OpenID == "" {
		return Outcome{}, errors.New("linking: an openid comes with its appid, and a unionid with both")
	}
	if in.UnionID == in.OpenID {
		in.UnionID = "" // a session whose openid stands in for a unionid
	}
	number, err := db.phone(in.Phone)
	if err != nil {
		return Outcome{}, fmt.Errorf("linking: %w", err)
	}
	var created []Event
	if in.ShopUserID != "" {
		if created, err = db.enrol(ctx, in); err != nil {
			return Outcome{}, fmt.Errorf("linking: %w", err)
		}
	}
	c := call{rules: rules, in: in, phone: number}
	out, err := db.link(ctx, c)
	if none := (*noUserID)(nil); errors.As(err, &none) {
		out, err = db.linkAsGuest(ctx, c, none)
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("linking: %w", err)
	}
	out.Events = append(created, out.Events...)
	return out, nil
}

// link decides and stores. It begins again when the facts have changed while
// the shop made a user id.
func (db *DB) link(ctx context.Context, c call) (out Outcome, err error) {
	for again := true; again; again = errors.Is(err, errOtherPerson) {
		out, err = db.linkOnce(ctx, &c)
	}
	return out, err
}

func (db *DB) linkOnce(ctx context.Context, c *call) (Outcome, error) {
	f, p, err := db.decideReading(ctx, *c)
	if err != nil {
		return Outcome{}, err
	}
	if p.needsShop(c.rules) {
		if person := f.person(); c.made.person != person {
			if c.made, err = db.ask(ctx, *c, person); err != nil {
				return Outcome{}, err
			}
		}
	}
	if p.writes() || f.torn {
		if out, stored := db.storeStranger(ctx, *c, f, p); stored {
			return out, nil
		}
		return db.linkWriting(ctx, *c, f.lockSet())
	}
	if p.serve == newGuest { // stored nowhere
		if p.serve, err = db.ids.take(ctx); err != nil {
			return Outcome{}, err
		}
	}
	return f.outcome(&p), nil
}

// linkWriting locks the rows that the call is about, decides again, and stores
// the plan.
func (db *DB) linkWriting(ctx context.Context, c call, about lockSet) (Outcome, error) {
	var out Outcome
	var a *applier
	err := db.retry(ctx, func() error {
		// Reserving ids needs the one connection that writes, so an id that
		// may be needed is taken before. A failed attempt loses it: it may be
		// the very key that was there already.
		id, err := db.ids.take(ctx)
		if err != nil {
			return err
		}
		err = db.tryTx(ctx, func(tx *sql.Tx) error {
			f, err := db.lockFacts(ctx, tx, c, &about)
			if err != nil {
				return err
			}
			a = &applier{change: &change{ctx: ctx, tx: tx, at: f.now}, facts: f, plan: decide(f), freshID: id}
			if a.plan.needsShop(c.rules) {
				if a.freshID, err = db.admit(ctx, tx, f, c.made); err != nil {
					return err
				}
			}
			if err := a.apply(); err != nil {
				return err
			}
			out = f.outcome(&a.plan)
			return nil
		})
		if err == nil && out.UserID != id {
			db.ids.giveBack(id)
		}
		return err
	})
	if err != nil {
		return Outcome{}, err
	}
	if a.rebound {
		db.log.Load().ErrorContext(ctx, "more than 20 unionids an hour have changed; was the app bound to another Open Platform account?",
			"appid", c.in.AppID)
	}
	out.Events = a.events
	db.changed(a.changed)
	return out, nil
}

// lockFacts locks rows and reads the facts. If these are about others, it asks
// for another attempt with those.
func (db *DB) lockFacts(ctx context.Context, tx *sql.Tx, c call, about *lockSet) (*facts, error) {
	if err := db.lock(ctx, tx, *about); err != nil {
		return nil, err
	}
	f, err := readFacts(ctx, tx, c)
	if err != nil || !db.locksRows {
		return f, err
	}
	now := f.lockSet()
	if !about.cover(now) {
		*about, err = now, errMoved
	}
	return f, err
}

// snapshot is G1: everything in the answer is virtual, so nothing is stored.
func (db *DB) snapshot(ctx context.Context, rules Rules) (Outcome, error) {
	out := Outcome{Code: CodeSnapshot}
	if rules.GuestsOff {
		return out, nil
	}
	id, err := db.ids.take(ctx)
	if err != nil {
		return Outcome{}, fmt.Errorf("linking: %w", err)
	}
	out.UserID, out.Kind, out.Born = id, Guest, birth(time.Now())
	return out, nil
}

// decideReading decides without a transaction and locks nobody out. Whatever it
// finds to write is decided again under locks, and so is what it read while it
// changed. A conflict that is open already is taken out of the plan.
func (db *DB) decideReading(ctx context.Context, c call) (f *facts, p plan, err error) {
	err = db.retry(ctx, func() error {
		if f, err = db.readKnown(ctx, c); f == nil && err == nil {
			err = db.readBriefly(ctx, func(ctx context.Context, q querier) (err error) {
				f, err = readFacts(ctx, q, c)
				return err
			})
		}
		if err != nil {
			return err
		}
		if p = decide(f); p.conflict == nil {
			return nil
		}
		open, err := p.conflict.isOpen(ctx, db.read)
		if open {
			p.conflict = nil
		}
		return err
	})
	return f, p, err
}

func (f *facts) outcome(p *plan) Outcome {
	out := Outcome{UserID: p.serve, Kind: p.kind, Code: p.code}
	if p.linked {
		out.UnionID = f.unionID
	}
	if p.kind == Guest {
		out.Born = birth(f.now)
	}
	if u := f.find(p.serve); u != nil {
		out.SessionsFrom = u.sessionsFrom
		if p.kind == Guest {
			out.Born = u.created
		}
	}
	return out
}

// birth is a time of birth as a session token keeps it, in whole seconds, so
// that a guest is as old by his token as by his row.
func birth(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
