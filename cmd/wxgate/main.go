// Command wxgate is Caddy with the wxgate modules linked in, and nothing else.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/wxgate/wxgate/caddymodule"
)

func main() { caddycmd.Main() }
