package wechattest

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Person is a WeChat user.
type Person struct {
	Name      string // names the person in this package
	Nickname  string // empty means Name
	AvatarURL string // headimgurl; empty when the person has none
	Follower  bool   // follows every official account
	Phone     string // the number, without its country; empty: none is given to anybody
	Country   string // of Phone, in digits; empty means 86
	Blocked   bool   // high-risk: mini programs may not log the person in

	// OldLibrary says that the person's WeChat is so old that wx.getUserProfile
	// still tells the truth. Others show themselves as 微信用户.
	OldLibrary bool

	// FromMenu says that the person enters pages from the account's chat or
	// menu. For a follower even snsapi_userinfo is silent then.
	FromMenu bool

	Consent  Consent  // what the person does when asked for snsapi_userinfo
	Refusal  Refusal  // what follows a refusal
	Snapshot Snapshot // whether pages open as snapshot pages

	// DoubledCallback also fetches the callback URL from the platform's own
	// side, without the browser's cookies, at the moment the browser is sent
	// there.
	DoubledCallback bool
	// CallbackDelay is waited before the browser is sent to the callback.
	CallbackDelay time.Duration
}

// Consent is what a person does when an app asks for snsapi_userinfo. People
// who consented to the app before are not asked, see Server.SetConsented.
type Consent int

const (
	Ask    Consent = iota // a page with two buttons
	Accept                // consents at once
	Refuse                // refuses at once
)

// Refusal is what the platform does when a person refuses.
type Refusal int

const (
	NoRedirect Refusal = iota // nothing at all, as WeChat's clients mostly do
	StateOnly                 // redirect with state and without code
	Authdeny                  // redirect with code=authdeny
)

// Snapshot is how a person's pages open as snapshot pages (快照页), where
// everything the platform tells is virtual.
type Snapshot int

const (
	SnapshotOff       Snapshot = iota
	SnapshotOn                 // virtual ids and is_snapshotuser=1
	SnapshotUnflagged          // virtual ids, and the flag is missing
	SnapshotRealID             // the flag comes with the person's real ids
)

type consentKey struct{ person, appID string }

// AddPerson adds p, or replaces the person of the same name. The first person
// added holds the phone.
func (s *Server) AddPerson(p Person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == "" {
		s.held = p.Name
	}
	if old := s.person(p.Name); old != nil {
		*old = p
		return
	}
	s.people = append(s.people, &p)
}

// People returns all people in the order they were added.
func (s *Server) People() []Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Person, len(s.people))
	for i, p := range s.people {
		all[i] = *p
	}
	return all
}

// Hold makes person the one who uses every browser that names nobody, see
// PersonHeader and PersonCookie.
func (s *Server) Hold(person string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = person
}

// Held returns the name of the person who holds the phone.
func (s *Server) Held() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// SetConsented says whether person has granted snsapi_userinfo to the app
// before. Accepting sets it; while it is set, nobody is asked.
func (s *Server) SetConsented(person, appID string, consented bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consents[consentKey{person, appID}] = consented
}

// Consented reports what SetConsented says.
func (s *Server) Consented(person, appID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.consents[consentKey{person, appID}]
}

// person returns the person of that name or nil. The caller holds mu.
func (s *Server) person(name string) *Person {
	i := slices.IndexFunc(s.people, func(p *Person) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return s.people[i]
}

// personByOpenID returns the person with that openid in the app or nil. The
// caller holds mu.
func (s *Server) personByOpenID(openID, appID string) *Person {
	i := slices.IndexFunc(s.people, func(p *Person) bool { return s.OpenID(p.Name, appID) == openID })
	if i < 0 {
		return nil
	}
	return s.people[i]
}

// A browser names its person, percent-encoded, in a header or a cookie to the
// platform. Browsers that do neither are used by the person who holds the
// phone.
const (
	PersonHeader = "Wechattest-Person"
	PersonCookie = "wechattest_person"
)

// browserPerson returns who uses the browser of r or nil. The caller holds mu.
func (s *Server) browserPerson(r *http.Request) *Person {
	value := r.Header.Get(PersonHeader)
	if c, err := r.Cookie(PersonCookie); err == nil && value == "" {
		value = c.Value
	}
	if value == "" {
		return s.person(s.held)
	}
	name, err := url.QueryUnescape(value)
	if err != nil {
		return nil
	}
	return s.person(name)
}
