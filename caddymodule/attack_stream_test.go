package caddymodule

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// revoke ends v's session everywhere and has the gateway look at what lasts.
func (s *siege) revoke(v visitor) {
	s.t.Helper()
	if err := s.app.shared.db.RevokeSession(s.t.Context(), v.sess.ID, time.Now(), time.Now().Add(time.Hour)); err != nil {
		s.t.Fatal(err)
	}
	s.app.shared.live.Sweep(s.t.Context())
}

// echo answers a WebSocket handshake and sends back what it gets.
func echo(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Wxgate-Login: 1000000000\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	}
}

// upgrade opens a WebSocket of v through the gateway.
func (s *siege) upgrade(v visitor) (net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn := s.dial()
	_, _ = io.WriteString(conn, "GET /chat HTTP/1.1\r\nHost: "+s.addr+"\r\nConnection: Upgrade, X-User-ID\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-User-ID: forged\r\n"+v.cookie()+"\r\n")
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("%v, %v", resp, err)
	}
	wantNoWords(s.t, resp.Header)
	return conn, br
}

// say sends a line and wants it back.
func say(t *testing.T, conn net.Conn, br *bufio.Reader, line string) {
	t.Helper()
	_, _ = io.WriteString(conn, line+"\n")
	if got, err := br.ReadString('\n'); err != nil || got != line+"\n" {
		t.Fatalf("%q, %v", got, err)
	}
}

// wantEnd checks that the other side ends a stream, and that it is not our own
// deadline that does.
func wantEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if n, err := io.Copy(io.Discard, r); errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it goes on; %d bytes", n)
	}
}

func TestWebSocketCarriesIdentityAndEndsWithItsSession(t *testing.T) {
	s := besiege(t, battlefield{})
	s.shop.says(echo(t))
	guest, other := s.guest(), s.guest()
	conn, br := s.upgrade(guest)
	s.wantOnlyTruth(guest)
	say(t, conn, br, "hello")
	bystander, bbr := s.upgrade(other)
	say(t, bystander, bbr, "hello")
	s.revoke(guest)
	wantEnd(t, br)
	say(t, bystander, bbr, "still here")
}

func TestEventStreamCarriesIdentityAndEndsWithItsSession(t *testing.T) {
	s := besiege(t, battlefield{})
	over := make(chan struct{}, 2)
	s.shop.says(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		over <- struct{}{}
	})
	guest := s.guest()
	conn := s.dial()
	_, _ = io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: "+s.addr+"\r\nAccept: text/event-stream\r\n"+guest.cookie()+"\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantEvent(t, resp.Body) // while the answer goes on: nothing buffers it
	s.wantOnlyTruth(guest)

	r := s.request(http.MethodGet, "/events", guest)
	r.Header.Set("Accept", "text/event-stream")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp2, err := s.h2().Do(r.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp2.Body.Close()
	wantEvent(t, resp2.Body)
	s.wantOnlyTruth(guest)

	s.revoke(guest)
	wantEnd(t, resp.Body)
	wantEnd(t, resp2.Body)
	if t.Failed() {
		return
	}
	<-over
	<-over
}

func wantEvent(t *testing.T, r io.Reader) {
	t.Helper()
	event := make([]byte, len("data: one\n\n"))
	if _, err := io.ReadFull(r, event); err != nil || string(event) != "data: one\n\n" {
		t.Fatalf("%q, %v", event, err)
	}
}

// The shop reads the first megabyte before the client sends the second.
func TestUploadIsNotBufferedAndEndsWithItsSession(t *testing.T) {
	s := besiege(t, battlefield{})
	const part = 1 << 20
	first, end := make(chan error, 1), make(chan error, 1)
	s.shop.says(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.CopyN(io.Discard, r.Body, part)
		first <- err
		_, err = io.Copy(io.Discard, r.Body)
		end <- err
	})
	guest := s.guest()
	conn := s.dial()
	_, _ = io.WriteString(conn, "PUT /upload HTTP/1.1\r\nHost: "+s.addr+"\r\nContent-Length: 1073741824\r\n"+guest.cookie()+"\r\n")
	_, _ = io.WriteString(conn, strings.Repeat("a", part))
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if heard := s.shop.take(); len(heard.requests) != 1 || heard.requests[0].Header.Get("X-User-Id") != guest.id {
		t.Fatalf("%d requests", len(heard.requests))
	}
	s.revoke(guest)
	if wantEnd(t, conn); t.Failed() {
		return
	}
	if err := <-end; err == nil {
		t.Error("the shop takes a cut upload for a whole one")
	}
}

func TestUploadOverHTTP2IsNotBufferedAndArrivesWhole(t *testing.T) {
	s := besiege(t, battlefield{})
	const part = 1 << 20
	first, total := make(chan error, 1), make(chan int64, 1)
	s.shop.says(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.CopyN(io.Discard, r.Body, part)
		first <- err
		n, _ := io.Copy(io.Discard, r.Body)
		total <- n
	})
	body, w := io.Pipe()
	go func() {
		chunk := strings.Repeat("a", part)
		_, _ = io.WriteString(w, chunk)
		if err := <-first; err == nil {
			for range 15 {
				_, _ = io.WriteString(w, chunk)
			}
		}
		w.Close()
	}()
	r := s.request(http.MethodPut, "/upload", s.guest())
	r.Body = body
	if got := s.ask(s.h2(), r); got.status != http.StatusOK {
		t.Errorf("%d", got.status)
	}
	if n := <-total; n != 15*part {
		t.Errorf("%d bytes after the first part", n)
	}
}

// After its session was revoked nobody opens a second connection with it.
func TestRevokedSessionOpensNothingMore(t *testing.T) {
	s := besiege(t, battlefield{})
	member := s.member()
	if got := s.send("GET /me/orders", member.cookie()); got.status != http.StatusOK {
		t.Fatalf("%d", got.status)
	}
	s.wantOnlyTruth(member)
	s.revoke(member)
	for _, lines := range []string{member.cookie(), "Authorization: Wxgate " + member.token + "\r\n"} {
		if got := s.send("GET /me/orders", lines); got.status != http.StatusUnauthorized {
			t.Errorf("%d", got.status)
		}
		s.wantSilence()
	}
}
