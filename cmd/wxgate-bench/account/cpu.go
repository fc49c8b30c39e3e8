package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ownCPU is what this process has spent.
func ownCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // never fails
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// serversCPU is what all that this process has started have spent.
func serversCPU() (spent time.Duration) {
	for _, pid := range descendants(os.Getpid()) {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is right
		for _, task := range tasks {
			raw, _ := os.ReadFile(task) // gone: it spends no more
			var onCPU time.Duration
			_, _ = fmt.Sscan(string(raw), &onCPU)
			spent += onCPU
		}
	}
	return spent
}

func descendants(of int) (pids []int) {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, path := range stats {
		raw, _ := os.ReadFile(path)
		var pid, parent int
		var name, state string
		if _, err := fmt.Sscan(string(raw), &pid, &name, &state, &parent); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	for queue := children[of]; len(queue) > 0; queue = queue[1:] {
		pids = append(pids, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return pids
}
