package json

import (
	"encoding/base64"
	"math/big"
	"strconv"

	"github.com/celeryresults/celeryresults/python"
)

// opened returns what a kombu envelope holds, and any other object as it is.
func opened(dict map[string]any) any {
	if len(dict) != 2 {
		return dict
	}
	name, ok := dict[typeKey].(string)
	value, hasValue := dict[valueKey]
	if !ok || !hasValue {
		return dict
	}
	if v, ok := openedAs(name, value); ok {
		return v
	}
	return python.Envelope{Type: name, Value: value}
}

// openedAs returns false for an unknown type and for a value that does not
// suit the type.
func openedAs(name string, value any) (any, bool) {
	text, isText := value.(string)
	switch {
	case name == typeUUID:
		return openedUUID(value)
	case name == typeDecimal:
		return openedDecimal(value)
	case !isText:
		return nil, false
	}
	switch name {
	case typeDateTime:
		return openedDateTime(text)
	case typeDate:
		d, err := python.ParseDate(text)
		return d, err == nil
	case typeTime:
		t, err := python.ParseTime(text)
		return t, err == nil
	case typeBytes:
		return []byte(text), true
	case typeBase64:
		b, err := base64.StdEncoding.DecodeString(text)
		return b, err == nil
	}
	return nil, false
}

func openedDateTime(text string) (any, bool) {
	t, aware, err := python.ParseISO(text)
	if err != nil {
		return nil, false
	}
	if !aware {
		return python.DateTime{Time: t}, true
	}
	return t, true
}

func openedUUID(value any) (any, bool) {
	dict, _ := value.(map[string]any)
	text, _ := dict["hex"].(string)
	id, err := python.ParseUUID(text)
	return id, err == nil && len(dict) == 1
}

func openedDecimal(value any) (any, bool) {
	switch v := value.(type) {
	case string:
		d, err := python.ParseDecimal(v)
		return d, err == nil
	case int64:
		return python.Decimal(strconv.FormatInt(v, 10)), true
	case *big.Int:
		return python.Decimal(v.String()), true
	}
	return nil, false
}
