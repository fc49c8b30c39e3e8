package session

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// fails wants calls to fail, and after the first one without being made.
func fails(t *testing.T, r *Redis) {
	t.Helper()
	for i := range 3 {
		_, _, err := r.Get(t.Context(), "a")
		if err == nil || i > 0 && !errors.Is(err, errUnreachable) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
}

// recovers waits until a call succeeds, which no other has to find out.
func recovers(t *testing.T, r *Redis) {
	t.Helper()
	until(t, "redis is back", func() bool { return !r.down.Load() })
	mustPut(t, r, "back", "1", time.Minute)
	mustGet(t, r, "back", "1")
}

// Nobody waits for a Redis of which it is known that it does not answer, and
// nobody has to say that it does again.
func TestRedisThatIsGone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end, mend func(*testing.T, *dbtest.Redis)
	}{
		"stopped": {func(_ *testing.T, s *dbtest.Redis) { s.Kill() }, func(t *testing.T, s *dbtest.Redis) { s.Restart(t) }},
		"frozen":  {func(_ *testing.T, s *dbtest.Redis) { s.Freeze() }, func(_ *testing.T, s *dbtest.Redis) { s.Thaw() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := dbtest.StartRedis(t)
			r := openTest(t, server.URL())
			var log logText
			r.LogTo(slog.New(slog.NewTextHandler(&log, nil)))
			mustPut(t, r, "a", "1", time.Minute)
			for round := range 2 {
				tc.end(t, server)
				fails(t, r)
				if err := r.Ping(t.Context()); !errors.Is(err, errUnreachable) {
					t.Errorf("%d: Ping says %v", round, err)
				}
				until(t, "the log says that it is gone", func() bool { return strings.Count(log.String(), "redis is out of reach") > round })
				tc.mend(t, server)
				recovers(t, r)
				until(t, "the log says that it is back", func() bool { return strings.Count(log.String(), "redis is back") > round })
			}
			if got := log.String(); strings.Count(got, "\n") != 4 {
				t.Errorf("the log says:\n%s", got)
			}
		})
	}
}

// logText is a log that is read while it is written.
type logText struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// until waits for what happens by itself.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for begun := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("not after a minute: %s", what)
		}
	}
}

func TestRedisIsWaitedForAsTheDocumentationSays(t *testing.T) {
	raw, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	if says := fmt.Sprintf(" %v seconds for Redis", redisTimeout.Seconds()); !strings.Contains(string(raw), says) {
		t.Errorf("the documentation does not say: %s", says)
	}
}

// A restart between two calls ends all connections, and nobody notices.
func TestRestartBetweenCallsIsNoFault(t *testing.T) {
	server := dbtest.StartRedis(t)
	r := openTest(t, server.URL())
	countConcurrently(t, func(ctx context.Context) (bool, error) { return true, r.Ping(ctx) })
	server.Kill()
	server.Restart(t)
	countConcurrently(t, func(ctx context.Context) (bool, error) { return true, r.Ping(ctx) })
}

func TestRedisThatIsNotThereYet(t *testing.T) {
	server := dbtest.StartRedis(t)
	server.Kill()
	r := openTest(t, server.URL())
	fails(t, r)
	server.Restart(t)
	recovers(t, r)
}

func TestEmptiedRedisOnlyMisses(t *testing.T) {
	server := dbtest.StartRedis(t)
	r := openTest(t, server.URL())
	mustPut(t, r, "a", "1", time.Minute)
	server.Do(t, "FLUSHALL")
	server.Do(t, "SCRIPT", "FLUSH")
	mustMiss(t, r, "a")
	mustPut(t, r, "a", "2", time.Minute)
	mustGet(t, r, "a", "2")
}

// What Redis answers is no sign that it is gone.
func TestRefusalOfRedisIsOneCallsOwn(t *testing.T) {
	server := dbtest.StartRedis(t)
	r := openTest(t, server.URL())
	mustPut(t, r, "a", "1", time.Minute)
	server.Do(t, "CONFIG", "SET", "maxmemory", "1")
	if err := r.Put(t.Context(), "b", []byte("1"), time.Minute); err == nil {
		t.Fatal("a full Redis takes a value")
	}
	mustGet(t, r, "a", "1")
}

// A visitor who hangs up is no sign either.
func TestCallerWhoGivesUpIsNoFault(t *testing.T) {
	server := dbtest.StartRedis(t)
	r := openTest(t, server.URL())
	mustPut(t, r, "a", "1", time.Minute)
	server.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := r.Get(ctx, "a"); err == nil {
		t.Error("a frozen Redis answers")
	}
	server.Thaw()
	mustGet(t, r, "a", "1")
}

func TestPasswordIsGivenAndNotTold(t *testing.T) {
	server := dbtest.StartRedis(t, "--requirepass", "open-sesame")
	recovers(t, openTest(t, server.URL()))
	wrong := openTest(t, strings.Replace(server.URL(), "sesame", "barley", 1))
	if _, _, err := wrong.Get(t.Context(), "a"); err == nil || strings.Contains(err.Error(), "barley") {
		t.Errorf("a wrong password: %v", err)
	}
}

