//go:build darwin || freebsd || linux

package account

import "syscall"

// freeBytes is what an ordinary user may still write to the disk of a file.
func freeBytes(path string) (free uint64, known bool) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(path, &fs); err != nil {
		return 0, false
	}
	return uint64(fs.Bavail) * uint64(fs.Bsize), true
}
