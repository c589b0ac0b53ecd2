package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestALineThatIsTooLongIsSkippedAndTheNextOneRead(t *testing.T) {
	r := newLineReader(strings.NewReader("short\n" + strings.Repeat("x", 200<<10) + "\nlast"))
	r.limit = 100 << 10
	line, err := r.next()
	require.NoError(t, err)
	assert.Equal(t, "short\n", string(line))
	_, err = r.next()
	require.ErrorIs(t, err, errLongLine)
	assert.Equal(t, 2, r.number)
	line, err = r.next()
	require.NoError(t, err)
	assert.Equal(t, "last", string(line))
	_, err = r.next()
	assert.ErrorIs(t, err, io.EOF)
}

func TestAnInputThatBreaksOffIsStatusOne(t *testing.T) {
	broken := io.MultiReader(strings.NewReader(`{"task_id": "a", "status": "SUCCESS"}`+"\n"), iotest.ErrReader(errors.New("unplugged")))
	var stderr bytes.Buffer
	status := run(t.Context(), []string{"store", "--stdin"}, broken, io.Discard, &stderr, []string{"CELERY_RESULT_BACKEND=cache+memory://"})
	assert.Equal(t, statusFailed, status)
	assert.Equal(t, "celery-results: standard input: unplugged\n", stderr.String())
}

func TestAnOutputThatBreaksOffIsStatusOne(t *testing.T) {
	reader, writer := io.Pipe()
	reader.CloseWithError(errors.New("no space"))
	var stderr bytes.Buffer
	status := run(t.Context(), []string{"get", "a", "b"}, nil, writer, &stderr, []string{"CELERY_RESULT_BACKEND=cache+memory://"})
	assert.Equal(t, statusUnknown, status)
	assert.Equal(t, "celery-results: standard output: no space\n", stderr.String())
}

func FuzzLineReader(f *testing.F) {
	f.Add("a\n\nb", uint8(3))
	f.Add("\r\n \t\nabcdefgh\n", uint8(4))
	f.Fuzz(func(t *testing.T, input string, limit uint8) {
		r := newLineReader(iotest.OneByteReader(strings.NewReader(input)))
		r.limit = int(limit)
		number := 0
		for want := range strings.Lines(input) {
			number++
			tooLong := len(want) > r.limit
			if !tooLong && strings.TrimSpace(strings.ToValidUTF8(want, "x")) == "" {
				continue
			}
			line, err := r.next()
			require.Equal(t, number, r.number, "of %q", input)
			if tooLong {
				require.ErrorIs(t, err, errLongLine)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, want, string(line))
		}
		_, err := r.next()
		require.ErrorIs(t, err, io.EOF)
	})
}
