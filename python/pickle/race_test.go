//go:build race

package pickle_test

// slowdown is how much longer the race detector may take.
const slowdown = 10
