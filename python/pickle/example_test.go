package pickle_test

import (
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
)

// cached is what Django's cache.set("cart:7", …) left in redis.
const cached = "\x80\x05\x95\xa8\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x04user\x94K\x07\x8c\x04cart\x94\x8c\x05socks\x94K\x02\x86\x94" +
	"\x8c\x05total\x94\x8c\x07decimal\x94\x8c\x07Decimal\x94\x93\x94\x8c\x0599.50\x94\x85\x94R\x94\x8c\x04seen\x94\x8c\x08datetime\x94" +
	"\x8c\x08datetime\x94\x93\x94C\n\x07\xea\x0b\x15\x08\x1e\x00\x00\x00\x00\x94h\r\x8c\x08timezone\x94\x93\x94h\r\x8c\ttimedelta\x94" +
	"\x93\x94K\x00K\x00K\x00\x87\x94R\x94\x85\x94R\x94\x86\x94R\x94u."

// A value of Django's cache, read into a struct.
func ExampleUnmarshal() {
	v, err := pickle.Unmarshal([]byte(cached))
	if err != nil {
		log.Fatal(err)
	}
	var cart struct {
		User  int            `json:"user"`
		Cart  []any          `json:"cart"`
		Total python.Decimal `json:"total"`
		Seen  time.Time      `json:"seen"`
	}
	if err := python.Assign(&cart, v); err != nil {
		log.Fatal(err)
	}
	fmt.Println(cart.User, cart.Cart, cart.Total, cart.Seen)
	// Output: 7 [socks 2] 99.50 2026-11-21 08:30:00 +0000 UTC
}

// A value for Django's cache.get to read.
func ExampleMarshal() {
	data, err := pickle.Marshal(map[string]any{
		"user": 7,
		"cart": python.Tuple{"socks", 2},
		"seen": time.Date(2026, 11, 21, 8, 30, 0, 0, time.UTC),
	})
	if err != nil {
		log.Fatal(err)
	}
	v, err := pickle.Unmarshal(data)
	fmt.Printf("%s %v\n", python.JSON(nil, v), err)
	// Output: {"cart":["socks",2],"seen":"2026-11-21T08:30:00+00:00","user":7} <nil>
}

func ExampleAppend() {
	buf := []byte("value: ")
	buf, err := pickle.Append(buf, []any{true, nil})
	fmt.Printf("%q %v\n", buf, err)
	// Output: "value: \x80\x04\x95\a\x00\x00\x00\x00\x00\x00\x00]\x94(\x88Ne." <nil>
}

// A pickle that would run a command in Python is an object to look at, and is
// not written again.
func ExampleUnmarshal_hostile() {
	v, err := pickle.Unmarshal([]byte("cos\nsystem\n(S'rm -rf /'\ntR."))
	call := v.(*python.Object)
	fmt.Println(call.Class, call.Args, err)
	_, err = pickle.Marshal(call)
	fmt.Println(errors.Is(err, python.ErrUnsupported))
	// Output:
	// os.system [rm -rf /] <nil>
	// true
}

func ExampleUnmarshal_errors() {
	_, err := pickle.Unmarshal([]byte("\x80\x04K\x01"))
	if broken, ok := errors.AsType[*pickle.SyntaxError](err); ok {
		fmt.Println(broken.Offset, broken.Reason)
	}
	billion := "]" + strings.Repeat("2\x86", 40) + "." // pairs of pairs of pairs
	_, err = pickle.Unmarshal([]byte(billion))
	fmt.Println(errors.Is(err, python.ErrLimit))
	// Output:
	// 4 pickle data was truncated
	// true
}

// Only the entries that are asked for are converted.
func ExampleFields() {
	fields, err := pickle.Fields(nil, []byte(cached))
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range fields {
		if f.Name == "total" {
			total, err := f.Value.Decode()
			fmt.Println(total, err)
		}
	}
	// Output: 99.50 <nil>
}

// An instance of the program's own class, which Python will construct as
// Money("5.00", "EUR").
func ExampleTrusted() {
	money := &python.Object{
		Class: python.Class{Module: "shop.models", Name: "Money"},
		Args:  python.Tuple{python.Decimal("5.00"), "EUR"},
	}
	_, err := pickle.Marshal(money)
	fmt.Println(err)
	data, err := pickle.Marshal(pickle.Trusted{Object: money})
	fmt.Println(len(data), err)
	// Output:
	// pickle: shop.models.Money not written: Python would call it on reading: unsupported value
	// 79 <nil>
}

// note is a value of another program in JSON, decoded when it is pickled.
type note string

// Decode implements pickle.Lazy.
func (n note) Decode() (any, error) { return map[string]any{"text": string(n)}, nil }

func ExampleLazy() {
	data, err := pickle.Marshal([]any{note("hello")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pickle.Unmarshal(data))
	// Output: [map[text:hello]] <nil>
}
