package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/account"
)

var update = flag.Bool("update", false, "write what the commands print into the transcripts")

// shell runs a line as an operator types it.
func (g *gateway) shell(line string) said {
	g.t.Helper()
	cmd := g.command()
	sh := exec.Command("sh", "-c", line)
	sh.Dir, sh.Env = cmd.Dir, append(cmd.Env, "PATH="+filepath.Dir(cmd.Path)+":/usr/bin:/bin", "USER=wang", "SUDO_USER=")
	return g.finish(sh)
}

// transcript runs a transcript and compares it with itself.
func (g *gateway) transcript(name string) {
	g.t.Helper()
	file := filepath.Join("testdata", name)
	want, err := os.ReadFile(file)
	if err != nil {
		g.t.Fatal(err)
	}
	got := g.replay(string(want))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			g.t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		g.t.Errorf("%s (-want +got)\n%s", name, diff)
	}
}

// replay runs the commands of a transcript, the lines that begin with a dollar,
// in order, and returns it with what each prints and how it ends. Times and
// random ids are made the same.
func (g *gateway) replay(transcript string) string {
	g.t.Helper()
	var got strings.Builder
	for line := range strings.Lines(transcript) {
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		if got.Len() > 0 {
			got.WriteString("\n")
		}
		got.WriteString(line)
		ran := g.shell(g.fill(command))
		got.WriteString(steady(ran.out) + steady(ran.err))
		if ran.code != 0 {
			fmt.Fprintf(&got, "exit %d\n", ran.code)
		}
	}
	return got.String()
}

// fill replaces the one thing that a command cannot know before: CONFLICT is
// the id of the newest open conflict.
func (g *gateway) fill(command string) string {
	if !strings.Contains(command, "CONFLICT") {
		return command
	}
	id := regexp.MustCompile(randomID).FindString(g.must("conflict", "list", "--limit", "1"))
	return strings.ReplaceAll(command, "CONFLICT", id)
}

const randomID = `\b[A-Z2-7]{26}\b`

// steady replaces what is different in each run by something of the same
// length, so that columns stay where they are.
func steady(text string) string {
	for pattern, same := range map[string]string{
		randomID:                   strings.Repeat("X", 26),
		`(?m)(^|")[\w-]{43}(\s|")`: "${1}" + strings.Repeat("K", 43) + "$2", // RFC 7638: may begin with "-"
		`\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \+08:00`: "2026-01-01 08:00:00 +08:00",
		`http://127\.0\.0\.1:\d+`:                   "http://wechat.test",
		`\b20\d\d-\d\d-\d\dT[0-9:.]+Z`:              "2026-01-01T00:00:00Z",
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, same)
	}
	return text
}

// aDay are the people of the transcripts and what has happened to them:
//
//	1000000000  guest, now 1000000001
//	1000000001  member with the WeChat account u-li
//	1000000002  member with the phone +86 138****8000
//	1000000003  member with the WeChat account u-zhao and a phone
//	1000000004  guest whose WeChat account has no unionid
//
// Li has proved the phone of 1000000002, and was refused it. A webhook that is no
// more in the configuration was sent the first event in vain.
func aDay(s *seeder) {
	s.webhook(account.Receiver{ID: "5b0e1c9a7d3f2468", Name: "https://shop.internal/hooks/wxgate"})
	inWeChat := account.Input{AppID: shopApp, OpenID: "o-li", UnionID: "u-li", InBrowser: true, Want: account.WantIdentify}
	guest := s.link(inWeChat)
	login := inWeChat
	login.Want, login.UserID, login.UserKind, login.UserBorn = account.WantLogin, guest, account.Guest, time.Now()
	li := s.link(login)
	s.link(account.Input{AppID: miniApp, OpenID: "m-li", UnionID: "u-li", UserID: li, UserKind: account.Member})
	s.link(account.Input{Outside: true, Phone: "+8613800138000"})
	zhao := account.Input{AppID: shopApp, OpenID: "o-zhao", UnionID: "u-zhao", InBrowser: true, Want: account.WantLogin, Phone: "+8613900139000"}
	s.link(zhao)
	s.link(account.Input{AppID: shopApp, OpenID: "o-new", InBrowser: true})
	inWeChat.UserID, inWeChat.UserKind, inWeChat.Phone = li, account.Member, "+8613800138000"
	s.link(inWeChat)
	s.giveUp("5b0e1c9a7d3f2468")
	s.happened(-time.Hour)
}

// TestTranscripts are what operators see, each on a day of its own.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.transcript")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".transcript"), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, "", aDay)
			g.write("map.csv", "\ufeffold,new\no-li,n-li\nm-li,x\no-new,n-new\no-zhao,\no-none,n-none\no-zhao,n-li\n")
			g.transcript(filepath.Base(file))
		})
	}
}

// TestWhoSitsAtATerminalIsAsked, and nothing but yes is a yes.
func TestWhoSitsAtATerminalIsAsked(t *testing.T) {
	g := newGateway(t, "", aDay)
	for _, tt := range []struct {
		typed string
		code  int
	}{{"no", 5}, {"y", 5}, {"", 5}, {"yes", 0}} {
		// script gives its command a terminal.
		got := g.shell("echo '" + tt.typed + "' | script -qec \"wxgate user revoke 1000000001 --reason 'lost his phone'\" /dev/null")
		if got.code != tt.code || !strings.Contains(got.out, "Would be signed out everywhere.") || !strings.Contains(got.out, "Type yes to go on: ") {
			t.Errorf("%q: exit %d: %s%s", tt.typed, got.code, got.out, got.err)
		}
	}
	blind := g.shell("echo yes | script -qec \"wxgate user revoke 1000000001 --reason 'lost his phone' --json\" /dev/null")
	if blind.code != 5 || !strings.Contains(blind.out, "--yes is needed") || strings.Contains(blind.out, "Type yes") {
		t.Errorf("asked about what he has not seen: exit %d: %s%s", blind.code, blind.out, blind.err)
	}
	if got := strings.Count(g.must("operation", "list"), "revoke"); got != 1 {
		t.Errorf("done %d times", got)
	}
}