// With rediss the server has to prove who it is.
func TestEncryptedRedisHasToBeTheRightOne(t *testing.T) {
	certificate, key := selfSigned(t)
	server := dbtest.StartRedis(t)
	port := server.ListenTLS(t, certificate, key)
	opts, err := parseRedisURL("rediss://127.0.0.1:" + port)
	if err != nil {
		t.Fatal(err)
	}
	stranger := openTest(t, "rediss://127.0.0.1:"+port)
	if _, _, err := stranger.Get(t.Context(), "a"); err == nil || errors.Is(err, errUnreachable) {
		t.Errorf("a server that nobody knows: %v", err)
	}
	opts.TLSConfig.RootCAs = x509.NewCertPool()
	opts.TLSConfig.RootCAs.AppendCertsFromPEM(certificate)
	r := newRedis(opts)
	t.Cleanup(func() { _ = r.Close() })
	recovers(t, r)
	mustGet(t, openTest(t, server.URL()), "back", "1")
}

// selfSigned makes a certificate for 127.0.0.1 and its key, in PEM.
func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func TestDatabasesOfOneRedisAreApart(t *testing.T) {
	server := dbtest.StartRedis(t)
	zero := openTest(t, server.URL())
	one := openTest(t, strings.TrimSuffix(server.URL(), "0")+"1")
	mustPut(t, zero, "a", "1", time.Minute)
	mustMiss(t, one, "a")
	if zero.channel == one.channel {
		t.Error("they hear each other's news")
	}
}

// After a fail-over the new master has what the old one had, and nobody does
// anything.
func TestFailOverIsFollowed(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*dbtest.Redis){"stopped": (*dbtest.Redis).Kill, "frozen": (*dbtest.Redis).Freeze} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dbtest.StartSentinels(t)
			r := openTest(t, s.URL())
			mustPut(t, r, "a", "1", time.Hour)
			until(t, "the replica has it", func() bool { return s.Replica.Do(t, "EXISTS", storeName("a")) == "1" })
			end(s.Master)
			until(t, "the new master takes values", func() bool {
				added, err := r.Add(t.Context(), "b", nil, time.Hour)
				return err == nil && added
			})
			mustTake(t, r, "a", "1")
			if got := s.Replica.Do(t, "EXISTS", storeName("b")); got != "1" {
				t.Errorf("the replica knows %s of it", got)
			}
		})
	}
}

// A part of a Cluster that is gone leaves the rest of the keys.
func TestClusterWithoutOneNode(t *testing.T) {
	t.Parallel()
	nodes, url := dbtest.StartCluster(t)
	for _, n := range nodes {
		n.Do(t, "CONFIG", "SET", "cluster-require-full-coverage", "no")
	}
	r := openTest(t, url)
	keys := map[string]string{} // one of each node
	for i := 0; len(keys) < len(nodes); i++ {
		key := string(rune('a' + i))
		mustPut(t, r, key, "1", time.Hour)
		for _, n := range nodes {
			if _, has := keys[n.Addr()]; !has && n.Do(t, "DBSIZE") != "0" {
				keys[n.Addr()] = key
			}
		}
	}
	nodes[2].Kill()
	for _, n := range nodes[:2] {
		until(t, "the others answer", func() bool { // a ping may have asked the dead one
			_, found, err := r.Get(t.Context(), keys[n.Addr()])
			return err == nil && found
		})
	}
	if _, _, err := r.Get(t.Context(), keys[nodes[2].Addr()]); err == nil {
		t.Error("the key of the dead node is known")
	}
}

func TestNewsReachesEveryInstance(t *testing.T) {
	t.Parallel()
	server := dbtest.StartRedis(t)
	_, clusterURL := dbtest.StartCluster(t)
	for name, url := range map[string]string{"server": server.URL(), "cluster": clusterURL} {
		t.Run(name, func(t *testing.T) {
			heard := make(chan string, 10)
			ctx, cancel := context.WithCancel(t.Context())
			var listening sync.WaitGroup
			defer listening.Wait()
			defer cancel()
			for range 3 {
				r := openTest(t, url)
				listening.Go(func() { r.Subscribe(ctx, func(news string) { heard <- news }) })
			}
			from := openTest(t, url)
			publishUntil(t, from, heard, 3)
			if name == "cluster" {
				return
			}
			for _, c := range []string{"normal", "pubsub"} {
				server.Do(t, "CLIENT", "KILL", "TYPE", c)
			}
			publishUntil(t, from, heard, 3)
		})
	}
}

// publishUntil publishes until n listeners have heard the same news.
func publishUntil(t *testing.T, r *Redis, heard chan string, n int) {
	t.Helper()
	until(t, "all have heard it", func() bool {
		news := NewID()
		if r.Publish(t.Context(), news) != nil {
			return false
		}
		got := 0
		for late := time.After(100 * time.Millisecond); got < n && late != nil; {
			select {
			case h := <-heard:
				if h == news {
					got++
				}
			case <-late:
				late = nil
			}
		}
		return got == n
	})
}
