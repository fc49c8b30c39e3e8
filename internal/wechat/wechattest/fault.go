package wechattest

import (
	"maps"
	"net/http"
	"strings"
	"time"
)

// API names an endpoint by its path.
type API string

const (
	Authorize    API = "connect/oauth2/authorize"
	QRConnect    API = "connect/qrconnect"
	ExchangeCode API = "sns/oauth2/access_token"
	RefreshToken API = "sns/oauth2/refresh_token"
	UserInfo     API = "sns/userinfo"
	CheckToken   API = "sns/auth"
	PlainToken   API = "cgi-bin/token"
	StableToken  API = "cgi-bin/stable_token"
	Follower     API = "cgi-bin/user/info"
	Followers    API = "cgi-bin/user/info/batchget"
	FollowerList API = "cgi-bin/user/get"
	Code2Session API = "sns/jscode2session"
	CheckSession API = "wxa/checksession"
	PhoneNumber  API = "wxa/business/getuserphonenumber"
	PageTicket   API = "cgi-bin/ticket/getticket"
)

// Fault is an answer that goes wrong. Fields combine: first the request takes
// effect if Consume or Set is given, then Delay passes, then Hang, Drop or the
// wrong answer. A Fault with Delay only delays the true answer.
type Fault struct {
	ErrCode int            // an error in the platform's shape
	Status  int            // HTTP status; 0 means 200
	Body    string         // sent as it is
	Empty   bool           // no body
	Set     map[string]any // the true answer with these fields changed; nil values are removed
	Delay   time.Duration  // before the answer
	Hang    bool           // no answer until the caller gives up
	Drop    bool           // the connection is closed without an answer
	Consume bool           // the request takes effect before the wrong answer: a code is spent
}

// ErrCode answers with an error of the platform.
func ErrCode(code int) Fault { return Fault{ErrCode: code} }

// HTMLPage answers with an HTML page, as proxies and blocked hosts do.
func HTMLPage() Fault {
	return Fault{Body: "<!DOCTYPE html><html><head><title>Error</title></head><body>Service Unavailable</body></html>"}
}

// BadGateway answers with HTTP 502 and an HTML page.
func BadGateway() Fault {
	return Fault{Status: http.StatusBadGateway, Body: "<html><body><h1>502 Bad Gateway</h1></body></html>"}
}

// WrongJSON answers with JSON that breaks off.
func WrongJSON() Fault { return Fault{Body: `{"access_token":"75_`} }

// EmptyBody answers with nothing.
func EmptyBody() Fault { return Fault{Empty: true} }

// HugeBody answers the truth, and a megabyte more.
func HugeBody() Fault {
	return Fault{Set: map[string]any{"padding": strings.Repeat("x", 1<<20)}}
}

// EmptyOpenID answers the truth without the openid.
func EmptyOpenID() Fault { return Fault{Set: map[string]any{"openid": ""}} }

// Delay answers the truth after d of real time.
func Delay(d time.Duration) Fault { return Fault{Delay: d} }

// Hang answers nothing, and nothing takes effect.
func Hang() Fault { return Fault{Hang: true} }

// HangAfterEffect answers nothing after the request took effect: the caller
// of a code exchange sees a timeout, and the code is spent.
func HangAfterEffect() Fault { return Fault{Hang: true, Consume: true} }

// Forever is the n of a Fail that ends with Heal.
const Forever = -1

type queuedFault struct {
	fault Fault
	left  int
}

// Fail makes the next n answers of api go wrong; faults of one api queue up.
// Authorize and QRConnect are pages, which know no faults.
func (s *Server) Fail(api API, n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[api] = append(s.faults[api], queuedFault{fault: f, left: n})
}

// Heal removes all faults of api.
func (s *Server) Heal(api API) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults, api)
}

// nextFault takes the fault of this answer. The caller holds mu.
func (s *Server) nextFault(api API) (Fault, bool) {
	queue := s.faults[api]
	for len(queue) > 0 && queue[0].left == 0 {
		queue = queue[1:]
	}
	s.faults[api] = queue
	if len(queue) == 0 {
		return Fault{}, false
	}
	if queue[0].left > 0 {
		queue[0].left--
	}
	return queue[0].fault, true
}

// takesEffect says that the request is carried out although the answer goes
// wrong.
func (f Fault) takesEffect() bool { return f.Consume || f.Set != nil || f.truthful() }

// truthful says that the true answer is sent in the end.
func (f Fault) truthful() bool {
	return f.ErrCode == 0 && f.Status == 0 && f.Body == "" && !f.Empty && f.Set == nil && !f.Hang && !f.Drop
}

// change returns truth with the fields of Set.
func (f Fault) change(truth answer) answer {
	changed := maps.Clone(truth)
	for k, v := range f.Set {
		if v == nil {
			delete(changed, k)
			continue
		}
		changed[k] = v
	}
	return changed
}
