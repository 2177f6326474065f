package yamldef

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

func readFile(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the definition: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err = io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the definition: %w", err)
	}
	return data, nil
}

// checkBytes refuses what is not a text that a person wrote.
func checkBytes(data []byte) *Problem {
	if len(data) > MaxFileSize {
		return &Problem{Message: fmt.Sprintf("the file is larger than %d MiB", MaxFileSize>>20)}
	}
	if len(bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))) == 0 {
		return &Problem{Line: 1, Column: 1, Message: "the file is empty", Hint: "a definition needs at least a name and steps"}
	}
	bad := bytes.IndexByte(data, 0)
	for i := 0; bad < 0 && i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			bad = i
		}
		i += size
	}
	if bad < 0 {
		return nil
	}
	line, column := place(data, bad)
	return &Problem{Line: line, Column: column, Message: fmt.Sprintf("not UTF-8 text: byte 0x%02x", data[bad])}
}

// place is the line and column of an offset.
func place(data []byte, offset int) (line, column int) {
	before := data[:min(offset, len(data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])
}
