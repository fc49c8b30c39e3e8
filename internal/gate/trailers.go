package gate

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// stripTrailers keeps protected names out of the request's trailers.
//
// The server fills the map of trailers when the body ends, over HTTP/1.1 with
// undeclared ones too (net/http, mergeSetHeader). Copies of the request share
// that map, and Caddy's reverse_proxy sends on whatever is in it once it has
// read the end. So the map is cleaned in the very Read that reports the end.
func (s *stripper) stripTrailers(r *http.Request, trusted bool) (removed int) {
	if r.Body == nil || r.Body == http.NoBody {
		r.Trailer = nil // nothing ends, so nothing follows
		return 0
	}
	if r.Trailer == nil && r.ContentLength >= 0 {
		return 0
	}
	clean := func() (removed int) {
		for name := range r.Trailer {
			if s.forbidden(name, trusted) {
				delete(r.Trailer, name)
				removed++
			}
		}
		return removed
	}
	r.Body = &trailerBody{ReadCloser: r.Body, clean: sync.OnceValue(clean)}
	return clean()
}

// trailerBody calls clean once when the body has ended. A transport may close a
// body while it is read.
type trailerBody struct {
	io.ReadCloser
	clean func() int
}

func (b *trailerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.clean()
	}
	return n, err
}

// Close cleans too, since net/http reads what is left of a short body then.
func (b *trailerBody) Close() error {
	err := b.ReadCloser.Close()
	b.clean()
	return err
}
