package gate

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/sms"
)

// What becomes of a code that a visitor has asked for, besides the reasons of
// sms.Error.
const (
	smsSent      = "sent"
	smsOverspent = "budget" // all visitors together have had as many as they may
	smsAbroad    = "abroad" // the phone is of a country that codes are not sent to
)

// SMSOutcomes lists every outcome that Metrics.SMS is told.
func SMSOutcomes() []string {
	return []string{
		smsSent, smsOverspent, smsAbroad,
		string(sms.ReasonWait), string(sms.ReasonPhone), string(sms.ReasonConfig), string(sms.ReasonBusy), string(sms.ReasonUnsure),
	}
}

// EveryCountry stands for all in Config.SMSCountries.
const EveryCountry = 0

// reaches says whether codes are sent to phones of a country. Messages to some
// cost a hundred times as much as others, and there are networks that live on
// having them sent to themselves.
func (s *Site) reaches(phone account.Phone) bool {
	return slices.Contains(s.cfg.SMSCountries, phone.CountryCode()) || slices.Contains(s.cfg.SMSCountries, EveryCountry)
}

// codeGap is the time between two codes for one phone.
const codeGap = time.Minute

// carrierWait is how long a visitor is asked to wait when the carrier has had
// enough of his phone: a code a minute it would have taken, so it counts by the
// hour or the day.
const carrierWait = 10 * time.Minute

// sendCode sends a code to a phone. It never looks whose phone that is, so
// nobody can learn it from the answer, or from how long that takes.
func (s *Site) sendCode(w http.ResponseWriter, r *http.Request, v *Visit) {
	a, p := s.readPhoneRequest(r, v)
	if p.Code == "" {
		p = s.send(r, v, a)
	}
	if p.Code != "" {
		s.writeProblem(w, r, p)
		return
	}
	s.beginJSON(w, r)
	w.WriteHeader(http.StatusAccepted)
	writeJSON(w, map[string]int{"retry_after": int(codeGap / time.Second)})
}

// send counts, makes and sends a code. It is stored first: a code that was sent
// and cannot be checked is worse than none.
func (s *Site) send(r *http.Request, v *Visit, a phoneRequest) problem {
	if !s.reaches(a.slot.phone) {
		s.Metrics.SMS(smsAbroad)
		p := newProblem(codePhoneInvalid)
		p.text = "phone_abroad"
		return p
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	if p := s.within(ctx, v, s.sendQuotas(v, a)...); p.Code != "" {
		return p
	}
	if p := s.within(ctx, v, quota{"smsbudget", limit.Limit{Events: s.cfg.SMSBudget, Window: 24 * time.Hour}}); p.Code != "" {
		if p.Code != codeRateLimited {
			return p
		}
		s.Metrics.SMS(smsOverspent)
		s.budgetLog.Do(func() {
			s.Log.ErrorContext(ctx, "sms_budget is spent: no code is sent to anybody for now; is somebody spending it? this is said once a minute",
				"budget", s.cfg.SMSBudget)
		})
		return noCodes(time.Duration(p.retryAfter) * time.Second)
	}
	code, err := s.newCode(ctx, v, a.slot)
	if err != nil {
		s.storeFailed(ctx, v, "session", "keeping a code", err)
		return newProblem(codeUnavailable)
	}
	purpose := a.slot.purpose
	if purpose == purposeLogin && v.who.member() {
		purpose = "bind"
	}
	return s.handOver(r.Context(), sms.Message{
		Phone: string(a.slot.phone), Code: code, Purpose: purpose, ExpiresIn: codeLife, Locale: s.pages.tags[s.pages.language(r)],
	})
}

// sendQuotas are the limits of one message. What only the sender can use up
// comes first, so that a stranger's request that goes nowhere takes nothing from
// the phone's owner.
func (s *Site) sendQuotas(v *Visit, a phoneRequest) []quota {
	phone := s.Accounts.Hide(string(a.slot.phone))
	return []quota{
		{"smsagain:" + a.slot.key(), limit.Limit{Events: 1, Window: codeGap}}, // an impatient finger costs nothing else
		{"smssession:" + a.slot.line, limit.Limit{Events: 5, Window: time.Hour}},
		{"smsaddress:" + limit.AddressKey(v.ClientIP), limit.Limit{Events: 30, Window: time.Hour}},
		{"smsgap:" + phone, limit.Limit{Events: 1, Window: codeGap}},
		{"smsday:" + phone, limit.Limit{Events: 10, Window: 24 * time.Hour}},
	}
}

// handOver gives a message to the carrier, once. A visitor who hangs up does
// not stop it half-way.
func (s *Site) handOver(ctx context.Context, m sms.Message) problem {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sms.SendTimeout)
	defer cancel()
	err := s.SMS.Send(ctx, m)
	if err == nil {
		s.Metrics.SMS(smsSent)
		return problem{}
	}
	reason := sms.ReasonUnsure
	if e := (*sms.Error)(nil); errors.As(err, &e) {
		reason = e.Reason
	}
	s.Metrics.SMS(string(reason))
	s.carrierLog.Do(func() {
		s.Log.ErrorContext(ctx, "a carrier did not take a code; this is said once a minute, and wxgate_sms_total counts them all", "error", err)
	})
	switch reason {
	case sms.ReasonUnsure: // it may have been sent, and is not sent again
		return problem{}
	case sms.ReasonWait:
		return newProblem(codeRateLimited).after(carrierWait)
	case sms.ReasonPhone:
		return newProblem(codePhoneInvalid)
	default:
		return noCodes(codeGap)
	}
}

// noCodes says that messages are what is out of order, and nothing else.
func noCodes(wait time.Duration) problem {
	p := newProblem(codeUnavailable).after(wait)
	p.text = "no_codes"
	return p
}
