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
	seconds  int
	sessions int
	conns    int
	rate     int
	settle   time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin/wxgate", "the gateway's `binary`")
	flag.IntVar(&o.rounds, "rounds", 40, "pairs of runs per comparison: many short ones, since a machine's speed drifts")
	flag.IntVar(&o.seconds, "seconds", 1, "length of a run in seconds")
	flag.IntVar(&o.sessions, "sessions", 300_000, "sessions visited at random in the large comparison; 0 leaves it out")
	flag.IntVar(&o.conns, "connections", 32, "kept-alive connections")
	flag.IntVar(&o.rate, "rate", 2000, "requests per second of the latency comparison")
	flag.DurationVar(&o.settle, "settle", 4*time.Minute, "how long the sessions of the large comparison take to arrive: evenly, or they would all be signed again at once")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: wxgate-bench [flags]\n\nPrints requests/s, CPU per request and memory of the gateway beside a Caddy without it.")
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
	b.bare, err = startGateway(b.bin, dir, "bare", fmt.Sprintf(bareConfig, bareAddr, b.shop.addr), bareAddr)
	if err != nil {
		return err
	}
	conf := fmt.Sprintf(gateConfig, secret, dir+"/wxgate.db", gateAddr, gateAddr, b.shop.addr)
	if b.gate, err = startGateway(b.bin, dir, "wxgate", conf, gateAddr); err != nil {
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
	if err := b.compare(ctx, "one session", one, b.seconds); err != nil {
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
	if err := b.compare(ctx, fmt.Sprintf("%d sessions", len(many)), many, 4*b.seconds); err != nil {
		return err
	}
	return b.printMemory("after the load")
}

// visit makes each session known to the gateway.
func (b *bench) visit(ctx context.Context, tokens []string) error {
	source := inTurn(b.gate.addr, tokens)
	signed := b.shop.signatures()
	for b.shop.signatures()-signed < int64(len(tokens)) {
		l := load{addr: b.gate.addr, conns: b.conns, duration: time.Second, request: source,
			rate: int(float64(b.sessions) / b.settle.Seconds())}
		if _, err := l.run(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// measured is one run's figures.
type measured struct {
	perSecond  float64
	cpu        time.Duration // per request
	signatures int64
}

func (b *bench) measure(ctx context.Context, g *gateway, tokens []string, seconds int) (measured, error) {
	signed := b.shop.signatures()
	before, err := g.cpu()
	if err != nil {
		return measured{}, err
	}
	l := load{addr: g.addr, conns: b.conns, duration: time.Duration(seconds) * time.Second, request: requests(g.addr, tokens)}
	o, err := l.run(ctx)
	if err != nil {
		return measured{}, err
	}
	after, err := g.cpu()
	if err != nil || o.requests == 0 {
		return measured{}, fmt.Errorf("%s answered %d requests: %w", g.name, o.requests, err)
	}
	return measured{o.perSecond(), (after - before) / time.Duration(o.requests), b.shop.signatures() - signed}, nil
}

// compare loads both gateways in turn and prints the ratios of all pairs
// together. Short runs in turn see the same machine, whatever else it does.
func (b *bench) compare(ctx context.Context, title string, tokens []string, gateSeconds int) error {
	fmt.Printf("\n%s, saturated, %d pairs of %d s without and %d s with the gate\n", title, b.rounds, b.seconds, gateSeconds)
	var rate, cpu ratio
	for i := range b.rounds + 1 {
		bare, err := b.measure(ctx, b.bare, tokens, b.seconds)
		if err != nil {
			return err
		}
		gate, err := b.measure(ctx, b.gate, tokens, gateSeconds)
		if err != nil {
			return err
		}
		if i == 0 {
			continue // warming up
		}
		rate.add(bare.perSecond, gate.perSecond)
		cpu.add(us(bare.cpu), us(gate.cpu))
		fmt.Printf("  %d: bare %6.0f/s %5.1f us   gate %6.0f/s %5.1f us   %d signatures\n", i,
			bare.perSecond, us(bare.cpu), gate.perSecond, us(gate.cpu), gate.signatures)
	}
	fmt.Printf("  CPU per request, gate/bare   %v\n", &cpu)
	fmt.Printf("  requests per second          %v\n", &rate)
	return ctx.Err()
}

func (b *bench) compareLatency(ctx context.Context, tokens []string) error {
	fmt.Printf("\none session, %d requests per second, %d pairs of %d s\n", b.rate, b.rounds, b.seconds)
	var p50s ratio
	for range b.rounds {
		var p50 [2]time.Duration
		for i, g := range []*gateway{b.bare, b.gate} {
			l := load{addr: g.addr, conns: b.conns, duration: time.Duration(b.seconds) * time.Second, rate: b.rate, request: requests(g.addr, tokens)}
			o, err := l.run(ctx)
			if err != nil {
				return err
			}
			p50[i] = o.p50
		}
		p50s.add(us(p50[0]), us(p50[1]))
		fmt.Printf("  p50 bare %.0f us, gate %.0f us\n", us(p50[0]), us(p50[1]))
	}
	fmt.Printf("  p50, gate/bare               %v\n", &p50s)
	return ctx.Err()
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

// ratio compares pairs of runs without and with the gate.
type ratio struct {
	bare, gate float64 // sums
	pairs      []float64
}

func (r *ratio) add(bare, gate float64) {
	r.bare, r.gate, r.pairs = r.bare+bare, r.gate+gate, append(r.pairs, gate/bare)
}

// String gives the ratio of the sums and, since single pairs are noisy, the
// middle half of the pairs.
func (r *ratio) String() string {
	slices.Sort(r.pairs)
	n := len(r.pairs)
	return fmt.Sprintf("%.3f (of single pairs: median %.3f, half of them within %.3f and %.3f)",
		r.gate/r.bare, r.pairs[n/2], r.pairs[n/4], r.pairs[n*3/4])
}
