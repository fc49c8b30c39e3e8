package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// clientModule is what the mini program requires the gateway's client as.
const clientModule = "@wxgate/miniprogram"

// packed is a mini program as the phone gets it.
type packed struct {
	script, style []byte
}

// pack puts a mini program into one script, as WeChat does at an upload: each
// file of code is a function that define keeps until it is required.
func pack(program fs.FS, client []byte) (packed, error) {
	var p packed
	app, err := fs.ReadFile(program, "app.json")
	if err != nil {
		return p, err
	}
	if !json.Valid(app) {
		return p, fmt.Errorf("app.json is not JSON")
	}
	var script, style bytes.Buffer
	define(&script, clientModule, client)
	err = fs.WalkDir(program, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		module, kind := strings.TrimSuffix(name, path.Ext(name)), path.Ext(name)
		if kind != ".js" && kind != ".wxml" && kind != ".wxss" {
			return nil
		}
		text, err := fs.ReadFile(program, name)
		if err != nil {
			return err
		}
		switch kind {
		case ".js":
			define(&script, module, text)
		case ".wxml":
			fmt.Fprintf(&script, "template(%s, %s);\n", quote(module), quote(string(text)))
		case ".wxss":
			style.Write(text)
		}
		return nil
	})
	fmt.Fprintf(&script, "launch(%s);\n", app)
	return packed{script.Bytes(), style.Bytes()}, err
}

func define(script *bytes.Buffer, module string, code []byte) {
	fmt.Fprintf(script, "define(%s, function (require, module, exports) {\n\"use strict\";\n%s\n});\n", quote(module), code)
}

// quote writes a string as JSON, which is JavaScript too.
func quote(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string
	}
	return string(raw)
}
