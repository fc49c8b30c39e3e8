package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// load describes one run against one gateway.
type load struct {
	duration time.Duration
	rate     int                         // requests per second over all connections; 0: as many as it takes
	request  func(rng *rand.Rand) []byte // one whole request
}

// client holds kept-alive connections to one gateway, which outlast a run. It
// is as plain as can be, so that the gateway is what saturates the machine.
type client struct {
	conns []*connection
}

type connection struct {
	net.Conn
	r   *bufio.Reader
	rng *rand.Rand
}

// newClient opens n connections.
func newClient(addr string, n int) (*client, error) {
	c := &client{}
	for i := range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			c.close()
			return nil, err
		}
		c.conns = append(c.conns, &connection{conn, bufio.NewReaderSize(conn, 16<<10), rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano())))})
	}
	return c, nil
}

func (c *client) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// outcome of a run.
type outcome struct {
	requests int64
	elapsed  time.Duration
	// Only measured with a rate, and sorted.
	latencies []time.Duration
}

// run sends requests over all connections until the time is over.
func (c *client) run(ctx context.Context, l load) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, l.duration)
	defer cancel()
	var (
		wg    sync.WaitGroup
		total atomic.Int64
		errs  = make(chan error, len(c.conns))
		lat   = make([][]time.Duration, len(c.conns))
	)
	interval := time.Duration(0)
	if l.rate > 0 {
		interval = time.Second * time.Duration(len(c.conns)) / time.Duration(l.rate)
	}
	started := time.Now()
	for i, conn := range c.conns {
		wg.Go(func() {
			n, durations, err := conn.send(ctx, l.request, interval)
			total.Add(n)
			lat[i] = durations
			if err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	o := outcome{requests: total.Load(), elapsed: time.Since(started)}
	close(errs)
	if err := <-errs; err != nil {
		return o, err
	}
	o.latencies = slices.Concat(lat...)
	slices.Sort(o.latencies)
	return o, nil
}

// send sends one request after the other, at an interval if there is one.
func (c *connection) send(ctx context.Context, request func(*rand.Rand) []byte, interval time.Duration) (n int64, lat []time.Duration, err error) {
	next := time.Now().Add(time.Duration(c.rng.Int64N(int64(interval) + 1)))
	for ctx.Err() == nil {
		if interval > 0 {
			time.Sleep(time.Until(next))
			next = next.Add(interval)
		}
		begun := time.Now()
		if _, err := c.Write(request(c.rng)); err != nil {
			return n, lat, err
		}
		if err := readAnswer(c.r); err != nil {
			return n, lat, err
		}
		if interval > 0 {
			lat = append(lat, time.Since(begun))
		}
		n++
	}
	return n, lat, nil
}

const lengthField = "Content-Length: "

// readAnswer reads one answer and insists on 200 with a known length.
func readAnswer(r *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")):
			return fmt.Errorf("the gateway answered %q", bytes.TrimSpace(line))
		case bytes.HasPrefix(line, []byte(lengthField)):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(lengthField):]))); err != nil {
				return err
			}
		case len(line) == 2:
			if length < 0 {
				return errors.New("the answer has no length")
			}
			_, err := io.CopyN(io.Discard, r, int64(length))
			return err
		}
	}
}
