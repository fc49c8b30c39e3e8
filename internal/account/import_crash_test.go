package account

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// importVictim names the file that this test binary, as a crashVictim, imports.
const importVictim = "WXGATE_TEST_IMPORT_VICTIM"

// importOn imports a file, and says how far it is.
func importOn(url, name string) error {
	db, err := Open(context.Background(), Config{URL: url})
	if err != nil {
		return err
	}
	if err := db.Unlock(context.Background(), secrets{"first"}); err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	_, err = db.Import(context.Background(), Rules{}, ImportConfig{
		Source: f, Format: CSV, AppID: "wx1", Progress: func(p Progress) { fmt.Println(p.Stage, p.Done) },
	})
	return err
}

// movers writes a file of n people, of whom some have come before their import
// as guests: by their openids, or by their unionids in another app.
func movers(t *testing.T, n int) (name string, given []string) {
	b := new(strings.Builder)
	b.WriteString("user_id,openid,unionid,phone\n")
	for i := range n {
		unionID := fmt.Sprintf("x%05d", n-i)
		guest := fmt.Sprintf("V%05d", i)
		switch i % 40 {
		case 1, 2:
			given = append(given, fmt.Sprintf("guest %s %d", guest, i), fmt.Sprintf("visitor wx1 o%05d %s", i, guest))
		case 3:
			given = append(given, fmt.Sprintf("guest %s %d", guest, i), fmt.Sprintf("identity mp m%05d %s %s", i, unionID, guest))
		}
		if i%3 == 2 {
			unionID = ""
		}
		fmt.Fprintf(b, "U%05d,o%05d,%s,139%08d\n", i, i, unionID, i)
	}
	name = filepath.Join(t.TempDir(), "movers.csv")
	must(t, os.WriteFile(name, []byte(b.String()), 0o600))
	return name, given
}

// importUntil runs an import that is killed when it says something for the n-th
// time, or just after.
func importUntil(t *testing.T, url, name, says string, n int) {
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), crashVictim+"="+url, importVictim+"="+name)
	stdout, err := victim.StdoutPipe()
	must(t, err)
	victim.Stderr = os.Stderr
	must(t, victim.Start())
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), says) {
			n--
		}
		if n == 0 {
			must(t, victim.Process.Kill())
			break
		}
	}
	_ = victim.Wait()
	if n > 0 {
		t.Errorf("the import has ended before it said %s often enough", says)
	}
}

// Killed wherever it is, an import that is run again ends as if it had never
// been killed.
func TestAnImportIsKilled(t *testing.T) {
	name, given := movers(t, importBatch+301)
	whole := newWorld(t, Rules{}, given...)
	text, err := os.ReadFile(name)
	must(t, err)
	whole.importFile(string(text), func(c *ImportConfig) { c.AppID = "wx1" })
	want := slices.Concat(whole.people(), whole.rawStored())
	onEachURL(t, func(t *testing.T, url string) {
		w := newWorldIn(t, openURL(t, url), Rules{}, given...)
		for _, at := range []struct {
			says string
			n    int
		}{{"comparing", 1}, {"users", 2}, {"openids", 1}, {"openids", 2}} {
			importUntil(t, url, name, at.says, at.n)
			checkInvariants(t, w.db)
		}
		got := w.importFile(string(text), func(c *ImportConfig) { c.AppID = "wx1" })
		if !got.Complete() || got.Users.Known < importBatch || got.OpenIDs.Known == 0 {
			t.Errorf("the last run: %+v", got.ImportReport)
		}
		diff(t, "stored", want, slices.Concat(w.people(), w.rawStored()))
	})
}
