package account

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// Each error of form names its line and its column, and refuses that row alone.
func TestRowsThatCannotBeRead(t *testing.T) {
	const head = "user_id,phone,appid,openid,unionid,created"
	long := strings.Repeat("1", 65)
	tomorrow := time.Now().Add(48 * time.Hour).Format(time.RFC3339)
	tests := map[string]string{
		",,oa,x,X,":                         "user_id: it is empty",
		"NULL,,oa,x,X,":                     "user_id: it is empty",
		long + ",,oa,x,X,":                  "user_id: it has 65 bytes, at most 64 are possible",
		" U1,,oa,x,X,":                      "user_id: it begins or ends with a space, which no header keeps",
		"\"U,1\",,oa,x,X,":                  "user_id: it contains a comma, which separates ids in X-User-Previous-ID",
		"\"U\n1\",,oa,x,X,":                 "user_id: it contains control characters",
		"U1,,o a,x,X,":                      "appid: it is no appid: letters and digits, at most 64",
		"U1,,oa," + long + ",X,":            "openid: it is none of WeChat's: letters, digits, - and _, at most 64",
		"U1,,oa,x,X X,":                     "unionid: it is none of WeChat's: letters, digits, - and _, at most 64",
		"U1,,oa,x,X,2024-05-01 08:00:00":    "created: it is no time: write 2024-05-01T08:00:00+08:00, or Unix seconds or milliseconds",
		"U1,,oa,x,X," + tomorrow:            "created: it is a time before 1970 or in the future",
		"U1,,oa,x,X,0":                      "created: it is a time before 1970 or in the future",
		"U1,,oa,x,X":                        "column 5: the row has 5 columns, the first row has 6",
		"U1,,oa,x,X,,":                      "column 6: the row has 7 columns, the first row has 6",
		"U1,,o\"a,x,X,":                     "character 6: bare \" in non-quoted-field",
		"U1,\"\"\"\"1\",oa,x,X,":            "character 7: extraneous or missing \" in quoted-field",
		"\xd5\xc5,,oa,x,X,":                 "user_id: it is not UTF-8; save the file as UTF-8",
		`{"user_id":"","openid":"x"}`:       "user_id: it is empty",
		`{"openid":"x"}`:                    "user_id: it is empty",
		`{"user_id":1e9}`:                   "user_id: it is a number with a fraction or an exponent; write it as text",
		`{"user_id":1.5}`:                   "user_id: it is a number with a fraction or an exponent; write it as text",
		`{"user_id":true}`:                  "user_id: it is neither a text nor a number",
		`{"user_id":["U1"]}`:                "user_id: it is neither a text nor a number",
		`{"user_id":"U1","phone":["1"]}`:    "phone: it is neither a text nor a number",
		`{"user_id":"U1" "phone":""}`:       "character 17: the line is not one JSON object",
		`{"user_id":"U1"`:                   "character 16: the line is not one JSON object",
		`{"user_id":"U1"} {"user_id":"U2"}`: "character 17: the line is not one JSON object",
		`{"user_id":"U` + "\xd5" + `"}`:     "character 1: the line is not UTF-8",
	}
	for row, want := range tests {
		t.Run(want, func(t *testing.T) {
			w := newWorld(t, Rules{})
			f := file(head, "before,,oa,a,A,", row, "after,,oa,b,B,")
			if row[0] == '{' {
				f = file(`{"user_id":"before"}`, "", row, `{"user_id":"after"}`)
			}
			got := w.importFile(f)
			column, reason, _ := strings.Cut(want, ": ")
			diff(t, "said", []string{"unreadable: lines [3] column " + column + ", without the row: " + reason}, got.problems)
			diff(t, "people", []string{"after member", "before member"}, w.people())
			if got.Unreadable != 1 || got.Rows != 3 || got.Complete() {
				t.Errorf("report: %+v", got.ImportReport)
			}
		})
	}
	w := newWorld(t, Rules{})
	got := w.importFile(file("user_id,openid", "U1,x"), func(c *ImportConfig) { c.AppID = "" })
	diff(t, "without an appid", []string{"unreadable: lines [2] column appid, without the row: it is empty: an openid belongs to an app"}, got.problems)
}

