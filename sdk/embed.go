// Package sdk holds the built clients of the gateway, so that programs in Go can
// serve them without Node.
package sdk

import _ "embed"

// MiniProgram is the client for mini programs as they require it.
//
//go:embed miniprogram/miniprogram_dist/index.js
var MiniProgram []byte
