package exechandler

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Limits of what is made of a command's stderr.
const (
	maxLine   = 4 << 10 // bytes of a line; the rest is cut
	maxLogged = 10_000  // lines of one execution; the rest is counted
	tailLines = 20      // lines in the error
	tailBytes = 2 << 10 // bytes in the error
)

// lines cuts what is written into lines, hands them to the journal up to a limit, and keeps the last ones. One goroutine
// of os/exec writes; the rest is called after it.
type lines struct {
	out     *journal
	limit   int // bytes that are logged
	logged  int
	bytes   int
	dropped int
	line    []byte
	cut     bool
	last    [tailLines][]byte // a ring: what is overwritten is used again
	count   int
}

func newLines(out *journal, limit int) *lines { return &lines{out: out, limit: limit} }

// Write takes everything, and never waits for whoever reads the log.
func (l *lines) Write(b []byte) (int, error) {
	written := len(b)
	for {
		head, rest, ended := bytes.Cut(b, []byte("\n"))
		room := maxLine - len(l.line)
		l.cut = l.cut || len(head) > room
		l.line = append(l.line, head[:min(room, len(head))]...)
		if !ended {
			return written, nil
		}
		l.flush()
		b = rest
	}
}

const cutMark = " [cut]"

func (l *lines) flush() {
	line := bytes.TrimSuffix(l.line, []byte("\r"))
	if l.cut {
		line = append(wholeRunes(line), cutMark...)
	}
	if l.dropped > 0 || l.logged == maxLogged || l.bytes+len(line)+1 > l.limit {
		l.dropped++
	} else {
		l.logged++
		l.bytes += len(line) + 1
		l.out.put(printable(line))
	}
	if len(bytes.TrimSpace(line)) > 0 {
		at := l.count % tailLines
		l.last[at] = append(l.last[at][:0], line...)
		l.count++
	}
	l.line, l.cut = l.line[:0], false
}

// end takes the last line when it has no newline, and tells what was dropped.
func (l *lines) end() {
	if len(l.line) > 0 {
		l.flush()
	}
	if l.dropped > 0 {
		plural := "s"
		if l.dropped == 1 {
			plural = ""
		}
		l.add(fmt.Sprintf("%d line%s dropped: a step logs at most %d lines and max_stderr, %d bytes", l.dropped, plural, maxLogged, l.limit))
	}
}

// add logs a line of the handler's own; nothing for "".
func (l *lines) add(text string) {
	if text != "" {
		l.out.put(text)
	}
}

// close returns when everything is logged.
func (l *lines) close() { l.out.close() }

// tail is ": " and the last lines, or nothing when there are none.
func (l *lines) tail() string {
	var texts []string
	for i := max(0, l.count-tailLines); i < l.count; i++ {
		texts = append(texts, printable(l.last[i%tailLines]))
	}
	text := strings.Join(texts, "\n")
	if len(text) > tailBytes {
		text = "... " + strings.ToValidUTF8(text[len(text)-tailBytes:], "")
	}
	if text != "" {
		text = ": " + text
	}
	return text
}

// wholeRunes takes a character that was cut in the middle from the end.
func wholeRunes(line []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(line); i++ {
		if last := line[len(line)-i:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return line[:len(line)-i]
			}
			break
		}
	}
	return line
}

// printable makes text of a line: what is not UTF-8, and control characters, which can do things to a terminal, become
// U+FFFD.
func printable(line []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(string(line), "\uFFFD"))
}

// journal hands lines on, from a goroutine of its own: a command that writes does not wait for a slow log. What waits is
// bounded by the limits of lines.
type journal struct {
	say  func(lines []string)
	done chan struct{}

	mu      sync.Mutex
	more    sync.Cond
	waiting []string
	closed  bool
}

func newJournal(say func([]string)) *journal {
	j := &journal{say: say, done: make(chan struct{})}
	j.more.L = &j.mu
	go j.run()
	return j
}

func (j *journal) put(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting = append(j.waiting, line)
	j.more.Signal()
}

// close returns when every line has been handed on.
func (j *journal) close() {
	j.mu.Lock()
	j.closed = true
	j.more.Signal()
	j.mu.Unlock()
	<-j.done
}

func (j *journal) run() {
	defer close(j.done)
	for {
		j.mu.Lock()
		for len(j.waiting) == 0 && !j.closed {
			j.more.Wait()
		}
		batch := j.waiting
		j.waiting = nil
		j.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		j.say(batch)
	}
}
