package account

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// imported is what a test saw of an import.
type imported struct {
	ImportReport
	problems []string
}

// importFile imports a file whose format its first character tells.
func (w *world) importFile(file string, change ...func(*ImportConfig)) imported {
	w.t.Helper()
	var got imported
	cfg := ImportConfig{
		Source: strings.NewReader(file), Format: CSV, AppID: "oa",
		Problem: func(p Problem) error {
			got.problems = append(got.problems, said(p))
			return nil
		},
	}
	if strings.HasPrefix(file, "{") {
		cfg.Format = NDJSON
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	got.ImportReport, err = w.db.Import(w.t.Context(), w.rules, cfg)
	must(w.t, err)
	checkInvariants(w.t, w.db)
	slices.Sort(got.problems)
	return got
}

// said is a problem in one line.
func said(p Problem) string {
	s := fmt.Sprintf("%s: lines %v", p.Code, p.Lines)
	if p.Count > len(p.Lines) {
		s += fmt.Sprintf(" of %d", p.Count)
	}
	if p.Column != "" {
		s += " column " + p.Column
	}
	if len(p.Users) > 0 {
		s += fmt.Sprintf(" users %v", p.Users)
	}
	if p.Stored != "" {
		s += " stored " + p.Stored
	}
	if p.Left != "" {
		s += ", without the " + string(p.Left)
	}
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	return s
}

// people are the users in words, with their phones.
func (w *world) people() []string {
	w.t.Helper()
	found := w.lines(`SELECT id || ' ' || kind || CASE WHEN merged_into IS NULL THEN '' ELSE ' > ' || merged_into END
		|| CASE WHEN cancelled IS NULL THEN '' ELSE ' cancelled' END FROM wxgate_user ORDER BY id`)
	sealed := w.lines(`SELECT id || ' ' || phone_sealed FROM wxgate_user WHERE phone_sealed IS NOT NULL ORDER BY id`)
	for _, l := range sealed {
		id, sealed, _ := strings.Cut(l, " ")
		number, err := w.db.openPhone(id, sealed)
		must(w.t, err)
		i := slices.IndexFunc(found, func(f string) bool { return strings.HasPrefix(f, id+" ") })
		found[i] += " " + string(number)
	}
	return found
}

func file(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

func TestImportStoresUsersOpenIDsAndPhones(t *testing.T) {
	tests := map[string]struct {
		file    string
		columns map[string]string
	}{
		"CSV": {file: file(
			"user_id,phone,appid,openid,unionid,created,last_seen",
			"U7,13800138000,oa,x,X,2024-05-01T08:00:00+08:00,1714521600",
			"U7,,mp,y,X,,",
			"the 8th,,,z,,,",
			"U9,+852 5123 4567,,,,,")},
		"CSV with names of its own, a byte order mark and CRLF": {
			file: "\xef\xbb\xbf" + strings.ReplaceAll(file(
				" uid ,name,wx_openid,wx_unionid,mobile,app,reg",
				"U7,\"Li, \"\"Six\"\"\nand more\",x,X,138-0013-8000,oa,1714521600000",
				"U7,,y,X,NULL,mp,\\N",
				"the 8th,,z,NULL,,,",
				"U9,,,,00852 51234567,,"), "\n", "\r\n"),
			columns: map[string]string{
				"user_id": "uid", "openid": "wx_openid", "unionid": "wx_unionid", "phone": "mobile", "appid": "app", "created": "reg",
			},
		},
		"NDJSON": {file: file(
			`{"user_id":"U7","phone":13800138000,"appid":"oa","openid":"x","unionid":"X","created":1714521600,"name":{"first":["Li"]}}`,
			``,
			`{"user_id":"U7","appid":"mp","openid":"y","unionid":"X","phone":null}`,
			`{"openid":"z","user_id":"the 8th"}`,
			`{"user_id":"U9","phone":"+852（5123）4567"}`)},
	}
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				w := newWorldIn(t, db, Rules{})
				got := w.importFile(tt.file, func(c *ImportConfig) { c.Columns = tt.columns })
				diff(t, "users", []string{"U7 member +8613800138000", "U9 member +85251234567", "the 8th member"}, w.people())
				diff(t, "stored", []string{"mp y X U7", "oa x X U7", "oa z - the 8th"}, w.rawStored())
				diff(t, "created", []string{"1714521600000"}, w.lines(`SELECT created FROM wxgate_user WHERE id = 'U7'`))
				diff(t, "problems", []string{"without_unionid: lines [" + fmt.Sprint(lineOf(tt.file, "the 8th")) + "] users [the 8th]"}, got.problems)
				diff(t, "report", ImportReport{
					Rows: 4, Users: Tally{New: 3}, OpenIDs: Tally{New: 3}, Phones: Tally{New: 2}, WithoutUnionID: 1,
					Problems: map[ProblemCode]int{WithoutUnionID: 1}, Columns: got.Columns, Apps: map[string]int{"oa": 2, "mp": 1}, Unused: got.Unused,
				}, got.ImportReport)
			})
		}
	})
}

// lineOf is the number of the line that holds a text.
func lineOf(file, text string) int {
	before, _, _ := strings.Cut(file, text)
	return strings.Count(before, "\n") + 1
}

// rawStored is stored with every id as it is.
func (w *world) rawStored() []string {
	w.t.Helper()
	found := append([]string{}, w.lines(`SELECT i.appid || ' ' || i.openid || ' ' || coalesce(i.unionid, '-') || ' ' || coalesce(i.user_id, u.user_id, '-')
			FROM wxgate_identity i LEFT JOIN wxgate_unionid u ON u.scope = i.scope AND u.unionid = i.unionid`)...)
	found = append(found, w.lines(`SELECT 'visitor ' || appid || ' ' || openid || ' ' || guest_id FROM wxgate_visitor`)...)
	slices.Sort(found)
	return found
}

// What the columns of the file were taken for is told, so that a dry run shows
// a misspelt one.
func TestImportTellsItsColumns(t *testing.T) {
	for name, f := range map[string]string{
		"CSV":    file("uid,open_id,x", "U7,o1,2"),
		"NDJSON": file(`{"uid":"U7","x":2}`, `{"uid":"U7","open_id":"o1"}`),
	} {
		w := newWorld(t, Rules{})
		got := w.importFile(f, func(c *ImportConfig) { c.Columns = map[string]string{"user_id": "uid"} })
		diff(t, name+": columns", map[string]string{"user_id": "uid"}, got.Columns)
		diff(t, name+": unused", []string{"open_id", "x"}, got.Unused)
	}
}

// The user id of a shop that has nothing else is the openid.
func TestImportOfOpenIDsAlone(t *testing.T) {
	w := newWorld(t, Rules{})
	w.importFile(file("openid", "oA", "oB"), func(c *ImportConfig) { c.Columns = map[string]string{"user_id": "openid"} })
	diff(t, "stored", []string{"oa oA - oA", "oa oB - oB"}, w.rawStored())
}
