package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// What several gateways have to reach.
const (
	wantLogins = 1000 // a minute
	wantFrozen = 2.0  // times the p99 of known visitors, at most, while Redis is frozen
)

const (
	fleetApp  = "wx1111111111111111"
	fleetHost = "shop.test"

	fleetConfig = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
	wxgate {
		secret "%s"
		database "%s"
		redis %s
		official_account ` + fleetApp + ` s
		endpoints {
			api %s
			open %[4]s
		}
	}
}
http://` + fleetHost + `:%[5]s {
	bind 127.0.0.1
	wxgate {
		external_url http://` + fleetHost + `
		bypass /pay/notify /pos/*
		public /static/* /healthz
		login /api/me/* /cart/checkout
	}
	reverse_proxy %[6]s
}
`
)

// fleet are gateways with one PostgreSQL, one Redis and one pretend WeChat, all
// on this machine.
type fleet struct {
	options
	shop   *backend
	redis  *dbtest.Redis
	wechat *wechattest.Server
	gates  []*gateway
	turn   atomic.Int64
}

// runFleet measures what gateways that share everything reach together.
func runFleet(ctx context.Context, o options, dir string) (err error) {
	f := &fleet{options: o}
	if f.shop, err = startBackend(ctx); err != nil {
		return err
	}
	defer f.shop.srv.Close()
	database, err := dbtest.Run(dbtest.Postgres)
	if err != nil {
		return err
	}
	defer database.Close()
	if f.redis, err = dbtest.RunRedis(); err != nil {
		return err
	}
	defer f.redis.Close()
	f.wechat = wechattest.NewServer(wechattest.Config{
		Apps: []wechattest.App{{ID: fleetApp, Secret: "s", Domains: []string{fleetHost}, OpenPlatform: "shop"}},
	})
	defer f.wechat.Close()
	databaseURL, err := database.Make()
	if err != nil {
		return err
	}
	defer func() {
		for _, g := range f.gates {
			g.stop()
		}
	}()
	for i := range o.gateways {
		if err := f.start(dir, fmt.Sprintf("gateway%d", i), databaseURL); err != nil {
			return err
		}
	}
	return f.measure(ctx)
}

func (f *fleet) start(dir, name, databaseURL string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	b := &bench{options: f.options}
	conf := fmt.Sprintf(fleetConfig, secret, databaseURL, f.redis.URL(), f.wechat.URL, port, f.shop.addr)
	g, err := b.startGateway(dir, name, conf, addr)
	if err == nil {
		f.gates = append(f.gates, g)
	}
	return err
}

func (f *fleet) measure(ctx context.Context) error {
	known, err := sealGuests(f.sessions)
	if err != nil {
		return err
	}
	if err := f.warm(ctx, known); err != nil {
		return err
	}
	return errors.Join(f.logins(ctx, known), f.frozen(ctx, known))
}

// warm lets every session be known to every gateway.
func (f *fleet) warm(ctx context.Context, known []string) error {
	begun := time.Now()
	for _, g := range f.gates {
		source := inTurn(fleetHost, known)
		for done := int64(0); done < int64(len(known)); {
			o, err := g.run(ctx, load{duration: time.Second, request: source})
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			done += o.requests
		}
	}
	fmt.Printf("%d sessions known to each of %d gateways after %v\n", len(known), len(f.gates), time.Since(begun).Round(time.Second))
	for _, g := range f.gates {
		m, err := g.memory()
		if err != nil {
			return err
		}
		fmt.Printf("  %s takes %.0f MB\n", g.name, float64(m)/(1<<20))
	}
	return nil
}

// pages lets known visitors open pages at all gateways, at the rate of all of
// them together.
func (f *fleet) pages(ctx context.Context, known []string, d time.Duration) ([]time.Duration, error) {
	var wg sync.WaitGroup
	outcomes, errs := make([]outcome, len(f.gates)), make([]error, len(f.gates))
	for i, g := range f.gates {
		wg.Go(func() {
			outcomes[i], errs[i] = g.run(ctx, load{duration: d, rate: f.rate / len(f.gates), request: requests(fleetHost, known)})
		})
	}
	wg.Wait()
	var all []time.Duration
	for _, o := range outcomes {
		all = append(all, o.latencies...)
	}
	slices.Sort(all)
	return all, errors.Join(errs...)
}

// quantile of what is sorted, in percent; 0 of nothing.
func quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)*percent/100].Round(10 * time.Microsecond)
}

// logins lets new people log in while all sessions are in use.
func (f *fleet) logins(ctx context.Context, known []string) error {
	const every = time.Minute / wantLogins
	fmt.Printf("\n%d sessions at random, %d pages a second, and a login each %v, for %v\n", len(known), f.rate, every, f.long)
	ctx, stop := context.WithTimeout(ctx, f.long)
	defer stop()
	var (
		people sync.WaitGroup
		mu     sync.Mutex
		took   []time.Duration
		failed []error
	)
	people.Go(func() {
		next := time.Now()
		for n := 0; ctx.Err() == nil; n++ {
			people.Go(func() {
				begun := time.Now()
				err := f.logIn(fmt.Sprintf("person %d", n))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = append(failed, err)
					return
				}
				took = append(took, time.Since(begun))
			})
			next = next.Add(every) // whoever was late is made up for
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(next)):
			}
		}
	})
	lat, err := f.pages(ctx, known, f.long)
	people.Wait()
	if err != nil {
		return err
	}
	slices.Sort(took)
	rate := float64(len(took)) / f.long.Minutes()
	fmt.Printf("  %.0f logins a minute, p50 %v, p99 %v; %d failed\n", rate, quantile(took, 50), quantile(took, 99), len(failed))
	fmt.Printf("  %d pages of known visitors, p50 %v, p99 %v; none failed\n", len(lat), quantile(lat, 50), quantile(lat, 99))
	if len(failed) > 0 {
		return fmt.Errorf("%d logins failed, as: %w", len(failed), failed[0])
	}
	if rate < wantLogins*0.99 { // the last tick may be missing
		return fmt.Errorf("%.0f logins a minute, %d are wanted", rate, wantLogins)
	}
	return nil
}

// logIn takes somebody new in WeChat through the login page, each step at
// whichever gateway.
func (f *fleet) logIn(name string) error {
	f.wechat.AddPerson(wechattest.Person{Name: name, Consent: wechattest.Accept, Follower: true})
	b := wechattest.NewBrowser(name)
	b.Timeout = time.Minute
	transport := &http.Transport{DialContext: f.dial}
	defer transport.CloseIdleConnections()
	b.Transport.(*wechattest.Transport).Base = transport
	page, err := open(b, "http://"+fleetHost+"/api/me/orders")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(page, `<a href="`)
	href, _, _ := strings.Cut(rest, `"`)
	page, err = open(b, "http://"+fleetHost+strings.ReplaceAll(href, "&amp;", "&"))
	if err == nil && !strings.HasPrefix(page, "shop") {
		err = fmt.Errorf("%s is not logged in: %s", name, page)
	}
	return err
}

// dial leads to the gateways in turn, and anywhere else as usual.
func (f *fleet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if strings.HasPrefix(addr, fleetHost+":") {
		addr = f.gates[int(f.turn.Add(1))%len(f.gates)].addr
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func open(b *http.Client, url string) (string, error) {
	resp, err := b.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Request.URL, resp.Status)
	}
	return string(raw), err
}

// frozen compares known visitors beside a Redis that answers and one that does
// not, while others come who are new and would be counted there.
func (f *fleet) frozen(ctx context.Context, known []string) error {
	const (
		slice, rounds = 3 * time.Second, 10
		pause         = 2 * time.Second // by then each gateway has asked Redis again
	)
	fmt.Printf("\n%d pages a second of known visitors, %d pairs of %v with and without an answer of Redis\n", f.rate, rounds, slice)
	fresh := func(rng *rand.Rand) []byte { return fmt.Appendf(nil, headers+"\r\n", fleetHost, fleetHost) }
	var state [2][]time.Duration // p99 of each slice
	for i := range 2 * rounds {
		if i%2 == 1 {
			f.redis.Freeze()
		}
		var others sync.WaitGroup
		errs := make([]error, len(f.gates))
		for n, g := range f.gates {
			others.Go(func() { errs[n] = f.strangers(ctx, g, load{duration: slice, rate: 20, request: fresh}) })
		}
		lat, err := f.pages(ctx, known, slice)
		others.Wait()
		f.redis.Thaw()
		time.Sleep(pause)
		if err := errors.Join(append(errs, err, ctx.Err())...); err != nil {
			return err
		}
		state[i%2] = append(state[i%2], quantile(lat, 99))
	}
	with, without := median(state[0]), median(state[1])
	ratio := float64(without) / float64(max(with, 1))
	fmt.Printf("  p99 of a run, in the median, with %v, without %v, ratio %.2f; nobody was refused\n", with, without, ratio)
	if ratio > wantFrozen {
		return fmt.Errorf("the p99 of known visitors is %.2f times as long without Redis, %.1f is allowed", ratio, wantFrozen)
	}
	return nil
}

// strangers come to a gateway on connections of their own, since some of them
// wait.
func (f *fleet) strangers(ctx context.Context, g *gateway, l load) error {
	c, err := newClient(g.addr, f.conns)
	if err != nil {
		return err
	}
	defer c.close()
	_, err = c.run(ctx, l)
	return err
}
