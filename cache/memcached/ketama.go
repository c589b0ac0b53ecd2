package memcached

import (
	"crypto/md5"
	"encoding/binary"
	"net"
	"slices"
	"strconv"
)

// The number of points that a server has on libmemcached's continuum.
const (
	ketamaPoints         = 100
	ketamaWeightedPoints = 160
)

const defaultPort = "11211"

// point is a place on a continuum, and the index of the server that has it.
type point struct {
	value  uint32
	server int
}

// continuum returns the servers' points, sorted, as libmemcached's update_continuum
// makes them: each from a text of the server's address, which names its port unless
// that is the default one.
func continuum(addrs []net.Addr, weighted bool) []point {
	var points []point
	for i, addr := range addrs {
		name := addr.String()
		if host, port, err := net.SplitHostPort(name); err == nil {
			name = host
			if port != defaultPort {
				name += ":" + port
			}
		}
		if !weighted {
			for n := range ketamaPoints {
				points = append(points, point{oneAtATime(name + "-" + strconv.Itoa(n)), i})
			}
			continue
		}
		for n := range ketamaWeightedPoints / 4 { // each sum has four
			sum := md5.Sum([]byte(name + "-" + strconv.Itoa(n)))
			for part := range 4 {
				points = append(points, point{binary.LittleEndian.Uint32(sum[4*part:]), i})
			}
		}
	}
	slices.SortStableFunc(points, func(a, b point) int {
		switch {
		case a.value < b.value:
			return -1
		case a.value > b.value:
			return 1
		}
		return 0
	})
	return points
}

// next returns the server whose point is the first at the value or behind it.
func next(points []point, value uint32) int {
	i, _ := slices.BinarySearchFunc(points, value, func(p point, v uint32) int {
		switch {
		case p.value < v:
			return -1
		case p.value > v:
			return 1
		}
		return 0
	})
	if i == len(points) {
		i = 0
	}
	return points[i].server
}

// md5Hash is libmemcached's hash of a key by MD5.
func md5Hash(key string) uint32 {
	sum := md5.Sum([]byte(key))
	return binary.LittleEndian.Uint32(sum[:])
}
