package tasker

import "io"

// NewLineWriterForTest lets tests forge the lines of an export: they are given without their sums.
func NewLineWriterForTest(w io.Writer) func(body string) {
	l := newLineWriter(w)
	return func(body string) {
		if err := l.line(lineObject(body)); err != nil {
			panic(err)
		}
		if err := l.w.Flush(); err != nil {
			panic(err)
		}
	}
}
