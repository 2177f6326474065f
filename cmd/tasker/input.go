package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// readInput reads the value of --input: JSON, @file, or - for stdin.
func (a *app) readInput(value string) (json.RawMessage, error) {
	if value == "" {
		return json.RawMessage("{}"), nil
	}
	text, from := []byte(value), "--input"
	var err error
	switch {
	case value == "-":
		from = "stdin"
		text, err = io.ReadAll(a.in)
	case strings.HasPrefix(value, "@"):
		from = value[1:]
		text, err = os.ReadFile(from)
	}
	if err != nil {
		return nil, badInput(fmt.Errorf("the input: %w", err), "")
	}
	return parseInput(from, text)
}

func parseInput(from string, text []byte) (json.RawMessage, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, badInput(fmt.Errorf("%s is empty", from), "the input is a JSON object; leave --input out for {}")
	}
	var object map[string]json.RawMessage
	err := json.Unmarshal(text, &object)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		line, column := placeOf(text, int(syntax.Offset))
		hint := ""
		if from == "--input" && !strings.ContainsAny(string(text), "{[") {
			hint = "to read the input from a file, write --input @" + string(text)
		}
		return nil, badInput(fmt.Errorf("%s:%d:%d: not valid JSON: %w", from, line, column, err), hint)
	case errors.As(err, &kind), err == nil && object == nil:
		return nil, badInput(fmt.Errorf("%s: the input must be a JSON object", from), "")
	case err != nil:
		return nil, badInput(fmt.Errorf("%s: %w", from, err), "")
	}
	return text, nil
}

// placeOf is the line and column of the byte that ends at offset.
func placeOf(text []byte, offset int) (line, column int) {
	before := text[:max(min(offset, len(text))-1, 0)]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])
}
