package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/account"
)

func exportCommand(o *options) *cobra.Command {
	var format string
	in := new(exportRequest)
	cmd := o.command(leaf{
		use: "export <file>", short: "Write all accounts into a file that `import` reads",
		long: "Writes users, openids and unionids, with guests and with merged and cancelled\n" +
			"users, as they are at one moment. Phone numbers are left out unless --phones asks\n" +
			"for them, in clear. Not in it: sessions, conflicts, events, keys, and what\n" +
			"operators did. - is standard output; a file must not exist already.",
		example: "export accounts.ndjson --reason 'a copy for the new server'\n" +
			"export accounts.csv --phones --reason 'moving to PostgreSQL'",
		minArgs: 1,
		run: func(c *call) error {
			f, err := formatOf(c.args[0], format)
			if err != nil {
				return err
			}
			if err := in.needed(); err != nil {
				return err
			}
			in.Format = f
			return c.export(*in)
		},
	})
	f := cmd.Flags()
	f.StringVar(&format, "format", "", "`csv` or ndjson; default: as the file's name says")
	in.reasoned.flags(cmd)
	f.BoolVar(&in.Phones, "phones", false, "write phone numbers, in clear")
	return cmd
}

// export writes a file that has its name only when it is whole.
func (c *call) export(in exportRequest) error {
	name := c.args[0]
	if name == "-" {
		_, err := c.download(in, c.out)
		return err
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return usageError(fmt.Sprintf("%s exists already", name))
	}
	part, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".part") // 0600
	if err != nil {
		return usageError(err.Error())
	}
	defer os.Remove(part.Name())
	rows, err := c.download(in, part)
	if err = errors.Join(err, part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), name); err != nil {
		return fmt.Errorf("naming the file: %w", err)
	}
	if c.json {
		return c.printJSON(map[string]int{"rows": rows})
	}
	c.say("%d rows are in %s, which only you can read.", rows, name)
	return nil
}

func (c *call) download(in exportRequest, to io.Writer) (rows int, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, fmt.Errorf("writing a request: %w", err)
	}
	r, err := c.request(c.Context, "POST", "export", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", typeJSON)
	resp, err := c.do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n := &rowCounter{c: c}
	if in.Format == account.CSV {
		n.rows = -1 // the first row names the columns
	}
	_, err = io.Copy(to, io.TeeReader(resp.Body, n))
	c.clearProgress()
	if err != nil {
		return 0, fmt.Errorf("the export has broken off: %w", err)
	}
	return n.rows, nil
}

// rowCounter counts rows and shows how many there are. No value of ours holds
// a line break.
type rowCounter struct {
	c    *call
	rows int
}

// Write implements io.Writer.
func (n *rowCounter) Write(p []byte) (int, error) {
	n.rows += bytes.Count(p, []byte("\n"))
	n.c.showProgress(account.Progress{Stage: account.StageWriting, Done: n.rows})
	return len(p), nil
}
