package dbtest

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// orphan makes this test binary a process that starts a server, says where, and
// waits to be killed.
const orphan = "WXGATE_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if e := os.Getenv(orphan); e != "" {
		s, err := start(Engine(e), false)
		fmt.Println(s.process.dir, s.process.cmd.Process.Pid, err)
		select {}
	}
	os.Exit(m.Run())
}

func each(t *testing.T, f func(t *testing.T, e Engine)) {
	for _, e := range []Engine{Postgres, MariaDB} {
		t.Run(string(e), func(t *testing.T) { f(t, e) })
	}
}

func open(t *testing.T, databaseURL string) *sql.DB {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	driver, dsn := "pgx", databaseURL
	if u.Scheme == "mysql" {
		secret, _ := u.User.Password()
		driver, dsn = "mysql", u.User.Username()+":"+secret+"@tcp("+u.Host+")"+u.Path
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryTestHasADatabaseOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, e Engine) {
		s := Shared(t, e)
		if Shared(t, e) != s {
			t.Fatal("a second server was started")
		}
		var gone string
		for range 2 {
			t.Run("database", func(t *testing.T) {
				gone = s.Database(t)
				_, err := open(t, gone).Exec(`CREATE TABLE here (id INT)`)
				must(t, err)
			})
		}
		if err := open(t, gone).Ping(); err == nil {
			t.Error("the database has outlived its test")
		}
		if _, err := open(t, s.Database(t)).Exec(`CREATE DATABASE more`); err == nil {
			t.Error("the user may do more than an operator grants")
		}
	})
}

func TestAKilledServerComesBackWithWhatItHad(t *testing.T) {
	each(t, func(t *testing.T, e Engine) {
		s := Start(t, e)
		db := open(t, s.Database(t))
		_, err := db.Exec(`CREATE TABLE here (id INT)`)
		must(t, err)
		_, err = db.Exec(`INSERT INTO here VALUES (1)`)
		must(t, err)
		s.Kill()
		if err := db.Ping(); err == nil {
			t.Error("a killed server answers")
		}
		s.Restart(t)
		var n int
		must(t, db.QueryRow(`SELECT count(*) FROM here`).Scan(&n))
		if n != 1 {
			t.Errorf("%d rows", n)
		}

		s.Freeze()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := db.QueryRowContext(ctx, `SELECT 1`).Scan(&n); err == nil {
			t.Error("a frozen server answers")
		}
		s.Thaw()
		must(t, db.Ping())
	})
}

// A test process that is killed leaves no server and no folder behind.
func TestNothingOutlivesTheProcess(t *testing.T) {
	each(t, func(t *testing.T, e Engine) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), orphan+"="+string(e))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		lines.Scan()
		var dir string
		var pid int
		if _, err := fmt.Sscan(lines.Text(), &dir, &pid); err != nil || !strings.HasSuffix(lines.Text(), "<nil>") {
			t.Fatal(lines.Text())
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed
		for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			_, err := os.Stat(dir)
			if os.IsNotExist(err) && syscall.Kill(pid, 0) != nil {
				return
			}
			if time.Since(begun) > startTimeout {
				t.Fatalf("%s or process %d is still there", dir, pid)
			}
		}
	})
}
