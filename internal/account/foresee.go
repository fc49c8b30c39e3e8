package account

import (
	"context"
	"fmt"
)

// UnmadeID stands for the id of a user whom a call of Link would make.
const UnmadeID = "(new)"

// Foresee says what Link would make of a call without a phone and without an id
// of the shop's, and changes nothing. A user who would be made has UnmadeID.
func (db *DB) Foresee(ctx context.Context, rules Rules, in Input) (Outcome, error) {
	if in.UnionID == in.OpenID {
		in.UnionID = "" // a session whose openid stands in for a unionid
	}
	f, p, err := db.decideReading(ctx, call{rules: rules, in: in})
	if err != nil {
		return Outcome{}, fmt.Errorf("foreseeing a link: %w", err)
	}
	if p.serve == newGuest || p.serve == newMember {
		p.serve = UnmadeID
	}
	return f.outcome(&p), nil
}
