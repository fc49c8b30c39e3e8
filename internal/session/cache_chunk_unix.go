//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package session

import "syscall"

// newChunk returns zeroed memory that the garbage collector does not know of.
func newChunk() []byte {
	mem, err := syscall.Mmap(-1, 0, chunkSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		// A limit on mappings; what is left works as well, with more garbage.
		return make([]byte, chunkSize)
	}
	return mem
}

// freeChunk returns memory of newChunk to the system. Munmap refuses what Mmap
// did not return, so the collector keeps what is its own.
func freeChunk(mem []byte) { _ = syscall.Munmap(mem) }
