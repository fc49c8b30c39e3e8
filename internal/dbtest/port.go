package dbtest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Ports are taken from below those that systems give to connections, one of
// which might have the port before the server does: from 32768 on Linux.
const firstPort, ports = 10_000, 22_000

var portsTaken atomic.Int64

// FreePort returns a port of 127.0.0.1 that nobody listens on, never the same
// twice. Processes that run at the same time begin at different ones.
func FreePort() (int, error) {
	for range 1000 {
		port := firstPort + (97*os.Getpid()+int(portsTaken.Add(1)))%ports
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("none of 1000 ports of %d to %d is free", firstPort, firstPort+ports-1)
}

// Port is FreePort for a test.
func Port(t testing.TB) string {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// AwaitOneServer waits until no more than one socket listens on a port. After a
// reload two do, until the server of the earlier configuration closes its own: a
// connection that reaches it at the last moment gets no answer.
func AwaitOneServer(t testing.TB, port string) {
	t.Helper()
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatalf("the port %q: %v", port, err)
	}
	for range 6000 {
		n, err := listeners(number)
		if err != nil {
			t.Fatal(err)
		}
		if n <= 1 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("two servers still listen on port %d", number)
}

// listeners counts the sockets that listen on a port (proc_net_tcp(5)).
func listeners(port int) (n int, err error) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		found, err := listenersIn(table, fmt.Sprintf(":%04X", port))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		n += found
	}
	return n, nil
}

func listenersIn(table, port string) (n int, err error) {
	file, err := os.Open(table)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	const local, state, listening = 1, 3, "0A"
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) > state && f[state] == listening && strings.HasSuffix(f[local], port) {
			n++
		}
	}
	return n, lines.Err()
}
