package gate

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
)

const (
	codeLife   = 5 * time.Minute
	codeDigits = 6
	codeTries  = 5 // the last one included that is right
)

// A code is good for the purpose that it was sent for.
const (
	purposeLogin  = "login" // to log in, or to give a member his first phone
	purposeChange = "change"
	purposeMerge  = "merge"
)

// codeSlot is where a code is kept: there is one live code per session, phone
// and purpose, so that a stranger's request kills nobody's code.
type codeSlot struct {
	line    string // of the session
	purpose string
	phone   account.Phone
}

// key tells nothing of the phone, since the line is random and known to its
// browser alone.
func (c codeSlot) key() string {
	sum := sha256.Sum256([]byte(c.line + "|" + c.purpose + "|" + string(c.phone)))
	return "code:" + hex.EncodeToString(sum[:])
}

// liveCode is what the Store keeps of a code, sealed: six digits are found in no
// time by whoever can read a hash of them.
type liveCode struct {
	ID      string `json:"i"` // its tries are counted under this
	Code    string `json:"c"`
	Expires int64  `json:"e"`
	// Done is what the code has brought. Browsers send the same thing twice, and
	// people tap twice: for a minute the second gets what the first has got.
	Done *proved `json:"d,omitempty"`
}

// newCode puts a new code into its slot, in the place of the one before.
func (s *Site) newCode(ctx context.Context, v *Visit, slot codeSlot) (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", err
	}
	c := liveCode{ID: rand.Text(), Code: fmt.Sprintf("%0*d", codeDigits, n), Expires: v.now.Add(codeLife).Unix()}
	return c.Code, s.Store.Put(ctx, slot.key(), s.sealRecord(session.TypeCode, c), codeLife)
}

// putBack keeps what has become of a code that was taken, unless a newer one has
// been sent meanwhile, which stays.
func (s *Site) putBack(ctx context.Context, v *Visit, slot codeSlot, c liveCode) error {
	left := time.Unix(c.Expires, 0).Sub(v.now)
	if left <= 0 {
		return nil
	}
	_, err := s.Store.Add(ctx, slot.key(), s.sealRecord(session.TypeCode, c), left)
	return err
}

func (s *Site) openCode(sealed []byte) (c liveCode, ok bool) {
	ok = s.openRecord(session.TypeCode, sealed, &c)
	return c, ok && len(c.Code) == codeDigits
}

// useCode uses the code of a slot up if it is the one that was entered. What is
// wrong is told by the problem's code, which is empty if all is well.
func (s *Site) useCode(ctx context.Context, v *Visit, slot codeSlot, entered string) (liveCode, problem) {
	sealed, found, err := s.Store.Get(ctx, slot.key())
	if err != nil {
		s.storeFailed(ctx, v, "session", "reading a code", err)
		return liveCode{}, newProblem(codeUnavailable)
	}
	c, ok := s.openCode(sealed)
	if !found || !ok {
		return c, newProblem(codeExpired)
	}
	left, p := s.countTry(ctx, v, slot, c)
	switch {
	case p.Code != "":
		return c, p
	case subtle.ConstantTimeCompare([]byte(c.Code), []byte(entered)) == 1 && c.Done != nil:
		return c, problem{}
	case subtle.ConstantTimeCompare([]byte(c.Code), []byte(entered)) == 1:
	case left > 0:
		return c, newProblem(codeWrong)
	default:
		_, _, _ = s.Store.Take(ctx, slot.key()) // only for tidiness: no try is left
		return c, newProblem(codeExpired)
	}
	// Of many requests that come with the right code exactly one takes it.
	sealed, found, err = s.Store.Take(ctx, slot.key())
	if err != nil {
		s.storeFailed(ctx, v, "session", "taking a code", err)
		return c, newProblem(codeUnavailable)
	}
	if taken, ok := s.openCode(sealed); !found || !ok || taken.ID != c.ID {
		return c, newProblem(codeExpired)
	}
	return c, problem{}
}

// countTry counts a try against the phone, takes one of the code's own, and says
// how many are left. They are taken one by one in the Store, so that fifty
// requests at once get no more than five.
func (s *Site) countTry(ctx context.Context, v *Visit, slot codeSlot, c liveCode) (left int, p problem) {
	p = s.within(ctx, v, quota{"smstry:" + s.Accounts.Hide(string(slot.phone)), limit.Limit{Events: 20, Window: time.Hour}})
	if p.Code != "" {
		return 0, p
	}
	for n := range codeTries {
		added, err := s.Store.Add(ctx, "codetry:"+c.ID+":"+strconv.Itoa(n), []byte{1}, codeLife)
		switch {
		case err != nil:
			s.storeFailed(ctx, v, "session", "counting the tries of a code", err)
			return 0, newProblem(codeUnavailable)
		case added:
			return codeTries - 1 - n, problem{}
		}
	}
	return 0, newProblem(codeExpired)
}

// readCode reads a code as people enter it: spaces fall away, and digits of any
// width are digits.
func readCode(text string) string {
	return strings.Join(strings.Fields(norm.NFKC.String(text)), "")
}

// quota is a key of the Limiter with its limit.
type quota struct {
	key   string
	limit limit.Limit
}

// within counts one event against each quota, in order, up to the first that
// is used up. The problem's code is empty if none is.
func (s *Site) within(ctx context.Context, v *Visit, quotas ...quota) problem {
	for _, q := range quotas {
		ok, wait, err := s.Limiter.Allow(ctx, q.key, q.limit)
		if err != nil {
			s.storeFailed(ctx, v, "limit", "counting codes", err)
			return newProblem(codeUnavailable)
		}
		if !ok {
			return newProblem(codeRateLimited).after(wait)
		}
	}
	return problem{}
}
