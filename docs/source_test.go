package docs

import (
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// source is the code of a package.
type source struct {
	parsers []*ast.FuncDecl // of Caddyfiles
	funcs   map[string]*ast.FuncDecl
	structs map[string]structure
}

// structure is a struct type: what is documented to be in its fields.
type structure []*option

// option is what a comment says of an option.
type option struct {
	name               string // the field's in JSON, which that of a block is in a Caddyfile
	meaning, byDefault string
	examples           []string // none: nothing but a block, or no option
	inner              string   // the struct that holds the options of its block
	isType             bool     // a carrier of codes, which is a type and no field
}

// find returns the option that a line of a parser's comment is for: of those
// with an example of the name the one that has most words of the line.
func (st structure) find(name, usage string) (best *option) {
	common := -1
	for _, o := range st {
		if o.examples == nil && o.name == name {
			return o
		}
		for _, e := range o.examples {
			if !strings.HasPrefix(e+" ", name+" ") {
				continue
			}
			words, n := strings.Fields(usage), 0
			for i, word := range strings.Fields(e) {
				if i >= len(words) || words[i] != word {
					break
				}
				n++
			}
			if n > common {
				best, common = o, n
			}
		}
	}
	return best
}

func readSource(t *testing.T, dir string) *source {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &source{funcs: map[string]*ast.FuncDecl{}, structs: map[string]structure{}}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), dir+"/"+e.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				s.funcs[d.Name.Name] = d
				if strings.HasPrefix(e.Name(), "caddyfile") || d.Name.Name == "options" {
					s.parsers = append(s.parsers, d)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						s.addStruct(spec, d.Doc)
					}
				}
			}
		}
	}
	return s
}

// addStruct reads the comments of a type and its fields.
func (s *source) addStruct(spec *ast.TypeSpec, doc *ast.CommentGroup) {
	fields, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	var st structure
	if o := read(doc); o.examples != nil {
		verb := strings.TrimPrefix(o.meaning, spec.Name.Name+" ")
		o.meaning, o.inner, o.isType = strings.ToUpper(verb[:1])+verb[1:], spec.Name.Name, true
		st = append(st, o)
	}
	for _, field := range fields.Fields.List {
		if field.Tag == nil {
			continue
		}
		o := read(field.Doc)
		o.name, _, _ = strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json"), ",")
		o.inner = typeName(field.Type)
		st = append(st, o)
	}
	s.structs[spec.Name.Name] = st
}

// typeName is that of a type, of what a pointer leads to, or of the elements of
// a slice.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.ArrayType:
		return typeName(e.Elt)
	case *ast.Ident:
		return e.Name
	default:
		return ""
	}
}

// read takes the comment of an option apart: what it means, its default, and an
// example.
func read(doc *ast.CommentGroup) *option {
	o := new(option)
	var text []string
	for _, block := range new(comment.Parser).Parse(doc.Text()).Content {
		paragraph, ok := block.(*comment.Paragraph)
		if !ok {
			continue
		}
		words := strings.Join(strings.Fields(plain(paragraph.Text)), " ")
		if examples, ok := strings.CutPrefix(words, "Caddyfile: "); ok {
			for _, e := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(examples, -1) {
				o.examples = append(o.examples, e[1])
			}
			continue
		}
		text = append(text, words)
	}
	o.meaning = strings.Join(text, " ")
	if rest, ok := strings.CutSuffix(o.meaning, "Required."); ok {
		o.meaning, o.byDefault = rest, "required"
	} else {
		o.meaning, o.byDefault, _ = strings.Cut(o.meaning, "Default: ")
	}
	o.meaning, o.byDefault = strings.TrimSpace(o.meaning), strings.TrimSuffix(o.byDefault, ".")
	return o
}

func plain(text []comment.Text) string {
	var b strings.Builder
	for _, t := range text {
		switch t := t.(type) {
		case comment.Plain:
			b.WriteString(string(t))
		case comment.Italic:
			b.WriteString(string(t))
		case *comment.Link:
			b.WriteString(plain(t.Text))
		}
	}
	return b.String()
}

// line is one line of a block as the comment of a parser shows it.
type line struct {
	usage      string
	repeatable bool
	block      []line
}

// names are the options that the line is for: several, where it begins with
// words that stand for each other. That of a carrier has two words.
func (l line) names() []string {
	first, rest, _ := strings.Cut(l.usage, " ")
	if first == "sms" && !strings.HasPrefix(rest, "<") {
		carrier, _, _ := strings.Cut(rest, " ")
		return []string{"sms " + carrier}
	}
	return strings.Split(first, "|")
}

// grammar reads the block of code in the comment of a function.
func (s *source) grammar(function string) []line {
	open := [][]line{nil}
	for text := range strings.Lines(s.funcs[function].Doc.Text()) {
		code, ok := strings.CutPrefix(text, "\t")
		if !ok {
			continue
		}
		code, note, _ := strings.Cut(code, " #")
		usage := strings.Join(strings.Fields(code), " ")
		switch inner := len(open) - 1; {
		case usage == "}" && inner > 0:
			block := open[inner]
			open = open[:inner]
			outer := open[inner-1]
			outer[len(outer)-1].block = block
		default:
			begun, opens := strings.CutSuffix(usage, " {")
			open[inner] = append(open[inner], line{usage: begun, repeatable: strings.Contains(note, "repeatable")})
			if opens {
				open = append(open, nil)
			}
		}
	}
	return open[0]
}

// parsed returns the names that the parsers compare the first word of a line
// with: in a switch over it, in a comparison, or in a carrier's list of options.
func (s *source) parsed() map[string]bool {
	names := map[string]bool{}
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			name, err := strconv.Unquote(lit.Value)
			if err == nil {
				names[name] = true
			}
		}
	}
	isName := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return ok && id.Name == "name"
	}
	for _, f := range s.parsers {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SwitchStmt:
				if isName(n.Tag) {
					for _, c := range n.Body.List {
						for _, e := range c.(*ast.CaseClause).List {
							add(e)
						}
					}
				}
			case *ast.BinaryExpr:
				if isName(n.X) {
					add(n.Y)
				}
			case *ast.KeyValueExpr:
				if isName(n.Key) {
					add(n.Value)
				}
			}
			return true
		})
	}
	return names
}
