package dbtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Sentinels are a Redis with a replica, and a Sentinel that makes the replica
// the master when the master is gone.
type Sentinels struct {
	Master, Replica, Sentinel *Redis
}

const masterName = "shop"

// StartSentinels returns servers of the test's own, the replica in step.
func StartSentinels(t testing.TB) *Sentinels {
	t.Helper()
	s := &Sentinels{Master: StartRedis(t)}
	s.Replica = StartRedis(t, "--replicaof", "127.0.0.1", strconv.Itoa(s.Master.process.port), "--repl-diskless-sync-delay", "0")
	until(t, "the replica is in step", func() bool {
		return strings.Contains(s.Replica.Do(t, "INFO", "replication"), "master_link_status:up")
	})
	sentinel, err := runRedis(func(p *process) ([]string, error) {
		// A Sentinel keeps what it knows in its configuration.
		path := filepath.Join(p.dir, "sentinel.conf")
		conf := fmt.Sprintf("port %d\nsentinel monitor %s 127.0.0.1 %d 1\nsentinel down-after-milliseconds %[2]s 500\n"+
			"sentinel failover-timeout %[2]s 5000\n", p.port, masterName, s.Master.process.port)
		if err := os.WriteFile(path, []byte(conf), 0o666); err != nil {
			return nil, err
		}
		if os.Getuid() == 0 {
			if err := os.Chown(path, nobody, nobody); err != nil {
				return nil, err
			}
		}
		return []string{path, "--sentinel"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sentinel.Close)
	s.Sentinel = sentinel
	until(t, "the sentinel knows the replica", func() bool {
		// Else it has nobody to promote.
		return strings.Contains(s.Sentinel.Do(t, "INFO", "sentinel"), "slaves=1")
	})
	return s
}

// URL is the group as an operator would write it.
func (s *Sentinels) URL() string {
	return "redis+sentinel://" + s.Sentinel.Addr() + "/" + masterName + "/0"
}

// StartCluster returns a Redis Cluster of three masters, and its URL, which
// names two of them.
func StartCluster(t testing.TB) (nodes []*Redis, url string) {
	t.Helper()
	const slots, masters = 16384, 3
	for i := range masters {
		bus, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		n := StartRedis(t, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "5000")
		n.Do(t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
		if i > 0 {
			host, port, _ := net.SplitHostPort(n.Addr())
			nodes[0].Do(t, "CLUSTER", "MEET", host, port, strconv.Itoa(bus))
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		until(t, "the cluster is whole", func() bool {
			info := n.Do(t, "CLUSTER", "INFO")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_size:3")
		})
	}
	return nodes, "redis+cluster://" + nodes[0].Addr() + "," + nodes[1].Addr()
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for begun := time.Now(); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > startTimeout {
			t.Fatalf("not after %v: %s", startTimeout, what)
		}
	}
}
