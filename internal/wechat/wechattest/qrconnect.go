package wechattest

import (
	"net/http"
	"regexp"
	"time"
)

// Login of a website app: a browser anywhere shows a QR code, a phone scans it
// and its person confirms, and the browser goes on to the callback.
const (
	qrPath      = pagesPrefix + "qrconnect"
	qrWaitPath  = pagesPrefix + "qrconnect/wait" // our own: the page looks again, where the real one holds a request
	scannedPath = pagesPrefix + "confirm"        // what the QR code says, with uuid

	// qrLife is how long a QR code works.
	qrLife = 5 * time.Minute
)

// qrQuery is the order that the platform documents.
var qrQuery = regexp.MustCompile(`^appid=([^&]*)&redirect_uri=([^&]*)&response_type=([^&]*)&scope=([^&]*)&state=([^&]*)(?:&lang=(?:cn|en))?$`)

// scan is a QR code on display.
type scan struct {
	authorization
	decided   bool
	consented bool
}

// serveQR shows a QR code for a request that is in order.
func (s *Server) serveQR(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.counts[QRConnect]++
	auth, refused := s.readQR(r)
	uuid := ""
	if refused.Text == "" {
		uuid = s.newScan(auth)
	}
	s.note(Request{Time: s.now(), API: QRConnect, Method: r.Method, Query: r.URL.Query(), ErrCode: refused.ErrCode})
	s.mu.Unlock()
	if refused.Text != "" {
		s.writePage(w, "refused", refused)
		return
	}
	s.showQR(w, auth, uuid)
}

// readQR checks a request as strictly as the platform. The caller holds mu.
func (s *Server) readQR(r *http.Request) (authorization, refusedPage) {
	m := qrQuery.FindStringSubmatch(r.URL.RawQuery)
	if m == nil {
		return authorization{}, refusedPage{Text: "参数错误：参数的名称、大小写或顺序不对"}
	}
	auth := authorization{
		appID: unescape(m[1]), redirectURI: unescape(m[2]), scope: unescape(m[4]), state: unescape(m[5]), created: s.now(),
	}
	refused := s.refuseAuthorize(auth, m[2], m[3])
	if refused.Text == "" && !s.apps[auth.appID].Website {
		refused = refusedPage{Text: "Scope 参数错误或没有 Scope 权限"}
	}
	return auth, refused
}

// newScan puts a QR code on display and forgets old ones. The caller holds mu.
func (s *Server) newScan(auth authorization) (uuid string) {
	for old, sc := range s.scans {
		if s.now().Sub(sc.created) > pendingLife {
			delete(s.scans, old)
		}
	}
	uuid = randomText(16)
	s.scans[uuid] = &scan{authorization: auth}
	return uuid
}

func (s *Server) showQR(w http.ResponseWriter, auth authorization, uuid string) {
	s.writePage(w, "qrconnect", struct{ AppID, Code, Wait, Phone string }{
		auth.appID, scannedPath + "?uuid=" + uuid, qrWaitPath + "?uuid=" + uuid, s.phone,
	})
}

// qrCode finds what the page of serveQR shows.
var qrCode = regexp.MustCompile(scannedPath + `\?uuid=[0-9A-Za-z]+`)

// ReadQR returns what the QR code on a page of the platform says: a path at the
// platform, for the browser of the phone that scans it. Empty means that there
// is no QR code.
func ReadQR(page string) string { return qrCode.FindString(page) }

// scanOf returns the QR code that r names, or nil if it does not work any more.
// The caller holds mu.
func (s *Server) scanOf(uuid string) *scan {
	sc := s.scans[uuid]
	if sc == nil || s.now().Sub(sc.created) > qrLife {
		return nil
	}
	return sc
}

// serveQRWait looks whether a phone has decided.
func (s *Server) serveQRWait(w http.ResponseWriter, r *http.Request) {
	uuid := r.URL.Query().Get("uuid")
	s.mu.Lock()
	sc := s.scanOf(uuid)
	var now scan
	if sc != nil {
		if now = *sc; now.decided {
			delete(s.scans, uuid)
		}
	}
	s.mu.Unlock()
	switch {
	case sc == nil:
		s.writePage(w, "refused", refusedPage{Text: "二维码已失效，请刷新"})
	case !now.decided:
		s.showQR(w, now.authorization, uuid)
	default:
		s.finish(w, r, now.authorization, now.consented)
	}
}

// serveScanned is what a phone sees that scans a QR code.
func (s *Server) serveScanned(w http.ResponseWriter, r *http.Request) {
	uuid := r.URL.Query().Get("uuid")
	s.mu.Lock()
	defer s.mu.Unlock()
	sc, person := s.scanOf(uuid), s.browserPerson(r)
	switch {
	case !s.anyBrowser && !inWeChat(r.UserAgent()):
		s.writePage(w, "refused", refusedPage{Text: "请使用微信扫描二维码"})
	case sc == nil, sc.decided, person == nil:
		s.writePage(w, "refused", refusedPage{Text: "二维码已失效"})
	case person.Consent == Ask:
		sc.person = person.Name
		s.writePage(w, "consent", struct{ Ticket, AppID, Action string }{uuid, sc.appID, scannedPath})
	default:
		sc.person = person.Name
		s.decide(w, sc, person.Consent == Accept)
	}
}

// serveScanConfirm takes the answer of the phone.
func (s *Server) serveScanConfirm(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sc := s.scanOf(r.PostFormValue("ticket"))
	if sc == nil || sc.decided || s.person(sc.person) == nil {
		s.writePage(w, "refused", refusedPage{Text: "二维码已失效"})
		return
	}
	s.decide(w, sc, r.PostFormValue("decision") == "accept")
}

// decide ends a scan and says so on the phone. The caller holds mu.
func (s *Server) decide(w http.ResponseWriter, sc *scan, consented bool) {
	sc.decided, sc.consented = true, consented
	text := "已拒绝登录"
	if consented {
		text = "已确认登录，请回到电脑"
	}
	s.writePage(w, "refused", refusedPage{Text: text})
}
