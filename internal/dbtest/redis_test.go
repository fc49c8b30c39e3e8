package dbtest

import "testing"

func TestAKilledRedisComesBackEmpty(t *testing.T) {
	r := StartRedis(t, "--requirepass", "secret")
	r.Do(t, "SET", "a", "1")
	if got := r.Do(t, "GET", "a"); got != "1" {
		t.Errorf("it keeps %q", got)
	}
	r.Kill()
	if _, err := r.Ask("PING"); err == nil {
		t.Error("a killed server answers")
	}
	r.Restart(t)
	if got := r.Do(t, "GET", "a"); got != "$-1" {
		t.Errorf("it has kept %q", got)
	}
}

func TestASentinelPromotesTheReplica(t *testing.T) {
	s := StartSentinels(t)
	s.Master.Kill()
	until(t, "the replica is the master", func() bool {
		_, err := s.Replica.Ask("SET", "a", "1")
		return err == nil
	})
}

func TestAClusterServesEverySlot(t *testing.T) {
	nodes, _ := StartCluster(t)
	served := 0
	for _, n := range nodes {
		if _, err := n.Ask("SET", "a", "1"); err == nil {
			served++
		}
	}
	if served != 1 {
		t.Errorf("%d nodes take the key, want one", served)
	}
}
