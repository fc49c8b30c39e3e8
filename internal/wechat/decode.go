package wechat

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
)

// identifier is the form of openids and unionids. WeChat promises no length.
var identifier = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// decode reads an answer: an error if it holds an errcode other than 0, else
// out. Status and Content-Type are not looked at; WeChat sends errors as 200
// and JSON as text/plain.
func decode(api string, body []byte, out result) *Error {
	if len(body) > answerLimit(api) {
		return malformed(api, "answer is too long")
	}
	body = blankControls(body)
	var envelope struct {
		Code    number `json:"errcode"`
		Message text   `json:"errmsg"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return malformed(api, "not JSON")
	}
	if envelope.Code != 0 {
		return platformError(api, int(envelope.Code), string(envelope.Message))
	}
	if err := json.Unmarshal(body, out); err != nil {
		return malformed(api, "wrong type of a field")
	}
	if problem := out.problem(); problem != "" {
		return malformed(api, problem)
	}
	return nil
}

// blankControls replaces raw control characters, which WeChat sends inside
// nicknames and JSON forbids there. Between the values they mean a blank.
func blankControls(body []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, body)
}

// number is a JSON number or a string that holds one; null and "" are 0.
type number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(raw []byte) error {
	digits := string(bytes.Trim(raw, `"`))
	if digits == "" || digits == "null" {
		*n = 0
		return nil
	}
	value, err := strconv.ParseInt(digits, 10, 64)
	*n = number(value)
	return err
}

// digits is a JSON string or number as text, for what has no arithmetic.
type digits string

// UnmarshalJSON implements json.Unmarshaler.
func (d *digits) UnmarshalJSON(raw []byte) error {
	*d = digits(bytes.Trim(raw, `"`))
	return nil
}

// flag is true unless it is missing, null, false, 0 or empty: what WeChat
// marks in a way we do not know counts as marked.
type flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *flag) UnmarshalJSON(raw []byte) error {
	switch string(bytes.Trim(raw, `"`)) {
	case "", "0", "null", "false":
		*f = false
	default:
		*f = true
	}
	return nil
}

// text is a JSON string; anything else reads as empty. For what is only shown
// or searched.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = ""
	}
	*t = text(s)
	return nil
}

// identity is the part of an answer that says who somebody is.
type identity struct {
	OpenID  string `json:"openid"`
	UnionID string `json:"unionid"`
}

func (i identity) problem() string {
	switch {
	case !identifier.MatchString(i.OpenID):
		return "openid is missing or malformed"
	case i.UnionID != "" && !identifier.MatchString(i.UnionID):
		return "unionid is malformed"
	}
	return ""
}
