package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Newcomer is what the shop is told of a person who is about to become a
// member, so that it can make his user id.
type Newcomer struct {
	// Key is the same each time this person is asked for, by whichever
	// instance and also after a crash, until he is a member.
	Key string
	// GuestID is who he was to the shop so far; empty if nobody.
	GuestID string
	Phone   Phone // verified in this call; empty: none
	// What WeChat has proved; empty where it has not.
	AppID, OpenID, UnionID string
}

// madeID is a user id that the shop has made. The zero madeID is none.
type madeID struct{ person, id string }

// errOtherPerson means that the facts have changed since the shop was asked.
var errOtherPerson = errors.New("the shop was not asked for this person")

// noUserID means that the shop has made no user id, or none that can be used.
type noUserID struct{ err error }

func (e *noUserID) Error() string { return e.err.Error() }

// needsShop says that a plan makes a member whose id is the shop's to make.
func (p *plan) needsShop(rules Rules) bool { return p.serve == newMember && rules.MakeUserID != nil }

// person names who becomes a member, in few bytes and unreadably: the WeChat
// account, else the phone.
func (f *facts) person() string {
	name := "phone\n" + f.phone.key
	if f.unionID != "" {
		name = "unionid\n" + f.scope + "\n" + f.unionID
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// ask lets the shop make the user id of a person. No transaction is open
// meanwhile, so the facts may change; linkWriting looks again.
func (db *DB) ask(ctx context.Context, c call, person string) (madeID, error) {
	n := Newcomer{Phone: c.in.Phone, AppID: c.in.AppID, OpenID: c.in.OpenID}
	err := db.inTx(ctx, func(tx *sql.Tx) (err error) {
		// The key first: whoever finds none because another call has used it up
		// finds the member too, and is not asked for again.
		if n.Key, err = newcomerKey(ctx, tx, person); err != nil {
			return err
		}
		f, err := readFacts(ctx, tx, c)
		if err != nil {
			return err
		}
		p := decide(f)
		if !p.needsShop(c.rules) || f.person() != person {
			return errOtherPerson
		}
		if n.GuestID = p.guestBefore(f); f.scope == "" { // else it only stands in for a unionid
			n.UnionID = f.unionID
		}
		return nil
	})
	if err != nil {
		return madeID{}, err
	}
	id, err := c.rules.MakeUserID(ctx, n)
	if err != nil {
		return madeID{}, &noUserID{err}
	}
	if err := CheckUserID(id); err != nil {
		return madeID{}, &noUserID{fmt.Errorf("the shop's answer is not a user id: %w", err)}
	}
	if id == n.GuestID {
		return madeID{}, &noUserID{fmt.Errorf("the shop answered %s, the guest's own id: a member needs another", id)}
	}
	return madeID{person, id}, nil
}

// guestBefore is the guest as whom the shop knows a newcomer best: the one of
// his session, else one of those who merge into him.
func (p *plan) guestBefore(f *facts) (id string) {
	for _, g := range p.merges {
		if id == "" || f.came != nil && g.id == f.came.id || f.target != nil && g.id == f.target.id {
			id = g.id
		}
	}
	return id
}

// newcomerKey returns the key that a person is asked for with. It is kept until
// he is a member, and forgotten then: should he cancel, who comes back is a new
// person and gets another id.
func newcomerKey(ctx context.Context, tx *sql.Tx, person string) (string, error) {
	key, err := text(ctx, tx, `SELECT idempotency_key FROM wxgate_newcomer WHERE person = ?`, person)
	if err != nil || key != "" {
		return key, err
	}
	key = rand.Text()
	_, err = tx.ExecContext(ctx, `INSERT INTO wxgate_newcomer (person, idempotency_key, created) VALUES (?, ?, ?)`,
		person, key, millis(time.Now()))
	return key, err
}

// newcomerKept is how long the key of a person who never became a member is
// kept. Should he come back later, the shop may have made an id for nobody.
const newcomerKept = 30 * 24 * time.Hour

func pruneNewcomers(ctx context.Context, tx *sql.Tx, now time.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM wxgate_newcomer WHERE created < ?`, millis(now.Add(-newcomerKept)))
	return err
}

// admit returns the id that the shop has made for the person whom the plan
// makes a member, once it is sure that it is nobody else's.
func (db *DB) admit(ctx context.Context, tx *sql.Tx, f *facts, made madeID) (string, error) {
	if made.person != f.person() {
		return "", errOtherPerson
	}
	taken, err := readUser(ctx, tx, made.id)
	if err != nil {
		return "", err
	}
	if taken != nil {
		return "", &noUserID{fmt.Errorf("the shop answered %s, who is a %s already", made.id, taken.kind)}
	}
	if err := db.checkForeign(ctx, tx, made.id); err != nil {
		if block := (*IDBlockError)(nil); errors.As(err, &block) {
			return "", &noUserID{fmt.Errorf("the shop's answer cannot be used: %w", err)}
		}
		return "", err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM wxgate_newcomer WHERE person = ?`, made.person)
	return made.id, err
}

// linkAsGuest is the end of a Link that should have made a member and could
// not: all else is linked, and he may try again.
func (db *DB) linkAsGuest(ctx context.Context, c call, why *noUserID) (Outcome, error) {
	guest := c
	guest.in.Want, guest.in.Phone, guest.phone = WantIdentify, "", phone{}
	out, err := db.link(ctx, guest)
	if err == nil && (out.Kind != Member || c.in.Phone != "") { // unless another call has made him one
		out.Code, out.Unavailable = CodeUnavailable, why
	}
	return out, err
}
