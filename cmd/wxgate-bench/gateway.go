package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// gateway is a running process under test.
type gateway struct {
	name string
	addr string
	cmd  *exec.Cmd
	log  *bytes.Buffer
	*client
}

// startGateway runs bin with a Caddyfile and opens connections once it answers.
func (b *bench) startGateway(dir, name, caddyfile, addr string) (*gateway, error) {
	path := filepath.Join(dir, name+".Caddyfile")
	if err := os.WriteFile(path, []byte(caddyfile), 0o600); err != nil {
		return nil, err
	}
	g := &gateway{name: name, addr: addr, log: new(bytes.Buffer)}
	g.cmd = exec.Command(b.bin, "run", "--config", path, "--adapter", "caddyfile")
	g.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		var err error
		if g.client, err = newClient(addr, b.conns); err == nil {
			return g, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	g.stop()
	return nil, fmt.Errorf("%s does not answer on %s:\n%s", name, addr, g.log)
}

func (g *gateway) stop() {
	if g.client != nil {
		g.close()
	}
	_ = g.cmd.Process.Signal(os.Interrupt)
	_ = g.cmd.Wait()
}

// clockTick is USER_HZ, which Linux fixes at 100 for every program to see.
const clockTick = 10 * time.Millisecond

// cpu is the processor time the process has used (proc(5), fields 14 and 15).
func (g *gateway) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// memory is the resident set of the process in bytes (proc(5), VmRSS).
func (g *gateway) memory() (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS for %s", g.name)
}

// backend is the shop: it answers 200 at once and counts the assertions it has
// not seen before, which is how many signatures were made.
type backend struct {
	srv        *http.Server
	addr       string
	signatures func() int64
}

func freeAddr() (string, error) {
	port, err := dbtest.FreePort()
	return "127.0.0.1:" + strconv.Itoa(port), err
}

func startBackend(ctx context.Context) (*backend, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	body := bytes.Repeat([]byte("shop "), 200)
	seen := newSeen()
	b := &backend{addr: l.Addr().String(), signatures: seen.count}
	b.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header["X-User-Assertion"]; len(a) == 1 {
			seen.note(r.Header.Get("X-User-Id"), a[0])
		}
		w.Header()["Content-Type"] = []string{"text/html"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		_, _ = w.Write(body)
	})}
	go func() { _ = b.srv.Serve(l) }()
	return b, nil
}
