package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/sms"
)

// retryAfter is the wait that an answer asks for, in seconds.
func retryAfter(a answer) int {
	n, _ := strconv.Atoi(a.Header.Get("Retry-After")) // none is 0
	return n
}

func numbered(i int) string { return fmt.Sprintf("+86138001380%02d", i) }

func TestLimitsOfCodes(t *testing.T) {
	for _, c := range []struct {
		name   string
		only   string // the limit that is looked at; empty: all
		ask    func(rg *phoneRig, b *browser, i int) answer
		sent   int
		atMost int // seconds to wait, less what the test takes
	}{
		{"a minute between two codes", "", func(_ *phoneRig, b *browser, _ int) answer { return b.askCode(liPhone) }, 1, 60},
		{"a minute between two codes, also from another session", "", func(rg *phoneRig, _ *browser, _ int) answer {
			return rg.visitor().askCode(liPhone)
		}, 1, 60},
		{"five an hour per session", "", func(_ *phoneRig, b *browser, i int) answer { return b.askCode(numbered(i)) }, 5, 12 * 60},
		{"thirty an hour per address", "", func(rg *phoneRig, _ *browser, i int) answer { return rg.visitor().askCode(numbered(i)) }, 30, 2 * 60},
		{"ten a day per phone", "smsday:", func(rg *phoneRig, _ *browser, _ int) answer { return rg.visitor().askCode(liPhone) }, 10, 24 * 60 * 60 / 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			rg := newPhoneRig(t)
			if c.only != "" {
				rg.site.Limiter = only{rg.site.Limiter, c.only}
			}
			b := rg.visitor()
			for i := range c.sent {
				if got := c.ask(rg, b, i); got.StatusCode != http.StatusAccepted || got.body != `{"retry_after":60}`+"\n" {
					t.Fatalf("code %d: %d %s", i+1, got.StatusCode, got.body)
				}
			}
			got := c.ask(rg, b, c.sent)
			if !is(got, http.StatusTooManyRequests, "rate_limited") || retryAfter(got) > c.atMost || retryAfter(got) < c.atMost/6 {
				t.Errorf("one more: %d, wait %d, %s", got.StatusCode, retryAfter(got), got.body)
			}
			if rg.inbox.count() != c.sent || rg.counts.of(smsSent) != c.sent {
				t.Errorf("%d were sent, %d counted", rg.inbox.count(), rg.counts.of(smsSent))
			}
		})
	}
}

// An impatient finger uses up nothing: after the minute he gets his code.
func TestAskingAgainTooSoonCostsNothing(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.visitor()
	for range 20 {
		b.askCode(liPhone)
	}
	for i := range 4 {
		if got := b.askCode(numbered(50 + i)); got.StatusCode != http.StatusAccepted {
			t.Errorf("another phone: %d %s", got.StatusCode, got.body)
		}
	}
}

// Attack: a stranger asks for codes for the victim's phone, so that the victim's
// own never works.
func TestStrangersRequestKillsNobodysCode(t *testing.T) {
	rg := newPhoneRig(t)
	victim, stranger := rg.visitor(), rg.visitor()
	victim.askCode(liPhone)
	code := rg.inbox.last(t).Code
	rg.wait()
	stranger.askCode(liPhone)
	for range 2 * codeTries {
		stranger.prove(liPhone, other(rg.inbox.last(t).Code))
	}
	if got := victim.prove(liPhone, code); got.StatusCode != http.StatusOK {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestBudgetCutsOffWithAnAlarm(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.SMSBudget = 3 })
	for i := range 10 {
		got := rg.visitor().askCode(numbered(i))
		if i < 3 && got.StatusCode != http.StatusAccepted {
			t.Errorf("code %d: %d %s", i+1, got.StatusCode, got.body)
		}
		if i >= 3 && (!is(got, http.StatusServiceUnavailable, "unavailable") || retryAfter(got) == 0) {
			t.Errorf("code %d: %d %s", i+1, got.StatusCode, got.body)
		}
	}
	if rg.inbox.count() != 3 || rg.counts.of(smsOverspent) != 7 || strings.Count(rg.log.String(), "sms_budget is spent") != 1 {
		t.Errorf("%d sent, %d counted, log:\n%s", rg.inbox.count(), rg.counts.of(smsOverspent), rg.log)
	}
}

