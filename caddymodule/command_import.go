package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/account"
)

// importFlags are the flags of an import.
type importFlags struct {
	change
	format, appID string
	columns       map[string]string
	problems      string // file for all problems
}

func importCommand(o *options) *cobra.Command {
	fl := new(importFlags)
	cmd := fl.flags(o.command(leaf{
		use: "import <file>", short: "Take over users, openids and phones from a file",
		long: "Reads a CSV file, whose first row names the columns, or NDJSON, an object in each\n" +
			"line; - is standard input. The columns are " + strings.Join(account.TransferColumns(), ", ") + ";\n" +
			"only user_id is needed, and --column names those that are called otherwise. Files\n" +
			"of `export` are read too.\n\n" +
			"Nothing that is stored is changed: what is new is added, what contradicts is left\n" +
			"out and told with its lines. It may be repeated, and run again when it has broken\n" +
			"off. First comes a dry run that shows what will happen.\n\n" +
			"Exit code 6 means that something was left out.",
		example: "import users.csv --column user_id=id,phone=mobile --appid wx1111111111111111 --dry-run\n" +
			"import users.csv --column user_id=id,phone=mobile --appid wx1111111111111111 --reason 'moving in' --yes",
		minArgs: 1,
		run:     func(c *call) error { return c.importFile(fl) },
	}))
	f := cmd.Flags()
	f.StringVar(&fl.format, "format", "", "`csv` or ndjson; default: as the file's name says")
	f.StringToStringVar(&fl.columns, "column", nil, "`ours=theirs`: the file's name of one of our columns; may be repeated")
	f.StringVar(&fl.appID, "appid", "", "the `appid` of rows that have none")
	f.StringVar(&fl.problems, "problems", "", "write all problems into this `file`, as NDJSON")
	return cmd
}

func (c *call) importFile(fl *importFlags) error {
	format, err := formatOf(c.args[0], fl.format)
	if err != nil {
		return err
	}
	in := importRequest{
		Format: format, Columns: fl.columns, AppID: fl.appID, Name: filepath.Base(c.args[0]), reasoned: reasoned{DryRun: true},
	}
	switch err := fl.needed(); {
	case fl.DryRun:
		return c.importOnce(in, fl.problems)
	case err != nil:
		return err
	case !fl.yes && c.args[0] == "-":
		return usageError("standard input cannot be read twice: use --dry-run or --yes")
	case !fl.yes:
		// What is left out is there to be looked at.
		if err := c.importOnce(in, fl.problems); err != nil && !errors.Is(err, errLeftOut) {
			return err
		}
		if err := c.confirm(&fl.change); err != nil {
			return err
		}
	}
	in.reasoned = fl.reasoned
	return c.importOnce(in, fl.problems)
}

// errLeftOut means that the rest was done.
var errLeftOut = errors.New("something was left out")

