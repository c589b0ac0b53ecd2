package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
)

// MaxFile is the size of the largest file that Load reads, in bytes.
const MaxFile = 1 << 20

// parser is a notation: its name, what decodes it, and where an error of its is.
type parser struct {
	name   string
	decode func([]byte) (map[string]any, error)
	line   func(data []byte, err error) int
}

var parsers = map[string]parser{
	".toml": {"TOML", toml.Parser().Unmarshal, lineTOML},
	".yaml": {"YAML", yaml.Parser().Unmarshal, lineYAML},
	".yml":  {"YAML", yaml.Parser().Unmarshal, lineYAML},
	".json": {"JSON", decodeJSON, lineJSON},
}

// Load returns what is in a settings file, for [FromMap]. The name's ending
// says how to read it: .toml, .yaml, .yml or .json. An empty file holds no
// settings. A file that can't be read, is larger than [MaxFile], or doesn't
// follow its notation is a [*celeryresults.SettingsError], which names the file
// and the line, and never quotes from it.
func Load(path string) (map[string]any, error) {
	p, known := parsers[strings.ToLower(filepath.Ext(path))]
	if !known {
		return nil, wrongFile(path, "ends in none of .toml, .yaml, .yml and .json, and so says not how to read it")
	}
	data, err := readFile(path)
	if err != nil {
		return nil, wrongFile(path, "%v", reason(err))
	}
	m, err := p.decode(data)
	if err != nil {
		return nil, wrongFile(path, "line %d is wrong: the file isn't %s with names at the top", p.line(data, err), p.name)
	}
	return m, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		err = errors.New("is larger than a megabyte, and so no settings file")
	}
	return data, err
}

// reason leaves out the path, which is the name of the error already.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// decodeJSON keeps numbers exact, as koanf's parser does not.
func decodeJSON(data []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, &json.SyntaxError{Offset: d.InputOffset()}
	}
	return m, nil
}

func lineJSON(data []byte, err error) int {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	end := len(data)
	if errors.As(err, &syntax) {
		end = int(syntax.Offset)
	} else if errors.As(err, &mismatch) {
		end = int(mismatch.Offset)
	}
	return 1 + bytes.Count(data[:min(end, len(data))], []byte("\n"))
}

func lineTOML(_ []byte, err error) int {
	var at interface{ Position() (row, column int) }
	if !errors.As(err, &at) {
		return 1
	}
	row, _ := at.Position()
	return row
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

func lineYAML(_ []byte, err error) int {
	parts := yamlLine.FindStringSubmatch(err.Error())
	if parts == nil {
		return 1
	}
	line, _ := strconv.Atoi(parts[1])
	return line
}
