// Package sdk holds the built clients of the gateway, so that programs in Go can
// serve them without Node.
package sdk

import _ "embed"

// MiniProgram is the client for mini programs as an ES module.
//
//go:embed miniprogram/dist/index.mjs
var MiniProgram []byte
