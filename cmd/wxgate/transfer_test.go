package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

func same(t *testing.T, what, want, got string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// movingIn is what is said of the file of TestAShopMovesIn.
const movingIn = `
openid is the file's column openid
phone is the file's column mobile
user_id is the file's column id
not used: nickname

5 rows, 1 of them unreadable

in the file  new  known  left out
users        4    0      0
openids      4    0      0
phones       0    0      3

One phone, several users (phone_twice): 1
  lines 2, 3; user 42, 43; without the phone

Rows that cannot be read (unreadable): 1
  line 5; user_id; it is empty; without the row

Phone numbers that cannot be read (unreadable_phone): 1
  line 6; reading a phone number: no country has such a number; user 46; without the phone

Openids without a unionid; they are imported, and wait for it (without_unionid): 4
  line 6; user 46
  line 2; user 42
  line 3; user 43
  line 4; user 44
`

// A shop moves in: a dry run shows what will happen and what is wrong with the
// file, the import does it, and the customer who comes is the one he was.
func TestAShopMovesIn(t *testing.T) {
	g := newGateway(t, "", nil)
	li := g.wechat.OpenID("li", shopApp)
	g.write("customers.csv", strings.Join([]string{
		"id,mobile,openid,nickname",
		"42,13800138000," + li + ",Li",
		"43,138 0013 8000,oWang,Wang",
		"44,,oZhao,Zhao",
		",,oNobody,",
		"46,12345,oSun,Sun",
	}, "\n")+"\n")
	args := []string{"import", "customers.csv", "--column", "user_id=id,phone=mobile", "--appid", shopApp}
	got := g.do(append(args, "--dry-run", "--problems", "problems.ndjson")...)
	same(t, "a dry run", "A dry run; nothing is changed.\n"+movingIn, got.out)
	if got.code != 6 {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
	raw, err := os.ReadFile(g.path("problems.ndjson"))
	if err != nil || bytes.Count(raw, []byte("\n")) != 7 || !bytes.Contains(raw, []byte(`"code":"phone_twice"`)) {
		t.Errorf("problems: %v %s", err, raw)
	}
	if body := g.open(g.browser("li"), "/"); !strings.HasPrefix(body, "guest ") {
		t.Errorf("after a dry run li is %s", body)
	}

	got = g.do(append(args, "--reason", "moving in")...)
	if got.code != 5 || !strings.Contains(got.err, "nothing was changed") || !strings.HasPrefix(got.out, "A dry run;") {
		t.Errorf("nobody has said yes: exit %d %s%s", got.code, got.out, got.err)
	}
	got = g.do(append(args, "--reason", "moving in", "--yes")...)
	same(t, "the import", "Done.\n"+movingIn, got.out)
	if got.code != 6 {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
	if body := g.open(g.browser("li"), "/"); body != "member 42" {
		t.Errorf("li is %s", body)
	}
	if out := g.must("operation", "list"); !strings.Contains(out, "customers.csv") || !strings.Contains(out, "moving in") {
		t.Errorf("recorded: %s", out)
	}
}

// What programs read: the lines as they come, and the exit code.
func TestImportForPrograms(t *testing.T) {
	g := newGateway(t, "", nil)
	g.write("users.ndjson", `{"user_id":"7","openid":"oA","appid":"`+miniApp+`"}`+"\n")
	out := g.must("import", "users.ndjson", "--reason", "x", "--yes", "--json")
	var last struct {
		Report struct {
			Users       account.Tally
			UnknownApps []string `json:"unknown_apps"`
		}
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if last.Report.Users != (account.Tally{New: 1}) || fmt.Sprint(last.Report.UnknownApps) != "["+miniApp+"]" {
		t.Errorf("report: %s", lines[len(lines)-1])
	}
	if !strings.Contains(out, `{"problem":{"code":"without_unionid"`) || !strings.Contains(out, `{"progress":{"stage":"users"`) {
		t.Errorf("printed: %s", out)
	}

	cmd := g.command("import", "-", "--format", "csv", "--reason", "x", "--yes")
	cmd.Stdin = strings.NewReader("user_id\n8\n")
	if got := g.finish(cmd); got.code != 0 || !strings.Contains(got.out, "users        1    0      0") {
		t.Errorf("from standard input: exit %d %s%s", got.code, got.out, got.err)
	}
	g.write("crooked.csv", "id\n9\n")
	got := g.do("import", "crooked.csv", "--reason", "x", "--yes")
	if got.code != 2 || !strings.Contains(got.err, `the first row does not name the column "user_id", for user_id; it names: id`) {
		t.Errorf("a file without user_id: exit %d %s", got.code, got.err)
	}
}

// A file longer than any buffer, with a problem in every row, arrives while its
// problems come back.
func TestALongImportThroughTheAdminEndpoint(t *testing.T) {
	g := newGateway(t, "", nil)
	var b strings.Builder
	b.WriteString("user_id,created,note\n")
	const n = 20_000
	for i := range n {
		fmt.Fprintf(&b, "U%d,yesterday,%s\n", i, strings.Repeat("x", 200))
	}
	g.write("bad.csv", b.String())
	got := g.do("import", "bad.csv", "--dry-run")
	if got.code != 6 || !strings.Contains(got.out, fmt.Sprintf("%d rows, %d of them unreadable", n, n)) ||
		!strings.Contains(got.out, fmt.Sprintf("and %d more; --problems <file> has all", n-10)) {
		t.Errorf("exit %d %s%s", got.code, got.out, got.err)
	}
}

// An export has everything but phones, these too if it is told so, and makes
// the same accounts in another gateway, whose ids begin behind.
func TestExportFeedsAnotherGateway(t *testing.T) {
	var member string
	g := newGateway(t, "", func(s *seeder) {
		guest := s.link(account.Input{AppID: shopApp, OpenID: "oA", UnionID: "uA"})
		member = s.link(account.Input{AppID: shopApp, OpenID: "oA", UnionID: "uA", UserID: guest, UserKind: account.Guest, Want: account.WantLogin})
		s.link(account.Input{AppID: shopApp, OpenID: "oB"})
	})
	g.write("phones.csv", "user_id,phone\n"+member+",13800138000\n")
	g.must("import", "phones.csv", "--reason", "x", "--yes")

	if out := g.must("export", "all.ndjson", "--reason", "moving out", "--phones"); !strings.HasPrefix(out, "5 rows are in all.ndjson") {
		t.Errorf("said %s", out)
	}
	all := g.read("all.ndjson")
	if without := g.must("export", "-", "--format", "ndjson", "--reason", "x"); strings.Contains(without, "8613800138000") ||
		without != strings.Replace(all, `"phone":"+8613800138000",`, "", 1) {
		t.Errorf("without phones: %s\nwith: %s", without, all)
	}
	if info, err := os.Stat(g.path("all.ndjson")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got := g.do("export", "all.ndjson", "--reason", "x"); got.code != 2 {
		t.Errorf("over a file: exit %d %s", got.code, got.err)
	}

	other := newGateway(t, "user_ids integer 2000000000", nil)
	other.write("all.ndjson", all)
	other.must("import", "all.ndjson", "--reason", "moving in", "--yes")
	same(t, "the copy", all, other.must("export", "-", "--format", "ndjson", "--reason", "x", "--phones"))

	twin := newGateway(t, "", nil) // gives these ids to others
	twin.write("all.ndjson", all)
	if got := twin.do("import", "all.ndjson", "--reason", "moving in", "--yes"); got.code != 6 ||
		!strings.Contains(got.out, "the user id 1000000001 lies among the numbers from 1000000000 on") {
		t.Errorf("exit %d %s%s", got.code, got.out, got.err)
	}
}

func (g *gateway) read(name string) string {
	g.t.Helper()
	raw, err := os.ReadFile(g.path(name))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(raw)
}

// The unionids of openids that were imported come from WeChat.
func TestRepairAsksWeChat(t *testing.T) {
	g := newGateway(t, "", nil)
	rows := "user_id,openid\n"
	for i := range 250 {
		name := fmt.Sprint("fan", i)
		g.wechat.AddPerson(wechattest.Person{Name: name, Follower: i%50 != 0})
		rows += fmt.Sprintf("c%d,%s\n", i, g.wechat.OpenID(name, shopApp))
	}
	rows += "taken," + g.wechat.OpenID("taken", shopApp) + "\n"
	g.wechat.AddPerson(wechattest.Person{Name: "taken", Follower: true})
	g.write("rows.csv", rows)
	g.write("taken.csv", fmt.Sprintf("user_id,appid,openid,unionid\nsomebody,%s,oX,%s\n", miniApp, g.wechat.UnionID("taken", shopApp)))
	g.must("import", "rows.csv", "--appid", shopApp, "--reason", "x", "--yes")
	g.must("import", "taken.csv", "--reason", "x", "--yes")

	// The first answers go wrong; the repair asks again.
	g.wechat.Fail(wechattest.Followers, 1, wechattest.HTMLPage())
	report := `  openids that waited for their unionid            251
  filled                                           245
  conflicts                                        1
  of followers whose unionid WeChat does not tell  0
  of people who do not follow the account          5
  followers read                                   246
repair_conflict: openid ` + g.wechat.OpenID("taken", shopApp) + ` of user taken has the unionid ` + g.wechat.UnionID("taken", shopApp) + "\n"
	same(t, "a dry run", report+"\nNothing was changed: this was --dry-run.\n", g.must("repair", shopApp, "--dry-run", "--rate", "50"))
	same(t, "the repair", "Done:\n"+report+"Look at them with: wxgate conflict list\n",
		g.must("repair", shopApp, "--reason", "x", "--yes", "--rate", "50"))
	if out := g.must("conflict", "list"); !strings.Contains(out, "repair_conflict") {
		t.Errorf("conflicts: %s", out)
	}
	again := g.must("repair", shopApp, "--reason", "x", "--yes", "--json", "--rate", "50")
	if !strings.Contains(again, `{"waiting":6,"followers":246,"filled":0,"conflicts":1,`) {
		t.Errorf("again: %s", again)
	}
}

func TestRepairThatCannotWork(t *testing.T) {
	g := newGateway(t, "official_account wx3333333333333333 s {\n\t\t\tunionid none\n\t\t}", nil)
	g.write("rows.csv", "user_id,openid\nc1,oA\n")
	g.must("import", "rows.csv", "--appid", shopApp, "--reason", "x", "--yes")
	if got := g.do("repair", miniApp, "--dry-run"); got.code != 3 || !strings.Contains(got.err, "only official accounts have followers") {
		t.Errorf("another app: exit %d %s", got.code, got.err)
	}
	if got := g.do("repair", "wx3333333333333333", "--dry-run"); got.code != 5 || !strings.Contains(got.err, "unionid none") {
		t.Errorf("an app without unionids: exit %d %s", got.code, got.err)
	}
	g.wechat.Fail(wechattest.FollowerList, wechattest.Forever, wechattest.ErrCode(48001))
	got := g.do("repair", shopApp, "--dry-run")
	if got.code != 1 || !strings.Contains(got.err, "errcode 48001") || !strings.Contains(got.out, "waited for their unionid") {
		t.Errorf("WeChat refuses: exit %d %s%s", got.code, got.out, got.err)
	}
}
