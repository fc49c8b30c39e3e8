package gate

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
)

// The places of the identity headers in a Site's names.
const (
	headerUserID = iota
	headerKind
	headerPhone
	headerPrevious
	headerAssertion
	headerOpenID
	numHeaders
)

// Attach tells the shop who the visitor is and returns the writer that its
// answer goes through. done must be called when the shop has answered.
func (s *Site) Attach(w http.ResponseWriter, r *http.Request, v *Visit) (aw *Writer, ar *http.Request, done func()) {
	if v.who.known() {
		s.setHeaders(r.Header, v)
	}
	aw = &Writer{ResponseWriter: w, listener: s.listen(w, r, v)}
	if v.issue != nil {
		s.carry(aw, v)
	}
	return s.Live.follow(aw, r, v)
}

// carry lets the answer carry the session that was given to the visitor.
func (s *Site) carry(aw *Writer, v *Visit) {
	aw.private = true
	switch token := s.tokenOf(v.issue); {
	case v.viaHeader:
		aw.sessionHeader = token
	case !v.attached:
		aw.cookie = s.cookies.Session(token, !v.issue.Snapshot)
	}
	v.attached = true
}

// setHeaders sets the identity headers. Their values share one array, since a
// slice for each would cost an allocation each.
func (s *Site) setHeaders(h http.Header, v *Visit) {
	phone := "0"
	if v.who.phone {
		phone = "1"
	}
	vals := &[numHeaders]string{v.who.id, v.who.kind, phone, v.who.previous, v.who.assertion, v.who.openid}
	for i, name := range s.names {
		if name != "" && vals[i] != "" {
			h[name] = vals[i : i+1 : i+1]
		}
	}
}

// Bypass returns the writer for a request that the gate lets by untouched:
// only words that the shop speaks to the gate are kept from leaving.
func (s *Site) Bypass(w http.ResponseWriter) *Writer {
	s.Metrics.Request(Bypass, outcomePass)
	aw := &Writer{ResponseWriter: w}
	if s.cfg.Upstream.on() {
		aw.listener = s.deaf
	}
	return aw
}

// Writer lets the shop's answer through, unbuffered. At the header it removes
// the words that are meant for the gate, and keeps an answer that carries a
// session out of every cache.
type Writer struct {
	http.ResponseWriter
	listener      *listener
	superseded    bool // the gate has answered instead: what the shop writes is dropped
	private       bool
	sessionHeader string
	cookie        *http.Cookie // set at the end: a proxy clears the header after each 1xx
	wrote         bool
	names         int                     // in the header when it was sent
	hijacked      func(net.Conn) net.Conn // nil: nobody follows the connection
}

// WriteHeader passes 1xx on, without words for the gate, and touches the final
// header once.
func (w *Writer) WriteHeader(status int) {
	switch {
	case w.wrote:
	case status >= 200 || status == http.StatusSwitchingProtocols:
		w.begin(status)
	default:
		stripResponse(w.Header())
	}
	if !w.superseded {
		w.ResponseWriter.WriteHeader(status)
	}
}

// begin lets the gate hear the final header, and finishes it.
func (w *Writer) begin(status int) {
	if !w.listener.heed(w, status) {
		w.finish()
	}
}

// supersede clears the way for an answer of the gate instead of the shop's,
// whose cookies go along. outer is what the answer's header was before. The
// gate delivers its session itself.
func (w *Writer) supersede(outer http.Header) {
	h := w.Header()
	cookies := h["Set-Cookie"]
	clear(h)
	maps.Copy(h, outer)
	if len(cookies) > 0 {
		h["Set-Cookie"] = cookies // those of outer among them
	}
	w.superseded, w.private = true, false
	w.finish()
}

// finish makes the header what a visitor may see.
func (w *Writer) finish() {
	w.wrote = true
	h := w.Header()
	stripResponse(h)
	if w.private {
		uncache(h)
		if w.sessionHeader != "" {
			h.Set(sessionHeader, w.sessionHeader)
		}
		if w.cookie != nil {
			http.SetCookie(w, w.cookie)
		}
	}
	w.names = len(h)
}

// Close prepares the header for whatever is written past this Writer: by the
// server, when the shop answered without a word, or as an error. It is called
// when the shop is done. Names that came since the header was sent are
// trailers.
func (w *Writer) Close() {
	switch {
	case !w.wrote:
		w.finish()
	case w.superseded:
		maps.DeleteFunc(w.Header(), func(name string, _ []string) bool { return strings.HasPrefix(name, http.TrailerPrefix) })
	case len(w.Header()) > w.names:
		stripResponse(w.Header())
	}
}

func (w *Writer) Write(b []byte) (int, error) {
	if !w.wrote {
		w.begin(http.StatusOK)
	}
	if w.superseded {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom keeps the way open that sends a file without copying it.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	if !w.wrote {
		w.begin(http.StatusOK)
	}
	if w.superseded {
		return io.Copy(io.Discard, r)
	}
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(w.ResponseWriter, r)
}

// Flush implements http.Flusher for handlers that do not use a
// http.ResponseController.
func (w *Writer) Flush() {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil && w.hijacked != nil {
		conn = w.hijacked(conn)
	}
	return conn, rw, err
}

// Unwrap lets http.ResponseController find what else the server offers.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
