package gate

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

// maxNickname bounds a nickname, in characters. WeChat allows half of it.
const maxNickname = 64

// profileRequest is a profile: as a person has filled it in, or as WeChat has
// signed and encrypted it on the phone.
type profileRequest struct {
	Nickname string `json:"nickname"`
	Avatar   string `json:"avatar"`

	EncryptedData string `json:"encrypted_data"`
	IV            string `json:"iv"`
	RawData       string `json:"raw_data"`
	Signature     string `json:"signature"`
}

func (p profileRequest) signed() bool {
	return p.EncryptedData != "" || p.IV != "" || p.RawData != "" || p.Signature != ""
}

// profileAnswer is what somebody is shown of what he has given himself.
type profileAnswer struct {
	Nickname string `json:"nickname,omitempty"`
	Avatar   string `json:"avatar,omitempty"`
}

// miniProfile keeps what somebody shows of himself in a mini program. It says
// nothing of who he is, and nobody else gets to see it.
func (s *Site) miniProfile(w http.ResponseWriter, r *http.Request, v *Visit) {
	if _, p := s.inMiniProgram(r.Context(), v); p.Code != "" {
		s.writeProblem(w, r, p)
		return
	}
	var in profileRequest
	if !readJSON(r, &in) {
		s.writeProblem(w, r, newProblem(codeMalformed))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*storeTimeout)
	defer cancel()
	given, p := s.readProfile(ctx, v, in)
	if p.Code != "" {
		s.writeProblem(w, r, p)
		return
	}
	kept, err := s.Accounts.KeepProfile(ctx, given)
	if err != nil {
		s.storeFailed(ctx, v, "database", "keeping a profile", err)
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	s.beginJSON(w, r)
	writeJSON(w, struct {
		User    userAnswer    `json:"user"`
		Profile profileAnswer `json:"profile"`
	}{userOf(v.who), profileAnswer{kept.Nickname, kept.Avatar}})
}

// readProfile reads what is given. What stands in for a name and a picture that
// nobody has given is none.
func (s *Site) readProfile(ctx context.Context, v *Visit, in profileRequest) (account.Profile, problem) {
	sess := v.session()
	p := wechat.Profile{Nickname: in.Nickname, AvatarURL: in.Avatar}
	if in.signed() {
		var ok bool
		if p, ok = s.openProfile(ctx, v, in); v.failed {
			return account.Profile{}, newProblem(codeUnavailable)
		} else if !ok {
			return account.Profile{}, newProblem(codeSessionKeyLost)
		}
	}
	p = p.Given()
	given := account.Profile{AppID: sess.AppID, OpenID: sess.OpenID, Nickname: cleanNickname(p.Nickname), Avatar: p.AvatarURL}
	if utf8.RuneCountInString(given.Nickname) > maxNickname || len(given.Nickname) > account.MaxNickname || !isPicture(given.Avatar) {
		return account.Profile{}, newProblem(codeMalformed)
	}
	return given, problem{}
}

// openProfile reads what WeChat has signed and encrypted.
func (s *Site) openProfile(ctx context.Context, v *Visit, in profileRequest) (p wechat.Profile, ok bool) {
	_ = s.withSessionKeys(ctx, v, func(key wechat.SessionKey) bool { // v says whether it failed
		if !key.Signed(in.RawData, in.Signature) {
			return false
		}
		var err error
		p, err = key.OpenProfile(s.miniData(v, in.EncryptedData, in.IV), v.now)
		ok = err == nil
		return ok
	})
	return p, ok
}

// cleanNickname leaves out what is not to be seen.
func cleanNickname(name string) string {
	name = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || c == utf8.RuneError {
			return -1
		}
		return c
	}, name)
	return strings.TrimSpace(name)
}

// isPicture says whether a picture can be shown from there. Empty is none.
func isPicture(address string) bool {
	if address == "" {
		return true
	}
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && len(address) <= account.MaxAvatar
}

// profileOf is what the holder of a session has given in the app that he is in,
// nil for nothing.
func (s *Site) profileOf(ctx context.Context, v *Visit, sess *session.Session) *profileAnswer {
	if sess.SignedOut || !s.provedInApp(sess) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	p, err := s.Accounts.Profile(ctx, sess.AppID, sess.OpenID)
	if err != nil {
		s.storeFailed(ctx, v, "database", "reading a profile", err)
		return nil
	}
	if p.Nickname == "" && p.Avatar == "" {
		return nil
	}
	return &profileAnswer{p.Nickname, p.Avatar}
}
