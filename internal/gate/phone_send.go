package gate

import "github.com/wxgate/wxgate/internal/sms"

// What becomes of a code that a visitor has asked for, besides the reasons of
// sms.Error.
const (
	smsSent      = "sent"
	smsOverspent = "budget" // all visitors together have had as many as they may
)

// SMSOutcomes lists every outcome that Metrics.SMS is told.
func SMSOutcomes() []string {
	return []string{
		smsSent, smsOverspent,
		string(sms.ReasonWait), string(sms.ReasonPhone), string(sms.ReasonConfig), string(sms.ReasonBusy), string(sms.ReasonUnsure),
	}
}
