package gate

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
)

// other is a code of six digits that is not the one given.
func other(code string) string {
	if code[0] == '9' {
		return "0" + code[1:]
	}
	return string(code[0]+1) + code[1:]
}

// visitor is a browser with a guest's session.
func (rg *phoneRig) visitor() *browser {
	rg.t.Helper()
	b := rg.browser(uaChrome)
	b.get("/goods")
	return b
}

// member is a browser that has logged in by phone.
func (rg *phoneRig) member(phone string) *browser {
	rg.t.Helper()
	b := rg.visitor()
	if got := rg.verify(b, phone); got.StatusCode != http.StatusOK {
		rg.t.Fatalf("no login: %d %s", got.StatusCode, got.body)
	}
	rg.wait()
	return b
}

// Attack: somebody enters a stranger's number and never sees the code.
func TestPhoneThatWasNeverVerifiedIsNobodys(t *testing.T) {
	rg := newPhoneRig(t)
	victim := rg.member(liPhone)
	attacker := rg.visitor()
	before := attacker.who()
	attacker.askCode(liPhone)
	code := rg.inbox.last(t).Code
	if got := attacker.prove(liPhone, other(code)); !is(got, http.StatusUnprocessableEntity, "code_wrong") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if now := attacker.who(); now != before || rg.last().Header.Get("X-User-Phone-Verified") != "0" {
		t.Errorf("he was %s and is %s", before, now)
	}
	attacker.askCode(newPhone)
	found, err := rg.db.Find(t.Context(), newPhone)
	must(t, err)
	if len(found) != 0 {
		t.Errorf("an unverified phone is kept: %v", found)
	}
	if victim.who() == before {
		t.Error("the victim is the attacker")
	}
}

// Attack: a code that is right, but not for this.
func TestCodeOpensOnlyWhatItWasSentFor(t *testing.T) {
	for name, use := range map[string]func(rg *phoneRig, b *browser, code string) answer{
		"another phone": func(_ *phoneRig, b *browser, code string) answer { return b.prove(wangPhone, code) },
		"another session": func(rg *phoneRig, _ *browser, code string) answer {
			return rg.visitor().prove(liPhone, code)
		},
		"another purpose": func(_ *phoneRig, b *browser, code string) answer {
			return b.post("/wxgate/phone", map[string]string{"phone": liPhone, "code": code, "purpose": "change"})
		},
		"after a logout": func(_ *phoneRig, b *browser, code string) answer {
			b.fetch(http.MethodPost, "/wxgate/logout")
			return b.prove(liPhone, code)
		},
		"the code before": func(rg *phoneRig, b *browser, code string) answer {
			rg.wait()
			for b.askCode(liPhone); rg.inbox.last(t).Code == code; b.askCode(liPhone) {
				rg.wait()
			}
			return b.prove(liPhone, code)
		},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newPhoneRig(t)
			b := rg.member(newPhone)
			b.askCode(liPhone)
			got := use(rg, b, rg.inbox.last(t).Code)
			if p := problemOf(got); p != "code_expired" && p != "code_wrong" {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			found, err := rg.db.Find(t.Context(), liPhone)
			must(t, err)
			if len(found) != 0 {
				t.Errorf("the phone was bound: %v", found)
			}
		})
	}
}

