// Command wxgate-bench compares the gateway with the same Caddy without it, on
// this machine, in one run, interleaved. What counts are the ratios.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"
)

type options struct {
	bin      string
	rounds   int
	slice    time.Duration
	sessions int
	conns    int
	rate     int
	settle   time.Duration
	gateways int
	long     time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin/wxgate", "the gateway's `binary`")
	flag.IntVar(&o.rounds, "rounds", 300, "pairs of runs per comparison: many short ones, since a machine's speed drifts")
	flag.DurationVar(&o.slice, "slice", 250*time.Millisecond, "length of a run")
	flag.IntVar(&o.sessions, "sessions", 300_000, "sessions visited at random in the large comparison; 0 leaves it out")
	flag.IntVar(&o.conns, "connections", 32, "kept-alive connections")
	flag.IntVar(&o.rate, "rate", 2000, "requests per second of the latency comparison")
	flag.DurationVar(&o.settle, "settle", 4*time.Minute, "how long the sessions of the large comparison take to arrive: evenly, or they would all be signed again at once")
	flag.IntVar(&o.gateways, "gateways", 0, "measure so many gateways together, with PostgreSQL and Redis, in the place of one beside Caddy")
	flag.DurationVar(&o.long, "logins", 3*time.Minute, "how long people log in to several gateways")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: wxgate-bench [flags]\n\nPrints requests/s, CPU per request and memory of the gateway beside a Caddy without it,\nor with -gateways what several reach together.")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "wxgate-bench:", err)
		os.Exit(1)
	}
}

const bareConfig = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://%s {
	reverse_proxy %s
}
`

const gateConfig = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
	wxgate {
		secret "%s"
		database sqlite:%s
		official_account wx1111111111111111 unused-secret
	}
}
http://%s {
	wxgate {
		external_url http://%s
		bypass /pay/notify /pos/*
		public /static/* /healthz
		login /api/me/* /cart/checkout
	}
	reverse_proxy %s
}
`

// bench is a pair of gateways in front of one backend.
type bench struct {
	options
	shop       *backend
	bare, gate *gateway
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "wxgate-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.gateways > 0 {
		return runFleet(ctx, o, dir)
	}
	b := &bench{options: o}
	if b.shop, err = startBackend(ctx); err != nil {
		return err
	}
	defer b.shop.srv.Close()
	if err := b.start(dir); err != nil {
		return err
	}
	defer b.bare.stop()
	defer b.gate.stop()
	return b.compareAll(ctx)
}

func (b *bench) start(dir string) error {
	bareAddr, err := freeAddr()
	if err != nil {
		return err
	}
	gateAddr, err := freeAddr()
	if err != nil {
		return err
	}
	b.bare, err = b.startGateway(dir, "bare", fmt.Sprintf(bareConfig, bareAddr, b.shop.addr), bareAddr)
	if err != nil {
		return err
	}
	conf := fmt.Sprintf(gateConfig, secret, dir+"/wxgate.db", gateAddr, gateAddr, b.shop.addr)
	if b.gate, err = b.startGateway(dir, "wxgate", conf, gateAddr); err != nil {
		b.bare.stop()
		return err
	}
	return nil
}

func (b *bench) compareAll(ctx context.Context) error {
	if err := b.printMemory("idle"); err != nil {
		return err
	}
	one, err := sealGuests(1)
	if err != nil {
		return err
	}
	if err := b.compare(ctx, "one session", one, b.slice); err != nil {
		return err
	}
	if err := b.compareLatency(ctx, one); err != nil {
		return err
	}
	if b.sessions == 0 {
		return nil
	}
	return b.compareMany(ctx)
}

// compareMany visits many sessions at random, in the steady state: all are
// cached, and their assertions are signed again as they run out. The gateway's
// runs are four times as long as those without it: assertions grow old in the
// pauses too, and would else be signed twice as often as under steady load.
func (b *bench) compareMany(ctx context.Context) error {
	many, err := sealGuests(b.sessions)
	if err != nil {
		return err
	}
	first := min(100_000, len(many))
	before, err := b.gate.memory()
	if err != nil {
		return err
	}
	fmt.Printf("\n%d sessions arrive within %v\n", len(many), b.settle)
	if err := b.visit(ctx, many[:first]); err != nil {
		return err
	}
	after, err := b.gate.memory()
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %+.1f MB\n", fmt.Sprintf("memory of %d sessions", first), float64(after-before)/(1<<20))
	if err := b.visit(ctx, many[first:]); err != nil {
		return err
	}
	if err := b.compare(ctx, fmt.Sprintf("%d sessions", len(many)), many, 4*b.slice); err != nil {
		return err
	}
	return b.printMemory("after the load")
}