// TestCodesAreSentWhereTheShopWantsThemToBe: messages to some countries are what
// pumping lives on, so nothing is counted or sent for their phones.
func TestCodesAreSentWhereTheShopWantsThemToBe(t *testing.T) {
	const chinese, british, hongkong = liPhone, "+44 7400 123456", "+852 9123 4567"
	for name, c := range map[string]struct {
		countries []int
		refused   []string
	}{
		"by default to China's mainland": {nil, []string{british, hongkong}},
		"to those that are named":        {[]int{86, 852}, []string{british}},
		"to those that are named alone":  {[]int{44}, []string{chinese, hongkong}},
		"to all":                         {[]int{EveryCountry}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newPhoneRig(t, func(cfg *Config) { cfg.SMSCountries = c.countries })
			for _, phone := range []string{chinese, british, hongkong} {
				sent, got := rg.inbox.count(), rg.visitor().askCode(phone)
				refused := is(got, http.StatusUnprocessableEntity, "phone_invalid") && strings.Contains(got.body, rg.site.pages.text(0, "text.phone_abroad"))
				if refused != slices.Contains(c.refused, phone) || refused == (rg.inbox.count() > sent) || !refused && got.StatusCode != http.StatusAccepted {
					t.Errorf("%s: %d %s, %d sent", phone, got.StatusCode, got.body, rg.inbox.count()-sent)
				}
			}
			if n := rg.counts.of(smsAbroad); n != len(c.refused) {
				t.Errorf("%d are counted", n)
			}
		})
	}
}

func TestWhatACarrierSaysReachesVisitorAndOperator(t *testing.T) {
	for _, c := range []struct {
		reason sms.Reason
		status int
		code   string
	}{
		{sms.ReasonWait, http.StatusTooManyRequests, "rate_limited"},
		{sms.ReasonPhone, http.StatusUnprocessableEntity, "phone_invalid"},
		{sms.ReasonConfig, http.StatusServiceUnavailable, "unavailable"},
		{sms.ReasonBusy, http.StatusServiceUnavailable, "unavailable"},
		{sms.ReasonUnsure, http.StatusAccepted, ""},
	} {
		t.Run(string(c.reason), func(t *testing.T) {
			rg := newPhoneRig(t)
			rg.inbox.fail = &sms.Error{Carrier: "test", Reason: c.reason, Code: "SOME_CODE"}
			b := rg.visitor()
			got := b.askCode(liPhone)
			if !is(got, c.status, c.code) || (c.status == 429 || c.status == 503) != (retryAfter(got) > 0) {
				t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
			}
			if said := strings.Contains(got.body, rg.site.pages.text(0, "text.no_codes")); said != (c.status == 503) {
				t.Errorf("that codes are out of order is said: %t\n%s", said, got.body)
			}
			if rg.counts.of(string(c.reason)) != 1 || rg.counts.of(smsSent) != 0 || rg.inbox.count() != 1 {
				t.Errorf("counted %v, handed over %d times", rg.counts.all, rg.inbox.count())
			}
			if log := rg.log.String(); !strings.Contains(log, "SOME_CODE") || strings.Contains(log, "0138001") {
				t.Errorf("log:\n%s", log)
			}
			// It counts as sent either way, and may have been.
			if got := b.askCode(liPhone); !is(got, http.StatusTooManyRequests, "rate_limited") {
				t.Errorf("at once again: %d", got.StatusCode)
			}
			if c.reason == sms.ReasonUnsure {
				if got := b.prove(liPhone, rg.inbox.last(t).Code); got.StatusCode != http.StatusOK {
					t.Errorf("the code that did arrive: %d %s", got.StatusCode, got.body)
				}
			}
		})
	}
}

