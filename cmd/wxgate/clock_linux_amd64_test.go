package main

import (
	"bytes"
	"debug/elf"
	le "encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// inAnotherTime returns what starts a process to which the kernel tells another
// time of day, in whole seconds. The binary is what it always is: between exec
// and its first instruction clock_gettime(2) is replaced in the vDSO, the page of
// the kernel's own code that each process has a copy of and that Go asks for the
// time. What it measures, and when timers fire, stays as it is.
func inAnotherTime(ahead time.Duration) func(*exec.Cmd) error {
	return func(cmd *exec.Cmd) error {
		runtime.LockOSThread() // whoever traces a process is a thread
		defer runtime.UnlockOSThread()
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		pid := cmd.Process.Pid
		err := setClock(pid, int32(ahead/time.Second))
		return errors.Join(err, syscall.PtraceDetach(pid))
	}
}

// setClock does that to a process that has just been started under ptrace(2).
func setClock(pid int, seconds int32) error {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("the process is not stopped but %x: %w", status, err)
	}
	base, err := vdso(pid)
	if err != nil {
		return err
	}
	image := make([]byte, 2*os.Getpagesize())
	if _, err := syscall.PtracePeekData(pid, base, image); err != nil {
		return fmt.Errorf("reading the vDSO: %w", err)
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return fmt.Errorf("reading the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return fmt.Errorf("reading the vDSO: %w", err)
	}
	code := []byte{
		0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi
		0x75, 7, // jnz over the next, unless it was CLOCK_REALTIME
		0x48, 0x81, 0x06, // add qword [rsi], seconds
	}
	code = append(le.LittleEndian.AppendUint32(code, uint32(seconds)), 0xc3) // ret
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			_, err := syscall.PtracePokeText(pid, base+uintptr(s.Value), code)
			return err
		}
	}
	return errors.New("the vDSO has no clock_gettime")
}

// vdso is where a process has its vDSO (getauxval(3), AT_SYSINFO_EHDR).
func vdso(pid int) (uintptr, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return 0, err
	}
	const ehdr = 33
	for ; len(raw) >= 16; raw = raw[16:] {
		if le.LittleEndian.Uint64(raw) == ehdr {
			return uintptr(le.LittleEndian.Uint64(raw[8:])), nil
		}
	}
	return 0, errors.New("the process has no vDSO")
}