// importOnce sends a file and prints what becomes of it.
func (c *call) importOnce(in importRequest, problemsFile string) error {
	file, err := c.source(c.args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	all := io.Discard
	if problemsFile != "" {
		if sameFile(c.args[0], problemsFile) {
			return usageError("--problems would overwrite the file that is imported")
		}
		f, err := os.OpenFile(problemsFile, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return usageError(err.Error())
		}
		defer f.Close()
		all = f
	}
	body, kind := form(in, file)
	defer body.Close()
	r, err := c.request(c.Context, "POST", "import", body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", kind)
	var report importView
	found := problems{all: json.NewEncoder(all), first: map[account.ProblemCode][]account.Problem{}}
	err = c.follow(r, &report, func(l streamLine) error {
		if l.Progress != nil {
			c.showProgress(*l.Progress)
		}
		if l.Problem != nil {
			return found.add(*l.Problem)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !c.json {
		if err := c.printImport(&report, &found, in.DryRun); err != nil {
			return err
		}
	}
	if !report.Complete() {
		return errLeftOut
	}
	return nil
}

// sameFile says whether two names are of one file that there is.
func sameFile(one, other string) bool {
	a, err := os.Stat(one)
	if err != nil {
		return false
	}
	b, err := os.Stat(other)
	return err == nil && os.SameFile(a, b)
}

// form is a body with the options and the file, made while it is sent.
func form(in importRequest, file io.Reader) (body io.ReadCloser, contentType string) {
	r, w := io.Pipe()
	m := multipart.NewWriter(w)
	go func() {
		options, err := m.CreateFormField("options")
		if err == nil {
			err = json.NewEncoder(options).Encode(in)
		}
		var part io.Writer
		if err == nil {
			part, err = m.CreateFormFile("file", in.Name)
		}
		if err == nil {
			_, err = io.Copy(part, file)
		}
		if err == nil {
			err = m.Close()
		}
		_ = w.CloseWithError(err) // never fails
	}()
	return r, m.FormDataContentType()
}

// problems keeps the first problems of each kind, to be printed.
type problems struct {
	all   *json.Encoder
	first map[account.ProblemCode][]account.Problem
}

const shownProblems = 10

func (p *problems) add(one account.Problem) error {
	if len(p.first[one.Code]) < shownProblems {
		p.first[one.Code] = append(p.first[one.Code], one)
	}
	return p.all.Encode(one)
}

func (c *call) printImport(r *importView, p *problems, dry bool) error {
	if dry {
		c.say("A dry run; nothing is changed.\n")
	} else {
		c.say("Done.\n")
	}
	for _, ours := range slices.Sorted(maps.Keys(r.Columns)) {
		c.say("%s is the file's column %s", ours, r.Columns[ours])
	}
	if len(r.Unused) > 0 {
		c.say("not used: %s", strings.Join(r.Unused, ", "))
	}
	c.say("\n%d rows, %d of them unreadable\n", r.Rows, r.Unreadable)
	t := new(table)
	t.add("in the file", "new", "known", "left out")
	for _, line := range []struct {
		what string
		n    account.Tally
	}{{"users", r.Users}, {"openids", r.OpenIDs}, {"phones", r.Phones}} {
		t.add(line.what, fmt.Sprint(line.n.New), fmt.Sprint(line.n.Known), fmt.Sprint(line.n.LeftOut))
	}
	if err := t.print(c.out, ""); err != nil {
		return err
	}
	for _, appID := range r.UnknownApps {
		c.say("\n%d openids are of %s, which no app of the running configuration is. Is the appid right?", r.Apps[appID], appID)
	}
	for _, code := range slices.Sorted(maps.Keys(r.Problems)) {
		c.printProblems(p.first[code], r.Problems[code])
	}
	return nil
}

func (c *call) printProblems(first []account.Problem, n int) {
	if len(first) == 0 {
		return
	}
	c.say("\n%s (%s): %d", meaning(first[0].Code), first[0].Code, n)
	for _, p := range first {
		c.say("  %s", problemLine(p))
	}
	if n > len(first) {
		c.say("  and %d more; --problems <file> has all", n-len(first))
	}
}

// problemLine is a problem in one line.
func problemLine(p account.Problem) string {
	words := []string{"line " + strings.Trim(fmt.Sprint(p.Lines), "[]")}
	if len(p.Lines) > 1 {
		words[0] = "lines " + strings.ReplaceAll(strings.Trim(fmt.Sprint(p.Lines), "[]"), " ", ", ")
	}
	if p.Count > len(p.Lines) {
		words[0] += fmt.Sprintf(" and %d more", p.Count-len(p.Lines))
	}
	if p.Column != "" {
		words = append(words, p.Column)
	}
	if p.Detail != "" {
		words = append(words, p.Detail)
	}
	if len(p.Users) > 0 {
		words = append(words, "user "+strings.Join(p.Users, ", "))
	}
	if p.Stored != "" {
		words = append(words, "stored: user "+p.Stored)
	}
	if p.Left != account.LeftNothing {
		words = append(words, "without the "+string(p.Left))
	}
	return strings.Join(words, "; ")
}

// meaning explains a code.
func meaning(code account.ProblemCode) string {
	return map[account.ProblemCode]string{
		account.Unreadable:        "Rows that cannot be read",
		account.IDReserved:        "User ids among the numbers that the gateway gives out itself",
		account.UserDiffers:       "Users of whom the rows, or what is stored, say different things",
		account.UserGone:          "Users who are merged or cancelled",
		account.UnreadablePhone:   "Phone numbers that cannot be read",
		account.PhoneTwice:        "One phone, several users",
		account.UserTwoPhones:     "One user, several phones",
		account.OpenIDTwice:       "One openid, several users",
		account.OpenIDTwoUnionIDs: "One openid, several unionids",
		account.UnionIDTwice:      "One unionid, several users",
		account.UnionIDTwoOpenIDs: "One unionid, several openids in one app",
		account.UserTwoUnionIDs:   "One user, several unionids, which one_to_one does not allow",
		account.UnionIDAlone:      "Unionids without an openid",
		account.WithoutUnionID:    "Openids without a unionid; they are imported, and wait for it",
	}[code]
}
