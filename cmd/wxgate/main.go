// Command wxgate is Caddy with the wxgate modules linked in, and nothing else.
// Its own commands need not be named twice: `wxgate user find` is what `caddy
// wxgate user find` is elsewhere.
package main

import (
	"os"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/wxgate/wxgate/caddymodule"
)

func main() {
	caddy.CustomBinaryName = "wxgate"
	os.Args = caddymodule.Args(os.Args)
	caddycmd.Main()
}
