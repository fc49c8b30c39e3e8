package account

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// manyRows is how many rows TestImportOfManyRows imports, if not a few thousand.
// A million, each on disk before the next:
//
//	go test ./internal/account -run ManyRows -v -timeout 1h -import.rows 1000000
func manyRows() int {
	f := flag.Lookup("import.rows")
	return f.Value.(flag.Getter).Get().(int)
}

func init() { flag.Int("import.rows", 0, "rows of the large import") }

// manyPeople writes a file of n rows: everybody has an openid, most a unionid,
// some a phone.
func manyPeople(w io.Writer, n int) {
	b := bufio.NewWriter(w)
	defer b.Flush()
	fmt.Fprintln(b, "id,openid,unionid,mobile,registered,name")
	for i := range n {
		unionID, phone := fmt.Sprintf("oUnion%022d", i*7919%n), ""
		if i%10 == 0 {
			unionID = ""
		}
		if i%4 > 0 {
			phone = fmt.Sprintf("139%08d", i)
		}
		fmt.Fprintf(b, "%d,oOpenid%021d,%s,%s,%d,Somebody\n", i+1, i, unionID, phone, 1_600_000_000+i)
	}
}

// Memory stays the same, however many rows there are: they wait in a temporary
// file. Servers get a tenth of the rows, for they answer over a network.
func TestImportOfManyRows(t *testing.T) {
	if n := manyRows(); n > 0 {
		t.Run("sqlite", func(t *testing.T) { importMany(t, newDB(t), n) })
		for _, e := range []dbtest.Engine{dbtest.Postgres, dbtest.MariaDB} {
			t.Run(string(e), func(t *testing.T) { importMany(t, openURL(t, dbtest.Start(t, e).Database(t)), n) })
		}
		return
	}
	onEach(t, func(t *testing.T, open opener) {
		db, n := open(t), 20_000
		if db.locksRows {
			n /= 10
		}
		importMany(t, db, n)
	})
}

func importMany(t *testing.T, db *DB, n int) {
	r, w := io.Pipe()
	go func() { manyPeople(w, n); w.Close() }()
	start, busy, before, stage := time.Now(), cpu(t), heap(), Stage("")
	report, err := db.Import(t.Context(), Rules{}, ImportConfig{
		Source: r, Format: CSV, AppID: "wx1",
		Columns: map[string]string{"user_id": "id", "phone": "mobile", "created": "registered"},
		Progress: func(p Progress) {
			if p.Stage == stage && p.Done < p.Total {
				return
			}
			stage = p.Stage
			if more := heap() - before; more > 8<<20 {
				t.Errorf("at %+v there are %d KB more in memory", p, more>>10)
			}
		},
	})
	must(t, err)
	took := time.Since(start)
	t.Logf("%d rows in %v, %.0f a second; of the processor's time %v; %s", n, took.Round(time.Second), float64(n)/took.Seconds(),
		(cpu(t) - busy).Round(time.Second), peak(t))
	waiting, phones := (n+9)/10, n-(n+3)/4
	diff(t, "report", ImportReport{
		Rows: n, Users: Tally{New: n}, OpenIDs: Tally{New: n}, Phones: Tally{New: phones}, WithoutUnionID: waiting,
		Problems: map[ProblemCode]int{WithoutUnionID: waiting}, Columns: report.Columns, Apps: map[string]int{"wx1": n}, Unused: []string{"name"},
	}, report)
	diff(t, "stored", []string{fmt.Sprint(n, n, n-waiting, phones)}, linesOf(t, db, `SELECT (SELECT count(*) FROM wxgate_user)
		|| ' ' || (SELECT count(*) FROM wxgate_identity) || ' ' || (SELECT count(*) FROM wxgate_unionid)
		|| ' ' || (SELECT count(phone_key) FROM wxgate_user)`))
}

// heap is how many bytes of Go's memory are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cpu is the time that this process has computed. A server computes besides.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory that the process has had, SQLite's included.
func peak(t *testing.T) string {
	raw, err := os.ReadFile("/proc/self/status")
	must(t, err)
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "VmHWM") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}
