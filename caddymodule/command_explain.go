package caddymodule

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/gate"
)

// Browsers that a question may be about.
const (
	computerBrowser = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	weChatBrowser   = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.50"
)

// question is what is asked about on the command line.
type question struct {
	headers        []string
	cookie, agent  string
	from           string
	script, wechat bool
}

func explainCommand(o *options) *cobra.Command {
	var q question
	cmd := o.command(leaf{
		use: "explain [method] <url>", short: "Say what would become of a request, and why",
		long: "Takes a request through the steps of every other, and changes nothing: no id is\n" +
			"given out, nothing is stored or counted, and the shop does not hear of it. It says\n" +
			"which access line decided and by which reading of the path, what the session is,\n" +
			"which headers are removed and added, and what the visitor would get.\n" +
			"The request is a person's who opens a page; with --script, or another method than\n" +
			"GET, it is one of the site's own scripts. A path is enough where there is one site.",
		example: "explain /orders/pay\n" +
			"explain GET https://shop.example.com/orders/pay --wechat\n" +
			"explain POST /cart --cookie '__Host-wxgate=...' --header 'X-User-ID: 1'",
		minArgs: 1, limit: 2,
		run: func(c *call) error {
			in, err := q.request(c.args)
			if err != nil {
				return err
			}
			var report gate.Report
			if err := c.post("explain", in, &report); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(report)
			}
			return c.printReport(report)
		},
	})
	f := cmd.Flags()
	f.StringArrayVar(&q.headers, "header", nil, "a `header` of the request, 'Name: value'; repeatable")
	f.StringVar(&q.cookie, "cookie", "", "its `cookies`, as a browser's tools show them: name=value; name=value")
	f.StringVar(&q.agent, "user-agent", "", "its `User-Agent`; default: a computer's browser")
	f.BoolVar(&q.wechat, "wechat", false, "it comes from WeChat's browser")
	f.BoolVar(&q.script, "script", false, "it is a script's and no page that a person opens")
	f.StringVar(&q.from, "from", "", "the `address` that it comes from; default: "+someClient)
	return cmd
}

// request makes what the gateway is asked of the words and flags.
func (q question) request(args []string) (explainRequest, error) {
	in := explainRequest{Method: http.MethodGet, URL: args[len(args)-1], Header: http.Header{}, ClientIP: q.from}
	if len(args) == 2 {
		in.Method = strings.ToUpper(args[0])
	}
	agent := computerBrowser
	if q.wechat {
		agent = weChatBrowser
	}
	in.Header.Set("User-Agent", cmp.Or(q.agent, agent))
	if q.script || in.Method != http.MethodGet && in.Method != http.MethodHead {
		in.Header.Set("Accept", "*/*")
		in.Header.Set("Sec-Fetch-Mode", "cors")
		in.Header.Set("Sec-Fetch-Dest", "empty")
		in.Header.Set("Sec-Fetch-Site", "same-origin")
	} else {
		in.Header.Set("Accept", "text/html,*/*;q=0.8")
		in.Header.Set("Sec-Fetch-Mode", "navigate")
		in.Header.Set("Sec-Fetch-Dest", "document")
		in.Header.Set("Sec-Fetch-Site", "none")
		in.Header.Set("Sec-Fetch-User", "?1")
	}
	if q.cookie != "" {
		if !strings.Contains(q.cookie, "=") {
			return in, usageError("--cookie is name=value, like __Host-wxgate=...")
		}
		in.Header.Set("Cookie", q.cookie)
	}
	own := map[string]bool{} // names that replace what stands above
	for _, h := range q.headers {
		name, value, found := strings.Cut(h, ":")
		if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); !found || name == "" {
			return in, usageError(fmt.Sprintf("--header %q is not 'Name: value'", h))
		}
		if !own[name] {
			in.Header.Del(name)
		}
		own[name] = true
		in.Header.Add(name, strings.TrimSpace(value))
	}
	return in, nil
}

// printReport prints an explanation for a person, the verdict first.
func (c *call) printReport(rep gate.Report) error {
	t := new(table)
	t.add("verdict", rep.Verdict)
	for _, why := range rep.Why {
		t.add("", why)
	}
	if rep.Shadow {
		t.add("shadow", "nothing of it happens to this visitor: `shadow` is on for him")
	}
	if a := rep.Answer; a != nil {
		t.add("answer", answerText(a))
	}
	if q := rep.Request; q != nil {
		t.add("request", requestText(q))
	}
	if rep.Level != "" {
		t.add("level", rep.Level)
	}
	if len(rep.Readings) > 1 {
		t.add("readings", strings.Join(rep.Readings, "  "))
	}
	if rep.Session != nil {
		t.add("session", sessionText(rep.Session))
	}
	if rep.Verdict == "pass" || rep.Verdict == "bypass" {
		t.add("removed", cmp.Or(strings.Join(rep.Removed, ", "), "nothing"))
		for i, h := range rep.Added {
			t.add(map[bool]string{true: "added"}[i == 0], h.Name+": "+h.Value)
		}
	}
	for i := range t.rows {
		t.rows[i][0] = cmp.Or(t.rows[i][0], " ")
	}
	if err := t.print(c.out, ""); err != nil || len(rep.Lines) == 0 {
		return err
	}
	lines := &table{rows: [][]string{{"LINE", "APPLIES", "BY THE READING"}}}
	for _, l := range rep.Lines {
		lines.add(l.Line, map[bool]string{true: "yes", false: "no"}[l.Applies], cmp.Or(l.Reading, "all"))
	}
	c.say("")
	return lines.print(c.out, "")
}

func answerText(a *gate.AnswerReport) string {
	var parts []string
	if a.Status != 0 {
		parts = append(parts, strings.TrimSpace(fmt.Sprint(a.Status, " ", http.StatusText(a.Status))))
	}
	if a.Location != "" {
		parts = append(parts, "leads to "+a.Location)
	}
	if a.Session {
		parts = append(parts, "brings a new session")
	}
	return strings.Join(parts, ", ")
}

func requestText(q *gate.RequestReport) string {
	text := fmt.Sprintf("%s %s, a %s by a browser of kind %s at %s", q.Method, q.Path, q.Kind, q.Browser, q.ClientIP)
	if q.Rewritten != "" {
		text += ", rewritten to " + q.Rewritten
	}
	if q.Trusted {
		text += ", through a trusted proxy"
	}
	return text
}

func sessionText(s *gate.SessionReport) string {
	text := s.State
	if s.Via != "" {
		text += ", in a " + s.Via
	}
	if s.UserID != "" {
		text += fmt.Sprintf(", of %s %s", s.Kind, s.UserID)
	}
	if s.Began != "" {
		text += ", who was " + s.Began
	}
	for _, fact := range []struct {
		holds bool
		text  string
	}{
		{s.Phone, "phone verified"}, {s.Channel != "", "by " + s.Channel}, {s.AppID != "", "known to " + s.AppID},
		{s.HasUnion, "unionid known"}, {s.SignedOut, "signed out"}, {s.Snapshot, "on a snapshot page"},
		{!s.Expires.IsZero(), "until " + clock(s.Expires)},
	} {
		if fact.holds {
			text += ", " + fact.text
		}
	}
	return text
}
