// Package soaktest holds no code but a test: three gateways, a Redis and a
// PostgreSQL, all of them real processes, under a population of simulated people
// and under faults. What people did decides what has to be in the accounts and in
// the shop's orders at the end, and what they saw meanwhile has to be what
// docs/operations.md says.
//
//	make soak                          each fault once, some minutes; make test does it, too
//	make soak FOR=1h                   an hour
//	go test ./soaktest -args -seed 7   the choices of another run
package soaktest
