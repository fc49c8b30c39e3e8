package soaktest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildGateway builds the command as `make build` does.
func buildGateway(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "wxgate")
	if out, err := exec.Command("go", "build", "-o", path, "../cmd/wxgate").CombinedOutput(); err != nil {
		t.Fatalf("building the gateway: %v\n%s", err, out)
	}
	return path
}

// gateway is one of several processes behind a balancer, which takes it from
// the turn while it cannot be reached.
type gateway struct {
	t         *testing.T
	binary    string
	caddyfile string // RUN stands for the folder of a run's sockets
	dir       string
	log       *tail

	mu    sync.Mutex
	runs  int // each has sockets of its own
	cmd   *exec.Cmd
	ended chan struct{}
}

// socket is the path of one of the sockets of the present run.
func (g *gateway) socket(name string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprintf("%s/%d/%s", g.dir, g.runs, name)
}

func (g *gateway) start() {
	g.t.Helper()
	g.mu.Lock()
	g.runs++
	g.mu.Unlock()
	run, config := filepath.Dir(g.socket("site")), g.socket("Caddyfile")
	if err := os.Mkdir(run, 0o700); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(g.caddyfile, "RUN", run)), 0o600); err != nil {
		g.t.Fatal(err)
	}
	cmd := exec.Command(g.binary, "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+g.dir, "XDG_DATA_HOME="+g.dir, "XDG_CONFIG_HOME="+g.dir)
	cmd.Dir, cmd.Stdout, cmd.Stderr = g.dir, g.log, g.log
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // how it ended is in its log
	g.mu.Lock()
	g.cmd, g.ended = cmd, ended
	g.mu.Unlock()
}

// await waits until visitors can reach it.
func (g *gateway) await() {
	g.t.Helper()
	g.mu.Lock()
	ended := g.ended
	g.mu.Unlock()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", g.socket("site"))
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			g.t.Fatalf("a gateway has ended:\n%s", g.log)
		default:
		}
		if time.Since(begun) > 2*time.Minute {
			g.t.Fatalf("a gateway does not start: %v\n%s", err, g.log)
		}
	}
}

// sound wants that it has not ended by itself, and panicked in no request.
func (g *gateway) sound() {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.ended:
		g.t.Errorf("a gateway has ended by itself:\n%s", g.log.last(20))
	default:
	}
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	if g.log.panics {
		g.t.Errorf("a gateway has panicked:\n%s", g.log.b)
	}
}

// revive starts it again if it is dead.
func (g *gateway) revive() {
	g.t.Helper()
	g.mu.Lock()
	ended := g.ended
	g.mu.Unlock()
	select {
	case <-ended:
		g.start()
	default:
	}
}

// kill ends the process at once, in the middle of whatever it does.
func (g *gateway) kill() {
	g.mu.Lock()
	cmd, ended := g.cmd, g.ended
	g.mu.Unlock()
	_ = cmd.Process.Kill()
	<-ended
}

// tail keeps the last part of what a process has written.
type tail struct {
	mu     sync.Mutex
	b      []byte
	panics bool
}

const tailSize = 1 << 20

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.panics = l.panics || bytes.Contains(p, []byte("panic"))
	l.b = append(l.b, p...)
	l.b = l.b[max(0, len(l.b)-tailSize):]
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

// last returns the last lines.
func (l *tail) last(n int) string {
	lines := strings.Split(l.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
