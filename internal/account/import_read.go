package account

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Format of a file of accounts.
type Format string

const (
	CSV    Format = "csv"    // RFC 4180 in UTF-8, the first row names the columns
	NDJSON Format = "ndjson" // an object of texts and numbers in each line
)

// maxRow is the length of the longest row, in bytes: a quote that is never
// closed must not take the rest of the file into memory.
const maxRow = 1 << 20

// rowReader reads the rows of a file.
type rowReader interface {
	// next returns the next row. io.EOF is the end of the file, a *rowError
	// refuses one row, and anything else the file.
	next() (line int, v values, err error)
	// names returns the file's name of each column that was found, and the
	// names that mean nothing to an import.
	names() (used map[field]string, unused []string)
}

// mapping is the file's name for each column of ours. One column of the file
// may be several of ours.
type mapping [fieldCount]string

// newMapping takes the names that differ from ours.
func newMapping(columns map[string]string) (m mapping, err error) {
	for f := range fieldCount {
		m[f] = f.String()
	}
	for ours, theirs := range columns {
		f, ok := fieldNamed(ours)
		if !ok || theirs == "" {
			return m, fmt.Errorf("mapping column %q to %q: there are the columns %s", ours, theirs, strings.Join(TransferColumns(), ", "))
		}
		m[f] = theirs
	}
	return m, nil
}

// mapped says that the file has to have the column.
func (m mapping) mapped(f field) bool { return f == fieldUserID || m[f] != f.String() }

// fields returns the columns of ours that a column of the file is.
func (m mapping) fields(name string) (all []field) {
	for f := range fieldCount {
		if m[f] == name {
			all = append(all, f)
		}
	}
	return all
}

// Unmarked reads a text without the byte order mark that Excel puts in front.
func Unmarked(r io.Reader) *bufio.Reader {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if mark, _ := buffered.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, _ = buffered.Discard(len(mark))
	}
	return buffered
}

func newRowReader(format Format, r io.Reader, m mapping) (rowReader, error) {
	buffered := Unmarked(r)
	switch format {
	case CSV:
		return newCSVRows(buffered, m)
	case NDJSON:
		return &jsonRows{r: buffered, mapping: m, fields: map[string][]field{}}, nil
	}
	return nil, fmt.Errorf("format %q is none of: %s, %s", format, CSV, NDJSON)
}

// csvRows reads CSV.
type csvRows struct {
	r       *csv.Reader
	limit   *rowLimit
	header  []string
	columns []int // index of each field's column, -1 for none
}

func newCSVRows(r io.Reader, m mapping) (*csvRows, error) {
	c := &csvRows{limit: &rowLimit{r: r, left: maxRow}, columns: slices.Repeat([]int{-1}, int(fieldCount))}
	c.r = csv.NewReader(c.limit)
	header, err := c.r.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the file is empty: its first row names the columns")
	case err != nil:
		return nil, fmt.Errorf("reading the first row, which names the columns: %w", err)
	}
	c.r.ReuseRecord = true
	for i, name := range header {
		name = strings.TrimSpace(name)
		if fields := m.fields(name); len(fields) > 0 && slices.Contains(c.header, name) {
			return nil, fmt.Errorf("the first row names the column %q twice", name)
		}
		c.header = append(c.header, name)
		for _, f := range m.fields(name) {
			c.columns[f] = i
		}
	}
	for f := range fieldCount {
		if m.mapped(f) && c.columns[f] < 0 {
			return nil, fmt.Errorf("the first row does not name the column %q, for %s; it names: %s",
				m[f], f, strings.Join(c.header[:min(len(c.header), maxUnused)], ", "))
		}
	}
	return c, nil
}

func (c *csvRows) names() (used map[field]string, unused []string) {
	used = map[field]string{}
	for f, i := range c.columns {
		if i >= 0 {
			used[field(f)] = c.header[i]
		}
	}
	for i, name := range c.header {
		if !slices.Contains(c.columns, i) && len(unused) < maxUnused {
			unused = append(unused, name)
		}
	}
	return used, unused
}

