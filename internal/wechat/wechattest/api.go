package wechattest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const bodyLimit = 64 << 10

// answer is the body of an API's answer.
type answer map[string]any

// call carries out one API request. The caller holds mu.
type call func(*apiRequest) answer

// apiRequest is one request to an API.
type apiRequest struct {
	*http.Request
	body   []byte
	person string // whom it is about, for the log
	forced bool   // for the log
}

func (r *apiRequest) param(name string) string { return r.URL.Query().Get(name) }

// decode reads a JSON body into v, else returns the answer that refuses it.
func (r *apiRequest) decode(v any) answer {
	switch err := json.Unmarshal(r.body, v); {
	case len(r.body) == 0:
		return fail(44002, "empty post data")
	case err != nil:
		return fail(47001, "data format error")
	}
	return nil
}

// calls returns the platform's API.
func (s *Server) calls() map[API]call {
	return map[API]call{
		ExchangeCode: s.exchangeCode,
		RefreshToken: s.refreshToken,
		UserInfo:     s.userInfo,
		CheckToken:   s.checkToken,
		PlainToken:   s.plainToken,
		StableToken:  s.stableToken,
		Follower:     s.follower,
		Followers:    s.followers,
		FollowerList: s.followerList,
		Code2Session: s.code2Session,
		CheckSession: s.checkSession,
		PhoneNumber:  s.phoneNumber,
		PageTicket:   s.pageTicketOf,
	}
}

// serveAPI answers one endpoint: the truth, or the next fault.
func (s *Server) serveAPI(api API, do call) http.HandlerFunc {
	return func(w http.ResponseWriter, hr *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, hr.Body, bodyLimit))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		fault, faulty, truth := s.carryOut(api, do, &apiRequest{Request: hr, body: body})
		if !faulty {
			writeAnswer(w, http.StatusOK, truth)
			return
		}
		if !s.pause(hr.Context(), fault.Delay) {
			return
		}
		s.writeFault(w, hr, fault, truth)
	}
}

// carryOut does what the request asks for, unless the next fault forbids it,
// and writes the log.
func (s *Server) carryOut(api API, do call, r *apiRequest) (fault Fault, faulty bool, truth answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[api]++
	fault, faulty = s.nextFault(api)
	if !faulty || fault.takesEffect() {
		truth = do(r)
	}
	errCode, _ := truth["errcode"].(int)
	if faulty && !fault.truthful() {
		errCode = fault.ErrCode
	}
	s.note(Request{
		Time: s.now(), API: api, Method: r.Method, Query: r.URL.Query(),
		Person: r.person, ErrCode: errCode, Fault: faulty, Forced: r.forced,
	})
	return fault, faulty, truth
}

func (s *Server) writeFault(w http.ResponseWriter, r *http.Request, f Fault, truth answer) {
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	switch {
	case f.Hang:
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
		panic(http.ErrAbortHandler)
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.ErrCode != 0:
		writeAnswer(w, status, fail(f.ErrCode, "injected"))
	case f.Set != nil:
		writeAnswer(w, status, f.change(truth))
	case f.Body != "":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		w.Write([]byte(f.Body))
	case f.Status != 0, f.Empty:
		w.WriteHeader(status)
	default:
		writeAnswer(w, status, truth)
	}
}

// writeAnswer sends JSON as the platform does: Content-Type text/plain,
// slashes escaped, other characters not.
func writeAnswer(w http.ResponseWriter, status int, a answer) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	w.Write([]byte(strings.ReplaceAll(strings.TrimSpace(body.String()), "/", `\/`)))
}

// fail is an error answer with the trace suffix the platform adds.
func fail(code int, message string) answer {
	trace := digest("rid", randomText(8))
	rid := fmt.Sprintf("%08x-%08x-%08x", trace[0:4], trace[4:8], trace[8:12])
	return answer{"errcode": code, "errmsg": message + ", rid: " + rid}
}

// wrongMethod refuses a method the API does not take, else nil.
func wrongMethod(r *apiRequest, want string) answer {
	switch {
	case r.Method == want:
		return nil
	case want == http.MethodGet:
		return fail(43001, "require GET method")
	default:
		return fail(43002, "require POST method")
	}
}

// checkSecret finds the app of a call that carries the AppSecret.
func (s *Server) checkSecret(appID, secret string) (*App, answer) {
	a := s.apps[appID]
	switch {
	case appID == "":
		return nil, fail(41002, "appid missing")
	case a == nil:
		return nil, fail(40013, "invalid appid")
	case secret == "":
		return nil, fail(41004, "appsecret missing")
	case a.SecretFrozen:
		return nil, fail(40243, "AppSecret has been frozen")
	case secret != a.Secret:
		return nil, fail(40125, "invalid appsecret")
	}
	return a, nil
}
