package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ImportConfig says what to import.
type ImportConfig struct {
	Source io.Reader
	Format Format
	// Columns maps our columns (TransferColumns) to the file's names for them;
	// those that are left out have our names.
	Columns map[string]string
	AppID   string // of rows that name none
	DryRun  bool   // compare and report, and change nothing
	Name    string // of the file, for the record of what operators do
	By      By     // who imports, and why
	// Progress is told how far the import is, some times a second; nil: nobody.
	Progress func(Progress)
	// Problem gets each problem once, in no order. An error of it ends the
	// import. nil: they are only counted.
	Problem func(Problem) error
}

// Progress of an import, an export or a repair.
type Progress struct {
	Stage Stage `json:"stage"`
	Done  int   `json:"done"`
	Total int   `json:"total"` // 0: not known
}

// Stage of an import, an export or a repair.
type Stage string

const (
	StageReading   Stage = "reading"   // rows of the file
	StageComparing Stage = "comparing" // rows with each other, in steps
	StageUsers     Stage = "users"
	StageOpenIDs   Stage = "openids"
	StageFollowers Stage = "followers" // of the official account
	StageWriting   Stage = "writing"   // rows of an export
)

// ProblemCode says what is wrong with rows of an import. The codes are stable.
type ProblemCode string

const (
	Unreadable        ProblemCode = "unreadable"       // the row's form, or one of its values
	IDReserved        ProblemCode = "id_reserved"      // the gateway may give the user id to somebody else
	UserDiffers       ProblemCode = "user_differs"     // rows about one user that cannot both be true
	UserGone          ProblemCode = "user_gone"        // merged or cancelled, and yet with an openid or a phone
	UnreadablePhone   ProblemCode = "unreadable_phone" // none, or no mobile number
	PhoneTwice        ProblemCode = "phone_twice"      // one phone, several users
	UserTwoPhones     ProblemCode = "user_two_phones"  // one user, several phones
	OpenIDTwice       ProblemCode = "openid_twice"     // one openid, several users
	OpenIDTwoUnionIDs ProblemCode = "openid_two_unionids"
	UnionIDTwice      ProblemCode = "unionid_twice" // one unionid, several users
	UnionIDTwoOpenIDs ProblemCode = "unionid_two_openids"
	UserTwoUnionIDs   ProblemCode = "user_two_unionids" // refused under one_to_one
	UnionIDAlone      ProblemCode = "unionid_alone"     // a unionid without an openid
	WithoutUnionID    ProblemCode = "without_unionid"   // accepted; waits for its unionid
)

// Left says what of a row was not imported.
type Left string

const (
	LeftNothing Left = ""
	LeftRow     Left = "row"
	LeftUser    Left = "user"   // with all his rows
	LeftOpenID  Left = "openid" // with its unionid
	LeftPhone   Left = "phone"
	LeftUnionID Left = "unionid"
)

// Problem is something in the file that an operator should look at.
type Problem struct {
	Code ProblemCode `json:"code"`
	Left Left        `json:"left_out,omitempty"`
	// Lines have the problem; the first ones, if there are many.
	Lines []int `json:"lines"`
	// Count is the number of all those lines.
	Count  int      `json:"count"`
	Column string   `json:"column,omitempty"` // of what is unreadable
	Users  []string `json:"users,omitempty"`  // the first ones that the lines name
	// Stored names the user in the database whom the lines contradict.
	Stored string `json:"stored,omitempty"`
	Detail string `json:"detail,omitempty"` // in words
}

const (
	maxProblemLines = 20
	maxProblemUsers = 5
)

func (p *Problem) add(line int, user string) {
	p.Count++
	if len(p.Lines) < maxProblemLines {
		p.Lines = append(p.Lines, line)
	}
	if user != "" && len(p.Users) < maxProblemUsers && !slices.Contains(p.Users, user) {
		p.Users = append(p.Users, user)
	}
}

// Tally counts what became of one kind of thing.
type Tally struct {
	New     int `json:"new"`
	Known   int `json:"known"` // stored so already
	LeftOut int `json:"left_out"`
}

// ImportReport is what an import has done, or what a dry run would do.
type ImportReport struct {
	Rows       int   `json:"rows"`       // of the file, without the one that names the columns
	Unreadable int   `json:"unreadable"` // of these
	Users      Tally `json:"users"`
	OpenIDs    Tally `json:"openids"`
	Phones     Tally `json:"phones"`
	// WithoutUnionID counts the openids among these that wait for a unionid.
	WithoutUnionID int `json:"without_unionid"`
	// Apps counts the openids of each app, at most of 50.
	Apps     map[string]int      `json:"apps"`
	Problems map[ProblemCode]int `json:"problems"`
	// Columns are the file's columns that were read, by our names for them.
	Columns map[string]string `json:"columns"`
	// Unused are columns of the file that were not read, at most 50.
	Unused []string `json:"unused"`
}

// Complete says that nothing was left out.
func (r *ImportReport) Complete() bool {
	return r.Unreadable+r.Users.LeftOut+r.OpenIDs.LeftOut+r.Phones.LeftOut == 0
}

