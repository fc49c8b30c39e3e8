package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// slowed is set in the environment of a process whose syncs are slow.
const slowed = "WXGATE_BENCH_SLOWED"

// slowDown begins this program again under strace, which makes it and the servers
// that it starts wait at the end of each fsync and fdatasync. The other system
// calls go past strace. Go's signals to its own threads do not, so there are none:
// the collector waits for a function's end instead.
func slowDown(sync time.Duration) error {
	if os.Getenv(slowed) != "" {
		return nil
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		return fmt.Errorf("slowing syncs down: %w (Debian has it as strace)", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	const calls = "fsync,fdatasync"
	args := []string{strace, "-f", "--seccomp-bpf", "-o", os.DevNull, "-e", "trace=" + calls,
		"-e", "inject=" + calls + ":delay_exit=" + strconv.FormatInt(sync.Microseconds(), 10), self}
	return syscall.Exec(strace, append(args, os.Args[1:]...), append(os.Environ(), slowed+"=1", "GODEBUG=asyncpreemptoff=1"))
}