// visit makes each session known to the gateway.
func (b *bench) visit(ctx context.Context, tokens []string) error {
	source := inTurn(b.gate.addr, tokens)
	signed := b.shop.signatures()
	for b.shop.signatures()-signed < int64(len(tokens)) {
		l := load{duration: time.Second, request: source, rate: int(float64(b.sessions) / b.settle.Seconds())}
		if _, err := b.gate.run(ctx, l); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// tally adds up the runs against one gateway.
type tally struct {
	requests   int64
	elapsed    time.Duration
	cpu        time.Duration
	signatures int64
}

func (t tally) perSecond() float64     { return float64(t.requests) / t.elapsed.Seconds() }
func (t tally) cpuPerRequest() float64 { return us(t.cpu) / float64(t.requests) }

func (t tally) String() string {
	return fmt.Sprintf("%6.0f/s %5.1f us", t.perSecond(), t.cpuPerRequest())
}

// measure adds one run against g to t.
func (b *bench) measure(ctx context.Context, g *gateway, l load, t *tally) error {
	signed := b.shop.signatures()
	before, err := g.cpu()
	if err != nil {
		return err
	}
	o, err := g.run(ctx, l)
	if err != nil {
		return err
	}
	after, err := g.cpu()
	if err != nil {
		return err
	}
	t.requests += o.requests
	t.elapsed += o.elapsed
	t.cpu += after - before
	t.signatures += b.shop.signatures() - signed
	return nil
}

// compare loads both gateways in turn and prints the ratios of all runs
// together. Short runs in turn see the same machine, whatever else it does.
func (b *bench) compare(ctx context.Context, title string, tokens []string, gateSlice time.Duration) error {
	fmt.Printf("\n%s, saturated, %d pairs of %v without and %v with the gate\n", title, b.rounds, b.slice, gateSlice)
	bareLoad := load{duration: b.slice, request: requests(b.bare.addr, tokens)}
	gateLoad := load{duration: gateSlice, request: requests(b.gate.addr, tokens)}
	const parts = 5
	var bareAll, gateAll [parts]tally
	for i := range parts {
		for j := range max(1, b.rounds/parts) {
			bare, gate := &bareAll[i], &gateAll[i]
			if i == 0 && j < 2 { // warming up
				bare, gate = new(tally), new(tally)
			}
			if err := b.measure(ctx, b.bare, bareLoad, bare); err != nil {
				return err
			}
			if err := b.measure(ctx, b.gate, gateLoad, gate); err != nil {
				return err
			}
		}
		fmt.Printf("  %d of %d: bare %v   gate %v   %.0f signatures per second\n", i+1, parts, bareAll[i], gateAll[i],
			float64(gateAll[i].signatures)/gateAll[i].elapsed.Seconds())
	}
	bare, gate := sum(bareAll[:]), sum(gateAll[:])
	fmt.Printf("  CPU per request, gate/bare   %.3f\n", gate.cpuPerRequest()/bare.cpuPerRequest())
	fmt.Printf("  requests per second          %.3f\n", gate.perSecond()/bare.perSecond())
	return ctx.Err()
}

func sum(all []tally) (s tally) {
	for _, t := range all {
		s.requests += t.requests
		s.elapsed += t.elapsed
		s.cpu += t.cpu
		s.signatures += t.signatures
	}
	return s
}

func (b *bench) compareLatency(ctx context.Context, tokens []string) error {
	const slice = time.Second
	rounds := max(1, b.rounds/8)
	fmt.Printf("\none session, %d requests per second, %d pairs of %v\n", b.rate, rounds, slice)
	var p50s [2][]time.Duration
	for range rounds {
		for i, g := range []*gateway{b.bare, b.gate} {
			o, err := g.run(ctx, load{duration: slice, rate: b.rate, request: requests(g.addr, tokens)})
			if err != nil {
				return err
			}
			p50s[i] = append(p50s[i], median(o.latencies))
		}
	}
	bare, gate := median(p50s[0]), median(p50s[1])
	fmt.Printf("  median p50 bare %.0f us, gate %.0f us, gate/bare %.3f\n", us(bare), us(gate), us(gate)/us(bare))
	return ctx.Err()
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func (b *bench) printMemory(when string) error {
	bare, err := b.bare.memory()
	if err != nil {
		return err
	}
	gate, err := b.gate.memory()
	if err != nil {
		return err
	}
	fmt.Printf("memory %s: bare %.1f MB, gate %.1f MB, difference %+.1f MB\n", when,
		float64(bare)/(1<<20), float64(gate)/(1<<20), float64(gate-bare)/(1<<20))
	return nil
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
