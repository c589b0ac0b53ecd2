package redisclient

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Scanned is a step of Scan.
type Scanned struct {
	Keys []string
	Next uint64 // the cursor of the step that follows; 0 after the last one
}

// Scan does one step of going through all keys that begin with prefix, which the server
// looks at a thousand of.
func Scan(ctx context.Context, client redis.UniversalClient, cursor uint64, prefix string) (Scanned, error) {
	keys, next, err := client.Scan(ctx, cursor, escaped.Replace(prefix)+"*", keysPerScan).Result()
	return Scanned{keys, next}, err
}
