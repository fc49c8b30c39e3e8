//go:build !darwin && !freebsd && !linux

package account

func freeBytes(string) (free uint64, known bool) { return 0, false }