// Attack: fifty guesses at once, so that all of them are compared before the
// first is counted.
func TestFiftyGuessesAtOnceAreFive(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.visitor()
	b.askCode(liPhone)
	right := rg.inbox.last(t).Code
	rg.site.Limiter = without{rg.site.Limiter, "smstry:"} // the code's own tries are what is tested
	answers := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 50 {
		guess := fmt.Sprintf("%06d", i)
		if guess == right {
			guess = "999999"
		}
		wg.Go(func() {
			one := *b // hops are a browser's own
			one.client = &http.Client{Jar: b.client.Jar}
			got := problemOf(one.prove(liPhone, guess))
			mu.Lock()
			defer mu.Unlock()
			answers[got]++
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[string]int{"code_wrong": 4, "code_expired": 46}, answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if got := b.prove(liPhone, right); !is(got, http.StatusUnprocessableEntity, "code_expired") {
		t.Errorf("the right code after that: %d %s", got.StatusCode, got.body)
	}
}

// Attack: five guesses for each of many codes, from many sessions.
func TestGuessesAreCountedPerPhone(t *testing.T) {
	rg := newPhoneRig(t)
	limiter := rg.site.Limiter
	rg.site.Limiter = only{limiter, "smstry:"}
	compared := 0
	for range 10 {
		b := rg.visitor()
		b.askCode(liPhone)
		for range codeTries {
			got := b.prove(liPhone, other(rg.inbox.last(t).Code))
			if is(got, http.StatusTooManyRequests, "rate_limited") {
				continue
			}
			compared++
		}
	}
	if compared != 20 {
		t.Errorf("%d guesses were compared", compared)
	}
	b := rg.visitor()
	b.askCode(liPhone)
	if got := b.prove(liPhone, rg.inbox.last(t).Code); !is(got, http.StatusTooManyRequests, "rate_limited") || got.Header.Get("Retry-After") == "" {
		t.Errorf("the right code then: %d %s", got.StatusCode, got.body)
	}
	b.askCode(wangPhone)
	if got := b.prove(wangPhone, rg.inbox.last(t).Code); got.StatusCode != http.StatusOK {
		t.Errorf("another phone: %d %s", got.StatusCode, got.body)
	}
}

// without is a Limiter that knows no limit of keys that begin so; only is one
// that knows no other.
type (
	without struct {
		limit.Limiter
		prefix string
	}
	only without
)

func (w without) Allow(ctx context.Context, key string, l limit.Limit) (bool, time.Duration, error) {
	if strings.HasPrefix(key, w.prefix) {
		return true, 0, nil
	}
	return w.Limiter.Allow(ctx, key, l)
}

func (o only) Allow(ctx context.Context, key string, l limit.Limit) (bool, time.Duration, error) {
	if !strings.HasPrefix(key, o.prefix) {
		return true, 0, nil
	}
	return o.Limiter.Allow(ctx, key, l)
}

// Attack: one phone in many spellings, to be counted as many.
func TestSpellingsOfOnePhoneAreOne(t *testing.T) {
	spellings := []string{
		"+8613800138001", "13800138001", "8613800138001", "008613800138001", "+86 138 0013 8001", "138-0013-8001",
		"１３８００１３８００１", "＋８６ 138 0013 8001", "(86) 13800138001", "\u202a+8613800138001\u202c", " 13800138001\t",
	}
	rg := newPhoneRig(t)
	rg.member(liPhone)
	for i, s := range spellings {
		rg.wait()
		b := rg.visitor()
		if got := b.askCode(s); got.StatusCode != http.StatusAccepted || rg.inbox.last(t).Phone != liPhone {
			t.Errorf("%q: %d %s", s, got.StatusCode, got.body)
			continue
		}
		again := spellings[(i+1)%len(spellings)]
		if got := rg.visitor().askCode(again); !is(got, http.StatusTooManyRequests, "rate_limited") {
			t.Errorf("%q within a minute of %q: %d", again, s, got.StatusCode)
		}
		if got := b.prove(again, " "+rg.inbox.last(t).Code[:3]+" "+rg.inbox.last(t).Code[3:]); got.StatusCode != http.StatusOK {
			t.Errorf("%q verified as %q: %d %s", s, again, got.StatusCode, got.body)
		}
	}
	found, err := rg.db.Find(t.Context(), liPhone)
	must(t, err)
	if len(found) != 1 {
		t.Errorf("%d members have the phone", len(found))
	}
	for _, s := range []string{"", "hello", "110", "1380013800", "138001380011", "010-12345678", "+86", strings.Repeat("1", 1000), "13800138001;13800138002"} {
		n := len(rg.inbox.all)
		if got := rg.visitor().askCode(s); !is(got, http.StatusUnprocessableEntity, "phone_invalid") || len(rg.inbox.all) != n {
			t.Errorf("%q: %d %s", s, got.StatusCode, got.body)
		}
	}
}

// Attack: another site's page lets the visitor's browser ask for codes, or try
// some.
func TestPhonePostsOfOtherSitesAreRefused(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.visitor()
	edits := notJSON()
	maps.Copy(edits, ofOtherSites())
	for name, edit := range edits {
		for _, path := range []string{"/wxgate/phone/code", "/wxgate/phone"} {
			got := b.post(path, map[string]string{"phone": liPhone, "code": "123456"}, edit)
			if got.StatusCode != http.StatusForbidden && got.StatusCode != http.StatusBadRequest {
				t.Errorf("%s to %s: %d %s", name, path, got.StatusCode, got.body)
			}
		}
	}
	if rg.inbox.count() != 0 {
		t.Errorf("%d codes were sent", rg.inbox.count())
	}
	for _, path := range []string{"/wxgate/phone/code", "/wxgate/phone?phone=" + liPhone} {
		if got := b.fetch(http.MethodPost, path); !is(got, http.StatusBadRequest, "malformed") {
			t.Errorf("an empty body to %s: %d %s", path, got.StatusCode, got.body)
		}
	}
}

// Attack: who is a member? The same answer after the same work, for a phone
// that is known and for one that is not.
func TestKnownAndUnknownPhonesCannotBeToldApart(t *testing.T) {
	rg := newPhoneRig(t)
	rg.member(liPhone)
	work := new(workLog)
	rg.site.Accounts, rg.site.Store = loggedAccounts{rg.site.Accounts, work}, loggedStore{rg.site.Store, work}
	look := func(phone string) (said []string) {
		rg.wait()
		b := rg.visitor()
		work.reset()
		sent := b.askCode(phone)
		wrong := b.prove(phone, other(rg.inbox.last(t).Code))
		for range codeTries {
			wrong = b.prove(phone, other(rg.inbox.last(t).Code))
		}
		over := b.prove(phone, "12345")
		for _, a := range []answer{sent, wrong, over} {
			a.Header.Del("Date")
			said = append(said, fmt.Sprint(a.StatusCode, a.Header, a.body))
		}
		return append(said, work.done()...)
	}
	known, unknown := look(liPhone), look(newPhone)
	if diff := cmp.Diff(unknown, known); diff != "" {
		t.Errorf("a known phone differs from an unknown one (-unknown +known):\n%s", diff)
	}
	for _, did := range known {
		if strings.HasPrefix(did, "accounts: ") && did != "accounts: resolve" {
			t.Errorf("%s, before the phone is proved", did)
		}
	}
}

// Attack: guesses that read the code before its fifth try has ended it.
func TestGuessesThatWereQuickerThanTheFifthGetNoTry(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.visitor()
	b.askCode(liPhone)
	right := rg.inbox.last(t).Code
	rg.site.Store = &lateStore{Store: rg.site.Store}
	for range codeTries {
		b.prove(liPhone, other(right))
	}
	if got := b.prove(liPhone, right); !is(got, http.StatusUnprocessableEntity, "code_expired") {
		t.Errorf("the sixth try: %d %s", got.StatusCode, got.body)
	}
}

// lateStore is a store whose first Take comes too late to change anything.
type lateStore struct {
	session.Store
	taken bool
}

func (s *lateStore) Take(ctx context.Context, key string) ([]byte, bool, error) {
	if !s.taken {
		s.taken = true
		return nil, false, nil
	}
	return s.Store.Take(ctx, key)
}

// The code before the newest is none any more, not even while the newest is made.
func TestCodeThatWasReplacedMeanwhileIsNone(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.visitor()
	b.askCode(liPhone)
	first := rg.inbox.last(t).Code
	overtaken := &overtakenStore{Store: rg.site.Store}
	overtaken.meanwhile = func() {
		rg.wait()
		if got := b.askCode(liPhone); got.StatusCode != http.StatusAccepted {
			t.Errorf("no second code: %d %s", got.StatusCode, got.body)
		}
	}
	rg.site.Store = overtaken
	if got := b.prove(liPhone, first); !is(got, http.StatusUnprocessableEntity, "code_expired") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// overtakenStore is a store in which something happens after a code was read.
type overtakenStore struct {
	session.Store
	meanwhile func()
}

func (s *overtakenStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	value, found, err := s.Store.Get(ctx, key)
	if strings.HasPrefix(key, "code:") && s.meanwhile != nil {
		now := s.meanwhile
		s.meanwhile = nil
		now()
	}
	return value, found, err
}

// A code is used up before it brings anything, so that it is of one use though
// the store fails then.
func TestCodeIsOfOneUseThoughItsResultIsLost(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.visitor()
	b.askCode(liPhone)
	code := rg.inbox.last(t).Code
	rg.site.Store = forgetful{rg.site.Store}
	if got := b.prove(liPhone, code); got.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if got := b.prove(liPhone, code); !is(got, http.StatusUnprocessableEntity, "code_expired") {
		t.Errorf("used again: %d %s", got.StatusCode, got.body)
	}
}

// forgetful is a store that takes no code in.
type forgetful struct{ session.Store }

func (s forgetful) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	if strings.HasPrefix(key, "code:") {
		return false, errDown
	}
	return s.Store.Add(ctx, key, value, ttl)
}
