package gate

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The server merges undeclared trailers into the map of the declared ones, and
// a proxy that shares the map would send them on.
func TestTrailersDoNotCarryOurNames(t *testing.T) {
	s := stripperFor(t, HeaderNames{})
	r := parse(t, "POST / HTTP/1.1\nHost: shop\nTransfer-Encoding: chunked\nTrailer: Checksum, X-User-ID\n\n"+
		"2\nhi\n0\nChecksum: 42\nX-User-ID: 7\nX_User_Kind: member\n\n")
	if n := s.strip(r, false); n != 1 {
		t.Errorf("removed %d declarations", n)
	}
	shared := r.Trailer // as a clone made before the body is read sees it
	if _, err := io.ReadAll(r.Body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(http.Header{"Checksum": {"42"}}, shared); diff != "" {
		t.Error(diff)
	}
}

// sendTrailers sends a chunked request with trailers to a server whose handler
// hands its request to serve and then reads the body, as a proxy does, and
// returns the trailers that the proxy would send on.
func sendTrailers(t *testing.T, declared string, serve func(*http.Request) *http.Request) http.Header {
	t.Helper()
	s := stripperFor(t, HeaderNames{})
	got := make(chan http.Header, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		r = serve(r)
		s.strip(r, false)
		proxied := r.WithContext(r.Context()) // shares the map, as handlers in between do
		_, _ = io.Copy(io.Discard, proxied.Body)
		all := http.Header{}
		for _, r := range []*http.Request{r, proxied} {
			for name, values := range r.Trailer {
				all[name] = values
			}
		}
		got <- all
	}))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, strings.ReplaceAll("POST / HTTP/1.1\nHost: shop\nConnection: close\nTransfer-Encoding: chunked\n"+declared+
		"\n2\nhi\n0\nChecksum: 42\nX-User-ID: 7\nx_user_kind: member\n\n", "\n", "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	return <-got
}

func TestUndeclaredTrailersDoNotCarryOurNames(t *testing.T) {
	same := func(r *http.Request) *http.Request { return r }
	copied := func(r *http.Request) *http.Request {
		return r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, nil))
	}
	for _, tc := range []struct {
		name, declared string
		serve          func(*http.Request) *http.Request
		want           http.Header
	}{
		{"the server's own request", "", same, http.Header{"Checksum": {"42"}}},
		{"a copy of it", "", copied, http.Header{}},
		{"one declared", "Trailer: Checksum\n", same, http.Header{"Checksum": {"42"}}},
		{"one declared, a copy", "Trailer: Checksum\n", copied, http.Header{"Checksum": {"42"}}},
		{"ours declared", "Trailer: X-User-ID\nTrailer: X_User_Kind\n", copied, http.Header{"Checksum": {"42"}}},
	} {
		if diff := cmp.Diff(tc.want, sendTrailers(t, tc.declared, tc.serve)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

// net/http leaves Trailer among the headers of a request that has none.
func TestTrailerDoesNotAnnounceOurNames(t *testing.T) {
	s := stripperFor(t, HeaderNames{})
	r := parse(t, "GET / HTTP/1.1\nHost: shop\nTrailer: x_user_id, Checksum\n\n")
	s.strip(r, false)
	if diff := cmp.Diff(http.Header{"Trailer": {" Checksum"}}, r.Header); diff != "" {
		t.Error(diff)
	}
}

// net/http reads a short rest of the body when it is closed, trailers included.
func TestTrailersAfterAnEarlyCloseAreCleaned(t *testing.T) {
	s := stripperFor(t, HeaderNames{})
	r := parse(t, "POST / HTTP/1.1\nHost: shop\nTransfer-Encoding: chunked\nTrailer: Checksum\n\n2\nhi\n0\nX-User-ID: 7\n\n")
	s.strip(r, false)
	if err := r.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(http.Header{"Checksum": nil}, r.Trailer); diff != "" {
		t.Error(diff)
	}
}