func (c *csvRows) next() (line int, v values, err error) {
	c.limit.left = maxRow
	row, err := c.r.Read()
	var wrong *csv.ParseError
	switch {
	case err == nil:
		line, _ = c.r.FieldPos(0)
	case errors.As(err, &wrong) && errors.Is(err, csv.ErrFieldCount):
		return wrong.StartLine, v, &rowError{wrong.StartLine, fmt.Sprintf("column %d", min(len(row), len(c.header))),
			fmt.Sprintf("the row has %d columns, the first row has %d", len(row), len(c.header))}
	case errors.As(err, &wrong):
		return wrong.StartLine, v, &rowError{wrong.StartLine, fmt.Sprintf("character %d", wrong.Column), wrong.Err.Error()}
	default:
		return 0, v, err
	}
	for f, i := range c.columns {
		if i < 0 {
			continue
		}
		text := trim(field(f), row[i])
		if !utf8.ValidString(text) {
			return line, v, &rowError{line, c.header[i], "it is not UTF-8; save the file as UTF-8"}
		}
		if text != `\N` && text != "NULL" { // as databases write nothing
			v[f] = text
		}
	}
	return line, v, nil
}

// trim drops the blanks around a value, but those of an id belong to it.
func trim(f field, text string) string {
	if f == fieldUserID || f == fieldMergedInto {
		return text
	}
	return strings.TrimSpace(text)
}

// rowLimit ends a file whose row is too long.
type rowLimit struct {
	r    io.Reader
	left int
}

// Read implements io.Reader.
func (l *rowLimit) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, errRowTooLong
	}
	n, err := l.r.Read(p)
	l.left -= n
	return n, err
}

var errRowTooLong = errors.New("a row is longer than 1 MB; is a quote never closed?")

// jsonRows reads NDJSON.
type jsonRows struct {
	r       *bufio.Reader
	line    int
	mapping mapping
	fields  map[string][]field // of the names met, at most maxNames
}

// maxNames bounds the names that are remembered, and maxUnused those that are
// told because they mean nothing.
const (
	maxNames  = 1000
	maxUnused = 50
)

func (j *jsonRows) names() (used map[field]string, unused []string) {
	used = map[field]string{}
	for name, fields := range j.fields {
		for _, f := range fields {
			used[f] = name
		}
		if len(fields) == 0 {
			unused = append(unused, name)
		}
	}
	slices.Sort(unused)
	return used, unused[:min(len(unused), maxUnused)]
}

// fieldsOf is mapping.fields, remembered.
func (j *jsonRows) fieldsOf(name string) []field {
	fields, known := j.fields[name]
	if !known {
		fields = j.mapping.fields(name)
		if len(j.fields) < maxNames || len(fields) > 0 {
			j.fields[name] = fields
		}
	}
	return fields
}

func (j *jsonRows) next() (line int, v values, err error) {
	for {
		raw, err := j.readLine()
		if err != nil {
			return j.line, v, err
		}
		if len(bytes.TrimSpace(raw)) > 0 {
			v, err = j.object(raw)
			return j.line, v, err
		}
	}
}

// readLine returns the next line, which lives until the next call.
func (j *jsonRows) readLine() ([]byte, error) {
	var long []byte
	for {
		part, err := j.r.ReadSlice('\n')
		switch {
		case len(long)+len(part) > maxRow:
			return nil, fmt.Errorf("line %d: %w", j.line+1, errRowTooLong)
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, part...)
			continue
		case errors.Is(err, io.EOF) && len(long)+len(part) == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		}
		j.line++
		if long == nil {
			return part, nil
		}
		return append(long, part...), nil
	}
}

// object reads the members of a JSON object in the order in which they stand,
// so that an error has a place.
func (j *jsonRows) object(raw []byte) (v values, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	broken := func() error {
		at := min(int(dec.InputOffset()), len(bytes.TrimRight(raw, "\r\n"))) + 1
		return &rowError{j.line, fmt.Sprintf("character %d", at), "the line is not one JSON object"}
	}
	if !utf8.Valid(raw) {
		return v, &rowError{j.line, "character 1", "the line is not UTF-8"}
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return v, broken()
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return v, broken()
		}
		var value any
		if err := dec.Decode(&value); err != nil {
			return v, broken()
		}
		name := key.(string) // of an object
		for _, f := range j.fieldsOf(name) {
			text, reason := jsonText(value)
			if reason != "" {
				return v, &rowError{j.line, name, reason}
			}
			v[f] = trim(f, text)
		}
	}
	if _, err := dec.Token(); err != nil || len(bytes.TrimSpace(raw[dec.InputOffset():])) > 0 {
		return v, broken()
	}
	return v, nil
}

// jsonText reads a text or a whole number. Other numbers are spelled in many
// ways, and as an id each would be another user.
func jsonText(value any) (text, refused string) {
	switch value := value.(type) {
	case nil:
		return "", ""
	case string:
		return value, ""
	case json.Number:
		if !strings.ContainsAny(value.String(), ".eE") {
			return value.String(), ""
		}
		return "", "it is a number with a fraction or an exponent; write it as text"
	}
	return "", "it is neither a text nor a number"
}
