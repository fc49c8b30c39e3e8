package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// NewMember is what the shop is told of a person for whom it shall make a user
// id. What is not known is empty and, but for the phone, sent even so.
type NewMember struct {
	// Key is the same each time the same person is asked for, and then so is
	// the answer.
	Key     string `json:"idempotency_key"`
	GuestID string `json:"guest_id"`        // his user id so far
	Phone   string `json:"phone,omitempty"` // in the form of E.164, verified
	AppID   string `json:"appid"`
	OpenID  string `json:"openid"`
	UnionID string `json:"unionid"`
}

var errResting = errors.New("the shop has not answered for a while and is asked again in some seconds")

// MakeUserID asks the shop for the user id of a person. It returns within
// CallTimeout. Every error means that there is none now and that asking again
// later, with the same Key, does no harm.
func (e *Endpoint) MakeUserID(ctx context.Context, m NewMember) (string, error) {
	// Whoever waits for the same person waits for one call, which ends even if
	// the first of them hangs up: the shop may have made the id already.
	done := e.flights.DoChan(m.Key, func() (any, error) {
		return e.makeUserID(context.WithoutCancel(ctx), m)
	})
	select {
	case r := <-done:
		return r.Val.(string), r.Err
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for the shop: %w", ctx.Err())
	}
}

func (e *Endpoint) makeUserID(ctx context.Context, m NewMember) (string, error) {
	if !e.breaker.enter(time.Now()) {
		return "", errResting
	}
	body, answered, err := e.post(ctx, message{id: m.Key, body: encode(m)})
	e.breaker.leave(time.Now(), answered)
	if err != nil {
		return "", err
	}
	return readUserID(body)
}

var integer = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// maxExact is the largest integer that every JSON reader and writer keeps
// exactly (RFC 8259, 6). A larger one may have been rounded on the way here,
// and would then be somebody else's.
const maxExact = 1<<53 - 1

// readUserID finds the id in an answer. The answer is not repeated in errors.
func readUserID(body []byte) (string, error) {
	var answer struct {
		UserID json.RawMessage `json:"user_id"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", errors.New("the shop's answer is not a JSON object like {\"user_id\":\"42\"}")
	}
	switch raw := string(answer.UserID); {
	case strings.HasPrefix(raw, `"`):
		var id string
		err := json.Unmarshal(answer.UserID, &id)
		return id, err
	case integer.MatchString(raw):
		if n, err := strconv.ParseInt(raw, 10, 64); err != nil || n > maxExact || n < -maxExact {
			return "", errors.New("the shop's answer has a user_id too large to be exact as a number; send it as a string")
		}
		return raw, nil
	default:
		return "", errors.New("the shop's answer has no user_id that is a string or an integer")
	}
}
