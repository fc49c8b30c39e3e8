package dbtest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server in a folder of its own.
type process struct {
	dir    string
	port   int
	args   []string
	owner  *syscall.SysProcAttr
	reaper *exec.Cmd
	alive  io.Closer // the reaper's sign that this process lives

	cmd   *exec.Cmd
	ended chan struct{}
}

const nobody = 65534

// reap waits for the end of the process that holds its standard input open,
// then ends the server in folder $1 with signal $2 and removes the folder.
const reap = `
cat >/dev/null
pid=$(cat "$1/pid") || pid=
ours() { [ -n "$pid" ] && grep -qsF "$1" "/proc/$pid/cmdline"; }
if ours "$1"; then
	kill -CONT "$pid"; kill -"$2" "$pid"
	for i in 1 2 3 4 5 6 7 8; do ours "$1" || break; sleep 0.$i; done
	ours "$1" && kill -KILL "$pid"
fi
for i in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" && break; sleep 1; done`

// newProcess makes the folder. Database servers refuse to run as root.
func newProcess(end string) (*process, error) {
	dir, err := os.MkdirTemp("", "wxgate-dbtest-")
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir, owner: &syscall.SysProcAttr{Setpgid: true}}
	if os.Getuid() == 0 {
		p.owner.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, err
		}
	}
	p.reaper = exec.Command("/bin/sh", "-c", reap, "reaper", dir, end)
	p.reaper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // not killed along with its group
	if p.alive, err = p.reaper.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.reaper.Start(); err != nil {
		return nil, err
	}
	p.port, err = FreePort()
	return p, err
}

// tool runs a program as the server's user and waits for it.
func (p *process) tool(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.SysProcAttr = p.dir, p.owner
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, out)
	}
	return nil
}

func (p *process) start() error {
	out, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = p.dir, p.owner, out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ends is in its log
		close(ended)
	}()
	p.cmd, p.ended = cmd, ended
	return os.WriteFile(filepath.Join(p.dir, "pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

func (p *process) log() string {
	raw, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(raw[max(0, len(raw)-4000):])
}

// all are the server and its children. PostgreSQL puts each of them into a
// process group of its own.
func (p *process) all() []int {
	pid := strconv.Itoa(p.cmd.Process.Pid)
	pids := []int{p.cmd.Process.Pid}
	raw, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	for _, child := range strings.Fields(string(raw)) {
		n, _ := strconv.Atoi(child)
		pids = append(pids, n)
	}
	return pids
}

func (p *process) signal(s syscall.Signal) {
	for _, pid := range p.all() {
		_ = syscall.Kill(pid, s)
	}
}

// kill returns when nothing of the server is left: PostgreSQL does not start
// while a child still holds the memory that they shared.
func (p *process) kill() {
	p.freeze() // so that it has no more children than are found
	pids := p.all()
	p.signal(syscall.SIGKILL)
	<-p.ended
	for _, pid := range pids {
		for !all(pid, "ZX") {
			time.Sleep(time.Millisecond)
		}
	}
}

// freeze returns when every thread stands still: a signal is only on its way
// when kill(2) returns.
func (p *process) freeze() {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	p.signal(syscall.SIGSTOP)
	for _, pid := range p.all() {
		for !all(pid, "tTZX") { // none runs any more
			time.Sleep(time.Millisecond)
		}
	}
}

// all says whether each thread of a process is in one of some states (proc(5)),
// or gone.
func all(pid int, states string) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, stat := range stats {
		raw, err := os.ReadFile(stat)
		if err != nil {
			continue // has ended
		}
		_, state, _ := strings.Cut(string(raw[bytes.LastIndexByte(raw, ')')+1:]), " ")
		if !strings.ContainsAny(state[:min(1, len(state))], states) {
			return false
		}
	}
	return true
}

func (p *process) thaw() { p.signal(syscall.SIGCONT) }

// remove ends the server and removes its folder.
func (p *process) remove() {
	_ = p.alive.Close()
	_ = p.reaper.Wait()
}