// A carrier that answers something else than it promises has maybe sent.
func TestUnknownFailureOfACarrierCountsAsSent(t *testing.T) {
	rg := newPhoneRig(t)
	rg.inbox.fail = errors.New("a mistake")
	if got := rg.visitor().askCode(liPhone); got.StatusCode != http.StatusAccepted || rg.counts.of(string(sms.ReasonUnsure)) != 1 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

type brokenLimiter struct{}

func (brokenLimiter) Allow(context.Context, string, limit.Limit) (bool, time.Duration, error) {
	return false, 0, errDown
}

// Nothing is sent that cannot be counted or checked.
func TestNoCodeIsSentWithoutAStore(t *testing.T) {
	for name, breakIt := range map[string]func(*phoneRig){
		"the store":   func(rg *phoneRig) { rg.store.down.Store(true) },
		"the limiter": func(rg *phoneRig) { rg.site.Limiter = brokenLimiter{} },
	} {
		rg := newPhoneRig(t)
		b := rg.visitor()
		breakIt(rg)
		for _, got := range []answer{b.askCode(liPhone), b.prove(liPhone, "123456")} {
			if name == "the limiter" && problemOf(got) == "code_expired" {
				continue // there is no code, and so nothing to count
			}
			if !is(got, http.StatusServiceUnavailable, "unavailable") || retryAfter(got) == 0 {
				t.Errorf("%s is down: %d %s", name, got.StatusCode, got.body)
			}
		}
		if rg.inbox.count() != 0 {
			t.Errorf("%s is down: %d codes were sent", name, rg.inbox.count())
		}
	}
}

// Whoever reads the short-lived store or the limits learns no phone and no code,
// and a code lives as long as it says.
func TestStoresKeepPhonesAndCodesSecret(t *testing.T) {
	rg := newPhoneRig(t)
	seen := &everything{Store: rg.site.Store, Limiter: rg.site.Limiter}
	rg.site.Store, rg.site.Limiter = seen, seen
	b := rg.visitor()
	b.askCode(liPhone)
	code := rg.inbox.last(t).Code
	b.prove(liPhone, other(code))
	b.prove(liPhone, code)
	if all := seen.keys.String() + seen.values.String(); strings.Contains(all, "13800138001") || strings.Contains(seen.values.String(), code) {
		t.Errorf("the phone or %s is kept:\n%s", code, all)
	}
	if all := seen.keys.String(); !strings.Contains(all, "smsday:"+rg.db.Hide(liPhone)) {
		t.Errorf("no hidden phone in:\n%s", all)
	}
	if ttl := seen.codes[0]; ttl > codeLife || ttl < codeLife-2*time.Second {
		t.Errorf("the code is kept for %v", ttl)
	}
}

// everything notes what is kept anywhere.
type everything struct {
	session.Store
	limit.Limiter
	mu           sync.Mutex
	keys, values strings.Builder
	codes        []time.Duration
	lives        map[string]time.Duration // of what was kept last of each kind
}

func (e *everything) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	fmt.Fprintln(&e.keys, key)
	fmt.Fprintf(&e.values, "%s\n", value)
	if strings.HasPrefix(key, "code:") {
		e.codes = append(e.codes, ttl)
	}
	if e.lives == nil {
		e.lives = map[string]time.Duration{}
	}
	kind, _, _ := strings.Cut(key, ":")
	e.lives[kind] = ttl
	return e.Store.Put(ctx, key, value, ttl)
}

func (e *everything) Allow(ctx context.Context, key string, l limit.Limit) (bool, time.Duration, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fmt.Fprintln(&e.keys, key)
	return e.Limiter.Allow(ctx, key, l)
}
