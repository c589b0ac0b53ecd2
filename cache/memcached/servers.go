package memcached

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"strconv"
	"strings"

	"github.com/bradfitz/gomemcache/memcache"
)

// Servers puts keys on servers as a Python client does. It is a
// [memcache.ServerSelector], and safe for concurrent use.
type Servers struct {
	addrs   []net.Addr
	library Library
	names   []string // what pymemcache calls the servers
	points  []point  // of ketama
}

var _ memcache.ServerSelector = (*Servers)(nil)

// NewServers returns the servers of a LOCATION in their order, which matters to
// pylibmc. Each is host:port, host (port 11211), [::1]:port, or the path of a
// unix socket, with or without unix: in front; a single text may hold several,
// separated by commas or semicolons. Names are looked up when a connection is
// made, not here.
//
// Pymemcache places by the name of a server as it is written, so that Python
// and Go must be given the same.
func NewServers(library Library, locations ...string) (*Servers, error) {
	if len(locations) == 1 {
		locations = strings.FieldsFunc(locations[0], func(r rune) bool { return r == ',' || r == ';' })
	}
	if len(locations) == 0 {
		return nil, errors.New("memcached: no location")
	}
	s := &Servers{library: library}
	for _, location := range locations {
		if err := s.append(strings.TrimSpace(location)); err != nil {
			return nil, fmt.Errorf("memcached: location %q: %w", masked(location), err)
		}
	}
	if library == PylibmcKetama || library == PylibmcKetamaWeighted {
		s.points = continuum(s.addrs, library == PylibmcKetamaWeighted)
	}
	return s, nil
}

// append follows pymemcache's normalize_server_spec.
func (s *Servers) append(location string) error {
	if path := strings.TrimPrefix(location, "unix:"); strings.HasPrefix(path, "/") {
		s.addrs = append(s.addrs, address{"unix", path})
		s.names = append(s.names, path)
		return nil
	}
	host, port, err := splitHostPort(location)
	if err != nil {
		return err
	}
	s.addrs = append(s.addrs, address{"tcp", net.JoinHostPort(host, port)})
	s.names = append(s.names, host+":"+port)
	return nil
}

// masked hides what stands before an @: memcached has no passwords, but somebody
// may have meant another store.
func masked(location string) string {
	if i := strings.LastIndex(location, "@"); i >= 0 {
		return "**" + location[i:]
	}
	return location
}

func splitHostPort(location string) (host, port string, err error) {
	if !strings.Contains(location, ":") || strings.HasSuffix(location, "]") {
		location += ":11211"
	}
	if host, port, err = net.SplitHostPort(location); err != nil {
		return "", "", errors.New("want host:port, [IPv6]:port or the path of a socket")
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || host == "" || strings.ContainsAny(host, "/@ ") {
		return "", "", errors.New("want host:port, [IPv6]:port or the path of a socket")
	}
	return host, strconv.FormatUint(number, 10), nil
}

// address is a server that is looked up when it is dialled.
type address struct{ network, text string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.text }

// PickServer returns the server of a key.
func (s *Servers) PickServer(key string) (net.Addr, error) {
	return s.addrs[s.place(key)], nil
}

// Each calls f with every server until it returns an error, and returns that.
func (s *Servers) Each(f func(net.Addr) error) error {
	for _, addr := range s.addrs {
		if err := f(addr); err != nil {
			return err
		}
	}
	return nil
}

// place returns the index of a key's server.
func (s *Servers) place(key string) int {
	switch {
	case len(s.addrs) == 1:
		return 0
	case s.library == Pylibmc:
		return int(oneAtATime(key) % uint32(len(s.addrs)))
	case s.library == PylibmcKetama:
		return next(s.points, oneAtATime(key))
	case s.library == PylibmcKetamaWeighted:
		return next(s.points, md5Hash(key))
	}
	return rendezvous(s.names, key)
}

// rendezvous returns the index of the name with the highest score, or among
// equals the greatest name, as pymemcache's RendezvousHash does.
func rendezvous(names []string, key string) int {
	best, high := 0, uint32(0)
	buffer := make([]byte, 0, 512)
	for i, name := range names {
		buffer = append(appendLow(buffer[:0], name), '-')
		buffer = appendLow(buffer, key)
		score := murmur3(buffer)
		if i == 0 || score > high || score == high && name > names[best] {
			best, high = i, score
		}
	}
	return best
}

// appendLow appends the low byte of every code point: what pymemcache hashes
// of a text.
func appendLow(buffer []byte, text string) []byte {
	for _, r := range text {
		buffer = append(buffer, byte(r))
	}
	return buffer
}

// murmur3 is the 32-bit MurmurHash3 with seed 0.
func murmur3(data []byte) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	var h uint32
	length := uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		h ^= bits.RotateLeft32(k*c1, 15) * c2
		h = bits.RotateLeft32(h, 13)*5 + 0xe6546b64
	}
	var k uint32
	for i, b := range data {
		k |= uint32(b) << (8 * i)
	}
	h ^= bits.RotateLeft32(k*c1, 15) * c2
	h ^= length
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}

// oneAtATime is Bob Jenkins' hash, libmemcached's default, which takes the bytes
// of a key for signed ones.
func oneAtATime(key string) uint32 {
	var h uint32
	for i := range len(key) {
		h += uint32(int8(key[i]))
		h += h << 10
		h ^= h >> 6
	}
	h += h << 3
	h ^= h >> 11
	return h + h<<15
}
