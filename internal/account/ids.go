package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// IDConfig says what new user ids look like.
type IDConfig struct {
	// UUID makes ids random UUIDs instead of integers: version 4 of RFC 9562,
	// since an id that shops print and log should not tell its age.
	UUID  bool
	Start int64 // the first integer; default 1,000,000,000
}

const (
	defaultStart = 1_000_000_000
	blockSize    = 1000

	// Numbers have at most 19 digits, which any database's BIGINT holds.
	maxStart  = 1_000_000_000_000_000_000
	maxDigits = 19
)

func (c IDConfig) withDefaults() IDConfig {
	if c.Start == 0 {
		c.Start = defaultStart
	}
	return c
}

// idSource hands out user ids. Integers are reserved in blocks: a visitor costs
// no write, and what is left of a block after a restart is lost, never given
// twice.
type idSource struct {
	db  *DB
	cfg IDConfig

	lock   chan struct{} // a mutex that a deadline can stop waiting for
	left   block         // what is left of the numbers reserved last
	unused []string
}

func newIDSource(db *DB, cfg IDConfig) *idSource {
	return &idSource{db: db, cfg: cfg.withDefaults(), lock: make(chan struct{}, 1)}
}

// NewGuestID returns an id that nobody has had before. Nothing is stored for
// it.
func (db *DB) NewGuestID(ctx context.Context) (string, error) { return db.ids.take(ctx) }

// take returns an id that nobody has had before.
func (s *idSource) take(ctx context.Context) (string, error) {
	if s.cfg.UUID {
		return newUUID(), nil
	}
	select {
	case s.lock <- struct{}{}:
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for user ids: %w", ctx.Err())
	}
	defer func() { <-s.lock }()
	if n := len(s.unused); n > 0 {
		id := s.unused[n-1]
		s.unused = s.unused[:n-1]
		return id, nil
	}
	if s.left.first >= s.left.next {
		taken, err := s.reserve(ctx)
		if err != nil {
			return "", fmt.Errorf("reserving user ids: %w", err)
		}
		s.left = taken
	}
	s.left.first++
	return strconv.FormatInt(s.left.first-1, 10), nil
}

// giveBack returns an id that was taken and shown to nobody. It never waits: an
// id may be lost.
func (s *idSource) giveBack(id string) {
	if s.cfg.UUID {
		return
	}
	select {
	case s.lock <- struct{}{}:
		s.unused = append(s.unused, id)
		<-s.lock
	default:
	}
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// compareIDs orders user ids: numbers first and by value, so that 9 is smaller
// than 10, then all others, byte by byte.
func compareIDs(a, b string) int {
	x, xok := number(a)
	y, yok := number(b)
	switch {
	case xok && yok:
		return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y), strings.Compare(a, b))
	case xok:
		return -1
	case yok:
		return 1
	}
	return strings.Compare(a, b)
}

// number returns the digits of a decimal number without its leading zeros.
func number(id string) (string, bool) {
	if id == "" || strings.Trim(id, "0123456789") != "" {
		return "", false
	}
	return strings.TrimLeft(id, "0"), true
}

// MaxUserID is the length of the longest user id, in bytes.
const MaxUserID = 64

// CheckUserID says what keeps a text from being the user id of a member whom
// the shop has named: it must get through headers and databases as it is.
func CheckUserID(id string) error {
	switch {
	case id == "":
		return errors.New("it is empty")
	case len(id) > MaxUserID:
		return fmt.Errorf("it has %d bytes, at most %d are possible", len(id), MaxUserID)
	case !utf8.ValidString(id):
		return errors.New("it is not UTF-8")
	case strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("it contains control characters")
	case strings.TrimSpace(id) != id:
		return errors.New("it begins or ends with a space, which no header keeps")
	case strings.Contains(id, ","):
		return errors.New("it contains a comma, which separates ids in X-User-Previous-ID")
	}
	return nil
}
