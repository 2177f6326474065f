package tasker

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"io"
	"strconv"
	"unicode/utf8"
)

var exportTable = crc32.MakeTable(crc32.Castagnoli)

// sumMember is what a line ends with: the sum stands between the two.
const (
	sumMember = `,"sum":"`
	sumDigits = 8
	sumTail   = len(sumMember) + sumDigits + len(`"}`)
)

// lineWriter writes the lines of an export, each with its sum.
type lineWriter struct {
	w     *bufio.Writer
	sum   uint32
	lines uint64
}

func newLineWriter(w io.Writer) *lineWriter { return &lineWriter{w: bufio.NewWriterSize(w, 1<<16)} }

func (l *lineWriter) line(o lineObject) error {
	l.sum = crc32.Update(l.sum, exportTable, o)
	l.lines++
	o = append(o, sumMember...)
	o = appendSum(o, l.sum)
	_, err := l.w.Write(append(o, '"', '}', '\n'))
	return err
}

func (l *lineWriter) end() error {
	if err := l.line(append(newLine(), `"end":true`...).number("lines", l.lines+1)); err != nil {
		return err
	}
	return l.w.Flush()
}

func appendSum(b []byte, sum uint32) []byte {
	const hex = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, hex[sum>>shift&15])
	}
	return b
}

// lineObject is a line that is being written, without its end.
type lineObject []byte

func newLine() lineObject { return append(make(lineObject, 0, 256), '{') }

func (o lineObject) key(name string) lineObject {
	if len(o) > 1 {
		o = append(o, ',')
	}
	o = append(o, '"')
	o = append(o, name...)
	return append(o, '"', ':')
}

func (o lineObject) text(name, value string) lineObject {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // a string
	}
	return append(o.key(name), text...)
}

func (o lineObject) textIf(name, value string) lineObject {
	if value == "" {
		return o
	}
	return o.text(name, value)
}

func (o lineObject) number(name string, value uint64) lineObject {
	return strconv.AppendUint(o.key(name), value, 10)
}

func (o lineObject) numbers(name string, values []uint64) lineObject {
	o = append(o.key(name), '[')
	for i, value := range values {
		if i > 0 {
			o = append(o, ',')
		}
		o = strconv.AppendUint(o, value, 10)
	}
	return append(o, ']')
}

func (o lineObject) raw(name string, value []byte) lineObject { return append(o.key(name), value...) }

func (o lineObject) bytes(value []byte) lineObject {
	return append(base64.StdEncoding.AppendEncode(append(o.key("bytes"), '"'), value), '"')
}

// content appends exactly these bytes: as they are when they are JSON that fits into a line.
func (o lineObject) content(value []byte) lineObject {
	if fitsLine(value) {
		return o.raw("value", value)
	}
	return o.bytes(value)
}

// fitsLine: JSON without a line break, and without white space around it, which a reader would lose.
func fitsLine(value []byte) bool {
	if len(value) == 0 || value[0] <= ' ' || value[len(value)-1] <= ' ' || !utf8.Valid(value) || !json.Valid(value) {
		return false
	}
	for _, c := range value {
		if c == '\n' || c == '\r' {
			return false
		}
	}
	return string(value) != "null" // which a reader takes for nothing
}
