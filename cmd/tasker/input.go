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
	text, from, err := a.readText("--input", value)
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

// readValue reads a flag whose value is any JSON: the text, @file, or - for stdin.
func (a *app) readValue(flag, value string) (json.RawMessage, error) {
	text, from, err := a.readText(flag, value)
	if err != nil {
		return nil, badInput(fmt.Errorf("%s: %w", flag, err), "")
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, badInput(fmt.Errorf("%s is empty", from), flag+" is JSON; leave it out for none")
	}
	var raw json.RawMessage
	err = json.Unmarshal(text, &raw)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return text, err
	}
	line, column := placeOf(text, int(syntax.Offset))
	hint := ""
	if from == flag && !strings.ContainsAny(value, "{[\"") {
		hint = fmt.Sprintf("a text needs quotes, and a file an @: %s '\"%s\"' or %s @%s", flag, value, flag, value)
	}
	return nil, badInput(fmt.Errorf("%s:%d:%d: not valid JSON: %w", from, line, column, err), hint)
}

// readText reads what a flag names, and says where it is from.
func (a *app) readText(flag, value string) (text []byte, from string, err error) {
	switch {
	case value == "-":
		text, err = io.ReadAll(a.in)
		return text, "stdin", err
	case strings.HasPrefix(value, "@"):
		text, err = os.ReadFile(value[1:])
		return text, value[1:], err
	}
	return []byte(value), flag, nil
}
