package main

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wxgate/wxgate/internal/session"
)

// The guests of a benchmark need no login: with the secret anyone can seal
// their tokens, and a guest has no row.
const (
	secret = "a secret of the benchmark, known to nobody else"
	// firstGuest is far from the ids that the gateways give.
	firstGuest = 5_000_000_000
)

// sealGuests returns n tokens of n guests.
func sealGuests(n int) ([]string, error) {
	keys, err := session.NewKeys(secret)
	if err != nil {
		return nil, err
	}
	now := time.Now().Unix()
	tokens := make([]string, n)
	for i := range tokens {
		if tokens[i], err = keys.SealSession(&session.Session{
			ID: session.NewID(), UserID: strconv.Itoa(firstGuest + i), Kind: "guest", Born: now,
			IssuedAt: now, RenewedAt: now, ExpiresAt: now + 30*24*3600, Channel: "browser",
		}); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// headers are those of an ordinary browser's navigation.
const headers = "GET /goods/42?from=home HTTP/1.1\r\nHost: %s\r\n" +
	"User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Accept-Language: zh-CN,zh;q=0.9,en;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n" +
	"Upgrade-Insecure-Requests: 1\r\nReferer: http://%s/\r\n"

// requests returns a source of requests over the given tokens, at random.
func requests(host string, tokens []string) func(*rand.Rand) []byte {
	head := fmt.Sprintf(headers, host, host)
	if len(tokens) == 1 {
		one := []byte(head + "Cookie: wxgate=" + tokens[0] + "\r\n\r\n")
		return func(*rand.Rand) []byte { return one }
	}
	return func(rng *rand.Rand) []byte {
		return []byte(strings.Join([]string{head, "Cookie: wxgate=", tokens[rng.IntN(len(tokens))], "\r\n\r\n"}, ""))
	}
}

// inTurn visits each token once, over all connections together.
func inTurn(host string, tokens []string) func(*rand.Rand) []byte {
	head := fmt.Sprintf(headers, host, host)
	var mu sync.Mutex
	next := 0
	return func(*rand.Rand) []byte {
		mu.Lock()
		defer mu.Unlock()
		t := tokens[next%len(tokens)]
		next++
		return []byte(head + "Cookie: wxgate=" + t + "\r\n\r\n")
	}
}

// seen counts assertions that differ from the last one of the same user.
type seen struct {
	seed maphash.Seed
	mu   sync.Mutex
	last map[string]uint64
	n    int64
}

func newSeen() *seen { return &seen{seed: maphash.MakeSeed(), last: map[string]uint64{}} }

func (s *seen) note(user, assertion string) {
	h := maphash.String(s.seed, assertion)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last[user] != h {
		s.last[user] = h
		s.n++
	}
}

func (s *seen) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}
