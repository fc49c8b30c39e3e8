package dbtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Redis is a Redis server, or one process of several that work together.
type Redis struct {
	process  *process
	password string
}

// StartRedis returns a Redis of the test's own, with options such as
// "--requirepass", "x".
func StartRedis(t testing.TB, options ...string) *Redis {
	t.Helper()
	r, err := RunRedis(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// RunRedis is StartRedis for a program that is no test, which has to Close the
// server.
func RunRedis(options ...string) (*Redis, error) {
	return runRedis(func(p *process) ([]string, error) {
		return append([]string{"--port", strconv.Itoa(p.port), "--save", ""}, options...), nil
	})
}

// runRedis starts a server with the arguments that a new process is given.
func runRedis(args func(*process) ([]string, error)) (*Redis, error) {
	var last error
	for range 5 { // another process may take the port first
		p, err := newProcess("KILL")
		if err != nil {
			return nil, fmt.Errorf("installing redis: %w", err)
		}
		given, err := args(p)
		if err != nil {
			return nil, fmt.Errorf("installing redis: %w", err)
		}
		// By its folder the reaper knows the process.
		p.args = append([]string{"redis-server"}, append(given, "--bind", "127.0.0.1", "--dir", p.dir, "--set-proc-title", "no")...)
		r := &Redis{process: p}
		for i, a := range p.args {
			if a == "--requirepass" {
				r.password = p.args[i+1]
			}
		}
		if last = r.run(); last == nil {
			return r, nil
		}
		p.remove()
		if !errors.Is(last, errEnded) {
			break
		}
	}
	return nil, fmt.Errorf("starting redis: %w", last)
}

// run starts the process and waits until it answers.
func (r *Redis) run() error {
	if err := r.process.start(); err != nil {
		return err
	}
	for begun := time.Now(); ; {
		_, err := r.Ask("PING")
		if err == nil {
			return nil
		}
		select {
		case <-r.process.ended:
			return fmt.Errorf("%w; its log says:\n%s", errEnded, r.process.log())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Since(begun) > startTimeout {
			return fmt.Errorf("%w; its log says:\n%s", err, r.process.log())
		}
	}
}

// Addr is where the server listens, as host:port.
func (r *Redis) Addr() string { return "127.0.0.1:" + strconv.Itoa(r.process.port) }

// URL is the server as an operator would write it.
func (r *Redis) URL() string {
	if r.password != "" {
		return "redis://:" + r.password + "@" + r.Addr() + "/0"
	}
	return "redis://" + r.Addr() + "/0"
}

// Do runs a command and returns the first line of the answer.
func (r *Redis) Do(t testing.TB, args ...string) string {
	t.Helper()
	answer, err := r.Ask(args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return answer
}

// Ask is Do where an error is an answer too: a Redis that becomes the master or
// a replica ends all connections.
func (r *Redis) Ask(args ...string) (string, error) {
	c, err := net.DialTimeout("tcp", r.Addr(), 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		return "", err
	}
	in := bufio.NewReader(c)
	if r.password != "" {
		if _, err := ask(c, in, "AUTH", r.password); err != nil {
			return "", err
		}
	}
	return ask(c, in, args...)
}

func ask(c io.Writer, in *bufio.Reader, args ...string) (string, error) {
	if _, err := io.WriteString(c, strings.Join(args, " ")+"\r\n"); err != nil {
		return "", err
	}
	line, err := in.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if err == nil && strings.HasPrefix(line, "-") {
		err = errors.New(line[1:])
	}
	if err == nil && strings.HasPrefix(line, "$") && line != "$-1" {
		n, _ := strconv.Atoi(line[1:])
		body := make([]byte, n)
		_, err = io.ReadFull(in, body)
		return string(body), err
	}
	return strings.TrimLeft(line, "+:"), err
}

// ListenTLS lets the server listen on a further port, which only encrypted
// connections get through, with a certificate and its key in PEM.
func (r *Redis) ListenTLS(t testing.TB, certificate, key []byte) (port string) {
	t.Helper()
	free, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	port = strconv.Itoa(free)
	for name, content := range map[string][]byte{"cert.pem": certificate, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(r.process.dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r.Do(t, "CONFIG", "SET", "tls-port", port, "tls-auth-clients", "no", "tls-cert-file", "cert.pem", "tls-key-file", "key.pem",
		"tls-ca-cert-file", "cert.pem")
	return port
}

// Close ends the server and removes its folder.
func (r *Redis) Close() { r.process.remove() }

// Kill ends the server with SIGKILL.
func (r *Redis) Kill() { r.process.kill() }

// Freeze stops the server where it is: connections stay open and nothing
// answers. Thaw lets it go on.
func (r *Redis) Freeze() { r.process.freeze() }

// Thaw ends a Freeze.
func (r *Redis) Thaw() { r.process.thaw() }

// Restart starts a killed server again, with nothing in it.
func (r *Redis) Restart(t testing.TB) {
	t.Helper()
	if err := r.run(); err != nil {
		t.Fatalf("restarting redis: %v", err)
	}
}
