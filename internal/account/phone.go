package account

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/unicode/norm"
)

// Phone is a mobile number in the form of E.164: `+8613800138000`. ParsePhone
// makes it; string(p) is the number, every other way of printing it is masked.
type Phone string

// String is the number as people and events may see it: `+86 138****8000`.
// Four digits or more stay hidden, so short numbers show less.
func (p Phone) String() string {
	n, err := phonenumbers.Parse(string(p), "")
	if err != nil {
		return "****"
	}
	digits := phonenumbers.GetNationalSignificantNumber(n)
	shown := min(max(len(digits)-4, 0), 7)
	tail := (shown + 1) / 2
	return fmt.Sprintf("+%d %s****%s", n.GetCountryCode(), digits[:shown-tail], digits[len(digits)-tail:])
}

// CountryCode is the country calling code of the number, such as 86; 0 of what
// is no number.
func (p Phone) CountryCode() int {
	n, err := phonenumbers.Parse(string(p), "")
	if err != nil {
		return 0
	}
	return int(n.GetCountryCode())
}

// IsCountryCode says whether numbers of some country begin with a code.
func IsCountryCode(code int) bool {
	return phonenumbers.GetRegionCodeForCountryCode(code) != phonenumbers.UNKNOWN_REGION
}

// Format keeps the number out of logs, whatever the verb.
func (p Phone) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, p.String()) }

// MarshalText keeps the number out of JSON, where logs may end too.
func (p Phone) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Value implements driver.Valuer. It keeps the number out of the database, which
// gets what (phone).sealed returns.
func (p Phone) Value() (driver.Value, error) {
	return nil, errors.New("a phone number is stored sealed, not as it is")
}

// PhoneError says why a text is not a number that a code can be sent to. It
// does not repeat the text.
type PhoneError struct{ Reason PhoneReason }

// PhoneReason is a stable word for programs.
type PhoneReason string

const (
	PhoneUnreadable PhoneReason = "unreadable" // not digits, or far too few or too many
	PhoneImpossible PhoneReason = "impossible" // no country has such a number
	PhoneNotMobile  PhoneReason = "not_mobile" // a landline, a service number
)

func (e *PhoneError) Error() string {
	return "reading a phone number: " + map[PhoneReason]string{
		PhoneUnreadable: "it is not written like one",
		PhoneImpossible: "no country has such a number",
		PhoneNotMobile:  "it is not a mobile number, and no message can be sent to it",
	}[e.Reason]
}

var (
	dialled = regexp.MustCompile(`^\+?[0-9]{5,20}$`)
	// China's numbering plan keeps these for mobiles. Blocks of them are opened
	// every few years, and the library learns of it later than the customers.
	chineseMobile = regexp.MustCompile(`^1[3-9][0-9]{9}$`)
)

const defaultRegion = "CN"

// ParsePhone reads a number as people and WeChat write it. Without a country
// it is China's: `138 0013 8000`, `86138...`, `+86 138...`, `0086...`, and the
// same in full-width digits are one number. The error is a *PhoneError.
//
// Landlines are refused: a phone is proved with a text message, which they do
// not get. Where a country's plan does not tell mobiles from landlines, as in
// North America, a number is taken.
func ParsePhone(text string) (Phone, error) {
	digits := strings.Map(spoken, norm.NFKC.String(text))
	if !dialled.MatchString(digits) {
		return "", &PhoneError{PhoneUnreadable}
	}
	n, err := phonenumbers.Parse(digits, defaultRegion)
	if err != nil {
		return "", &PhoneError{PhoneImpossible}
	}
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE:
	case phonenumbers.UNKNOWN:
		region := phonenumbers.GetRegionCodeForCountryCode(int(n.GetCountryCode()))
		if region != defaultRegion || !chineseMobile.MatchString(phonenumbers.GetNationalSignificantNumber(n)) {
			return "", &PhoneError{PhoneImpossible}
		}
	default:
		return "", &PhoneError{PhoneNotMobile}
	}
	return Phone(phonenumbers.Format(n, phonenumbers.E164)), nil
}

// spoken drops what is only there for the eye: spaces, hyphens, brackets, and
// the invisible marks that come along when a number is copied from a contact.
func spoken(r rune) rune {
	if unicode.In(r, unicode.Z, unicode.Cf, unicode.Pd) || strings.ContainsRune("().\t", r) {
		return -1
	}
	return r
}
