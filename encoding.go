package celeryresults

import (
	"context"

	"github.com/celeryresults/celeryresults/driver"
)

// Encoding turns records into what a store keeps, and back. Stores with columns
// implement it; backends.New brings one of documents for all others. The goroutines of
// those who store and read call it, before anything is merged. It is safe for concurrent
// use.
type Encoding interface {
	// Encode sets the Document (with StateOf) or the Row, and the Size, of a task's
	// record. An Encode that needs the server may fail with *driver.Again, and is
	// repeated.
	Encode(ctx context.Context, meta *TaskMeta, w *driver.Write) error

	// Decode returns the meta in a record that stands. Payloads stay encoded. It keeps
	// the record's Document.
	Decode(r *driver.Record) (*TaskMeta, error)

	// State returns no more than the state in a record that stands.
	State(r *driver.Record) (State, error)

	// EncodeGroup and DecodeGroup do the same for groups.
	EncodeGroup(ctx context.Context, group ResultTuple, w *driver.Write) error
	DecodeGroup(r *driver.Record) (ResultTuple, error)

	// EncodeValue and DecodeValue encode a value by itself, such as the body of a chord.
	EncodeValue(v Value) (contentType string, data []byte, err error)
	DecodeValue(contentType string, data []byte) (Value, error)
}