// Who has no usable number is imported without.
func TestPhonesThatCannotBeRead(t *testing.T) {
	for number, want := range map[string]string{
		"110":           "it is not written like one",
		"+999138001380": "no country has such a number",
		"01012345678":   "it is not a mobile number, and no message can be sent to it",
	} {
		w := newWorld(t, Rules{})
		got := w.importFile(file("user_id,phone,openid,unionid", "U1,"+number+",x,X", "U2,13800138000,y,Y"))
		diff(t, "said", []string{"unreadable_phone: lines [2] users [U1], without the phone: reading a phone number: " + want}, got.problems)
		diff(t, "people", []string{"U1 member", "U2 member +8613800138000"}, w.people())
		diff(t, "stored", []string{"oa x X U1", "oa y Y U2"}, w.rawStored())
		if got.Unreadable != 0 || got.Phones != (Tally{New: 1, LeftOut: 1}) || got.Complete() {
			t.Errorf("report: %+v", got.ImportReport)
		}
	}
}

// A file whose columns are not clear, or that cannot be read to its end, is
// refused before anything is stored.
func TestFilesThatAreRefused(t *testing.T) {
	tests := map[string]struct {
		file   string
		change func(*ImportConfig)
		want   string
	}{
		"empty":              {file: "", want: "the file is empty: its first row names the columns"},
		"no user_id":         {file: file("uid,openid", "1,x"), want: `the first row does not name the column "user_id", for user_id; it names: uid, openid`},
		"a column twice":     {file: file("user_id,openid,openid", "1,x,y"), want: `the first row names the column "openid" twice`},
		"a broken first row": {file: "user_id,\"open\"id\n", want: `the first row, which names the columns: parse error on line 1, column 14: extraneous or missing " in quoted-field`},
		"a quote that is never closed": {
			file: file("user_id,openid", "U1,\"x") + strings.Repeat("U2,y\n", 300_000),
			want: "a row is longer than 1 MB; is a quote never closed?",
		},
		"a long line": {
			file: file(`{"user_id":"U1"}`, `{"user_id":"`+strings.Repeat("1", 1<<20)+`"}`),
			want: "line 2: a row is longer than 1 MB; is a quote never closed?",
		},
		"a mapped column that is not there": {
			file:   file("user_id,openid", "1,x"),
			change: func(c *ImportConfig) { c.Columns = map[string]string{"phone": "mobile"} },
			want:   `the first row does not name the column "mobile", for phone; it names: user_id, openid`,
		},
		"a column that does not exist": {
			file:   file("user_id,openid", "1,x"),
			change: func(c *ImportConfig) { c.Columns = map[string]string{"userid": "user_id"} },
			want:   `mapping column "userid" to "user_id": there are the columns user_id, phone, appid, openid, unionid, created, last_seen`,
		},
		"an unknown format": {
			file: file("user_id"), change: func(c *ImportConfig) { c.Format = "xls" },
			want: `format "xls" is none of: csv, ndjson`,
		},
		"a source that breaks off": {
			change: func(c *ImportConfig) {
				c.Source = io.MultiReader(strings.NewReader(file("user_id", "U1")), brokenReader{})
			},
			want: "reading the file: the network is gone",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Rules{})
			cfg := ImportConfig{Source: strings.NewReader(tt.file), Format: CSV}
			if strings.HasPrefix(tt.file, "{") {
				cfg.Format = NDJSON
			}
			if tt.change != nil {
				tt.change(&cfg)
			}
			_, err := w.db.Import(t.Context(), w.rules, cfg)
			if !errors.Is(err, ErrImport) || !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			diff(t, "stored", []string{}, w.everything())
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the network is gone") }
