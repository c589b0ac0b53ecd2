package document

import (
	"context"
	"fmt"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
)

// Encoding is the celeryresults.Encoding of stores of documents. Stores with columns embed
// it for what they do alike. Make one with NewEncoding.
type Encoding struct {
	Documents
	accept  registry.Accept
	stateOf func([]byte) driver.State // StateOf, made once
}

// NewEncoding returns the encoding of the settings: result_serializer, accept_content,
// result_extended and result_compression. A serializer that the store fixes comes first.
func NewEncoding(s celeryresults.Settings, t driver.Traits) (*Encoding, error) {
	name := s.Serializer()
	if t.Serializer != "" {
		name = t.Serializer
	}
	codec, ok := registry.ByName(name)
	if !ok {
		return nil, fmt.Errorf("celeryresults: unknown serializer %q", name)
	}
	accept, err := registry.NewAccept(s.Accept())
	if err == nil && t.Serializer == "" {
		err = accept.Check(codec)
	}
	if err != nil {
		return nil, fmt.Errorf("celeryresults: %w", err)
	}
	compression, err := NewCompression(s.ResultCompression)
	if err != nil {
		return nil, fmt.Errorf("celeryresults: CELERY_RESULT_COMPRESSION: %w", err)
	}
	d := Documents{Codec: codec, Extended: s.ResultExtended, Compression: compression}
	return &Encoding{d, accept, d.StateOf}, nil
}

// Accept returns which serializers are read.
func (e *Encoding) Accept() registry.Accept { return e.accept }

// documentSize is what most documents fit in.
const documentSize = 768

// Encode implements celeryresults.Encoding.
func (e *Encoding) Encode(_ context.Context, meta *celeryresults.TaskMeta, w *driver.Write) (err error) {
	w.StateOf = e.stateOf
	w.Document, err = e.Append(make([]byte, 0, documentSize), meta)
	return err
}

// Decode implements celeryresults.Encoding.
func (e *Encoding) Decode(r *driver.Record) (*celeryresults.TaskMeta, error) {
	return e.Read(r.ID, r.Document)
}

// State implements celeryresults.Encoding.
func (e *Encoding) State(r *driver.Record) (celeryresults.State, error) {
	status, err := e.Status(r.ID, r.Document)
	return status.State, err
}

// EncodeGroup implements celeryresults.Encoding.
func (e *Encoding) EncodeGroup(_ context.Context, group celeryresults.ResultTuple, w *driver.Write) (err error) {
	w.Document, err = e.AppendGroup(nil, group)
	return err
}

// DecodeGroup implements celeryresults.Encoding.
func (e *Encoding) DecodeGroup(r *driver.Record) (celeryresults.ResultTuple, error) {
	return e.ReadGroup(r.ID, r.Document)
}

// EncodeValue implements celeryresults.Encoding.
func (e *Encoding) EncodeValue(v celeryresults.Value) (string, []byte, error) {
	data, err := e.Codec.Append(nil, Unboxed(v))
	return e.Codec.ContentType(), data, err
}

// DecodeValue implements celeryresults.Encoding.
func (e *Encoding) DecodeValue(contentType string, data []byte) (celeryresults.Value, error) {
	codec, ok := registry.ByContentType(contentType)
	if !ok {
		return celeryresults.Value{}, fmt.Errorf("unknown content type %q", contentType)
	}
	if err := e.accept.Check(codec); err != nil {
		return celeryresults.Value{}, err
	}
	return celeryresults.StoredValue(Whole(codec, data)), nil
}
