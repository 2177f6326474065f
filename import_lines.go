package tasker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/tasker-go/tasker/domain"
)

// maxExportLine is the longest line that is read, in bytes: a payload of domain.MaxPayload in base64, and what is around it.
const maxExportLine = domain.MaxPayload/3*4 + 64<<10

// importLine is a line of any kind.
type importLine struct {
	Tasker     string   `json:"tasker"`
	Version    int      `json:"version"`
	Of         string   `json:"of"`
	Log        string   `json:"log"`
	Generation int      `json:"generation"`
	Partitions int      `json:"partitions"`
	First      []uint64 `json:"first"`
	Last       []uint64 `json:"last"`

	// Of the export of a task.
	Task       string `json:"task"`
	Definition string `json:"definition"`
	Event      string `json:"event"`
	Type       string `json:"type"`
	V          uint64 `json:"v"`
	At         string `json:"at"`
	Step       string `json:"step"`
	Attempt    uint64 `json:"attempt"`
	By         string `json:"by"`
	Cause      string `json:"cause"`

	Published string `json:"published"`
	Blob      string `json:"blob"`
	Snapshot  string `json:"snapshot"`
	Message   string `json:"message"`
	End       bool   `json:"end"`

	Commit string `json:"commit"`
	Format int    `json:"format"`
	Size   uint64 `json:"size"`
	More   bool   `json:"more"`
	Lines  uint64 `json:"lines"`

	Value json.RawMessage `json:"value"`
	Bytes []byte          `json:"bytes"`
}

// content is what the line carries, byte for byte.
func (l *importLine) content() ([]byte, error) {
	if (l.Value == nil) == (l.Bytes == nil) {
		return nil, errors.New(`want either "value" or "bytes"`)
	}
	if l.Value != nil {
		return l.Value, nil
	}
	return l.Bytes, nil
}

// position reads "00-17".
func (l *importLine) position(text string, partitions int) (p int, sequence uint64, err error) {
	at, err := domain.ParsePosition(text + "-0")
	if err != nil || at.Sequence == 0 || messageName(at.Partition, at.Sequence) != text {
		return 0, 0, fmt.Errorf("%q: want partition and sequence, such as 00-17", text)
	}
	if at.Partition >= partitions {
		return 0, 0, fmt.Errorf("%q: the export has %d partitions", text, partitions)
	}
	return at.Partition, at.Sequence, nil
}

// lineReader reads the lines of an export and checks their sums. What it returns is valid until the next call.
type lineReader struct {
	file   string
	r      *bufio.Reader
	buf    []byte
	sum    uint32
	number int // of the line that was read last
}

func newLineReader(file string, r io.Reader) *lineReader {
	return &lineReader{file: file, r: bufio.NewReaderSize(r, 1<<16)}
}

// fail is the error about the line that was read last.
func (l *lineReader) fail(err error) error {
	var known *ImportError
	if errors.As(err, &known) {
		return err
	}
	return &ImportError{File: l.file, Line: l.number, Err: err}
}

// next reads a line into to. At the end of the file, ErrExportTorn: the end line comes before it.
func (l *lineReader) next(to *importLine) error {
	l.number++
	text, err := l.read()
	if err != nil {
		return err
	}
	*to = importLine{}
	body, ok := l.body(text)
	if l.number == 1 { // a file of another kind is told so, not that its sum is wrong
		if json.Unmarshal(text, to) != nil || to.Tasker != "export" {
			return l.fail(ErrNotAnExport)
		}
		if to.Version > ExportVersion {
			return l.fail(fmt.Errorf("the export has version %d, this program reads up to %d: use a newer one", to.Version, ExportVersion))
		}
	}
	if !ok {
		return l.fail(ErrExportEdited)
	}
	l.sum = crc32.Update(l.sum, exportTable, body)
	*to = importLine{}
	if err := json.Unmarshal(text, to); err != nil {
		return l.fail(fmt.Errorf("this line cannot be read: %w", err))
	}
	return nil
}

// body is the part of the line that is summed up; false when the sum is wrong.
func (l *lineReader) body(text []byte) ([]byte, bool) {
	if len(text) < sumTail {
		return nil, false
	}
	body, tail := text[:len(text)-sumTail], text[len(text)-sumTail:]
	want := appendSum([]byte(sumMember), crc32.Update(l.sum, exportTable, body))
	return body, bytes.Equal(tail, append(want, '"', '}'))
}

// read returns the line without its end.
func (l *lineReader) read() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		if l.buf = append(l.buf, part...); len(l.buf) > maxExportLine {
			return nil, l.fail(fmt.Errorf("the line is longer than %d bytes", maxExportLine))
		}
		switch {
		case err == nil:
			return l.buf[:len(l.buf)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && l.number == 1 && !bytes.HasPrefix(l.buf, []byte(`{"tasker":`)):
			return nil, l.fail(ErrNotAnExport)
		case errors.Is(err, io.EOF):
			return nil, l.fail(ErrExportTorn)
		default:
			return nil, fmt.Errorf("reading line %d: %w", l.number, err)
		}
	}
}

// rest wants nothing behind the end line.
func (l *lineReader) rest() error {
	if _, err := l.r.ReadByte(); !errors.Is(err, io.EOF) {
		l.number++
		if err != nil {
			return fmt.Errorf("reading line %d: %w", l.number, err)
		}
		return l.fail(errors.New("there is something behind the last line"))
	}
	return nil
}
