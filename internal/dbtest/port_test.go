package dbtest

import (
	"context"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestPortsAreFreeAndNeverGivenTwice(t *testing.T) {
	given := map[string]bool{}
	for range 100 {
		port := Port(t)
		if given[port] {
			t.Errorf("%s was given twice", port)
		}
		given[port] = true
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
}

// TestAwaitOneServerWaitsForTheEarlierServer has two sockets listen on one port, as at
// a reload of Caddy.
func TestAwaitOneServerWaitsForTheEarlierServer(t *testing.T) {
	port := Port(t)
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	const reusePort = 15 // SO_REUSEPORT of socket(7)
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reusePort, 1) })
	}}
	listen := func() net.Listener {
		l, err := shared.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	earlier, later := listen(), listen()
	defer later.Close()
	if n, err := listeners(number); n != 2 || err != nil {
		t.Fatalf("two sockets are counted as %d, %v", n, err)
	}
	closed := make(chan time.Time, 1)
	time.AfterFunc(50*time.Millisecond, func() {
		closed <- time.Now()
		earlier.Close()
	})
	AwaitOneServer(t, port)
	select {
	case <-closed:
	default:
		t.Error("did not wait for the earlier server")
	}
	if n, err := listeners(number); n != 1 || err != nil {
		t.Errorf("one socket is counted as %d, %v", n, err)
	}
}
