package domain

import (
	"encoding/json"
	"errors"
	"maps"
	"testing"
)

func TestCursorIsReadAsItWasWritten(t *testing.T) {
	for text, want := range map[string]Cursor{
		"data:00=123,01=456":  {"data", map[int]uint64{0: 123, 1: 456}},
		"data:":               {"data", map[int]uint64{}},
		"a:b:63=1":            {"a:b", map[int]uint64{63: 1}},
		"d:00=1,07=9,10=1000": {"d", map[int]uint64{0: 1, 7: 9, 10: 1000}},
	} {
		got, err := ParseCursor(text)
		if err != nil || got.DataID != want.DataID || !maps.Equal(got.Sequences, want.Sequences) {
			t.Errorf("ParseCursor(%q) = %v, %v, want %v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("written again, %q is %q", text, got)
		}
	}
}

func TestWhatIsNoCursorIsRefused(t *testing.T) {
	for _, text := range []string{
		"", ":", ":00=1", "data", "data:00", "data:00=", "data:=1", "data:00=-1", "data:00=+1", "data:64=1", "data:00=1,",
		"data:,", "data:00=1,00=2", "data:00=1,0=2", "data:00=9223372036854775808", "data:00=1 ,01=2",
	} {
		var bad *CursorError
		if c, err := ParseCursor(text); !errors.As(err, &bad) || bad.Text != text {
			t.Errorf("ParseCursor(%q) = %v, %v, want a *CursorError", text, c, err)
		}
	}
}

func TestCursorCoversWhatItWasAdvancedTo(t *testing.T) {
	c := Cursor{DataID: "d"}
	if c.Covers(Position{Partition: 1, Sequence: 1}) {
		t.Error("an empty cursor covers a commit")
	}
	c.Advance(Position{Partition: 1, Sequence: 7})
	c.Advance(Position{Partition: 1, Sequence: 5})
	for p, want := range map[Position]bool{
		{Partition: 1, Sequence: 7, Index: 300}: true,
		{Partition: 1, Sequence: 8}:             false,
		{Partition: 0, Sequence: 1}:             false,
	} {
		if c.Covers(p) != want {
			t.Errorf("%s covers %s: %v, want %v", c, p, !want, want)
		}
	}
	if c.String() != "d:01=7" {
		t.Errorf("the cursor is %s", c)
	}
}

func TestPositionIsReadAsItWasWritten(t *testing.T) {
	for _, p := range []Position{{}, {Partition: 3, Sequence: 12, Index: 4}, {Partition: 63, Sequence: 1 << 40, Index: 399}} {
		if got, err := ParsePosition(p.String()); err != nil || got != p {
			t.Errorf("ParsePosition(%q) = %v, %v", p, got, err)
		}
	}
	for _, text := range []string{"", "00-1", "00-1-", "00-1-2-3", "64-1-0", "00-x-0", "00-1--1", "00-1-2147483648"} {
		var bad *CursorError
		if p, err := ParsePosition(text); !errors.As(err, &bad) {
			t.Errorf("ParsePosition(%q) = %v, %v, want a *CursorError", text, p, err)
		}
	}
}

func TestPositionsAreEventIDsInJSON(t *testing.T) {
	want := struct{ At Position }{Position{Partition: 1, Sequence: 22, Index: 3}}
	text, err := json.Marshal(want)
	if err != nil || string(text) != `{"At":"01-22-3"}` {
		t.Errorf("got %s, %v", text, err)
	}
	got := want
	got.At = Position{}
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("read again: %v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"At":"22"}`), &got); err == nil {
		t.Error("what is no position was read")
	}
}
