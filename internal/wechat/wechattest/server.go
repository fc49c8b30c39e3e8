// Package wechattest is a faithful fake of the WeChat platform for tests and
// for the sandbox, in the shape of net/http/httptest. It plays both hosts,
// open.weixin.qq.com and api.weixin.qq.com, for pages of official accounts,
// the QR codes of website apps, mini programs and mobile apps. What WeChat does
// on the phone for the latter two are methods: MiniLogin, AppCode and others.
//
// It is strict: what the real platform refuses, it refuses. And it is as
// awkward as the real one: codes are spent once, errors are HTTP 200 with
// Content-Type text/plain, a refusal mostly brings no callback at all.
//
//	wx := wechattest.NewServer(wechattest.Config{
//		Apps: []wechattest.App{{ID: "wx1111111111111111", Secret: "s", Domains: []string{"127.0.0.1"}, OpenPlatform: "shop"}},
//	})
//	defer wx.Close()
//	wx.AddPerson(wechattest.Person{Name: "li"})
//	browser := wechattest.NewBrowser("li")
package wechattest

import (
	"context"
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Config of a fake platform.
type Config struct {
	Apps   []App
	People []Person // the first holds the phone, see Server.Hold

	// Now is the platform's clock; nil means time.Now. Codes and tokens
	// expire by it. Delays of faults and callbacks are real time.
	Now func() time.Time

	// AnyBrowser lets browsers other than WeChat's use the authorize page.
	// The real one asks them to open the link in WeChat.
	AnyBrowser bool

	// Phone is the address of a browser that plays the phone which scans QR
	// codes: the page that shows one links there. Empty: the page only says
	// what the QR code says.
	Phone string

	// Client sends the second callback of Person.DoubledCallback; nil means
	// one that follows no redirects.
	Client *http.Client
}

// Server is a fake WeChat platform: a handler and the controls of a test.
// All methods may be called by many goroutines, also while it serves.
type Server struct {
	// URL is the base URL of both hosts, without a trailing slash. It is
	// empty for a Server made by New.
	URL string

	now        func() time.Time
	anyBrowser bool
	phone      string
	client     *http.Client
	pages      *template.Template
	mux        *http.ServeMux
	listener   *httptest.Server
	done       chan struct{}  // closed by Close: ends hanging answers
	background sync.WaitGroup // second callbacks under way
	closeOnce  sync.Once

	mu         sync.Mutex
	apps       map[string]*App
	people     []*Person // in the order they were added
	held       string
	consents   map[consentKey]bool
	pending    map[string]authorization // consent pages that are open
	scans      map[string]*scan         // QR codes on display, by what they say
	codes      map[string]*code
	grants     map[string]*userGrant    // by access token
	refreshes  map[string]*userGrant    // by refresh token
	tokens     map[string][]serverToken // by appid, newest last
	forced     map[string][]time.Time   // forced refreshes by appid
	tickets    map[string]pageTicket    // by appid
	faults     map[API][]queuedFault
	counts     map[API]int
	lastOnes   []Request
	virtualIDs int

	miniKeys   map[miniUser]string      // session_key
	miniLogins map[miniUser][]time.Time // calls of the last minute
	phones     int                      // numbers told
}

// New returns a platform that is not listening: mount it as a handler.
func New(cfg Config) *Server {
	s := &Server{
		now:        cfg.Now,
		anyBrowser: cfg.AnyBrowser,
		phone:      cfg.Phone,
		client:     cfg.Client,
		pages:      parsePages(),
		mux:        http.NewServeMux(),
		done:       make(chan struct{}),
		apps:       map[string]*App{},
		consents:   map[consentKey]bool{},
		pending:    map[string]authorization{},
		scans:      map[string]*scan{},
		codes:      map[string]*code{},
		grants:     map[string]*userGrant{},
		refreshes:  map[string]*userGrant{},
		tokens:     map[string][]serverToken{},
		forced:     map[string][]time.Time{},
		tickets:    map[string]pageTicket{},
		faults:     map[API][]queuedFault{},
		counts:     map[API]int{},
		miniKeys:   map[miniUser]string{},
		miniLogins: map[miniUser][]time.Time{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.client == nil {
		s.client = &http.Client{Timeout: 10 * time.Second, CheckRedirect: noRedirect}
	}
	for _, a := range cfg.Apps {
		s.SetApp(a)
	}
	for _, p := range cfg.People {
		s.AddPerson(p)
	}
	s.mux.HandleFunc("GET "+authorizePath, s.serveAuthorize)
	s.mux.HandleFunc("POST "+confirmPath, s.serveConfirm)
	s.mux.HandleFunc("GET "+qrPath, s.serveQR)
	s.mux.HandleFunc("GET "+qrWaitPath, s.serveQRWait)
	s.mux.HandleFunc("GET "+scannedPath, s.serveScanned)
	s.mux.HandleFunc("POST "+scannedPath, s.serveScanConfirm)
	for api, call := range s.calls() {
		s.mux.HandleFunc("/"+string(api), s.serveAPI(api, call))
	}
	return s
}

// NewServer starts a platform on a loopback listener; Close stops it.
func NewServer(cfg Config) *Server {
	s := New(cfg)
	s.listener = httptest.NewServer(s)
	s.URL = s.listener.URL
	return s
}

// Close ends hanging answers, waits for second callbacks under way, and stops
// the listener of NewServer.
func (s *Server) Close() {
	s.closeOnce.Do(func() {
		close(s.done)
		s.background.Wait()
		if s.listener != nil {
			s.listener.Close()
		}
	})
}

// ServeHTTP plays both hosts of the platform.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Request is one request that the platform answered.
type Request struct {
	Time    time.Time
	API     API
	Method  string
	Query   url.Values // secrets included: it is a test's own
	Person  string     // whom it was about, when the platform knew
	ErrCode int        // answered: an errcode, or the number of an error page; 0 is success, or a Fault without one
	Fault   bool       // an injected fault answered
	Forced  bool       // stable_token with force_refresh
}

// keptRequests bounds the log of a sandbox that runs for days.
const keptRequests = 1000

// Requests returns the latest requests, oldest first, at most 1,000.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lastOnes)
}

// Count says how many requests reached api, faults included.
func (s *Server) Count(api API) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[api]
}

// note writes the log. The caller holds mu.
func (s *Server) note(r Request) {
	s.lastOnes = append(s.lastOnes, r)
	if len(s.lastOnes) > keptRequests {
		s.lastOnes = slices.Delete(s.lastOnes, 0, len(s.lastOnes)-keptRequests)
	}
}

// pause waits for d; false means that the caller went away or Close was
// called first.
func (s *Server) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.done:
		return false
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
