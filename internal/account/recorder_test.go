package account

import (
	"bytes"
	"log/slog"
	"sync"
)

// recorder counts the lines that are logged.
type recorder struct {
	mu    sync.Mutex
	lines int
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines
}

func (r *recorder) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
