package pickle

import "reflect"

// Lazy is a value that still waits to be decoded, such as a [Value], or a type
// of yours that holds a document of another format. Marshal and Append write
// what Decode returns. An error of Decode is passed on as it is.
type Lazy interface {
	Decode() (any, error)
}

// lazy writes what v stands for, which may be another Lazy.
func (e *encoder) lazy(v Lazy) error {
	for range MaxDepth {
		if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && p.IsNil() {
			return e.value(nil)
		}
		decoded, err := v.Decode()
		if err != nil {
			return err
		}
		next, ok := decoded.(Lazy)
		if !ok {
			return e.value(decoded)
		}
		v = next
	}
	return limitError("depth")
}