// ErrImport means that a file cannot be imported as it is. Its text says why.
var ErrImport = errors.New("the file cannot be imported")

// Import adds users, openids and phones from a file of the shop's, or an
// export, to what is stored. It changes nothing that is stored, so it may be
// repeated, also after it was interrupted. Rows that contradict each other or
// what is stored are left out and reported.
//
// The gateway may work at the same time. Where a visitor was faster, his guest
// merges into the imported member by the rules of Link. Other than that no
// events are written: the shop knows its own users.
//
// Errors: ErrImport, ErrNoReason.
func (db *DB) Import(ctx context.Context, rules Rules, cfg ImportConfig) (ImportReport, error) {
	im := &importer{db: db, rules: rules, cfg: cfg}
	im.report.Problems = map[ProblemCode]int{}
	if err := cfg.By.check(); err != nil {
		return im.report, err
	}
	if cfg.Progress == nil {
		im.cfg.Progress = func(Progress) {}
	}
	if err := im.run(ctx); err != nil {
		return im.report, fmt.Errorf("importing: %w", err)
	}
	return im.report, nil
}

// importer is one import under way.
type importer struct {
	db    *DB
	rules Rules
	cfg   ImportConfig
	stage *stage

	report ImportReport
}

func (im *importer) run(ctx context.Context) (err error) {
	if im.stage, err = newStage(ctx); err != nil {
		return fmt.Errorf("making a temporary database: %w", err)
	}
	defer func() { err = errors.Join(err, im.stage.close()) }()
	for _, step := range []func(context.Context) error{im.read, im.compare, im.record, im.users, im.openIDs} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// problem counts and reports.
func (im *importer) problem(p Problem) error {
	im.report.Problems[p.Code]++
	if im.cfg.Problem == nil {
		return nil
	}
	return im.cfg.Problem(p)
}

// progressRows is after how many rows progress is told.
const progressRows = 10_000

// read puts the rows of the file onto the stage.
func (im *importer) read(ctx context.Context) error {
	m, err := newMapping(im.cfg.Columns)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrImport, err)
	}
	rows, err := newRowReader(im.cfg.Format, im.cfg.Source, m)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrImport, err)
	}
	for {
		err := im.readRow(ctx, rows)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if im.report.Rows++; im.report.Rows%progressRows == 0 {
			im.cfg.Progress(Progress{Stage: StageReading, Done: im.report.Rows})
		}
	}
	used, unused := rows.names()
	im.report.Unused, im.report.Columns = unused, map[string]string{}
	for f, name := range used {
		im.report.Columns[f.String()] = name
	}
	return nil
}

func (im *importer) readRow(ctx context.Context, rows rowReader) error {
	line, v, err := rows.next()
	var r record
	if err == nil {
		if v[fieldOpenID] != "" && v[fieldAppID] == "" {
			v[fieldAppID] = im.cfg.AppID
		}
		r, err = im.db.parse(line, v)
	}
	var wrong *rowError
	switch {
	case errors.As(err, &wrong):
		im.report.Unreadable++
		return im.problem(Problem{Code: Unreadable, Left: LeftRow, Lines: []int{wrong.line}, Count: 1, Column: wrong.column, Detail: wrong.reason})
	case errors.Is(err, io.EOF):
		return err
	case err != nil:
		return fmt.Errorf("%w: reading the file: %w", ErrImport, err)
	}
	if err := im.stage.put(ctx, &r); err != nil {
		return fmt.Errorf("storing a row for a while: %w", err)
	}
	if r.noPhone != "" {
		im.report.Phones.LeftOut++
		p := Problem{Code: UnreadablePhone, Left: LeftPhone, Lines: []int{line}, Count: 1, Users: []string{r.userID}, Detail: r.noPhone}
		if err := im.problem(p); err != nil {
			return err
		}
	}
	if r.unionID == "" || r.openID != "" {
		return nil
	}
	return im.problem(Problem{Code: UnionIDAlone, Left: LeftUnionID, Lines: []int{line}, Count: 1, Users: []string{r.userID}})
}

// compare finds what the rows say against each other.
func (im *importer) compare(ctx context.Context) error {
	all := contradictions(im.rules)
	for i, c := range all {
		im.cfg.Progress(Progress{Stage: StageComparing, Done: i, Total: len(all) + 1})
		if err := im.stage.find(ctx, c, im.problem); err != nil {
			return fmt.Errorf("comparing the rows of the file: %w", err)
		}
	}
	im.cfg.Progress(Progress{Stage: StageComparing, Done: len(all), Total: len(all) + 1})
	if err := im.stage.groupUsers(ctx); err != nil {
		return fmt.Errorf("gathering the users of the file: %w", err)
	}
	return nil
}

// record notes that an operator imports.
func (im *importer) record(ctx context.Context) error {
	if im.cfg.DryRun {
		return nil
	}
	_, err := im.db.operate(ctx, im.cfg.By, func(c *change) error {
		return c.record(im.cfg.By, deed{ActionImport, im.cfg.Name, map[string]any{"file": im.cfg.Name, "rows": im.report.Rows, "unreadable": im.report.Unreadable}})
	})
	return err
}
