// Package browsertest holds no code but tests: journeys of people through the
// gateway in a real browser, and what every page of ours must be for them.
//
// It is a module of its own, so that the browser's driver stays out of the
// dependencies of those who build the gateway.
//
//	go test ./...                          all journeys
//	go test -run Pages -update-screenshots take the pictures of docs/screenshots again
package browsertest
