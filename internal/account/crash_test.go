package account

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crashVictim makes this test binary a process that links visitors, tells each
// one only when he is acknowledged, and waits to be killed.
const crashVictim = "WXGATE_TEST_CRASH_VICTIM"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashVictim); path != "" {
		fmt.Fprintln(os.Stderr, linkForever(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func linkForever(path string) error {
	db, err := Open(context.Background(), Config{URL: "sqlite:" + path})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		in := proved("oa", fmt.Sprint("x", i), fmt.Sprint("X", i)).login()
		in.UserID, in.UserKind, in.UserBorn = fmt.Sprint("V", os.Getpid(), "-", i), Guest, time.Now()
		in.OpenID += in.UserID
		in.UnionID += in.UserID
		out, err := db.Link(context.Background(), Rules{}, in)
		if err != nil {
			return err
		}
		fmt.Println(in.OpenID, in.UnionID, out.UserID, in.UserID)
	}
}

// kill -9 in the middle of whatever is under way: what was acknowledged is
// there with its events, and nothing is half there.
func TestKilledInTheMiddleNothingAcknowledgedIsLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "crash.db")
	var acknowledged []string
	for round := range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashVictim+"="+path)
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		for n := 0; n < 20+7*round && lines.Scan(); n++ {
			acknowledged = append(acknowledged, lines.Text())
		}
		must(t, cmd.Process.Kill())
		for lines.Scan() { // acknowledged before the kill, read after it
			if f := strings.Fields(lines.Text()); len(f) == 4 {
				acknowledged = append(acknowledged, lines.Text())
			}
		}
		_ = cmd.Wait() // killed
	}
	db, err := Open(t.Context(), Config{URL: "sqlite:" + path})
	must(t, err)
	defer db.Close()
	diff(t, "integrity", []string{"ok"}, linesOf(t, db, `PRAGMA integrity_check`))
	checkInvariants(t, db)
	if len(acknowledged) < 80 {
		t.Fatalf("only %d links were acknowledged", len(acknowledged))
	}
	ids := map[string]bool{}
	for _, line := range acknowledged {
		f := strings.Fields(line)
		diff(t, "the link of "+line, []string{f[2]}, linesOf(t, db, `SELECT u.user_id FROM wxgate_identity i
			JOIN wxgate_unionid u ON u.scope = i.scope AND u.unionid = i.unionid WHERE i.openid = ? AND i.unionid = ?`, f[0], f[1]))
		diff(t, "the events of "+line, []string{"identity.linked", "user.created", "user.merged"},
			linesOf(t, db, `SELECT type FROM wxgate_event WHERE subject = ? ORDER BY type`, f[2]))
		if ids[f[2]] {
			t.Errorf("%s was given to two people", f[2])
		}
		ids[f[2]] = true
	}
}
