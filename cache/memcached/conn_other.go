//go:build !unix

package memcached

// hungUp cannot tell here. A request on a closed connection fails, and is sent
// again where that is safe.
func hungUp(uintptr) bool { return false }
