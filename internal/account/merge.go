package account

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Merging names two members of whom one replaces the other: by their ids, or by
// what one person has proved of both.
type Merging struct {
	From, To string // replaced ids stand for their survivors
	By       By
	Proofs   Proofs // instead of ids
}

// Merge replaces the member From by the member To (O3): To gets the WeChat
// accounts, From's phone is released (phone.unbound), user.merged names
// everybody who answers to To now, and open conflicts between the two close.
// Under one_to_one two members with a unionid in one scope are refused with
// CodeUserIDBoundToOtherWeChat, and a phone alone proves no member who has a
// WeChat and was away for long: CodeSecondProofRequired. Merging who is one already changes nothing.
//
// Errors: ErrUnknownUser, ErrUserCancelled, ErrNotMember, ErrNoReason.
func (db *DB) Merge(ctx context.Context, rules Rules, m Merging) (Outcome, error) {
	out := Outcome{Kind: Member}
	number, err := db.phone(m.Proofs.Phone)
	if err != nil {
		return Outcome{}, fmt.Errorf("merging two members: %w", err)
	}
	events, err := db.operate(ctx, m.By, func(c *change) error {
		p, err := readMerge(ctx, c.tx, rules, provenMerging{m, number})
		if err != nil {
			return err
		}
		out.UserID, out.Code = p.to.who.id, p.code
		if p.code != CodeOK {
			out.UserID = p.from.who.id
		}
		if p.code != CodeOK || p.from.who.id == p.to.who.id {
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

// provenMerging is a Merging with the phone as the database knows it.
type provenMerging struct {
	Merging
	number phone
}

// mergePlan is what a Merge looks at and changes.
type mergePlan struct {
	from, to  holding
	code      Code
	conflicts []ConflictRecord // between the two
}

func readMerge(ctx context.Context, q querier, rules Rules, m provenMerging) (p mergePlan, err error) {
	p.code = CodeOK
	if m.Proofs != (Proofs{}) {
		if m.From, m.To, err = m.Proofs.owners(ctx, q, m.number); err != nil {
			return p, err
		}
	}
	if p.from, err = holdsAsMember(ctx, q, m.From); err != nil {
		return p, err
	}
	if p.to, err = holdsAsMember(ctx, q, m.To); err != nil || p.from.who.id == p.to.who.id {
		return p, err
	}
	if rules.Linking != ManyUnionIDs && p.from.bindsScopeOf(p.to) {
		p.code = CodeUserIDBoundToOtherWeChat
	}
	if p.code == CodeOK && (m.byPhoneAlone(rules, p.from) || m.byPhoneAlone(rules, p.to)) {
		p.code = CodeSecondProofRequired
	}
	p.conflicts, err = openConflictsOf(ctx, q, p.from.who.id, p.to.who.id)
	return p, err
}

// byPhoneAlone says whether the number is all that was proved of a member who
// has a WeChat and was away for phone_idle. It would not log anybody in to his
// account, so it must not lead there by a merge either.
func (m provenMerging) byPhoneAlone(rules Rules, h holding) bool {
	return m.number.key != "" && h.who.phoneKey == m.number.key && h.who.id != m.Proofs.UserID &&
		len(h.rows) > 0 && rules.idle(h.who, time.Now())
}

func holdsAsMember(ctx context.Context, q querier, id string) (holding, error) {
	who, err := living(ctx, q, id)
	if err != nil {
		return holding{}, err
	}
	if who.kind != Member {
		return holding{}, ErrNotMember
	}
	return holds(ctx, q, who)
}

// bindsScopeOf says whether both have a unionid of one scope.
func (h holding) bindsScopeOf(o holding) bool {
	for _, a := range h.rows {
		for _, b := range o.rows {
			if a.UnionID != "" && b.UnionID != "" && a.weChat().scope == b.weChat().scope {
				return true
			}
		}
	}
	return false
}

// bindsScopeTwice says whether he has two unionids of one scope, from a time when
// that was wanted. They stay his, whoever he is.
func (h holding) bindsScopeTwice() bool {
	first := map[string]string{} // unionids by scope
	for _, r := range h.rows {
		id := r.weChat()
		if id.unionID != "" && first[id.scope] != "" && first[id.scope] != id.unionID {
			return true
		}
		first[id.scope] = cmp.Or(id.unionID, first[id.scope])
	}
	return false
}

func (c *change) mergeMembers(rules Rules, p mergePlan, by By) error {
	from, to := p.from.who, p.to.who
	apart := `''`
	if rules.Linking == ManyUnionIDs || p.from.bindsScopeTwice() {
		apart = `unionid`
	}
	err := c.exec(`UPDATE wxgate_unionid SET user_id = ?, apart = `+apart+` WHERE user_id = ?`, to.id, from.id)
	if err != nil {
		return fmt.Errorf("moving unionids: %w", err)
	}
	for _, r := range p.from.rows {
		if r.UnionID == "" {
			continue
		}
		if err := c.exec(`UPDATE wxgate_identity SET owner_id = ? WHERE appid = ? AND openid = ?`, to.id, r.AppID, r.OpenID); err != nil {
			return fmt.Errorf("moving identities: %w", err)
		}
	}
	if err := c.exec(`UPDATE wxgate_identity SET user_id = ? WHERE user_id = ?`, to.id, from.id); err != nil {
		return fmt.Errorf("moving imported identities: %w", err)
	}
	if err := c.releasePhone(from); err != nil {
		return err
	}
	if from.lastSeen.After(to.lastSeen) {
		if err := c.exec(`UPDATE wxgate_user SET last_seen = ? WHERE id = ?`, millis(from.lastSeen), to.id); err != nil {
			return fmt.Errorf("noting a visit: %w", err)
		}
	}
	into := survivor{to.id, Member, "proved"}
	if by.Operator {
		into.reason = "operator"
	}
	if err := c.replace(from, into); err != nil {
		return err
	}
	if err := c.closeConflicts(p.conflicts); err != nil {
		return err
	}
	return c.record(by, deed{ActionMerge, to.id, map[string]any{"from": from.id, "to": to.id, "identities": p.from.rows}})
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
// Where Merge would refuse, or From and To are one already, only they are told.
//
// Errors: as Merge.
func (db *DB) PreviewMerge(ctx context.Context, rules Rules, m Merging) (MergePreview, error) {
	var v MergePreview
	number, err := db.phone(m.Proofs.Phone)
	if err != nil {
		return v, fmt.Errorf("previewing a merge: %w", err)
	}
	err = db.inReadTx(ctx, func(tx *sql.Tx) error {
		p, err := readMerge(ctx, tx, rules, provenMerging{m, number})
		if err != nil {
			return err
		}
		v = MergePreview{Code: p.code, Moves: []PersonIdentity{}, Aliases: []string{}, Conflicts: []string{}}
		if v.From, err = db.summary(p.from.who); err != nil {
			return err
		}
		if v.To, err = db.summary(p.to.who); err != nil || p.code != CodeOK || v.From.ID == v.To.ID {
			return err
		}
		previous, err := readPrevious(ctx, tx, v.From.ID)
		v.Moves, v.Released, v.Aliases = p.from.rows, v.From.Phone, append(v.Aliases, v.From.ID)
		for _, prev := range previous {
			v.Aliases = append(v.Aliases, prev.ID)
		}
		for _, x := range p.conflicts {
			v.Conflicts = append(v.Conflicts, x.ID)
		}
		return err
	})
	if err != nil {
		return MergePreview{}, fmt.Errorf("previewing a merge: %w", err)
	}
	return v, nil
}
