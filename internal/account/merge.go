package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
)

// Merging names two members of whom one replaces the other.
type Merging struct {
	From, To string // replaced ids stand for their survivors
	By       By
}

// Merge replaces the member From by the member To (O3): To gets the WeChat
// accounts, From's phone is released (phone.unbound), user.merged names
// everybody who answers to To now, and open conflicts between the two close.
// Under one_to_one two members with a unionid in one scope are refused with
// CodeUserIDBoundToOtherWeChat. Merging who is one already changes nothing.
//
// Errors: ErrUnknownUser, ErrUserCancelled, ErrNotMember, ErrNoReason.
func (db *DB) Merge(ctx context.Context, rules Rules, m Merging) (Outcome, error) {
	out := Outcome{Kind: Member}
	events, err := db.operate(ctx, m.By, func(c *change) error {
		p, err := readMerge(ctx, c.tx, rules, m)
		if err != nil {
			return err
		}
		out.UserID, out.Code = p.to.id, p.code
		switch {
		case p.from.id == p.to.id:
			return nil
		case p.code != CodeOK:
			out.UserID = p.from.id
			return nil
		}
		return c.mergeMembers(rules, p, m.By)
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("merging two members: %w", err)
	}
	out.Events = events
	return out, nil
}

// mergePlan is what a Merge looks at and changes.
type mergePlan struct {
	from, to  *user
	code      Code
	moves     []PersonIdentity
	conflicts []ConflictRecord // between the two
}

func readMerge(ctx context.Context, q querier, rules Rules, m Merging) (p mergePlan, err error) {
	p.code = CodeOK
	if p.from, err = living(ctx, q, m.From); err != nil {
		return p, err
	}
	if p.to, err = living(ctx, q, m.To); err != nil {
		return p, err
	}
	if p.from.kind != Member || p.to.kind != Member {
		return p, ErrNotMember
	}
	if p.moves, err = readIdentities(ctx, q, p.from.id); err != nil || p.from.id == p.to.id {
		return p, err
	}
	if rules.Linking != ManyUnionIDs {
		stay, err := readIdentities(ctx, q, p.to.id)
		if err != nil {
			return p, err
		}
		if slices.ContainsFunc(p.moves, func(a PersonIdentity) bool {
			return slices.ContainsFunc(stay, func(b PersonIdentity) bool {
				return a.UnionID != "" && b.UnionID != "" && a.scope() == b.scope()
			})
		}) {
			p.code = CodeUserIDBoundToOtherWeChat
		}
	}
	p.conflicts, err = openConflictsOf(ctx, q, p.from.id, p.to.id)
	return p, err
}

func (c *change) mergeMembers(rules Rules, p mergePlan, by By) error {
	exclusive := sql.NullString{String: p.to.id, Valid: rules.Linking != ManyUnionIDs}
	err := c.exec(`UPDATE wxgate_unionid SET user_id = ?, exclusive_user_id = ? WHERE user_id = ?`, p.to.id, exclusive, p.from.id)
	if err != nil {
		return fmt.Errorf("moving unionids: %w", err)
	}
	if err := c.exec(`UPDATE wxgate_identity SET user_id = ? WHERE user_id = ?`, p.to.id, p.from.id); err != nil {
		return fmt.Errorf("moving imported identities: %w", err)
	}
	if err := c.releasePhone(p.from); err != nil {
		return err
	}
	if p.from.lastSeen.After(p.to.lastSeen) {
		if err := c.exec(`UPDATE wxgate_user SET last_seen = ? WHERE id = ?`, millis(p.from.lastSeen), p.to.id); err != nil {
			return err
		}
	}
	into := survivor{p.to.id, Member, "proved"}
	if by.Operator {
		into.reason = "operator"
	}
	if err := c.replace(p.from, into); err != nil {
		return err
	}
	if err := c.closeConflicts(p.conflicts); err != nil {
		return err
	}
	return c.record(by, ActionMerge, p.to.id, map[string]any{"from": p.from.id, "to": p.to.id, "identities": p.moves})
}

// releasePhone frees a user's phone, if he has one.
func (c *change) releasePhone(u *user) error {
	if u.phoneKey == "" {
		return nil
	}
	number, err := c.db.openPhone(u.id, u.phoneSealed)
	if err != nil {
		return err
	}
	if err := c.exec(`UPDATE wxgate_user SET phone_key = NULL, phone_sealed = NULL WHERE id = ?`, u.id); err != nil {
		return fmt.Errorf("releasing a phone: %w", err)
	}
	return c.emit(EventPhoneUnbound, u.id, Bound{Phone: number})
}

// MergePreview is what a Merge would do now.
type MergePreview struct {
	Code      Code             `json:"code"` // ok, or the refusal
	From      Summary          `json:"from"`
	To        Summary          `json:"to"`
	Moves     []PersonIdentity `json:"moves"`          // rows that To would get
	Aliases   []string         `json:"aliases"`        // ids that would begin to answer to To
	Released  string           `json:"phone_released"` // masked; empty: none
	Conflicts []string         `json:"conflicts"`      // ids of those that would close
}

// PreviewMerge says what Merge would do and changes nothing. It needs no By.
// Where From and To are one already, nothing would change.
//
// Errors: as Merge.
func (db *DB) PreviewMerge(ctx context.Context, rules Rules, m Merging) (MergePreview, error) {
	var v MergePreview
	err := db.glimpse(ctx, func(tx *sql.Tx) error {
		p, err := readMerge(ctx, tx, rules, m)
		if err != nil {
			return err
		}
		v.Code, v.Moves, v.Aliases, v.Conflicts = p.code, p.moves, []string{}, []string{}
		if v.From, err = db.summary(p.from); err != nil {
			return err
		}
		if v.To, err = db.summary(p.to); err != nil || p.from.id == p.to.id {
			v.Moves = []PersonIdentity{}
			return err
		}
		if v.Code != CodeOK {
			return nil
		}
		v.Released = v.From.Phone
		for _, x := range p.conflicts {
			v.Conflicts = append(v.Conflicts, x.ID)
		}
		before, err := readPrevious(ctx, tx, p.from.id)
		v.Aliases = append(v.Aliases, p.from.id)
		for _, prev := range before {
			v.Aliases = append(v.Aliases, prev.ID)
		}
		return err
	})
	if err != nil {
		return MergePreview{}, fmt.Errorf("previewing a merge: %w", err)
	}
	return v, nil
}

// glimpse runs f in one read transaction.
func (db *DB) glimpse(ctx context.Context, f func(*sql.Tx) error) error {
	return retry(ctx, func() error {
		tx, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		return errors.Join(f(tx), tx.Rollback())
	})
}
