package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/webhook"
)

const hookSecret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

// shop is a database of a shop, and two processes of a receiver of
// docs/backends.md in front of it.
type shop struct {
	t    *testing.T
	db   *sql.DB
	urls []string // of the receivers
	name string   // of the database
	addr string   // of its server
}

// program is a receiver of the documentation: command and its environment know
// the port and the database, in which schema has made the tables.
type program struct {
	schema  []string
	command func(s *shop, port string) *exec.Cmd
}

// newShop runs a receiver.
func newShop(t *testing.T, p program) *shop {
	t.Helper()
	server := dbtest.Shared(t, dbtest.MariaDB)
	where, err := url.Parse(server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, name: strings.TrimPrefix(where.Path, "/"), addr: server.Addr()}
	server.Exec(t, "CREATE OR REPLACE USER shop@'127.0.0.1' IDENTIFIED BY 'shop'")
	server.Exec(t, "GRANT ALL ON `"+s.name+"`.* TO shop@'127.0.0.1'")
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName = "shop", "shop", "tcp", s.addr, s.name
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.db = sql.OpenDB(connector)
	t.Cleanup(func() { s.db.Close() })
	for _, statement := range p.schema {
		if _, err := s.db.Exec(statement); err != nil {
			t.Fatalf("%v\n%s", err, statement)
		}
	}
	for len(s.urls) < 2 {
		s.run(p.command)
	}
	return s
}

// blocksOf returns the fenced blocks of one language.
func blocksOf(page, lang string) (all []string) {
	for _, part := range strings.Split(page, "```"+lang+"\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		all = append(all, block)
	}
	return all
}

// run starts the receiver on a port that is free, which another process may
// take first.
func (s *shop) run(command func(s *shop, port string) *exec.Cmd) {
	s.t.Helper()
	for range 5 {
		port := dbtest.Port(s.t)
		addr := "127.0.0.1:" + port
		var output strings.Builder
		cmd := command(s, port)
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		if listens(addr, ended) {
			s.urls = append(s.urls, "http://"+addr+"/wxgate/new")
			s.t.Cleanup(func() {
				_ = cmd.Process.Kill()
				<-ended
				if s.t.Failed() {
					s.t.Log(output.String())
				}
			})
			return
		}
		s.t.Log(output.String())
	}
	s.t.Fatal("the receiver does not start")
}

func listens(addr string, ended chan struct{}) bool {
	for {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// rows are the shop's users.
func (s *shop) rows() (all []string) {
	s.t.Helper()
	rows, err := s.db.Query(`SELECT CONCAT(id, ' ', COALESCE(phone, '-')) FROM users ORDER BY id`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

// usersTable is a shop's table of users, as the page has it changed.
func usersTable(t *testing.T) []string {
	schema := []string{`CREATE TABLE users (id BIGINT AUTO_INCREMENT PRIMARY KEY, phone VARCHAR(20))`}
	for _, statement := range blocksOf(readPage(t), "sql") {
		if strings.Contains(statement, "wxgate_key") {
			schema = append(schema, statement)
		}
	}
	return schema
}

func receivers(t *testing.T) map[string]program {
	schema := usersTable(t)
	return map[string]program{
		"PHP":  {schema, phpReceiver(t, "new-member.php")},
		"Node": {schema, nodeReceiver(t, "new-member.cjs")},
	}
}

func phpReceiver(t *testing.T, file string) func(s *shop, port string) *exec.Cmd {
	return func(s *shop, port string) *exec.Cmd {
		cmd := exec.Command(lookPath(t, "php", "php-cli"), "-S", "127.0.0.1:"+port, file)
		host, dbPort, _ := net.SplitHostPort(s.addr)
		cmd.Env = append(os.Environ(), "HOOK_SECRET="+hookSecret, "SHOP_DB_USER=shop", "SHOP_DB_PASSWORD=shop",
			fmt.Sprintf("SHOP_DSN=mysql:host=%s;port=%s;dbname=%s", host, dbPort, s.name))
		return cmd
	}
}

func nodeReceiver(t *testing.T, file string) func(s *shop, port string) *exec.Cmd {
	return func(s *shop, port string) *exec.Cmd {
		cmd := exec.Command(lookPath(t, "node", "nodejs"), file)
		cmd.Env = append(os.Environ(), "HOOK_SECRET="+hookSecret, "PORT="+port, "NODE_PATH=/usr/share/nodejs", // of node-mysql
			"SHOP_DB=mysql://shop:shop@"+s.addr+"/"+s.name)
		return cmd
	}
}

func TestReceiversMakeOneUserForOneKey(t *testing.T) {
	for name, p := range receivers(t) {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, p)
			ids := make([]string, 32)
			var wg sync.WaitGroup
			for i := range ids {
				// Endpoints of their own, as of many instances; each asks for one of
				// two persons.
				e, err := webhook.New(webhook.Config{URL: s.urls[i/2%2], Secrets: []string{"whsec_eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4", hookSecret}})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				wg.Go(func() {
					n := webhook.NewMember{Key: fmt.Sprint("key", i%2), GuestID: "1000000000", AppID: "wx1", OpenID: "o", UnionID: "u"}
					if i%2 == 1 {
						n.Phone = "+8613800138000"
					}
					// A busy machine makes a receiver slow, and then he is asked again.
					for try := 0; try < 20 && ids[i] == ""; try++ {
						if ids[i], err = e.MakeUserID(t.Context(), n); err != nil {
							t.Log(err)
						}
					}
				})
			}
			wg.Wait()
			for i, id := range ids {
				if id == "" || id != ids[i%2] {
					t.Fatalf("the ids are %q", ids)
				}
			}
			want := []string{ids[0] + " -", ids[1] + " +8613800138000"}
			if a, _ := strconv.Atoi(ids[0]); fmt.Sprint(a) != ids[0] {
				t.Errorf("the id %q is no number", ids[0])
			} else if b, _ := strconv.Atoi(ids[1]); a > b {
				want[0], want[1] = want[1], want[0]
			}
			if diff := cmp.Diff(want, s.rows()); diff != "" {
				t.Errorf("users (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReceiversBelieveTheGatewayAlone(t *testing.T) {
	const body = `{"idempotency_key":"key1","guest_id":"","appid":"","openid":"","unionid":""}`
	for name, p := range receivers(t) {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, p)
			s.believesTheGatewayAlone(body)
			if rows := s.rows(); len(rows) != 0 {
				t.Errorf("users: %v", rows)
			}
			if status := s.post(signed(t, hookSecret, time.Now(), body), body); status != http.StatusOK || len(s.rows()) != 1 {
				t.Errorf("signed well: %d, %v", status, s.rows())
			}
		})
	}
}

// signed are the headers of a message of that body.
func signed(t *testing.T, secret string, at time.Time, body string) http.Header {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := hook.Sign("key1", at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return http.Header{"Webhook-Id": {"key1"}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Webhook-Signature": {signature}}
}

// believesTheGatewayAlone sends a message in every way that proves nothing.
func (s *shop) believesTheGatewayAlone(body string) {
	s.t.Helper()
	now := time.Now()
	with := func(change func(http.Header)) http.Header {
		h := signed(s.t, hookSecret, now, body)
		change(h)
		return h
	}
	without := func(name string) http.Header { return with(func(h http.Header) { h.Del(name) }) }
	for what, header := range map[string]http.Header{
		"no headers":          {},
		"another secret":      signed(s.t, "whsec_eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4", now, body),
		"an empty secret":     signed(s.t, "whsec_", now, body),
		"another body":        signed(s.t, hookSecret, now, body+" "),
		"long ago":            signed(s.t, hookSecret, now.Add(-time.Hour), body),
		"to come":             signed(s.t, hookSecret, now.Add(time.Hour), body),
		"no id":               without("Webhook-Id"),
		"no time":             without("Webhook-Timestamp"),
		"no signature":        without("Webhook-Signature"),
		"senseless signature": with(func(h http.Header) { h.Set("Webhook-Signature", "v1, v1,é v2,x =") }),
	} {
		if status := s.post(header, body); status != http.StatusUnauthorized {
			s.t.Errorf("%s: %d", what, status)
		}
	}
}

func (s *shop) post(header http.Header, body string) int {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.urls[0], bytes.NewReader([]byte(body)))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = header
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
